"""A finished state is one file: packed and opened without loss, whatever stops in between."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep import Manifest, Rec2Folder, Request, SerialRunner, run_job
from faceprep.core import locks
from faceprep.core.errors import SourceError
from faceprep.core.state_file import (
    STATE,
    PackedState,
    find_state,
    open_state,
    pack_state,
    run_id_of,
    run_of,
    sets_behind,
)
from tests.fakes import Lines, before_changes, opened, tree, write_lines

FINISHED = json.dumps({"command": "lines", "finished": True, "id": "abc"}).encode()
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40)


def write_state(folder: Path, run: bytes = FINISHED) -> Path:
    state = folder / ".faceprep"
    (state / "ledger").mkdir(parents=True)
    (state / "run.json").write_bytes(run)
    (state / "ledger" / "0.jsonl").write_bytes(b"page\n" * 9)
    return state


def test_packed_and_opened(tmp_path: Path) -> None:
    state = write_state(tmp_path)
    (state / "lock").touch()
    pack_state(tmp_path)
    assert os.listdir(tmp_path) == [".faceprep"] and state.is_file()
    assert PackedState(state).names() == ["ledger/0.jsonl", "run.json"]
    open_state(tmp_path)
    assert tree(state) == {"ledger": None, "ledger/0.jsonl": b"page\n" * 9, "run.json": FINISHED}
    assert os.listdir(tmp_path) == [".faceprep"]


@given(name=NAMES, data=st.binary(max_size=100))
def test_any_name_and_content(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("state")
    state = write_state(folder)
    if name in (".", "..", "lock", "workers", "packed", "run.json", "ledger") or (
        name.startswith(".") and name.endswith(".tmp") or len(name.encode()) > 255
    ):
        return
    (state / name).write_bytes(data)
    before = tree(state)
    pack_state(folder)
    open_state(folder)
    assert tree(state) == before


@pytest.mark.parametrize("run", [b"{}", b"[", b'{"finished": false}'])
def test_an_unfinished_run_stays_a_folder(tmp_path: Path, run: bytes) -> None:
    state = write_state(tmp_path, run)
    pack_state(tmp_path)
    assert state.is_dir()


def test_state_that_somebody_works_in_stays_a_folder(tmp_path: Path) -> None:
    state = write_state(tmp_path)
    with locks.lock(state / "other"):
        (state / "other" / "notes").touch()
        pack_state(tmp_path)
        assert state.is_dir()
    assert state.is_file(), "the last to leave packs it"


def keep_in_lower_layer(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to rename `state` while it is a folder, as an overlay does for its lower layers."""
    real = os.rename

    def rename(source: Any, *args: Any, **kwargs: Any) -> None:
        if source == state and state.is_dir():
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, *args, **kwargs)

    monkeypatch.setattr(os, "rename", rename)


