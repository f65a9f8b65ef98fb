"""manifest: what becomes of files that are missing, empty or damaged, at what cost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from faceprep.core import storage
from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.run.processes import ProcessRunner
from faceprep.run.staging import Staging
from faceprep.sets import class_map, tfrecord
from faceprep.sets.image_set import Sample
from faceprep.sets.manifests import soundness
from tests.manifests import (
    JPEG,
    SUFFIXES,
    arrays_of,
    class_map_of,
    embeddings_of,
    failures,
    files,
    make,
    rows,
    run,
)
from tests.set_reading import read_set

LISTS = (".npz", ".csv", ".lst", ".parquet")
UNUSABLE = {
    "a/empty.jpg": "undecodable",
    "a/gone.jpg": "unreadable",
    "a/loop.jpg": "unreadable",
    "a/pipe.jpg": "unreadable",
    "c/empty.jpg": "undecodable",
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def spoil(source: Path) -> Path:
    """Add files that are not images as their `stat` shows; all of c are such."""
    make(source, "a/empty.jpg", "c/empty.jpg", data=b"")
    (source / "a/gone.jpg").symlink_to("nowhere")
    (source / "a/loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(source / "a/pipe.jpg")
    return source


def list_of(source: Path, suffix: str) -> Path:
    """Name all files of a folder in a list."""
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*.jpg"))
    path, classes = source / f"list{suffix}", ["abc".index(name[0]) for name in names]
    columns = list(zip(names, classes, strict=True))
    if suffix == ".npz":
        np.savez(path, image_names=names, image_classes=classes)
    elif suffix == ".csv":
        lines = ["image_names,image_classes", *(f"{name},{label}" for name, label in columns)]
        path.write_text("\n".join(lines) + "\n")
    elif suffix == ".lst":
        path.write_text(
            "".join(f"{i}\t{label}\t{name}\n" for i, (name, label) in enumerate(columns))
        )
    else:
        path.write_text("".join(f"{name} {label}\n" for name, label in columns))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unusable_files_are_named_and_no_classes(tmp_path: Path, out: Path, suffix: str) -> None:
    source = spoil(make(tmp_path / "set", "a/1.jpg", "b/1.jpg"))
    (source / "b/folder.jpg").mkdir()
    summary = run(source, out / f"t{suffix}", relative_to=source)
    assert (summary.ok, summary.failed) == (2, len(UNUSABLE))
    assert failures(out / f"t{suffix}") == UNUSABLE
    assert len(rows(out / f"t{suffix}")) == 2
    assert class_map.load(class_map_of(out)) == [(0, "a", 1), (1, "b", 1)]


@pytest.mark.parametrize("target", [".csv", ".tar"])
@pytest.mark.parametrize("suffix", [".npz", ".csv", ".lst", ".txt"])
def test_a_list_as_source_is_checked_too(
    tmp_path: Path, out: Path, suffix: str, target: str
) -> None:
    source = spoil(make(tmp_path / "set", "a/1.jpg", "b/1.jpg"))
    summary = run(list_of(source, suffix), out / f"t{target}")
    assert (summary.ok, failures(out / f"t{target}")) == (2, UNUSABLE)
    assert len(rows(out / f"t{target}")) == 2


def test_names_of_a_list_that_cannot_be_meant(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg")
    make(tmp_path, "outside.jpg")
    names = source / "list.txt"
    names.write_text("a/1.jpg 0\n../outside.jpg 0\na/1.jpg 0\n")
    summary = run(names, out / "t.csv")
    assert (summary.ok, summary.failed) == (1, 2)
    assert summary.by_status == {"ok": 1, "outside": 1, "repeated": 1}
    assert rows(out / "t.csv") == [(f"{source}/a/1.jpg", 0)]


def test_absolute_names_stay_as_they_are(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg")
    names = tmp_path / "list.txt"
    names.write_text(f"{source}/a/1.jpg 0\n")
    run(names, out / "t.csv")
    assert rows(out / "t.csv") == [(f"{source}/a/1.jpg", 0)]
    with pytest.raises(OptionError, match="--relative-to: the paths in the list are absolute"):
        run(names, out / "u.csv", relative_to=tmp_path)


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls of `stat` by path, and opens, which are none."""
    found: Counter[str] = Counter()

    def counting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if str(path).endswith(".jpg"):
                found[f"{name} {Path(path).name}"] += 1
            return original(path, *arguments, **options)

        return call

    for name in ("stat", "lstat", "open"):
        monkeypatch.setattr(storage.os, name, counting(name, getattr(os, name)))
    return found


