"""The kind of a file or folder, by its name and its content.

Several kinds share a suffix: a .parquet may be a list of images, images, vectors or a table. A kind
of set is recognised by its container; all others, and lists of images, by `sniff`.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from faceprep.core import os_errors, registry, storage
from faceprep.core.errors import SourceError
from faceprep.core.io.image_header import is_image_name
from faceprep.core.io.json_line import parse_json
from faceprep.core.names import suffix_of
from faceprep.core.paths import exists, is_folder
from faceprep.core.text import excerpt_line
from faceprep.core.urls import url_of
from faceprep.sets import file_format, lists

EMBEDDINGS, FACES, SCORES, PLAN = "embeddings", "faces", "scores", "plan"
FRAMES, MATCHES, PAIR_SCORES = "frames", "matches", "pair-scores"
VIDEO, IMAGE = "video", "image"
NPZ_LIST, CSV_LIST, PARQUET_LIST = "npz-list", "csv-list", "parquet-list"
LST, TXT_LIST, TFRECORD_LIST = "lst", "txt-list", "tfrecord-list"
_PAIRS, _CLASS_MAP, _FAILURES = "pairs", "class-map", "failures"
_HEAD = 1 << 16
_N_NAMED = 8
_TFRECORDS = registry.CONTAINERS["tfrecord"].suffixes
_TEXTS = (".csv", ".lst", ".txt", ".jsonl")
_NAMES = "image_names"
_LFW_PAIRS = re.compile(rb"\d+(\t\d+)?\r?\n[^\t\n]+\t\d+\t([^\t\n]+\t)?\d+\s")
"""The counts and the first pair of LFW's pairs.txt."""


class Content(NamedTuple):
    """The content of a file: the name of its kind, empty if unknown, and a phrase for messages."""

    kind: str
    phrase: str


_PHRASES: Mapping[str, tuple[str, str]] = {
    EMBEDDINGS: ("embeddings", "Name the set of images that they were made from."),
    FACES: ("a table of faces", "Name the folder of the crops, which is beside it."),
    FRAMES: ("a table of frames", "Name the folder of the crops, which is beside it."),
    SCORES: ("a table of scores", "Name the set of images that was scored."),
    MATCHES: ("a table of matches", "Name the set of images; faceprep report shows the matches."),
    PAIR_SCORES: ("scores of pairs", "Name the set of images that was verified."),
    PLAN: ("a plan", "Name the set of images; faceprep apply PLAN DST carries a plan out."),
    VIDEO: ("a video", "Extract its faces first: faceprep extract-video VIDEO DST."),
    IMAGE: ("a single image", "Name the folder that it is in."),
    TFRECORD_LIST: (
        "a list of names without images",
        "Name the images themselves, or make the set again with --with-images.",
    ),
    _PAIRS: ("a list of pairs", "Name the folder of the images."),
    _CLASS_MAP: ("a class map", "Name the manifest that is beside it."),
    _FAILURES: ("a list of failed inputs", "Name the set of images."),
}
"""Files that are not sets of images: what they are, and what to name instead."""
_LAYOUTS: Mapping[str, str] = {
    "": "End its name in the suffix of its format, such as .tfrecord.",
    ".npz": "Name its arrays image_names and image_classes.",
    ".parquet": "Call its column of images image; it must hold bytes. Call those of embeddings "
    "image_names and embeddings.",
    **dict.fromkeys(
        _TFRECORDS, "Call the feature of its images image, image_raw or image/encoded."
    ),
    ".csv": "Call its columns image_names and image_classes.",
    ".lst": "Separate its columns by tabs.",
    ".tsv": "Call it .csv; its columns may be separated by tabs.",
    ".arrow": "Write it as Parquet, with to_parquet of Hugging Face's datasets.",
    ".txt": "Write a path, or a path and a class number, in each line.",
}
"""What makes a file with this suffix a set, where its content is unknown."""


def describe_kind(path: Path) -> str:
    """Return the name of the kind of what is at `path`: a container, or a file of another kind.

    Raises SourceError where there is nothing, or nothing that is known.
    """
    kind = find_container(path)
    if kind:
        return kind
    content = sniff(path)
    if not content.kind:
        raise SourceError(
            "not a kind of file that faceprep knows",
            path=path,
            found=content.phrase,
            remedy=_LAYOUTS.get(suffix_of(path.name)),
        )
    return content.kind


def find_container(path: Path) -> str:
    """Return the name of the container at `path`, empty where it is not a set of images.

    Raises SourceError where there is nothing, a damaged file, or a folder of two sets.
    """
    if not exists(path):
        raise os_errors.missing_source(path)
    if is_folder(path):
        return _find_in_folder(path)
    file_format.refuse_other_format(path)
    suffix = suffix_of(path.name)
    for kind, entry in registry.CONTAINERS.items():
        if suffix in entry.suffixes and registry.load(registry.CONTAINERS, kind).is_kind(path):
            return kind
    return ""