@pytest.mark.parametrize("in_lower_layer", [False, True])
@pytest.mark.parametrize("change", range(1, 21))
def test_stopped_before_any_change(
    tmp_path: Path, change: int, in_lower_layer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packing and opening leave one complete form behind, whichever change does not happen."""

    class Stopped(BaseException):
        pass

    def act(name: str, number: int) -> None:
        if number == change:
            raise Stopped

    state = write_state(tmp_path)
    expected = tree(state)
    if in_lower_layer:
        keep_in_lower_layer(state, monkeypatch)
    for step in (pack_state, open_state):
        try:
            with before_changes(act):
                step(tmp_path)
        except Stopped:
            pass
        open_state(tmp_path)
        assert tree(state) == expected
        assert os.listdir(tmp_path) == [".faceprep"]
        pack_state(tmp_path)
        assert state.is_file() and os.listdir(tmp_path) == [".faceprep"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_a_hostile_state_writes_nothing_outside(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with zipfile.ZipFile(out / ".faceprep", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(SourceError, match="a name that leaves the folder"):
        open_state(out)
    assert not (tmp_path / "evil").exists()


def test_a_file_of_somebody_else_is_named_and_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".faceprep").write_text("mine")
    request = Request((write_lines(tmp_path / "source.txt"),), out)
    with pytest.raises(SourceError, match=r"\.faceprep: not the state of an output.*Move that"):
        run_job(Lines(), request, SerialRunner())
    assert tree(out) == {".faceprep": b"mine"}


def test_a_state_that_cannot_be_opened_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """A trainer takes every folder for a class, and an output may be read-only."""
    state = write_state(tmp_path)
    pack_state(tmp_path)
    data = bytearray(state.read_bytes())
    data[data.index(b"run.json") + 10] ^= 0xFF  # the second member; the first one is sound
    state.write_bytes(data)
    with pytest.raises(SourceError, match="not the state of an output"):
        open_state(tmp_path)
    assert tree(tmp_path) == {".faceprep": bytes(data)}


def test_an_output_of_the_old_form_is_resumed(tmp_path: Path) -> None:
    request = Request((write_lines(tmp_path / "source.txt"),), tmp_path / "out")
    run_job(Lines(), request, SerialRunner())
    state = opened(tmp_path / "out")
    run = json.loads((state / "run.json").read_bytes())
    for name in ("finished", "id", "inputs"):
        del run[name]
    (state / "run.json").write_text(json.dumps(run))
    summary = run_job(Lines(), request, SerialRunner())
    assert (summary.ok, summary.details["done_before"]) == (12, 12)
    assert (tmp_path / "out" / ".faceprep").is_file()


def test_a_trainer_finds_the_classes_alone(rec_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_job(Rec2Folder(), Request((rec_set,), out), SerialRunner())
    classes = [entry.name for entry in os.scandir(out) if entry.is_dir()]
    assert sorted(classes) == ["0", "1", "2", "3", "4", "5"]


def test_keras_finds_the_classes_alone(rec_set: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("keras.src.legacy.preprocessing.image")
    out = tmp_path / "out"
    run_job(Rec2Folder(), Request((rec_set,), out), SerialRunner())
    found = image.ImageDataGenerator().flow_from_directory(str(out))
    assert sorted(found.class_indices) == ["0", "1", "2", "3", "4", "5"]


def test_failures_lie_in_the_output_where_something_failed(tmp_path: Path) -> None:
    request = Request((write_lines(tmp_path / "source.txt"),), tmp_path / "out")
    run_job(Lines(), request, SerialRunner())
    assert not (tmp_path / "out" / "failures.csv").exists()
    bad = Request((write_lines(tmp_path / "source.txt"),), tmp_path / "bad")
    run_job(Lines(poison="bad"), bad, SerialRunner())
    rows = (tmp_path / "bad" / "failures.csv").read_text().splitlines()
    assert rows == ["input,status,reason", '6,undecodable,"line 6: expected a face, found text"']


def test_the_state_names_the_runs_that_made_its_inputs(rec_set: Path, tmp_path: Path) -> None:
    faces, manifest = tmp_path / "faces", tmp_path / "train.npz"
    run_job(Rec2Folder(), Request((rec_set,), faces), SerialRunner())
    run_job(Manifest(seed=1), Request((faces,), manifest), SerialRunner())
    assert run_id_of(rec_set) is None and run_id_of(manifest) not in (None, run_id_of(faces))
    state = find_state(tmp_path)
    assert state is not None
    run = json.loads(state.read("train.npz/run.json"))
    assert run["inputs"] == [{"path": str(faces), "run": run_id_of(faces)}]


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"sources": ' + " " * (65 << 20) + "[]}", "\xff"])
def test_a_record_of_a_stranger_is_an_empty_one(text: str, is_packed: bool, tmp_path: Path) -> None:
    """A few bytes of a ZIP may stand for any number; JSON may be nested deeper than the stack."""
    if is_packed:
        with zipfile.ZipFile(tmp_path / STATE, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            file.writestr("run.json", text)
    else:
        (tmp_path / STATE).mkdir()
        (tmp_path / STATE / "run.json").write_text(text)
    assert run_of(tmp_path) == {}
    assert sets_behind(tmp_path) == []
