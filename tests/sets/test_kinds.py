"""Kinds of files: each is recognised, and the wrong one is refused with both names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceprep.core import registry
from faceprep.core.errors import SourceError
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets import containers, lists, tfrecord
from faceprep.sets.folder import FolderSet
from faceprep.sets.kinds import describe_kind
from faceprep.tables import faces as faces_table
from faceprep.tables import plan as plan_jsonl
from faceprep.tables import scores as score_table
from tests import manifests
from tests.bins import FACES, write_bin

Write = Callable[[Path], object]


def parquet_of(**columns: list[object]) -> Write:
    return lambda path: pq.write_table(pa.table(columns), path)


def npz_of(**arrays: object) -> Write:
    return lambda path: np.savez(path, **{key: np.array(each) for key, each in arrays.items()})


def text_of(text: str) -> Write:
    return lambda path: path.write_text(text)


def write_plan(path: Path) -> None:
    with path.open("wb") as file:
        plan_jsonl.write_plan(file, {"command": "x" * 9000}, [])


def write_scores(path: Path) -> None:
    with path.open("wb") as file:
        score_table.write_scores(file, ["path", "identity", "height", "width", "smd"], [])


def write_labels(path: Path) -> None:
    path.write_bytes(tfrecord.frame(tfrecord.encode_example({"label": 3})))


def write_names(path: Path) -> None:
    record = tfrecord.encode_example({"image_names": b"a", "image_classes": 1})
    path.write_bytes(tfrecord.frame(record))


OTHERS: dict[str, tuple[str, Write, str]] = {
    "faces.parquet": (
        "faces",
        lambda path: pq.write_table(faces_table.table_of([]), path),
        "a table of faces",
    ),
    "scores.parquet": ("scores", write_scores, "a table of scores"),
    "vectors.parquet": (
        "embeddings",
        parquet_of(image_names=["a"], embeddings=[[0.5]]),
        "embeddings",
    ),
    "vectors.npz": ("embeddings", npz_of(image_names=["a"], embeddings=[[0.5]]), "embeddings"),
    "plan.jsonl": ("plan", write_plan, "a plan"),
    "a.MP4": ("video", text_of("x"), "a video"),
    "a.jpg": ("image", lambda path: path.write_bytes(FACES[0]), "a single image"),
    "names.tfrecord": ("tfrecord-list", write_names, "a list of names without images"),
    "pairs.csv": ("pairs", text_of("pair,first,second,same\n"), "a list of pairs"),
    "lfw_pairs.txt": ("pairs", text_of("10\t300\nAnn\t1\t4\n"), "a list of pairs"),
    "pairs.txt": ("pairs", text_of("a/1.jpg b/2.jpg 0\n"), "a list of pairs"),
    "classes.csv": ("class-map", text_of("class,name,images\n0,a,1\n"), "a class map"),
    "failures.csv": ("failures", text_of("input,status,reason\n"), "a list of failed inputs"),
}
UNKNOWN: dict[str, tuple[Write, str]] = {
    "x.parquet": (parquet_of(a=[1], b=[2]), "a Parquet file with the columns a (int64), b (int64)"),
    "x.npz": (npz_of(x=[1], y=[2]), "an .npz with the arrays x, y"),
    "x.csv": (text_of("\ufeffone;two\n"), "a table that begins with one;two"),
    "x.lst": (text_of("one\n"), "text that begins with one"),
    "x.txt": (text_of("This is a note.\n"), "text that begins with This is a note."),
    "other.tfrecord": (
        write_labels,
        "records with the features label. Call the feature of its images",
    ),
    "other.csv": (text_of("path,age\n"), "a table that begins with path,age. Call its columns"),
    "utf16.csv": (
        lambda path: path.write_text("image_names\timage_classes\n", "utf-16"),
        "text in UTF-16, which must be saved as UTF-8",
    ),
    "empty.csv": (text_of(""), "an empty file"),
    "empty.npz": (text_of(""), "an empty file"),
}
SETS: dict[str, tuple[str, Write]] = {
    "list.npz": ("npz-list", npz_of(image_names=["a"], image_classes=[0])),
    "list.parquet": ("parquet-list", parquet_of(image_names=["a"], image_classes=[0])),
    "list.csv": ("csv-list", text_of(lists.csv_header().decode())),
    "list.lst": ("lst", text_of("\ufeff0\t1\ta.jpg\n")),
    "face.txt": ("txt-list", text_of("a b/1.jpg 0\n")),
    "face.TXT": ("txt-list", text_of("\n\ufeffa b/1.jpg\n")),
    "a.bin": ("bin", write_bin),
    "folder": ("folder", Path.mkdir),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_kind_is_refused_by_both_names(name: str, tmp_path: Path) -> None:
    kind, write, phrase = OTHERS[name]
    path = tmp_path / name
    write(path)
    assert describe_kind(path) == kind
    with pytest.raises(SourceError) as caught:
        containers.index_set(path, tmp_path / "scratch")
    line = str(caught.value)
    assert line.startswith(f"{path}: expected a set of images, found {phrase}. ")
    assert line.endswith(".")


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_content_is_named(name: str, tmp_path: Path) -> None:
    write, phrase = UNKNOWN[name]
    write(tmp_path / name)
    with pytest.raises(SourceError, match=re.escape(f"expected a set of images, found {phrase}")):
        containers.kind_of(tmp_path / name)
    with pytest.raises(SourceError, match="not a kind of file that faceprep knows"):
        describe_kind(tmp_path / name)


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_recognised(name: str, tmp_path: Path) -> None:
    kind, write = SETS[name]
    write(tmp_path / name)
    assert describe_kind(tmp_path / name) == containers.kind_of(tmp_path / name) == kind


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv", ".lst"])
def test_what_manifest_writes_is_a_list(suffix: str, face_folder: Path, tmp_path: Path) -> None:
    manifests.run(face_folder, tmp_path / f"set{suffix}")
    assert describe_kind(tmp_path / f"set{suffix}").startswith(("npz", "parquet", "csv", "lst"))


def test_an_index_alone_is_no_set(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    for name in ("old.idx", "ann/1.jpg"):
        (tmp_path / name).touch()
    assert describe_kind(tmp_path) == "folder"


def test_a_suffix_that_is_not_known_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"not a set of images: expected a folder, or .*\.csv"):
        containers.kind_of(tmp_path / "a.doc")
    (tmp_path / "a.arrow").write_bytes(b"x")
    for look in (containers.kind_of, describe_kind):
        with pytest.raises(SourceError, match=r"found .*\.arrow.*\. Write it as Parquet, with"):
            look(tmp_path / "a.arrow")
    (tmp_path / "a.tsv").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"found \.tsv\. Call it \.csv"):
        containers.kind_of(tmp_path / "a.tsv")
    (tmp_path / "data-00000-of-00001").write_bytes(b"x")
    for look in (containers.kind_of, describe_kind):
        with pytest.raises(SourceError, match=r"End its name in .* such as \.tfrecord"):
            look(tmp_path / "data-00000-of-00001")
    with pytest.raises(SourceError, match=r"no such file or folder\. Check the path"):
        describe_kind(tmp_path / "none")


def test_the_shards_of_a_missing_set_are_named(face_folder: Path, tmp_path: Path) -> None:
    written = tmp_path / "a[1].tar"
    run_job(Convert(shards=2), Request((face_folder,), written), SerialRunner())
    first = tmp_path / "a[1]-00000-of-00002.tar"
    assert first.exists() and not written.exists()
    again = Request((written,), tmp_path / "back")
    for refused in (
        lambda: describe_kind(written),
        lambda: run_job(Convert(), again, SerialRunner()),
    ):
        with pytest.raises(SourceError, match="no such file or folder") as caught:
            refused()
        assert caught.value.found == str(first)


def test_an_edited_plan_is_a_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_text("\ufeff" + json.dumps({"command": "merge", "kind": "plan"}) + "\r\n")
    assert describe_kind(path) == "plan"


class PictureSet(FolderSet):
    """A kind that takes tables with a column of pictures."""

    @classmethod
    def is_kind(cls, path: Path) -> bool:
        return "picture" in pq.read_schema(path).names


@pytest.mark.parametrize("is_first", [True, False])
def test_kinds_share_a_suffix(
    is_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {"pictures": registry.Entry(f"{__name__}:PictureSet", suffixes=(".parquet",))}
    both = pictures | registry.CONTAINERS if is_first else registry.CONTAINERS | pictures
    monkeypatch.setattr(registry, "CONTAINERS", both)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"picture": [b"x"]}), path)
    assert containers.kind_of(path) == "pictures"
    pq.write_table(pa.table({"image_names": ["a"]}), path)
    assert containers.kind_of(path) == "parquet-list"
    pq.write_table(pa.table({"image_names": ["a"], "embeddings": [[1.0]]}), path)
    with pytest.raises(SourceError, match="found embeddings"):
        containers.kind_of(path)
