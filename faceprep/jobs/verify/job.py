"""`verify`: measure how well an embedder separates people: pairs, searches, IJB. Writes nothing."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core.errors import OptionError, SourceError, naming
from faceprep.core.job import Look
from faceprep.core.options import option
from faceprep.core.types import OK, Outcome
from faceprep.jobs.verify.bins import judge_bin
from faceprep.jobs.verify.ijb import judge_ijb
from faceprep.jobs.verify.result import Judged, Progress
from faceprep.jobs.verify.sets import Draw, judge_set
from faceprep.jobs.verify.table import show
from faceprep.sets.containers import kind_of
from faceprep.sets.ijb import is_ijb
from faceprep.sets.pairs_bin.image_set import BinSet
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.list_options import ListOptions

log = logging.getLogger("faceprep")
_N_NAMED, _N_TOLD = 20, 3
_BROKEN = "broken"


@dataclass
class Verification:
    """The findings.

    `inputs` counts pairs of bins, images of other sets and of IJB, and broken sets.
    """

    embedder: str = ""
    model: str = ""
    metric: str = ""
    flip: bool = True
    results: list[dict[str, Any]] = field(default_factory=list)
    by_status: Counter[str] = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        return self.by_status.total() - self.by_status[OK]

    def add(self, judged: Judged) -> None:
        """Add the result of one set, and name its damage."""
        self.results += judged.results
        self.by_status[OK] += judged.n_inputs - len(judged.left_out)
        for outcome in judged.left_out:
            self.by_status[outcome.status] += 1
            self.damage += [outcome.reason][: _N_NAMED - len(self.damage)]

    def as_json(self) -> dict[str, Any]:
        return {
            "command": "verify",
            "inputs": self.by_status.total(),
            "ok": self.by_status[OK],
            "failed": self.failed,
            "by_status": {status: n for status, n in self.by_status.items() if n},
            "outputs": 0,
            "seconds": round(self.seconds, 3),
            "output": "",
            "embedder": self.embedder,
            "model": self.model,
            "metric": self.metric,
            "flip": self.flip,
            "damage": self.damage,
            "results": self.results,
        }

    def __str__(self) -> str:
        return show(self.results)


@dataclass(frozen=True)
class Verify(EmbedOptions, ListOptions, Look):
    """Measure how well an embedder separates people.

    SOURCE is a verification .bin, any set of images with identities, or a folder with IJB-B or
    IJB-C as published (meta, loose_crop); several may be given. The result is accuracy, EER and TAR
    at FAR, or rank-k and TPIR at FPIR. A .bin is judged in 10 folds, each with the threshold that
    is best on the others; the one threshold that is best on all of it is reported separately. In a
    set with identities, --gallery images of each are enrolled as the mean of their vectors, and the
    others search for them; identities of one image have no mate to find. Thresholds are similarity:
    the cosine, or 1 - distance²/2. Pairs with a damaged image are left out and named.
    """

    command: ClassVar[str] = "verify"

    flip: bool = option(
        True, "Average with the vector of the mirror image, as is usual in verification."
    )
    gallery: int = option(
        1, "Enrol this many images of each identity; one is always left to search with."
    )
    seed: int = option(0, "Seed the draw of the images to enrol.")
    score_weights: bool = option(True, "Weight IJB images by their detection score, as is usual.")

    def __post_init__(self) -> None:
        EmbedOptions.__post_init__(self)
        if self.gallery < 1:
            raise OptionError("--gallery", expected="1 or more", found=str(self.gallery))

    def look(self, paths: Sequence[Path], progress: Progress | None = None) -> Verification:
        """Judge each of `paths`.

        A broken set is named, and raises SourceError if it is the only one.
        """
        started = time.perf_counter()
        progress = progress or (lambda done, total: None)
        self.announce()
        model = self.model()
        found = Verification(self.embedder, model.fingerprint, model.metric, self.is_flipped)
        n_done = 0
        for path, name in zip(paths, _names(paths), strict=True):
            step = partial(_add_progress, progress, n_done)
            try:
                with naming(path):
                    judged = self._judge(path, name, step)
            except SourceError as error:
                if len(paths) == 1:
                    raise
                judged = Judged([], 1, [Outcome(str(path), _BROKEN, str(error))])
            n_done += judged.n_embedded
            found.add(judged)
            for outcome in judged.left_out[:_N_TOLD]:
                log.warning("%s", outcome.reason)
            if len(judged.left_out) > _N_TOLD:
                log.warning("%s: %s more", path, f"{len(judged.left_out) - _N_TOLD:,}")
        if not found.results:
            raise SourceError("none of the sets could be judged", found=", ".join(map(str, paths)))
        found.seconds = time.perf_counter() - started
        return found

    def _judge(self, path: Path, name: str, progress: Progress) -> Judged:
        if path.is_dir() and is_ijb(path):
            return judge_ijb(self, path, self.score_weights, progress)
        if kind_of(path) == BinSet.kind:
            return judge_bin(self, path, name, progress)
        draw = Draw(self.gallery, self.seed)
        return judge_set(self, path, name, draw, self.relative_to, progress)


def _names(paths: Sequence[Path]) -> list[str]:
    """Name the sets: file names without suffix, or paths where those are not unique."""
    stems = [path.name.removesuffix(".bin") or str(path) for path in paths]
    return [
        stem if stems.count(stem) == 1 else str(path)
        for stem, path in zip(stems, paths, strict=True)
    ]


def _add_progress(progress: Progress, n_before: int, done: int, total: int) -> None:
    progress(n_before + done, n_before + total)
