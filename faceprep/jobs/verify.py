"""`verify`: how well an embedder tells people apart, on pairs, in searches, on IJB. Writes nothing."""

from __future__ import annotations

import hashlib
import logging
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep import storage
from faceprep.ahead import map_ahead
from faceprep.cores import my_cores
from faceprep.embedding import EmbedOptions, FittedCrop, fit_encoded, load_file
from faceprep.errors import OptionError, SourceError
from faceprep.extraction import DEGENERATE, Cropper, open_cropper
from faceprep.faces import Faces, Floats, Pixels
from faceprep.formats import ijb, pairs_bin
from faceprep.formats.folders import Identity, find_identities
from faceprep.options import option
from faceprep.shuffle import shuffled
from faceprep.types import OK, Outcome
from faceprep.verification.pairs import Judgement, judge_pairs
from faceprep.verification.searches import Identification, judge_searches, search
from faceprep.verification.tables import show
from faceprep.verification.vectors import pair_likeness, pool_templates, scaled
from faceprep.vision import codec

log = logging.getLogger("faceprep")
Ints = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
Load = Callable[[], FittedCrop | Outcome]

_BATCH = 64
_PAIRS_AT_ONCE = 1 << 16
_N_NAMED, _N_TOLD = 20, 3
_BROKEN, _NO_VECTOR = "broken", "no_vector"


@dataclass
class Verification:
    """What was found. `inputs` counts pairs of bins, images of folders and of IJB, and sets that are broken."""

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

    def add(self, judged: _Judged) -> None:
        """Take up one set, and name what is damaged in it."""
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


class _Judged(NamedTuple):
    """The results of one set; `left_out` has an Outcome for each of its inputs that could not be used."""

    results: list[dict[str, Any]]
    n_inputs: int
    left_out: list[Outcome]
    n_embedded: int = 0


