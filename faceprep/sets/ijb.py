"""IJB-B and IJB-C in their evaluation layout: crops with five points, templates, pairs and
galleries.

    loose_crop/NAME.jpg                    a face with some of its surroundings
    meta/ijbc_face_tid_mid.txt             NAME.jpg TEMPLATE MEDIUM
    meta/ijbc_name_5pts_score.txt          NAME.jpg x1 y1 … x5 y5 SCORE     the same images in order
    meta/ijbc_template_pair_label.txt      TEMPLATE TEMPLATE 1 or 0         1:1
    meta/ijbc_1N_gallery_G1.csv, …_G2.csv  TEMPLATE_ID,SUBJECT_ID,…         1:N; also S1, S2
    meta/ijbc_1N_probe_mixed.csv           TEMPLATE_ID,SUBJECT_ID,…

Spaces separate the columns of .txt; ijbb in place of ijbc. Points are pixels of the crop: left eye,
right eye, nose, left and right mouth corner as the viewer sees them. A .csv may name a template in
many lines, one per image.
"""

from __future__ import annotations

import csv as quoted
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from faceprep.core import storage
from faceprep.core.arrays import Floats, Ints
from faceprep.core.errors import SourceError
from faceprep.core.paths import exists, is_folder

_IMAGES, _POINTS = "_face_tid_mid.txt", "_name_5pts_score.txt"
_PAIRS, _PROBES = "_template_pair_label.txt", "_1N_probe_mixed.csv"
_GALLERIES = ("G1", "G2", "S1", "S2")
_POINT_COLUMNS = tuple(f"{axis}{number}" for number in range(1, 6) for axis in "xy")


class TemplatePairs(NamedTuple):
    """Pairs of templates: pair i compares `first[i]` with `second[i]`; each array is (n,)."""

    first: Ints
    second: Ints
    same: npt.NDArray[np.bool_]


class Subjects(NamedTuple):
    """The person of each template: `templates[i]` shows `subjects[i]`; templates are unique and
    sorted.
    """

    name: str
    templates: Ints
    subjects: Ints


@dataclass(frozen=True)
class Ijb:
    """The lists of an IJB set.

    Image i is `files[i]` in the folder `images`. It belongs to `templates[i]` and, within it, to
    `media[i]`. `landmarks` (n, 5, 2) and detection `scores` (n,) are float32. `pairs` are for 1:1
    verification, `galleries` and `probes` for 1:N identification.
    """

    name: str
    images: Path
    files: Sequence[str]
    templates: Ints
    media: Ints
    landmarks: Floats
    scores: Floats
    pairs: TemplatePairs | None
    galleries: Sequence[Subjects]
    probes: Subjects | None


def is_ijb(root: Path) -> bool:
    """Return whether `root` has the layout of IJB-B or IJB-C."""
    return bool(_find_names(root))


def load_ijb(root: Path) -> Ijb:
    """Load all lists; images are not read. Raises SourceError with the file and the line."""
    names = _find_names(root)
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise SourceError(
            "not one set", path=root / "meta", expected=f"one …{_IMAGES}", found=found
        )
    start = root / "meta" / names[0]
    listed = _read_text(Path(f"{start}{_IMAGES}"), {"name": str, "template": int, "medium": int})
    pointed = _read_text(
        Path(f"{start}{_POINTS}"), {"name": str} | dict.fromkeys((*_POINT_COLUMNS, "score"), float)
    )
    files = listed["name"].tolist()
    _refuse_other_order(Path(f"{start}{_POINTS}"), files, pointed["name"].tolist())
    _refuse_scores(Path(f"{start}{_POINTS}"), pointed["score"])
    known = np.unique(listed["template"])
    galleries = [
        _read_subjects(path, name, known)
        for name in _GALLERIES
        if exists(path := Path(f"{start}_1N_gallery_{name}.csv"))
    ]
    pairs = Path(f"{start}{_PAIRS}")
    if not galleries and not exists(pairs):
        raise SourceError(
            "neither pairs nor galleries",
            path=root / "meta",
            expected=f"{pairs.name}, or galleries",
        )
    points = np.stack([pointed[column] for column in _POINT_COLUMNS], axis=1)
    return Ijb(
        name={"ijbb": "IJB-B", "ijbc": "IJB-C"}.get(names[0], names[0]),
        images=root / "loose_crop",
        files=files,
        templates=listed["template"],
        media=listed["medium"],
        landmarks=points.reshape(-1, 5, 2).astype(np.float32),
        scores=pointed["score"].astype(np.float32),
        pairs=_read_pairs(pairs, known) if exists(pairs) else None,
        galleries=galleries,
        probes=_read_subjects(Path(f"{start}{_PROBES}"), "probes", known) if galleries else None,
    )


def _find_names(root: Path) -> list[str]:
    if not is_folder(root / "meta"):
        return []
    _, files = storage.list_folder(root / "meta")
    return sorted(file.removesuffix(_IMAGES) for file in files if file.endswith(_IMAGES))


def _read_pairs(path: Path, known: Ints) -> TemplatePairs:
    columns = _read_text(path, {"first": int, "second": int, "same": int})
    for name in ("first", "second"):
        _refuse_unknown(path, columns[name], known, header=0)
    wrong = (columns["same"] != 0) & (columns["same"] != 1)
    if wrong.any():
        line = int(wrong.argmax())
        raise _bad_line(path, line + 1, "1 or 0 for the pair", str(columns["same"][line]))
    return TemplatePairs(columns["first"], columns["second"], columns["same"] == 1)


