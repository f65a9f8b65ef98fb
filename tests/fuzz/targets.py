"""The parsers that are fuzzed: each takes a path, and raises nothing but FaceprepError."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from faceprep.core.errors import FaceprepError
from faceprep.core.storage import ByteSource, read_bytes
from faceprep.jobs.inspect.job import Inspect
from faceprep.models.mxnet.params import Params
from faceprep.models.mxnet.symbol import parse_symbol
from faceprep.sets import class_map, ijb
from faceprep.sets.manifests import reader, vectors
from faceprep.sets.pairs_bin.pair_lists import read_pairs_list
from faceprep.tables.plan import read_plan
from faceprep.tables.verdicts import read_verdicts
from faceprep.video.siw_boxes import read_face_boxes
from faceprep.vision.load_image import load_image
from tests.fuzz.seeds import make_seeds

_CONTAINERS = ("rec", "tar", "tfrecord", "parquet", "bin", "npz", "csv", "lst", "txt")
_LISTS = ("npz", "parquet", "csv", "lst", "txt")
_VECTORS = ("npz", "parquet", "csv", "tfrecord", "tar")
_LONGEST = 4_000


@dataclass
class Target:
    """A parser: the suffix of its files, and its functions, each tried on every input."""

    suffix: str
    parsers: tuple[Callable[[Path], object], ...]

    def name_in(self, folder: Path) -> Path:
        """Return the path of an input."""
        return folder / f"a{self.suffix}"


def _run_out(rows: Callable[[Path], Iterable[object]]) -> Callable[[Path], object]:
    """Return a function that reads all that `rows` yields."""

    def read_all(path: Path) -> None:
        for _ in rows(path):
            pass

    return read_all


def _inspect(path: Path) -> None:
    str(Inspect(deep=True).look(path))


def _read_params(path: Path) -> None:
    with ByteSource(path) as source:
        params = Params(source)
        if "weight" in params:
            params.read("weight")


def _read_ijb(path: Path) -> None:
    """Read the set that has this file in place of its own."""
    ijb.load_ijb(path.parent.parent)


def _read_set(suffix: str) -> tuple[Callable[[Path], object], ...]:
    parsers: list[Callable[[Path], object]] = [_inspect]
    if suffix in _LISTS:
        parsers.append(_run_out(reader.read_rows))
    if suffix in _VECTORS:
        parsers.append(_run_out(vectors.read_vectors))
    return tuple(parsers)


TARGETS = {suffix: Target(f".{suffix}", _read_set(suffix)) for suffix in _CONTAINERS} | {
    "idx": Target(".idx", (_inspect,)),
    "image": Target(".png", (lambda path: load_image(path, "a.png"),)),
    "plan": Target(".jsonl", (_inspect, _run_out(lambda path: read_plan(path)[1]))),
    "verdicts": Target(".jsonl", (read_verdicts,)),
    "siw-boxes": Target(".face", (read_face_boxes,)),
    "class-map": Target(".csv", (class_map.load,)),
    "pairs-list": Target(".txt", (read_pairs_list,)),
    "params": Target(".params", (_read_params,)),
    "symbol": Target(".json", (lambda path: parse_symbol(read_bytes(path)),)),
    "ijb-face_tid_mid": Target("", (_read_ijb,)),
    "ijb-name_5pts_score": Target("", (_read_ijb,)),
    "ijb-template_pair_label": Target("", (_read_ijb,)),
    "ijb-1N_probe_mixed": Target("", (_read_ijb,)),
}


class Trial:
    """One target in a folder of its own, with sound files beside the input where it needs some."""

    def __init__(self, name: str, folder: Path) -> None:
        self._target = TARGETS[name]
        seeds = make_seeds(folder / "seeds")
        self.seeds = seeds[name]
        self.path = self._target.name_in(folder)
        if name == "idx":
            (folder / "a.rec").write_bytes(seeds["rec"][0])
        if name.startswith("ijb-"):
            self.path = _write_ijb(
                folder / "ijb" / "meta",
                name,
                {key.removeprefix("ijb-"): data[0] for key, data in seeds.items() if "ijb-" in key},
            )

    def reads(self, data: bytes) -> bool:
        """Return whether one of the functions reads an input."""
        self.path.write_bytes(data)
        for parse in self._target.parsers:
            with suppress(FaceprepError):
                parse(self.path)
                return True
        return False

    def try_input(self, data: bytes) -> str:
        """Return what is wrong after an input, empty if it was read or refused by name."""
        self.path.write_bytes(data)
        for parse in self._target.parsers:
            try:
                parse(self.path)
            except FaceprepError as error:
                line = str(error)
                if not re.sub(r"[^\x00-\x7f]", "", line).isprintable() or len(line) > _LONGEST:
                    return f"not one short line: {line[:200]!r}"
            except Exception as error:
                return f"{type(error).__name__}: {error}"[:200]
        return ""


def _write_ijb(meta: Path, name: str, lists: dict[str, bytes]) -> Path:
    """Write the lists of a small set; return the path of the one that is fuzzed."""
    meta.mkdir(parents=True)
    gallery = lists["1N_probe_mixed"]
    lists = lists | {"1N_gallery_G1": gallery}
    paths = {}
    for each, data in lists.items():
        suffix = ".csv" if each.startswith("1N") else ".txt"
        paths[each] = meta / f"ijbc_{each}{suffix}"
        paths[each].write_bytes(data)
    return paths[name.removeprefix("ijb-")]