@dataclass(frozen=True)
class Verify(EmbedOptions):
    """How well an embedder tells people apart: accuracy, EER and TAR at FAR; rank-k and TPIR at FPIR.

    BIN is a verification .bin (several may be given), a folder of identities, or a folder with IJB-B or IJB-C as
    published (meta, loose_crop). A .bin is judged in 10 folds, each with the threshold that is best on the others; the
    one threshold that is best on all of it is told apart. Of a folder, --gallery images of each identity are enrolled
    as the mean of their vectors and searched for with the others; identities of one image have no mate to be found.
    Thresholds are likeness: the cosine, or 1 - distance²/2. Pairs with a damaged image are left out and named.
    """

    command: ClassVar[str] = "verify"

    flip: bool = option(True, "Average with the vector of the mirror image, as is usual in verification.")
    gallery: int = option(1, "Of a folder: images of each identity that are enrolled; one is left to search with.")
    seed: int = option(0, "Of a folder: number that the draw of the gallery depends on.")
    score_weights: bool = option(True, "Of IJB: weigh images by their detector's score, as is usual.")

    def __post_init__(self) -> None:
        EmbedOptions.__post_init__(self)
        if self.gallery < 1:
            raise OptionError("--gallery", expected="1 or more", found=str(self.gallery))

    def __call__(self, paths: Sequence[Path], progress: Progress | None = None) -> Verification:
        """Judge each of `paths`; a set that is broken is named, and raises SourceError where it is the only one."""
        started = time.perf_counter()
        tell = progress or (lambda done, total: None)
        self.announce()
        model = self.model()
        found = Verification(self.embedder, model.fingerprint, model.metric, self.flip)
        n_done = 0
        for path, name in zip(paths, _names(paths), strict=True):
            step = partial(_tell_on, tell, n_done)
            try:
                with _located(path):
                    judged = self._judge(path, name, step)
            except SourceError as error:
                if len(paths) == 1:
                    raise
                judged = _Judged([], 1, [Outcome(str(path), _BROKEN, str(error))])
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

    def _judge(self, path: Path, name: str, tell: Progress) -> _Judged:
        if not path.exists():
            raise SourceError("no such file or folder", path=path, remedy="Check the path.")
        if not path.is_dir():
            return self._judge_bin(path, name, tell)
        return self._judge_ijb(path, tell) if ijb.is_ijb(path) else self._judge_folder(path, name, tell)

    def _judge_bin(self, path: Path, name: str, tell: Progress) -> _Judged:
        pairs = pairs_bin.load_pairs(path)
        first_of: dict[bytes, int] = {}
        digests = [hashlib.blake2b(image, digest_size=16).digest() for image in pairs.images]
        places = np.array([first_of.setdefault(digest, number) for number, digest in enumerate(digests)])
        numbers, row_of = np.unique(places, return_inverse=True)
        fitter = self.fitter()
        keys = [f"{path}: image {number} of pair {number // 2}" for number in numbers.tolist()]
        loads = [
            partial(fit_encoded, fitter, key, pairs.images[number])
            for key, number in zip(keys, numbers.tolist(), strict=True)
        ]
        vectors, problems = self._embed(loads, tell, path)
        vectors = scaled(vectors, self.model().metric)
        rows = row_of.reshape(-1, 2)
        sound = _is_sound(len(vectors), problems)[rows].all(axis=1)
        left_out = [_left_out(path, number, rows[number], problems) for number in np.flatnonzero(~sound).tolist()]
        same = np.asarray(pairs.same, np.bool_)[sound]
        found = judge_pairs(_likeness(vectors, *rows[sound].T), same)
        result = _named(name, path, found) | {"left_out": len(left_out)}
        return _Judged([result], len(pairs), left_out, len(vectors))

    def _judge_folder(self, path: Path, name: str, tell: Progress) -> _Judged:
        identities = [identity for identity in find_identities(path) if identity.name != "."]
        files = [f"{identity.name}/{image}" for identity in identities for image in identity.images]
        if not files:
            raise SourceError("neither identities with images nor IJB", path=path, expected="SRC/IDENTITY/IMAGE.png")
        people = np.repeat(np.arange(len(identities)), [len(identity.images) for identity in identities])
        fitter = self.fitter()
        loads = [partial(_load_one, partial(load_file, fitter, path, file)) for file in files]
        vectors, problems = self._embed(loads, tell, path)
        sound = _is_sound(len(files), problems)
        enrolled = self._enrol(identities, people, sound)
        probes = sound & ~enrolled
        if not enrolled.any():
            raise SourceError("no identity has two sound images: nobody can be searched for", path=path)
        metric = self.model().metric
        unit = scaled(vectors, metric)
        rows = np.flatnonzero(enrolled)
        ids, pooled = pool_templates(unit[rows], people[rows], rows, np.ones(len(rows), np.float32))
        searches = search(scaled(pooled, metric), ids, unit[probes], people[probes])
        found = _named(name, path, judge_searches(searches, len(ids)))
        told = {"identities": len(identities), "gallery_images": len(rows), "left_out": len(problems)}
        return _Judged([found | told], len(files), list(problems.values()), len(files))

    def _enrol(
        self, identities: Sequence[Identity], people: Ints, sound: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Which images are enrolled: of each identity as many as asked for, or all but one. The draw of an identity
        depends on the seed, its name and its sound images alone."""
        enrolled = np.zeros(len(people), np.bool_)
        edges = np.searchsorted(people, np.arange(len(identities) + 1))
        for identity, start, stop in zip(identities, edges, edges[1:], strict=False):
            mine = start + np.flatnonzero(sound[start:stop])
            own = zlib.crc32(identity.name.encode("utf-8", "surrogateescape"))
            order = shuffled(len(mine), self.seed << 32 | own)
            enrolled[mine[order[: min(self.gallery, len(mine) - 1)]] if len(mine) > 1 else []] = True
        return enrolled

    def _judge_ijb(self, path: Path, tell: Progress) -> _Judged:
        data = ijb.load_ijb(path)
        own = replace(self, crops=self.open().template)
        vectors, problems = own._embed(_ijb_loads(data, open_cropper(own.crops)), tell, path)
        sound = _is_sound(len(data.files), problems)
        weights = data.scores[sound] if self.score_weights else np.ones(int(sound.sum()), np.float32)
        ids, pooled = pool_templates(vectors[sound], data.templates[sound], data.media[sound], weights)
        unit = scaled(pooled, self.model().metric)
        has_vector = np.isfinite(unit).all(axis=1)
        if not has_vector.any():
            found = next(iter(problems.values())).reason if problems else "images without weight"
            raise SourceError("no template has an image that can be used", path=data.images, found=found)
        templates = _Templates(ids[has_vector], unit[has_vector])
        results = [_judge_template_pairs(path, data, data.pairs, templates)] if data.pairs else []
        results += _judge_galleries(path, data, data.probes, templates) if data.probes else []
        return _Judged(results, len(data.files), list(problems.values()), len(data.files))

    def _embed(self, loads: Iterable[Load], tell: Progress, path: Path) -> tuple[Floats, dict[int, Outcome]]:
        """(vectors (n, d), what is wrong by number). Images are read and fitted in threads, ahead of the model."""
        loads = list(loads)
        vectors = np.full((len(loads), self.open().dim), np.nan, np.float32)
        problems: dict[int, Outcome] = {}
        notes: list[str] = []
        keys = [""] * len(loads)
        rows: list[int] = []
        crops: list[Pixels] = []
        for number, loaded in enumerate(map_ahead(lambda load: load(), loads, my_cores(), 2 * _BATCH)):
            if isinstance(loaded, Outcome):
                problems[number] = loaded
            else:
                keys[number] = loaded.key
                rows.append(number)
                crops.append(loaded.pixels)
                notes += [f"{loaded.key}: {loaded.note}"] if loaded.note else []
            if len(rows) == _BATCH or (rows and number == len(loads) - 1):
                vectors[rows] = self.embed_fitted(np.stack(crops))
                rows, crops = [], []
            tell(number + 1, len(loads))
        if notes:
            log.warning(
                "%s: %s of %s images do not fit, such as %s", path, f"{len(notes):,}", f"{len(loads):,}", notes[0]
            )
        for number in np.flatnonzero(~(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1))).tolist():
            reason = f"{keys[number]}: the embedder gives zeros or what is no number"
            problems.setdefault(number, Outcome(keys[number], _NO_VECTOR, reason))
        return vectors, dict(sorted(problems.items()))


class _Templates(NamedTuple):
    """The templates that have a vector: their `numbers`, rising, and `vectors` as they are compared."""

    numbers: Ints
    vectors: Floats

    def find(self, templates: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """(rows of the vectors, which have one)"""
        rows = np.minimum(np.searchsorted(self.numbers, templates), len(self.numbers) - 1)
        return rows, self.numbers[rows] == templates


def _names(paths: Sequence[Path]) -> list[str]:
    """What the sets are called: the files without suffix, or the paths where that is not enough."""
    stems = [path.name.removesuffix(".bin") or str(path) for path in paths]
    return [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths, strict=True)]


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Errors of what does not know of files name this one."""
    try:
        yield
    except SourceError as error:
        if error.path:
            raise
        raise SourceError(
            error.problem, path=path, where=error.where, expected=error.expected, found=error.found
        ) from error


def _is_sound(n: int, problems: Mapping[int, Outcome]) -> npt.NDArray[np.bool_]:
    sound = np.ones(n, np.bool_)
    sound[list(problems)] = False
    return sound


def _tell_on(tell: Progress, n_before: int, done: int, total: int) -> None:
    tell(n_before + done, n_before + total)


def _load_one(load: Callable[[], Sequence[FittedCrop | Outcome]]) -> FittedCrop | Outcome:
    return load()[0]


def _left_out(path: Path, pair: int, rows: Ints, problems: Mapping[int, Outcome]) -> Outcome:
    wrong = [problems[row] for row in dict.fromkeys(rows.tolist()) if row in problems]
    reasons = "; ".join(outcome.reason for outcome in wrong)
    return Outcome(f"pair {pair}", wrong[0].status, f"{reasons}; pair {pair} is left out")


def _likeness(vectors: Floats, first: Ints, second: Ints) -> Floats:
    """Of rows `first` and `second` of the vectors, some pairs at a time."""
    scores = np.empty(len(first), np.float32)
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        scores[some] = pair_likeness(vectors[first[some]], vectors[second[some]])
    return scores


def _named(name: str, path: Path, found: Judgement | Identification) -> dict[str, Any]:
    return {"name": name, "path": str(path)} | asdict(found)


# IJB


def _ijb_loads(data: ijb.Ijb, cropper: Cropper) -> Iterable[Load]:
    faces = Faces(np.zeros((len(data.files), 4), np.float32), data.landmarks, data.scores)
    transforms, faults = cropper.fit(faces)
    for file, transform, fault in zip(data.files, transforms, faults, strict=True):
        yield partial(_load_face, data.images / file, cropper, transform, fault)


def _load_face(path: Path, cropper: Cropper, transform: npt.NDArray[np.float64], fault: str) -> FittedCrop | Outcome:
    """One image, aligned by its points."""
    if fault:
        return Outcome(str(path), DEGENERATE, f"{path}: {fault}")
    try:
        pixels = codec.decode(storage.read_bytes(path))
    except (SourceError, codec.Undecodable) as error:
        status = "undecodable" if isinstance(error, codec.Undecodable) else "unreadable"
        return Outcome(str(path), status, f"{path}: {error.problem}")
    return FittedCrop(str(path), cropper.cut(pixels, transform))


def _judge_template_pairs(path: Path, data: ijb.Ijb, pairs: ijb.TemplatePairs, templates: _Templates) -> dict[str, Any]:
    """1:1. No folds: the pairs are not in any order."""
    (first, has_first), (second, has_second) = templates.find(pairs.first), templates.find(pairs.second)
    both = has_first & has_second
    found = judge_pairs(_likeness(templates.vectors, first[both], second[both]), pairs.same[both], n_folds=0)
    return _named(f"{data.name} 1:1", path, found) | {"left_out": int((~both).sum())}


def _judge_galleries(path: Path, data: ijb.Ijb, probes: ijb.Subjects, templates: _Templates) -> list[dict[str, Any]]:
    """1:N: each gallery, and the means over them. Probes whose mate has no vector are left out with it."""
    rows, has_vector = templates.find(probes.templates)
    results = []
    for gallery in data.galleries:
        places, enrolled = templates.find(gallery.templates)
        usable = has_vector & ~np.isin(probes.subjects, gallery.subjects[~enrolled])
        searches = search(
            templates.vectors[places[enrolled]],
            gallery.subjects[enrolled],
            templates.vectors[rows[usable]],
            probes.subjects[usable],
        )
        found = judge_searches(searches, int(enrolled.sum()))
        left_out = {"left_out": int((~usable).sum() + (~enrolled).sum())}
        results.append(_named(f"{data.name} 1:N {gallery.name}", path, found) | left_out)
    return [*results, _mean_of(results) | {"name": f"{data.name} 1:N"}] if len(results) > 1 else results


def _mean_of(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts are sums, rates are means, as results over both galleries are published."""
    mean = {name: sum(result[name] for result in results) for name in ("gallery", "probes", "non_mated", "left_out")}
    for name in ("rank", "tpir_at_fpir"):
        columns = {rate: [result[name][rate] for result in results] for rate in results[0][name]}
        mean[name] = {rate: None if None in some else sum(some) / len(some) for rate, some in columns.items()}
    return {"path": results[0]["path"]} | mean