@pytest.mark.parametrize("suffix", LISTS)
@pytest.mark.parametrize("kind", ["folder", "list"])
def test_one_stat_per_file(
    tmp_path: Path, out: Path, stats: Counter[str], suffix: str, kind: str
) -> None:
    names = [f"{identity}/{identity}{i}.jpg" for identity in "ab" for i in range(5)]
    source = make(tmp_path / "set", *names)
    if kind == "list":
        source = list_of(source, ".csv")
    stats.clear()
    run(source, out / f"t{suffix}", val_fraction=0.2)
    assert stats == {f"stat {Path(name).name}": 1 for name in names}


# --check


DAMAGED = {"a/cut.jpg": "undecodable", "a/text.jpg": "undecodable", "c/cut.jpg": "undecodable"}


def damaged(root: Path) -> Path:
    make(root, *(f"{identity}/{i}.jpg" for identity in "ab" for i in range(4)), "c/1.jpg")
    make(root, "a/cut.jpg", "c/cut.jpg", data=JPEG[:-40])
    return make(root, "a/text.jpg", data=b"a text")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["folder", "list"])
def test_check_opens_every_image(tmp_path: Path, out: Path, suffix: str, kind: str) -> None:
    source = damaged(tmp_path / "set")
    options = {"relative_to": source, "val_fraction": 0.3}
    if suffix == ".tfrecord":
        options["embeddings"] = tmp_path / "e.npz"
        embeddings_of(source, tmp_path / "e.npz")
    if kind == "list":
        source = list_of(source, ".csv")
    summary = run(source, out / f"t{suffix}", check=True, **options)
    assert (summary.inputs, summary.ok, summary.failed) == (12, 9, 3)
    assert failures(out / f"t{suffix}") == DAMAGED
    found = [row for name in ("t", "t_val") for row in rows(out / f"{name}{suffix}")]
    assert Counter(label for _, label in found) == {0: 4, 1: 4, 2: 1}
    assert [row.images for row in class_map.load(class_map_of(out))] == [4, 4, 1]


