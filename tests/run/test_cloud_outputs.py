"""Outputs in the stores of Google and Azure, each by its emulator."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceprep.core import store_writes, stores
from faceprep.core.errors import OutputError
from faceprep.core.store_writes import Lease, check_lease
from tests.cloud_stores import SCHEMES, running_cloud
from tests.command import faceprep


@pytest.fixture(scope="module", params=SCHEMES)
def cloud(request: pytest.FixtureRequest) -> Iterator[str]:
    """The beginning of names in a bucket of an emulator."""
    scheme = request.param
    with running_cloud(scheme) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        stores.open_store.cache_clear()
        stores.send(f"{scheme}://faces", lambda store, key: store.mkdir(key))
        yield f"{scheme}://faces"
    stores.open_store.cache_clear()


def test_of_several_puts_one_is_first(cloud: str) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda n=n: found.append(store_writes.put_new(f"{cloud}/page", b"%d" % n))
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(bool, found)) == 1


def test_a_lease_is_renewed_taken_over_and_lost(cloud: str) -> None:
    url = f"{cloud}/lock"
    assert store_writes.put_new(url, b"dead 1 1")
    with Lease(url, "me", seconds=1.5) as lease:
        with pytest.raises(OutputError, match="another faceprep run is at work here"):
            Lease(url, "other", seconds=6).__enter__()
        check_lease(url, lease.name)
        store_writes.put_over(url, b"other 1 1")
        with pytest.raises(OutputError, match="another run has taken over here"):
            check_lease(url, lease.name)
    assert store_writes.read_if_there(url) is not None


def test_the_objects_are_those_of_the_disk(
    cloud: str, rec_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ("convert", rec_set / "train.rec")
    out = f"{cloud}/out/train.tar"
    assert faceprep(*words, tmp_path / "train.tar", "--shards", 2).returncode == 0
    for number in (1, 2):
        done = faceprep(*words, out, "--shards", 2, "--shard", f"{number}/2")
        assert done.returncode == 0, done.stderr
    done = faceprep("finish", out)
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(files) == 3
    for path in files:
        assert stores.read(f"{cloud}/out/{path.name}") == path.read_bytes()
    record = json.loads(stores.read(f"{cloud}/out/.faceprep/train.tar/run.json"))
    assert record["finished"] is True
    assert faceprep(*words, out, "--shards", 2, "--overwrite").returncode == 0


def test_a_bucket_that_does_not_exist(cloud: str, rec_set: Path) -> None:
    out = f"{cloud.partition(':')[0]}://nobody/train.tar"
    done = faceprep("convert", rec_set / "train.rec", out)
    assert done.returncode == 1
    assert "no such bucket" in done.stderr
    assert len(done.stderr.splitlines()) == 1