def _find_in_folder(path: Path) -> str:
    """Return the container that a folder is; a damaged table beside images is none.

    Raises SourceError where there is nothing but damaged files.
    """
    folders, names = storage.list_folder(path)
    last_of = {suffix_of(name): name for name in sorted(names)}
    damage: SourceError | None = None
    for kind, entry in registry.CONTAINERS.items():
        held = [last_of[suffix] for suffix in entry.suffixes if suffix in last_of]
        if not (held and entry.in_folders):
            continue
        try:
            is_kind = registry.load(registry.CONTAINERS, kind).is_kind(path)
        except SourceError as error:
            is_kind, damage = False, error
        if is_kind:
            _refuse_identities(path, folders, max(held))
            return kind
    if damage and not _may_hold_images(folders, names):
        raise damage
    return "folder"


def _may_hold_images(folders: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether a folder may be one of images or of identities, by what is in it."""
    return bool(folders) or any(map(is_image_name, names))


def _refuse_identities(path: Path, folders: Sequence[str], container: str) -> None:
    """Raise SourceError where folders of images are beside a container: two sets in one folder."""
    for folder in folders:
        if folder.startswith("."):
            continue
        if any(map(is_image_name, storage.list_folder(path / folder)[1])):
            raise SourceError(
                "holds two sets, so it is not clear which one is meant",
                path=path,
                found=f"{container} beside {folder} with images",
                remedy=f"Name {url_of(path / container)}, or move it elsewhere to read the "
                "folders.",
            )


def not_a_set(path: Path) -> SourceError:
    """Return the error for a file that is not a set of images; it names what the file is."""
    content = sniff(path)
    if content.kind or suffix_of(path.name) in _set_suffixes():
        problem = f"expected a set of images, found {content.phrase}"
        remedy = _LAYOUTS.get(suffix_of(path.name))
        if content.kind:
            remedy = _PHRASES[content.kind][1] if content.kind in _PHRASES else None
        return SourceError(problem, path=path, remedy=remedy)
    expected = "a folder, or " + " ".join(_set_suffixes())
    return SourceError(
        "not a set of images",
        path=path,
        expected=expected,
        found=path.suffix or "a file",
        remedy=_LAYOUTS.get(path.suffix.lower()),
    )


def _set_suffixes() -> Mapping[str, None]:
    """Return the suffixes of all containers, each once, in the order of the registry."""
    return dict.fromkeys(each for entry in registry.CONTAINERS.values() for each in entry.suffixes)


def describe_other_kind(path: Path, wanted: str) -> str:
    """Describe a file whose suffix says that it is not of the kind `wanted`, IMAGE or VIDEO.

    The text is empty for a file of that kind, and for one whose suffix says nothing.
    """
    from faceprep.video.reader import is_video_name

    for kind, is_name in ((IMAGE, is_image_name), (VIDEO, is_video_name)):
        if is_name(path.name):
            return "" if kind == wanted else _PHRASES[kind][0]
    suffix = suffix_of(path.name)
    if suffix in _set_suffixes() or suffix in _SNIFFERS:
        return f"a {suffix} file"
    return ""


def sniff(path: Path) -> Content:
    """Recognise a file by its suffix and the head of its content. Raises SourceError if damaged."""
    from faceprep.video.reader import is_video_name

    suffix = suffix_of(path.name)
    if is_image_name(path.name):
        return _content(IMAGE)
    if is_video_name(path.name):
        return _content(VIDEO)
    storage.check_regular(path)
    if suffix not in _SNIFFERS:
        file_format.refuse_other_format(path)
        return Content("", f"a {suffix} file" if suffix else "a file without a suffix")
    if not storage.size_of(path):
        return Content("", "an empty file")
    if suffix in _TEXTS and storage.read_bytes(path, 2) in (BOM_UTF16_LE, BOM_UTF16_BE):
        return Content("", "text in UTF-16, which must be saved as UTF-8")
    return _SNIFFERS[suffix](path)


def _content(kind: str) -> Content:
    return Content(kind, _PHRASES[kind][0] if kind in _PHRASES else "a list of images")


def _unknown(what: str, names: Sequence[str]) -> Content:
    named = ", ".join(names[:_N_NAMED]) or "none"
    more = " …" if len(names) > _N_NAMED else ""
    return Content("", f"{what} {named}{more}")


def _sniff_npz(path: Path) -> Content:
    from faceprep.core.io.npz import NpzFile
    from faceprep.tables.embeddings import is_embeddings

    if is_embeddings(path):
        return _content(EMBEDDINGS)
    with NpzFile(path) as file:
        keys = file.keys
    return _content(NPZ_LIST) if _NAMES in keys else _unknown("an .npz with the arrays", keys)


_COLUMNS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset(["key", "source", "landmarks", "transform"]), FACES),
    (frozenset(["path", "identity", "height", "width"]), SCORES),
    (frozenset(["source", "frame", "status", "reason", "has_box"]), FRAMES),
    (frozenset(["probe", "rank", "identity", "similarity"]), MATCHES),
    (frozenset(["embedder", "first", "second", "same", "similarity"]), PAIR_SCORES),
)
"""Columns by which a table in Parquet is recognised."""


def _sniff_parquet(path: Path) -> Content:
    from faceprep.core.io import parquet
    from faceprep.sets.manifests.reader import find_columns
    from faceprep.tables.embeddings import is_embeddings

    if is_embeddings(path):
        return _content(EMBEDDINGS)
    with parquet.open_parquet(path) as file:
        schema = file.schema_arrow
    types = {field.name: field.type for field in schema}
    for columns, kind in _COLUMNS:
        if columns <= set(types):
            return _content(kind)
    if find_columns(schema):
        return _content(PARQUET_LIST)
    named = [f"{name} ({kind})" for name, kind in types.items()]
    return _unknown("a Parquet file with the columns", named)


def _sniff_tfrecord(path: Path) -> Content:
    from faceprep.sets import tfrecord

    features: Mapping[str, Any] = next(tfrecord.read_examples(path), {})
    is_list = _NAMES in features and "image_raw" not in features
    if is_list:
        return _content(TFRECORD_LIST)
    return _unknown("records with the features", sorted(features))


def _first_line(path: Path) -> bytes:
    """Read the first line that is not empty, without a byte order mark."""
    head = storage.read_bytes(path, _HEAD).removeprefix(BOM_UTF8)
    return next((line for line in head.splitlines() if line.strip()), b"")


_HEADERS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset(["pair", "first", "second", "same"]), _PAIRS),
    (frozenset(["class", "name", "images"]), _CLASS_MAP),
    (frozenset(["input", "status", "reason"]), _FAILURES),
    *_COLUMNS[-2:],
)
"""Columns by which a table in CSV is recognised."""


def _sniff_csv(path: Path) -> Content:
    from faceprep.core.io.csv import CsvReader
    from faceprep.tables.embeddings_csv import find_layout, find_vectors

    if find_layout(path) is not None:
        return _content(EMBEDDINGS)
    with os_errors.guard("read", path, SourceError), storage.open_source(path) as file:
        names = [name.strip() for name in next(CsvReader(file, path, from_excel=True), [])]
    for columns, kind in _HEADERS:
        if columns <= set(names):
            return _content(kind)
    if lists.find_columns(names) and find_vectors(names) == len(names):
        return _content(CSV_LIST)
    return Content("", f"a table that begins with {excerpt_line(_first_line(path))}")


def _sniff_lst(path: Path) -> Content:
    line = _first_line(path)
    if line.count(b"\t") >= 2:
        return _content(LST)
    return Content("", f"text that begins with {excerpt_line(line)}")


def _sniff_txt(path: Path) -> Content:
    line = _first_line(path)
    text = line.decode("utf-8", "replace")
    words = text.split()
    if len(words) == 3 and words[2] in ("0", "1") and all(map(is_image_name, words[:2])):
        return _content(_PAIRS)
    if _LFW_PAIRS.match(storage.read_bytes(path, _HEAD)):
        return _content(_PAIRS)
    if lists.split_label(text)[1] is not None or is_image_name(text.strip()):
        return _content(TXT_LIST)
    return Content("", f"text that begins with {excerpt_line(line)}")


def _sniff_jsonl(path: Path) -> Content:
    line = storage.read_bytes(path, _HEAD).removeprefix(BOM_UTF8).lstrip().partition(b"\n")[0]
    try:
        header = parse_json(line)
    except ValueError:
        header = None
    is_plan = isinstance(header, dict) and header.get("kind") == PLAN
    if is_plan or line.startswith(b'{"kind": "plan"'):  # its header may be longer than the head
        return _content(PLAN)
    return Content("", f"text that begins with {excerpt_line(line)}")


_SNIFFERS: dict[str, Callable[[Path], Content]] = {
    ".npz": _sniff_npz,
    ".parquet": _sniff_parquet,
    **dict.fromkeys(_TFRECORDS, _sniff_tfrecord),
    ".csv": _sniff_csv,
    ".lst": _sniff_lst,
    ".txt": _sniff_txt,
    ".jsonl": _sniff_jsonl,
}
