"""`verify`: measure how well embedders separate people: pairs, searches, IJB."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core.embeddings import Model
from faceprep.core.errors import OptionError, OutputError, SourceError, naming
from faceprep.core.job import Look
from faceprep.core.options import Values, option
from faceprep.core.output_tree import refuse_overlap
from faceprep.core.paths import is_folder, own_name
from faceprep.core.slow_step import Progress, ignore_progress
from faceprep.core.storage import refuse_store
from faceprep.core.types import OK, Outcome
from faceprep.core.urls import as_output, as_paths
from faceprep.jobs.verify.bins import judge_bin
from faceprep.jobs.verify.ijb import judge_ijb, judge_saved_ijb
from faceprep.jobs.verify.result import Judged, PairScores, log_notes
from faceprep.jobs.verify.sets import Draw, judge_embeddings, judge_set
from faceprep.jobs.verify.table import show
from faceprep.run.preflight import refuse_closed_places
from faceprep.sets.containers import kind_of
from faceprep.sets.ijb import is_ijb
from faceprep.sets.pairs_bin.image_set import BinSet
from faceprep.steps.embed_options import (
    DEFAULT_EMBEDDER,
    EMBEDDER_HEADING,
    EMBEDDER_HELP,
    EmbedOptions,
    EmbedSettings,
)
from faceprep.steps.list_options import ListOptions
from faceprep.steps.model_names import EMBEDDERS
from faceprep.tables.embeddings import is_embeddings, load_origin, load_place
from faceprep.tables.pair_scores import SUFFIXES, ScoreRow, write_scores

log = logging.getLogger("faceprep")
_N_NAMED, _N_TOLD = 20, 3
_BROKEN = "broken"


@dataclass
class Verification:
    """The findings.

    `inputs` counts pairs of bins, images of other sets and of IJB, and broken sets, each once for
    every embedder. `embedder` and `model` join the names of several with commas.
    """

    embedder: str = ""
    model: str = ""
    metric: str = ""
    flip: bool = True
    results: list[dict[str, Any]] = field(default_factory=list)
    by_status: Counter[str] = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)
    seconds: float = 0.0
    scores: list[tuple[str, str, PairScores]] = field(default_factory=list)
    """Name of the set, name of the embedder, and the scores of the pairs."""
    output: str = ""
    """Path of the table of scores, where one was written."""

    @property
    def failed(self) -> int:
        return self.by_status.total() - self.by_status[OK]

    def add(self, judged: Judged, embedder: str) -> None:
        """Add the result of one set and one embedder, and name its damage."""
        self.results += [result | {"embedder": embedder} for result in judged.results]
        self.scores += [(name, embedder, scores) for name, scores in judged.scores.items()]
        self.by_status[OK] += judged.n_inputs - len(judged.left_out)
        for outcome in judged.left_out:
            self.by_status[outcome.status] += 1
            self.damage += [outcome.reason][: _N_NAMED - len(self.damage)]
            log.debug("%s: %s", outcome.key, outcome.reason)

    def add_model(self, embedder: str, model: Model) -> None:
        """Name an embedder and its model, once."""
        for name, text in (("embedder", embedder), ("model", model.fingerprint)):
            before = getattr(self, name)
            if text not in before.split(", "):
                setattr(self, name, ", ".join(filter(None, (before, text))))
        self.metric = model.metric

    def score_rows(self) -> Iterator[ScoreRow]:
        """Yield the rows of the table of scores."""
        for name, embedder, scores in self.scores:
            similarity = scores.similarity.tolist()
            for first, second, same, score in zip(*scores[:3], similarity, strict=True):
                yield ScoreRow(name, embedder, str(first), str(second), bool(same), score)

    def as_json(self) -> dict[str, Any]:
        return {
            "command": "verify",
            "unit": "img",
            "inputs": self.by_status.total(),
            "ok": self.by_status[OK],
            "failed": self.failed,
            "by_status": {status: n for status, n in self.by_status.items() if n},
            "outputs": int(bool(self.output)),
            "seconds": round(self.seconds, 3),
            "output": self.output or None,
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
class _Embedders:
    """The option that names the embedders."""

    heading: ClassVar[str] = EMBEDDER_HEADING

    embedder: tuple[str, ...] = option(
        (DEFAULT_EMBEDDER,), f"{EMBEDDER_HELP} May be repeated.", values=EMBEDDERS
    )


@dataclass(frozen=True)
class Verify(EmbedSettings, _Embedders, ListOptions, Look):
    """Measure how well embedders separate people.

    SOURCE is a verification .bin, any set of images with identities, a folder with IJB-B or IJB-C
    as published (meta, loose_crop), or the embeddings of one of these. Several sources and several
    --embedder are shown side by side. The result is accuracy, EER and TAR at FAR, or rank-k and
    TPIR at FPIR. Save the --json output to see its curves and histograms with `report`.

    Details:

    A .bin is evaluated in 10 folds, each with the threshold that is best on the other nine. The
    threshold that is best on all pairs is reported separately. If one threshold judges every pair
    right, it is the middle of the gap between the two kinds of pairs. Pairs with a damaged image
    are left out and named. Thresholds are similarities: the cosine, or 1 - distance²/2.

    In a set with identities, --gallery images of each are enrolled as the mean of their vectors,
    and the other images are probes. Identities of one image, and --strangers, have no mate in the
    gallery. If an FPIR allows n strangers, the threshold is just above the (n+1)-th most similar
    stranger; Bob and InsightFace use the n-th.
    """

    command: ClassVar[str] = "verify"

    flip: bool = option(
        True, "Average with the vector of the mirror image, as is usual in verification."
    )
    gallery: int = option(
        1,
        "Enrol this many images of each identity; one is always left to search with.",
        values=Values(least=1),
    )
    strangers: float = option(
        0.0,
        "Hold this share of the identities out of the gallery, such as 0.3.",
        values=Values("SHARE", least=0, below=1),
    )
    seed: int = option(
        0, "Seed the draw of the images to enrol and of the strangers.", values=Values("S")
    )
    score_weights: bool = option(True, "Weight IJB images by their detection score, as is usual.")
    scores: Path | None = option(
        None,
        "Write one row per pair to this .csv or .parquet, or per probe with its mate or, for a "
        "stranger, the closest identity.",
        values=Values("FILE"),
    )

    def __post_init__(self) -> None:
        given: object = self.embedder
        if isinstance(given, str):  # one name, as from Python
            object.__setattr__(self, "embedder", (given,))
        for name in self.embedder:
            self._options(name)
        super().__post_init__()
        if self.scores is None:
            return
        object.__setattr__(self, "scores", as_output(self.scores))
        if self.scores.suffix.lower() not in SUFFIXES:
            expected = "FILE.csv or FILE.parquet"
            raise OptionError("--scores", expected=expected, found=self.scores.name)

    def announce(self) -> None:
        """Open every embedder, so that its name, device and faults are reported once."""
        for embedder in self.embedder:
            self._options(embedder).announce()

    def _options(self, embedder: str) -> EmbedOptions:
        """Return the options of one of the embedders."""
        shared = {each.name: getattr(self, each.name) for each in fields(EmbedSettings)}
        return EmbedOptions(embedder, **shared)

    def look(
        self, paths: str | Path | Sequence[str | Path], progress: Progress | None = None
    ) -> Verification:
        """Judge each of `paths` by each embedder.

        A broken set is named, and raises SourceError if it is the only one. Raises OutputError
        where the table of scores would lie in one of them.
        """
        paths = as_paths(paths)
        if self.scores is not None:
            _refuse_bad_place(self.scores, paths)
        started = time.perf_counter()
        progress = progress or ignore_progress
        found = Verification(flip=self._options(self.embedder[0]).is_flipped)
        n_done, logged = 0, set[str]()
        for path, name, embedder in self._list_work(paths, found):
            step, maker = partial(_add_progress, progress, n_done), embedder
            try:
                with naming(path):
                    if not embedder:
                        maker = _add_origin(path, found)
                    judged = self._judge(path, name, embedder, step)
            except SourceError as error:
                if len(paths) == 1:
                    raise
                judged = Judged([], 1, [Outcome(str(path), _BROKEN, str(error))])
            log_notes(judged.results, logged)
            n_done += judged.n_embedded
            found.add(judged, maker)
            for outcome in judged.left_out[:_N_TOLD]:
                log.warning("%s", outcome.reason)
            if len(judged.left_out) > _N_TOLD:
                log.warning("%s: %s more", path, f"{len(judged.left_out) - _N_TOLD:,}")
        if not found.results:
            raise SourceError("none of the sets could be judged", found=", ".join(map(str, paths)))
        if self.scores is not None:
            write_scores(self.scores, found.score_rows())
            found.output = str(self.scores)
        found.seconds = time.perf_counter() - started
        return found

    def _list_work(
        self, paths: Sequence[Path], found: Verification
    ) -> Iterator[tuple[Path, str, str]]:
        """Yield (path, name of the set, embedder); saved embeddings need none."""
        named_paths = list(zip(paths, _names(paths), strict=True))
        saved = [each for each in named_paths if _is_saved(each[0])]
        others = [each for each in named_paths if each not in saved]
        yield from ((path, name, "") for path, name in saved)
        if others:
            self.announce()
        else:
            self.refuse_unused(paths[0])
        for embedder in self.embedder if others else ():
            found.add_model(embedder, self._options(embedder).model())
            yield from ((path, name, embedder) for path, name in others)

    def _judge(self, path: Path, name: str, embedder: str, progress: Progress) -> Judged:
        draw = Draw(self.gallery, self.seed, self.strangers)
        if not embedder:
            root = Path(load_place(path).root or path)
            if is_folder(root) and is_ijb(root):
                return judge_saved_ijb(path, root, self.score_weights)
            return judge_embeddings(path, name, draw)
        options = self._options(embedder)
        if is_folder(path) and is_ijb(path):
            return judge_ijb(options, path, self.score_weights, progress)
        if kind_of(path) == BinSet.kind:
            return judge_bin(options, path, name, progress)
        return judge_set(options, path, name, draw, self.relative_to, progress)


def _refuse_bad_place(scores: Path, paths: Sequence[Path]) -> None:
    """Raise OutputError where the table of scores cannot be written, before the work begins."""
    refuse_store(scores)
    for path in paths:
        refuse_overlap(path, scores)
    if is_folder(scores):
        raise OutputError("is a folder", path=scores, remedy="Name a file for --scores.")
    refuse_closed_places([scores.parent])


def _is_saved(path: Path) -> bool:
    """Return whether a source is a file of embeddings, or one too damaged to tell.

    Judging a damaged one names the damage, without a model.
    """
    try:
        return is_embeddings(path)
    except SourceError:
        return True


def _add_origin(path: Path, found: Verification) -> str:
    """Add the model that made saved embeddings, and return its name. Raises SourceError."""
    origin = load_origin(path)
    name = origin.fingerprint.partition("/")[0] or "unknown"
    found.add_model(name, origin)
    return name


def _names(paths: Sequence[Path]) -> list[str]:
    """Name the sets: file names without suffix, or paths where those are not unique."""
    stems = [own_name(path).removesuffix(".bin") or str(path) for path in paths]
    return [
        stem if stems.count(stem) == 1 else str(path)
        for stem, path in zip(stems, paths, strict=True)
    ]


def _add_progress(progress: Progress, n_before: int, done: int, total: int) -> None:
    progress(n_before + done, n_before + total)
