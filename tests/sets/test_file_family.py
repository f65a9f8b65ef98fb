"""The parts of a set: what is missing, empty or of another set is named, in every container."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.inspect.job import Inspect
from faceprep.jobs.rec2folder import Rec2Folder
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets.containers import index_set
from faceprep.sets.file_family import find_parts
from faceprep.sets.kinds import describe_kind
from faceprep.synthetic import write_folder, write_insightface_rec
from tests.failures import read_failures

SUFFIXES = [".tar", ".rec", ".tfrecord", ".parquet"]
READ_IN_PART = (".tar", ".rec")
"""Containers that are read without a part; the others are refused."""
Write = Callable[..., list[Path]]


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    write_folder(folder, 4, 2)
    return folder


@pytest.fixture
def write(tmp_path: Path, faces: Path) -> Write:
    """Return a function that writes a set in parts, and returns their paths in order."""

    def write_parts(suffix: str, name: str = "t", n_parts: int = 4) -> list[Path]:
        output = tmp_path / "set" / f"{name}{suffix}"
        run_job(Convert(shards=n_parts, allow_loss=True), Request((faces,), output), SerialRunner())
        names = output.parent.glob(f"{name}[-_]*{suffix}")
        return sorted(path for path in names if path.name != f"{name}{suffix}")

    return write_parts


def convert(source: Path, output: Path) -> tuple[int, int, str]:
    """Return the numbers of sound images and failures, and failures.csv."""
    summary = run_job(Convert(), Request((source,), output), SerialRunner())
    failures = summary.details.get("failures")
    return summary.ok, summary.failed, Path(failures).read_text() if failures else ""


@pytest.mark.parametrize("suffix", READ_IN_PART)
def test_a_missing_part_is_a_fault_of_the_set(suffix: str, write: Write, tmp_path: Path) -> None:
    parts = write(suffix)
    parts[1].unlink()
    parts[1].with_suffix(".idx").unlink(missing_ok=True)
    found = Inspect().look(tmp_path / "set")
    assert (found.images, found.damaged) == (6, 1) and Inspect().exit_status(found) == 3
    assert f"1 file of the set is missing: {parts[1].name}. " in found.damage[0]
    ok, n_failed, failures = convert(tmp_path / "set", tmp_path / "out.tar")
    assert (ok, n_failed) == (6, 1)
    assert f"{parts[1].name},missing,{found.damage[0]}" in failures.replace('"', "")


@pytest.mark.parametrize("suffix", [".tfrecord", ".parquet"])
def test_a_missing_part_is_an_error(suffix: str, write: Write, tmp_path: Path) -> None:
    parts = write(suffix)
    parts[1].unlink()
    for source in (tmp_path / "set", parts[0]):
        with pytest.raises(SourceError, match=f"not complete: .*found no {parts[1].name}"):
            Inspect().look(source)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("number", [0, 2])
def test_an_empty_part_is_named(suffix: str, number: int, write: Write, tmp_path: Path) -> None:
    part = write(suffix)[number]
    part.write_bytes(b"")
    if suffix == ".tfrecord":  # it may be without a record
        assert convert(tmp_path / "set", tmp_path / "out.tar")[:2] == (6, 1)
        (line,) = Inspect().look(tmp_path / "set").damage
        assert line.endswith(
            f"1 file of the set is empty: {part.name}. Copy it again if it should hold images."
        )
    else:
        with pytest.raises(SourceError, match=rf"{part.name}: .*(empty|0 bytes)"):
            Inspect().look(tmp_path / "set")


def test_a_compressed_part_gets_one_remedy(write: Write, tmp_path: Path) -> None:
    part = write(".tfrecord")[1]
    part.write_bytes(gzip.compress(part.read_bytes()))
    (line,) = Inspect().look(tmp_path / "set").damage
    assert "compressed with gzip. Unpack it first: " in line and "again" not in line


def test_dedupe_names_a_damaged_part_as_other_commands_do(write: Write, tmp_path: Path) -> None:
    part = write(".tfrecord")[1]
    part.write_bytes(part.read_bytes()[:-1])
    outputs = {name: tmp_path / name / "out.tar" for name in ("convert", "dedupe")}
    run_job(Convert(), Request((tmp_path / "set",), outputs["convert"]), SerialRunner())
    run_job(
        Dedupe(exact_only=True), Request((tmp_path / "set",), outputs["dedupe"]), SerialRunner()
    )
    tables = [read_failures(output) for output in outputs.values()]
    assert tables[0] == tables[1] and tables[0][0]["input"] == part.name


@pytest.mark.parametrize("suffix", [".tar", ".tfrecord", ".parquet"])
def test_two_sets_in_a_folder_are_an_error(suffix: str, write: Write, tmp_path: Path) -> None:
    first, second = write(suffix), write(suffix, "t_val", 2)
    expected = f"several sets: .*found {first[0].name} and {second[0].name}. Name one of"
    with pytest.raises(SourceError, match=expected):
        Inspect().look(tmp_path / "set")
    assert len(index_set(first[1], tmp_path / "a")) == len(index_set(second[1], tmp_path / "b"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_whole_set_has_no_fault(suffix: str, write: Write, tmp_path: Path) -> None:
    write(suffix)
    with index_set(tmp_path / "set", tmp_path / "index") as images:
        assert (len(images), images.faults()) == (8, [])


def test_a_damaged_table_beside_images_is_none(tmp_path: Path) -> None:
    write_folder(tmp_path, 1, 1)
    (tmp_path / "faces.parquet").write_bytes(b"")
    assert describe_kind(tmp_path) == "folder"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["a-1-of-3.tar", "a-3-of-3.tar"], ["a-2-of-3.tar"]),
        (["a-0-of-3.tar", "a-2-of-3.tar", "b.tar"], ["a-1-of-3.tar"]),
        (["a-00000-of-00001.TAR", "a-b-of-c.tar", "a-9-of-3.tar"], []),
    ],
)
def test_numbers_begin_at_0_or_1(names: list[str], missing: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()
    found = find_parts(tmp_path, ".tar")
    assert (sorted(file.name for file in found.files), found.missing) == (sorted(names), missing)


def test_a_part_of_a_rec_is_read_alone_with_a_hint(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, *_ = write(".rec")
    with caplog.at_level(logging.WARNING, "faceprep"):
        run_job(Convert(), Request((first.parent,), tmp_path / "all.tar"), SerialRunner())
        assert not caplog.text
        done = run_job(Convert(), Request((first,), tmp_path / "one.tar"), SerialRunner())
    hint = f"{first}: one of 4 parts, and only this one is read. Name their folder"
    assert hint in caplog.text and done.ok == 2
    caplog.clear()
    run_job(Rec2Folder(), Request((first,), tmp_path / "folder"), SerialRunner())
    assert hint in caplog.text
    caplog.clear()
    Inspect().look(first)
    assert hint in caplog.text


def test_how_a_rec_in_parts_gets_into_one_set(write: Write, tmp_path: Path) -> None:
    folder = write(".rec")[0].parent
    with pytest.raises(SourceError, match=f"a set in parts: .* Run faceprep convert {folder} DST"):
        run_job(Rec2Folder(), Request((folder,), tmp_path / "folder"), SerialRunner())
    request = Request((folder,), tmp_path / "unique.rec")
    with pytest.raises(SourceError, match=f"Join them first: faceprep convert {folder} NAME.rec"):
        run_job(Dedupe(exact_only=True), request, SerialRunner())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_else_is_in_the_folder_is_named(
    suffix: str, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, *_ = write(suffix)
    first.with_name("notes.md").touch()
    expected = "1 skipped, not shards: notes.md"
    if suffix in (".rec", ".tar"):
        first.with_name("z.tfrecord").write_bytes(b"x")
        expected = "2 skipped, not shards: notes.md, z.tfrecord"
    if suffix == ".rec":
        expected = "1 skipped, other sets in this folder: z.tfrecord"
    with caplog.at_level(logging.WARNING, "faceprep"):
        assert Inspect().look(tmp_path / "set").images == 8
    assert f"{expected}\n" in caplog.text


def test_numbered_shards_of_several_names_are_read_with_a_warning(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(".tar")[0].parent
    names = [f"{name}-{i:06d}.tar" for name in ("train", "val") for i in (0, 1)]
    for path, name in zip(sorted(folder.glob("*.tar")), names, strict=True):
        path.rename(folder / name)
    (folder / "t_classes.csv").unlink()
    with caplog.at_level(logging.WARNING, "faceprep"):
        assert Inspect().look(folder).images == 8
        both = "are read as one set: train-000000.tar and val-000000.tar\n"
        assert both in caplog.text
        caplog.clear()
        assert Inspect().look(folder / names[1]).images == 2
        assert f"{names[1]}: one of 2 numbered files, and only this one is read" in caplog.text
        for name in names[1:]:
            (folder / name).unlink()
        caplog.clear()
        Inspect().look(folder)
        Inspect().look(folder / names[0])
    assert not caplog.text


def test_a_shard_in_a_folder_that_cannot_be_listed_is_read(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = write(".tar")[0]
    shard = shard.rename(shard.with_name("train-000000.tar"))
    list_folder = storage.list_folder

    def refuse(path: Path) -> tuple[list[str], list[str]]:
        if Path(path) == shard.parent:
            raise SourceError("cannot list: Permission denied", path=path)
        return list_folder(path)

    monkeypatch.setattr(storage, "list_folder", refuse)
    assert Inspect().look(shard).images == 2


def test_other_sets_beside_train_rec_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_insightface_rec(tmp_path, 2, 2)
    for name in ("val.rec", "lfw.bin", "notes.md"):
        (tmp_path / name).write_bytes(b"x")
    for look in (Inspect().look, lambda path: convert(path, tmp_path / "out.tfrecord")):
        caplog.clear()
        look(tmp_path)
        assert "1 skipped, other sets in this folder: val.rec\n" in caplog.text
    run_job(Rec2Folder(), Request((tmp_path,), tmp_path / "out"), SerialRunner())
    assert "other sets in this folder: out.tfrecord, val.rec\n" in caplog.text