def _read_subjects(path: Path, name: str, known: Ints) -> Subjects:
    data = _load(path)
    header = data.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r").split(",")
    if len(header) < 2 or header[0].strip().lstrip("-").isdigit():
        raise _bad_line(
            path, 1, "a header that begins with TEMPLATE_ID,SUBJECT_ID", ",".join(header)[:80]
        )
    names = ["template", "subject", *(f"column {number}" for number in range(3, len(header) + 1))]
    kinds = dict.fromkeys(names, object) | {"template": int, "subject": int}
    columns = _read_columns(path, data, kinds, ",", header=1)
    templates, subjects = columns["template"], columns["subject"]
    _refuse_unknown(path, templates, known, header=1)
    numbers, first, which = np.unique(templates, return_index=True, return_inverse=True)
    other = subjects != subjects[first][which]
    if other.any():
        line = int(other.argmax())
        expected = (
            f"subject {subjects[first][which][line]}, as before for template {templates[line]}"
        )
        raise _bad_line(path, line + 2, expected, str(subjects[line]))
    return Subjects(name, numbers, subjects[first])


# Columns


def _load(path: Path) -> bytes:
    data = storage.read_bytes(path).replace(b"\r\n", b"\n").replace(b" \n", b"\n").rstrip()
    if not data:
        raise SourceError("an empty list", path=path)
    return data


def _read_text(path: Path, kinds: Mapping[str, type]) -> Mapping[str, npt.NDArray[Any]]:
    return _read_columns(path, _load(path), kinds, " ", header=0)


def _read_columns(
    path: Path, data: bytes, kinds: Mapping[str, type], delimiter: str, header: int
) -> Mapping[str, npt.NDArray[Any]]:
    """Read the columns that `kinds` names, except those of the kind `object`.

    Raises SourceError with the line.
    """
    if data.count(b"\n") < header:
        raise SourceError("an empty list", path=path, found="only a header")
    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    wanted = [name for name, kind in kinds.items() if kind is not object]
    try:
        table = csv.read_csv(
            io.BytesIO(data),
            csv.ReadOptions(column_names=list(kinds), skip_rows=header),
            csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if delimiter == "," else False,
                ignore_empty_lines=False,
            ),
            csv.ConvertOptions(
                column_types={name: types[kinds[name]] for name in wanted},
                null_values=[],
                include_columns=wanted,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _find_bad_line(path, data, kinds, delimiter, header) or SourceError(
            str(error), path=path
        ) from error
    return {name: table.column(name).to_numpy() for name in wanted}


def _find_bad_line(
    path: Path, data: bytes, kinds: Mapping[str, type], delimiter: str, header: int
) -> SourceError | None:
    """Find the first line that cannot be parsed."""
    for number, line in enumerate(data.split(b"\n")[header:], header + 1):
        text = line.decode("utf-8", "surrogateescape")
        try:
            cells = next(quoted.reader([text])) if delimiter == "," else text.split(delimiter)
        except quoted.Error as error:
            return _bad_line(path, number, "a line of a CSV file", str(error))
        if len(cells) != len(kinds):
            return _bad_line(
                path, number, f"{len(kinds)} columns", str(len(cells)) if line else "none"
            )
        for cell, (name, kind) in zip(cells, kinds.items(), strict=True):
            if not _is_readable(cell, kind):
                expected = "UTF-8" if kind is str else "a number"
                return _bad_line(path, number, f"{expected} for {name}", repr(cell[:80]))
    return None


def _is_readable(cell: str, kind: type) -> bool:
    """Return whether pyarrow takes the text of a cell; it takes no underscores in numbers."""
    try:
        if kind is str:
            cell.encode()
        elif kind is int:
            np.int64(int(cell))
        elif kind is float:
            float(cell)
    except (ValueError, OverflowError):
        return False
    return kind in (str, object) or "_" not in cell


def _bad_line(path: Path, line: int, expected: str, found: str) -> SourceError:
    return SourceError("bad line", path=path, where=f"line {line}", expected=expected, found=found)


def _refuse_unknown(path: Path, templates: Ints, known: Ints, header: int) -> None:
    places = np.minimum(np.searchsorted(known, templates), len(known) - 1)
    unknown = known[places] != templates
    if unknown.any():
        line = int(unknown.argmax())
        raise _bad_line(path, header + line + 1, f"a template of …{_IMAGES}", str(templates[line]))


def _refuse_other_order(path: Path, files: Sequence[str], pointed: Sequence[str]) -> None:
    if files == pointed:
        return
    lines = range(min(len(files), len(pointed)))
    line = next((line for line in lines if files[line] != pointed[line]), len(lines))
    expected, found = (
        repr(names[line]) if line < len(names) else "no more lines" for names in (files, pointed)
    )
    raise _bad_line(path, line + 1, f"{expected} as in …{_IMAGES}", found)


def _refuse_scores(path: Path, scores: npt.NDArray[np.float64]) -> None:
    sound = np.isfinite(scores) & (scores >= 0)
    if not sound.all():
        line = int(np.argmin(sound))
        raise _bad_line(path, line + 1, "a score of 0 or more", str(scores[line]))