def test_a_class_without_a_sound_image_is_told(
    tmp_path: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = damaged(tmp_path / "set")
    (source / "c/1.jpg").unlink()
    run(source, out / "t.tar")
    assert "1 class without a sound image, such as c: their class numbers stay unused" in (
        caplog.text
    )
    assert class_map.load(class_map_of(out))[2] == (2, "c", 0)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("with_images", [False, True])
def test_checked_classes_are_dense(
    tmp_path: Path, out: Path, caplog: pytest.LogCaptureFixture, suffix: str, with_images: bool
) -> None:
    """All images of b are bad: c is the second class, and b is named."""
    source = make(tmp_path / "set", *(f"{name}/{i}.jpg" for name in "acd" for i in range(3)))
    make(source, "b/1.jpg", "b/2.jpg", data=JPEG[:-40])
    options: dict[str, Any] = {"shards": 2, "val_fraction": 0.2, "check": True}
    if suffix in (".tfrecord", ".parquet"):
        options["with_images"] = with_images or suffix == ".tfrecord"
    if suffix == ".tfrecord" and with_images:
        options["embeddings"] = tmp_path / "e.npz"
        embeddings_of(source, tmp_path / "e.npz")
    run(source, out / f"t{suffix}", **options)
    assert class_map.load(class_map_of(out)) == [(0, "a", 3), (1, "c", 3), (2, "d", 3)]
    assert "1 class without a sound image, such as b: left out, and the others are numbered" in (
        caplog.text
    )
    if options.get("with_images"):
        sets = [out / f"{name}-00000-of-00002{suffix}" for name in ("t", "t_val")]
        samples = [each for path in sets for each in read_set(path)]
        labels = [int(each.labels[0]) for each in samples if isinstance(each, Sample)]
    else:
        labels = [label for path in out.glob(f"t*-of-*{suffix}") for _, label in rows(path)]
    assert sorted(labels) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    if suffix == ".tfrecord" and with_images:
        first: Any = next(tfrecord.read_examples(out / "t-00000-of-00002.tfrecord"))
        assert first["classes"] == [3]


def test_given_numbers_stay(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "c/1.jpg")
    make(source, "b/1.jpg", data=JPEG[:-40])
    given = tmp_path / "given.csv"
    given.write_bytes(class_map.encode("abc", [1, 1, 1]))
    run(source, out / "t.csv", check=True, classes=given)
    assert class_map.load(class_map_of(out)) == [(0, "a", 1), (1, "b", 0), (2, "c", 1)]
    run(source, out / "u.csv", check=True, label_rule="a=0,b=1,c=2")
    assert sorted(label for _, label in rows(out / "u.csv")) == [0, 2]


def test_two_checked_manifests_share_their_dense_map(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "c/1.jpg")
    make(source, "b/1.jpg", data=JPEG[:-40])
    for suffix in (".csv", ".lst", ".npz"):
        run(source, out / f"t{suffix}", check=True)
        assert class_map.load(class_map_of(out)) == [(0, "a", 1), (1, "c", 1)]
    with pytest.raises(OutputError, match="with other classes"):
        run(source, out / "t.parquet")


def test_without_check_a_list_has_them(tmp_path: Path, out: Path) -> None:
    assert run(damaged(tmp_path / "set"), out / "t.csv").ok == 12


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_checked_in_parts_by_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(soundness, "_AT_ONCE", 2)
    source = damaged(tmp_path / "set")
    options: dict[str, Any] = {"check": True, "shards": 2, "val_fraction": 0.2}
    run(source, tmp_path / "one" / f"t{suffix}", **options)
    run(source, tmp_path / "three" / f"t{suffix}", ProcessRunner(3), **options)
    assert files(tmp_path / "one") == files(tmp_path / "three")


def test_checked_counts_are_those_of_the_sound_images(tmp_path: Path, out: Path) -> None:
    source = damaged(tmp_path / "set")
    embeddings_of(source, tmp_path / "e.npz")
    for name, images in (("list", False), ("images", True)):
        output = out / f"{name}.tfrecord"
        run(source, output, check=True, embeddings=tmp_path / "e.npz", with_images=images)
        first: Any = next(tfrecord.read_examples(output))
        assert (first["total"], first["classes"]) == ([9], [3])
    run(source, out / "t.npz", check=True)
    assert len(arrays_of(out / "t.npz")["image_names"]) == 9


@pytest.mark.parametrize("suffix", [".csv", ".tar"])
def test_a_split_without_sound_images_is_an_error(tmp_path: Path, out: Path, suffix: str) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg", data=JPEG[:-40])
    with pytest.raises(SourceError, match="the training set would be empty: none of its 2 images"):
        run(source, out / f"t{suffix}", check=True)
    with pytest.raises(SourceError, match="the training set would be empty"):
        run(source, out / "u.tar")
    assert not (out / "u_classes.csv").exists()


def test_one_file_of_several_is_joined_at_a_time(
    face_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[BinaryIO] = []
    open_file = Staging.open

    def open_alone(staging: Staging, name: str, durable: bool = True) -> BinaryIO:
        file = open_file(staging, name, durable)
        if durable:
            assert all(each.closed for each in joined)
            joined.append(file)
        return file

    monkeypatch.setattr(Staging, "open", open_alone)
    run(face_folder, tmp_path / "a.npz", shards=5)
    assert len(joined) == 5
