"""A dry run plans and refuses as the run itself, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faceprep import Convert, Rec2Folder, Request, run_job
from faceprep.core.errors import FaceprepError
from faceprep.run.preview import preview_job
from tests.command import faceprep
from tests.fakes import JoinedLines, Lines, tree, write_lines
from tests.object_store import Store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "source.txt", 7)


@pytest.mark.parametrize(("job", "name"), [(Lines(), "out"), (JoinedLines(), "lines.bin")])
def test_nothing_is_written_before_and_after_a_run(
    job: Lines | JoinedLines, name: str, source: Path, tmp_path: Path
) -> None:
    request = Request(source, tmp_path / name)
    before = tree(tmp_path)
    preview = preview_job(job, request)
    assert tree(tmp_path) == before
    summary = run_job(job, request)
    assert (preview.inputs, preview.unit) == (summary.inputs, summary.unit)
    assert (preview.ok, preview.outputs, preview.details["dry_run"]) == (0, 0, True)
    after = tree(tmp_path)
    assert preview_job(job, request).inputs == summary.inputs, "the run could be started again"
    assert tree(tmp_path) == after


@pytest.mark.parametrize(
    ("job", "change"),
    [
        (Convert(shards=3), ""),
        (Convert(shards=2), "source"),
        (Convert(shards=2), "output"),
        (Convert(shards=2), "missing"),
        (Rec2Folder(), "foreign"),
        (Rec2Folder(), "foreign, overwriting"),
    ],
    ids=[
        "other options",
        "changed source",
        "foreign file",
        "missing source",
        "foreign folder",
        "overwriting it",
    ],
)
def test_it_refuses_what_the_run_refuses(
    job: Convert | Rec2Folder, change: str, rec_set: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "set"
    copy.mkdir()
    for file in rec_set.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    output = tmp_path / "out.tar"
    if change in ("", "source"):
        run_job(Convert(shards=2), Request(copy, output))
    if change == "source":
        with (copy / "train.rec").open("ab") as file:
            file.write((rec_set / "train.rec").read_bytes()[-32:])
    if change == "output":
        (tmp_path / "out-00001-of-00002.tar").write_bytes(b"mine")
    if change.startswith("foreign"):
        output = tmp_path / "folder"
        output.mkdir()
        (output / "mine.txt").write_bytes(b"mine")
    source = copy / "gone" if change == "missing" else copy
    request = Request(source, output, overwrite="overwriting" in change)
    before = tree(tmp_path)
    with pytest.raises(FaceprepError) as planned:
        preview_job(job, request)
    assert tree(tmp_path) == before
    with pytest.raises(FaceprepError) as real:
        run_job(job, request)
    assert str(planned.value) == str(real.value)


def test_overwriting_and_deleted_outputs_begin_anew(rec_set: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tar"
    run_job(Convert(), Request(rec_set, output))
    again = Request(rec_set, output, overwrite=True)
    before = tree(tmp_path)
    assert preview_job(Convert(seed=1), again).inputs == 30
    assert tree(tmp_path) == before
    for file in tmp_path.glob("out*"):
        file.unlink()
    assert preview_job(Convert(seed=1), Request(rec_set, output)).inputs == 30


def test_command_line(rec_set: Path, tmp_path: Path) -> None:
    words = ("convert", rec_set, tmp_path / "out.tar", "--shards", 2, "--dry-run")
    told = json.loads(faceprep(*words, "--json").stdout)
    assert (told["inputs"], told["shards"], told["dry_run"]) == (30, 2, True)
    done = faceprep(*words)
    assert done.returncode == 0
    assert done.stdout.startswith("dry run: 30 images in 2 shards, about 3 files and ")
    assert done.stdout.endswith(f" for {tmp_path / 'out.tar'}; nothing was written\n")
    assert not list(tmp_path.iterdir())


def test_an_output_in_a_store(store: Store, rec_set: Path) -> None:
    words = ("convert", rec_set / "train.rec", "s3://faces/out/train.tar")
    done = store.run(*words, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["inputs"], told["output"]) == (30, words[2])
    assert not store.objects()
    for _ in range(2):
        done = store.run("convert", rec_set / "train.rec", "s3://faces/made/train.tar")
    assert "s3://faces/made/train.tar: already complete\n" in done.stderr
    store.ask("PUT", "/out/train.tar", b"of somebody else")
    done = store.run(*words, "--dry-run")
    assert done.returncode == 1 and "exists already" in done.stderr


@pytest.mark.parametrize("name", ["file/out", "file/out.tar", "file"])
def test_a_file_in_the_way_of_the_output_is_refused(
    name: str, rec_set: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    request = Request(rec_set, tmp_path / name)
    with pytest.raises(FaceprepError, match="a file is in the way"):
        preview_job(Convert(), request)
    with pytest.raises(FaceprepError):
        run_job(Convert(), request)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_place_without_permission_is_refused(
    rec_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(FaceprepError, match="Permission denied: no file or folder can be made"):
        preview_job(Convert(), Request(rec_set, tmp_path / "out.tar"))


def test_an_output_deleted_but_for_its_class_map_does_not_bind(
    face_folder: Path, tmp_path: Path
) -> None:
    run_job(Convert(), Request(face_folder, tmp_path / "set.tar"))
    (tmp_path / "set.tar").unlink()
    other = tmp_path / "other" / "ann"
    other.mkdir(parents=True)
    image = next(face_folder.rglob("*.jpg"))
    (other / "1.jpg").write_bytes(image.read_bytes())
    request = Request(other.parent, tmp_path / "set.tar")
    assert preview_job(Convert(), request).inputs == 1
    assert run_job(Convert(), request).ok == 1
    assert "0,ann,1" in (tmp_path / "set_classes.csv").read_text()
