"""The topics of `python -m benchmarks`, in the order in which they run.

A run is the words of a script's command line. `{data}` and other names in braces stand for places
that `places.py` finds. A run is left out where one of its places is missing. Words in square
brackets are left out alone.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_TRUTH = "--truth {data}/photos/registration_truth.json"
_TFLITE = "--embedder {data}/models/MobileFaceNet.tflite:mean=127.5,std=128"
_OPTIONAL = re.compile(r"\[(.*?)\]")


@dataclass(frozen=True)
class Topic:
    """The runs of a script, and the packages that it needs, or has as peers and does without."""

    runs: tuple[str, ...] = ("",)
    quick: str = "--quick"
    needs: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()


TOPICS = {
    "rec": Topic(
        ("--dir {dir} [--mxnet-python {mxnet}]",), "--images 2000 --index-lines 100000 --repeats 1"
    ),
    "convert": Topic(
        (
            "--dir {dir} [--mxnet-python {mxnet}]",
            "--dir {dir} [--mxnet-python {mxnet}] --only rec-to-tar --only tar-to-rec --n 600000",
        ),
        "--n 2000 --repeats 1",
    ),
    "shuffle": Topic(("--dir {disk}",), "--n 2000 --mib 300 --repeats 1"),
    "tar-index": Topic(("--dir {dir}",), "--samples 500 --repeats 1", peers=("webdataset",)),
    "parquet-images": Topic(("--dir {dir}",), "--images 2000 --reads 200 --repeats 1"),
    "tfrecord": Topic(("--dir {dir}",), needs=("tensorflow",)),
    "epoch": Topic(
        ("--dir {dir}",),
        "--images 1000 --repeats 1",
        needs=("tensorflow", "webdataset"),
        peers=("torch",),
    ),
    "object-stores": Topic(quick="--identities 4 --images 5", needs=("moto", "s3fs")),
    "manifest": Topic(("--dir {dir} --suffixes .npz",)),
    "apply": Topic(("--dir {dir}",)),
    "video": Topic(("{data}/video/short_hamilton_clip.mp4",), "--repeats 1"),
    "extract-video": Topic(
        ("{data}/video/short_hamilton_clip.mp4",),
        needs=("psutil",),
        peers=("mtcnn", "tensorflow", "scikit-image"),
    ),
    "follow": Topic(("{data} --only speed --repeats 3",)),
    "detectors": Topic(
        ("--video {data}/video/short_hamilton_clip.mp4",),
        "--frames 2 --repeats 1 --only package recall",
        needs=("insightface",),
        peers=("mtcnn", "tensorflow"),
    ),
    "landmarks": Topic(("{data} [--reference-python {landmarks}]",), "--only speed --quick"),
    "turns": Topic(("{data}",), "--only photos"),
    "extract-photos": Topic(("{data}/photos",), "--images 40 --repeats 1"),
    "align": Topic(("",), "--images 20 --repeats 1", needs=("scikit-image",)),
    "embed": Topic(("", f"{_TFLITE} --crops 400"), peers=("dlib-bin",)),
    "score": Topic(
        ("", "--model {data}/models/FaceAntiSpoofing.tflite:mean=0,std=255,read=leaf --crops 60"),
        "--crops 10",
    ),
    "mxnet-models": Topic(("{data}/models/mxnet --mxnet-python {mxnet}",), "--repeats 1"),
    "similarity": Topic(),
    "search": Topic(("--approximate",), needs=("threadpoolctl",)),
    "merge": Topic(needs=("faiss-cpu", "scikit-learn")),
    "merge-memory": Topic(("--dir {disk} --identities 2000000",)),
    "identities": Topic(
        (
            f"[--att {{att}}] [--registration {{registration}} {_TRUTH}]",
            f"--only-crops {_TFLITE} --att {{att}} --registration {{registration}} {_TRUTH}",
        ),
        needs=("scikit-learn",),
    ),
    "thresholds": Topic(("{att}", f"{{registration}} {_TRUTH}"), ""),
    "verify": Topic(("[--orl {data}/orl]",), needs=("scikit-learn",)),
    "dedupe": Topic(("[{data}/orl]",), peers=("imagehash", "imagededup")),
    "dedupe-false-pairs": Topic(
        ("--people {data}/orl {att} --photos {data}/photos/groups",), "--n 500"
    ),
    "report": Topic(),
}


def script_of(topic: str) -> Path:
    """Return the path of a topic's script."""
    return HERE / f"{topic.replace('-', '_')}.py"


def sentence_of(topic: str) -> str:
    """Return what a topic measures: the first paragraph of its script's docstring."""
    text = ast.get_docstring(ast.parse(script_of(topic).read_text())) or ""
    return " ".join(text.partition("\n\n")[0].split())


def fill_words(run: str, places: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the words of a run with its places, and the names of places that are missing.

    Raises KeyError where a place outside square brackets is missing.
    """
    missing: list[str] = []

    def keep(match: re.Match[str]) -> str:
        names = set(re.findall(r"{(\w+)}", match[1])) - places.keys()
        missing.extend(sorted(names))
        return "" if names else match[1]

    words = _OPTIONAL.sub(keep, run).split()
    return [word.format_map(places) for word in words], missing
