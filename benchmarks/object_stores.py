"""Count the requests that `convert` sends to an object store, by container, and for an output.

python benchmarks/object_stores.py --identities 20 --images 10

The store is moto's S3 on this machine, behind a proxy that counts. The images are drawn.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from figures import show_table

from faceprep.synthetic.images import write_folder
from tests.command import faceprep
from tests.object_store import Store, running_store

SUFFIXES = ("tar", "tfrecord", "parquet", "rec")
SHARDS = 8


def main() -> None:
    """Show the tables."""
    options = argparse.ArgumentParser()
    options.add_argument("--identities", type=int, default=20)
    options.add_argument("--images", type=int, default=10)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_store() as store:
        write_folder(Path(folder) / "folder", given.identities, given.images)
        count(store, Path(folder), given.identities * given.images)


def count(store: Store, folder: Path, n_images: int) -> None:
    """Count the requests for each container that holds the images of `folder/folder`."""
    images = folder / "folder"
    containers = {f".{suffix}": folder / f"set.{suffix}" for suffix in SUFFIXES}
    for path in containers.values():
        run(faceprep, "convert", images, path, "--allow-loss")
    listed = folder / "list.csv"
    run(faceprep, "manifest", images, listed, "--seed", 1, "--relative-to", images)
    sources = {name: [store.put(path, path.name)] for name, path in containers.items()}
    store.put(folder / "set.idx", "set.idx")
    sources["a prefix of identities"] = [store.put(images, "folder")]
    below = sources["a prefix of identities"][0]
    sources["a list in random order"] = [store.put(listed, "list.csv"), "--relative-to", below]
    rows = {}
    for number, (name, (source, *options)) in enumerate(sources.items()):
        store.requests.clear()
        run(store.run, "convert", source, folder / f"out{number}.tar", *options)
        n_requests = len(store.requests)
        rows[name] = {"requests": n_requests, "for each image": n_requests / n_images}
    show_table("requests of convert from a store", rows, f"{n_images} images")
    store.requests.clear()
    output = f"s3://faces/{SHARDS}/train.tar"
    run(store.run, "convert", containers[".rec"], output, "--shards", SHARDS)
    written = {f"train.tar in {SHARDS} shards": {"requests": len(store.requests)}}
    show_table("requests of an output in a store", written, f"{n_images} images")


def run(command: Callable[..., subprocess.CompletedProcess[str]], *words: object) -> None:
    """Run a command, which has to end well."""
    done = command(*words, "-q")
    if done.returncode:
        raise SystemExit(done.stderr)


if __name__ == "__main__":
    main()
