"""Outputs lie apart from their sources."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faceprep import SerialRunner, run_job
from faceprep.core.errors import OutputError
from faceprep.core.output_tree import refuse_overlap
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.jobs.folder2rec import Folder2Rec
from faceprep.jobs.rec2folder import Rec2Folder
from tests.fakes import tree


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("a", "overwrite"),
        (".", "overwrite"),
        ("link", "overwrite"),
        ("a/b", "be inside"),
        ("a/b/c", "be inside"),
    ],
)
def test_an_output_over_or_in_its_source_is_refused(
    output: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OutputError, match=f"the output would {problem} the input: found"):
        refuse_overlap(tmp_path / "a", tmp_path / output, [tmp_path / output])


def test_an_output_beside_its_source_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "file").touch()
    refuse_overlap(tmp_path / "a", tmp_path / "ab", [tmp_path / "ab", tmp_path / "a_original"])
    refuse_overlap(tmp_path / "file", tmp_path / "other")


@pytest.mark.parametrize(("job", "name"), [(Convert(), "o.tar"), (Folder2Rec(), "o")])
def test_no_command_writes_into_its_source(
    job: Convert | Folder2Rec, name: str, face_folder: Path
) -> None:
    before = tree(face_folder)
    with pytest.raises(OutputError, match="the output would be inside the input"):
        run_job(job, Request((face_folder,), face_folder / name), SerialRunner())
    assert tree(face_folder) == before


def test_a_container_leaves_the_rest_of_its_folder_free(rec_set: Path, tmp_path: Path) -> None:
    source = tmp_path / "set"
    shutil.copytree(rec_set, source)
    before = (source / "train.rec").read_bytes()
    summary = run_job(Rec2Folder(), Request((source,), source / "images"), SerialRunner())
    assert summary.ok == summary.inputs > 0
    assert (source / "train.rec").read_bytes() == before
    with pytest.raises(OutputError, match="the output would overwrite the input"):
        run_job(Rec2Folder(), Request((source,), source), SerialRunner())


@pytest.mark.parametrize("source", [".", "..", "../set"])
def test_an_input_without_a_name_of_its_own_is_named_in_full(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "set")
    if source == "..":
        monkeypatch.chdir(tmp_path / "set" / "a")
    with pytest.raises(OutputError) as refused:
        refuse_overlap(Path(source), tmp_path / "set" / "x.tar")
    shown = source if source == "../set" else tmp_path / "set"
    end = f"inside the input: found the input {shown}. Name a place outside of it."
    assert str(refused.value).endswith(end)
