"""The disk: whole files or none, and errors that say what, where and what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faceprep.core import journal, os_errors, output_tree, scratch, storage
from faceprep.core.errors import FaceprepError, OutputError, SourceError
from tests.fakes import BROKEN, FULL, before_changes, failing, tree
from tests.real import ROOT

# Reading


def test_byte_source_reads_at_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(bytes(range(100)))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n_bytes, offset: real(fd, min(n_bytes, 7), offset))
    with storage.ByteSource(tmp_path / "a") as source:
        assert source.size == 100
        assert source.read_at(10, 20) == bytes(range(10, 30)), "short reads are completed"
        assert source.read_at(95, 20) == bytes(range(95, 100))
        assert source.read_at(200, 20) == b""


def test_sizes_of_files_and_of_what_are_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(7))
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("a")
    names = ("a", "link", "empty", "pipe", "", "none", "a/b", "loop")
    sizes = [storage.file_size(tmp_path / name) for name in names]
    nothing = [-errno.ENOENT, -errno.ENOTDIR, -errno.ELOOP]
    assert sizes == [7, 7, 0, storage.NOT_A_FILE, storage.NOT_A_FILE, *nothing]


def test_what_cannot_be_there_has_no_size(tmp_path: Path) -> None:
    """Names are made of other names, so that one may be too long."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a").write_bytes(bytes(7))
    names = ("none", "a/b", "loop", "n" * 300, "a\0b")
    assert [storage.size_of(tmp_path / name) for name in names] == [None] * len(names)
    assert storage.estimate_size(tmp_path / name for name in ("a", "loop", "a")) == 14


def test_a_link_to_nothing_is_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("away")
    with pytest.raises(OutputError, match="cannot make the folder: File exists. A file is in"):
        storage.make_folder(tmp_path / "a")


def test_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(100))
    with storage.ByteSource(tmp_path / "a") as source:
        os.truncate(tmp_path / "a", 50)
        assert len(source.read_at(0, 100)) == 50


def test_read_error_names_offset_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pread(fd: int, n_bytes: int, offset: int) -> bytes:
        raise OSError(BROKEN, os.strerror(BROKEN))

    (tmp_path / "a").write_bytes(bytes(100))
    monkeypatch.setattr(os, "pread", pread)
    message = r"a: cannot read 5 bytes at offset 7: Input/output error\. The disk reports a fault"
    with storage.ByteSource(tmp_path / "a") as source, pytest.raises(SourceError, match=message):
        source.read_at(7, 5)


@pytest.mark.parametrize(
    "read", [storage.read_bytes, storage.open_source, storage.list_folder, storage.ByteSource]
)
def test_missing_source(read: object, tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"none: cannot \w+: No such file or directory\. Check the path\."
    ):
        read(tmp_path / "none")  # type: ignore[operator]


def test_read_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(100)))
    assert storage.read_bytes(tmp_path / "a") == bytes(range(100))
    assert storage.read_bytes(tmp_path / "a", 3) == bytes(range(3))
    assert (storage.size_of(tmp_path / "a"), storage.size_of(tmp_path / "b")) == (100, None)


def test_list_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "to_folder").symlink_to("folder")
    (tmp_path / "to_nowhere").symlink_to("nowhere")
    (tmp_path / "to_itself").symlink_to("to_itself")
    folders, files = storage.list_folder(tmp_path)
    assert (sorted(folders), sorted(files)) == (
        ["folder", "to_folder"],
        ["file", "to_itself", "to_nowhere"],
    )


def test_fingerprint_tells_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    first = storage.fingerprint_of(tmp_path / "a")
    assert storage.fingerprint_of(tmp_path / "a") == first
    os.utime(tmp_path / "a", ns=(0, 5))
    assert storage.fingerprint_of(tmp_path / "a") == "a:1:5" != first


# Writing


def test_atomic_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a"
    with pytest.raises(ZeroDivisionError), storage.AtomicFile(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert os.listdir(path.parent) == []
    storage.write_file(path, b"old")
    with pytest.raises(ZeroDivisionError), storage.AtomicFile(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert tree(path.parent) == {"a": b"old"}


@pytest.mark.parametrize("error", [FULL, BROKEN], ids=os.strerror)
def test_atomic_file_with_a_fault_at_any_change(error: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with before_changes(lambda name, number: None) as made:
        storage.write_file(tmp_path / "b", bytes(3 << 20))
    assert {"open", "write", "fsync", "rename"} <= set(made)
    (tmp_path / "b").unlink()
    for change in range(made.index("open") + 1, made.index("rename") + 2):
        with (
            before_changes(failing(error, change)),
            pytest.raises(OutputError, match=os.strerror(error)),
        ):
            storage.write_file(path, bytes(3 << 20))
        assert tree(tmp_path) == {"a": b"old"}


_FAULTS = """
import gc
from faceprep.core.errors import OutputError
from faceprep.core.staged_file import StagedFile
for path in ("/none/a", "/dev/full"):
    try:
        with StagedFile(path, path, durable=False) as file:
            file.write(b"a")
    except OutputError as error:
        print(error.problem)
    gc.collect()
StagedFile("/dev/full", "/dev/full", durable=False).write(b"left open")
gc.collect()
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_file_that_fails_is_not_written_again_by_its_finalizer() -> None:
    """Python 3.13 shows each error of a finalizer; earlier versions do so in this mode."""
    words = [sys.executable, "-X", "dev", "-c", _FAULTS]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    expected = ["cannot create: No such file or directory", "cannot write: No space left on device"]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="no such call on this system")
@pytest.mark.parametrize("refuses", [False, True])
def test_the_disk_begins_before_the_end_of_a_durable_file(
    refuses: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, int]] = []

    def advise(fd: int, offset: int, n_bytes: int, advice: int) -> None:
        begun.append((offset, n_bytes))
        if refuses:
            raise OSError(errno.EINVAL, "")

    monkeypatch.setattr(os, "posix_fadvise", advise)
    mebi = 1 << 20
    for durable in (True, False):
        with storage.AtomicFile(tmp_path / "a", durable=durable) as file:
            for _ in range(40):
                file.write(bytes(mebi))
        assert begun == [(0, 16 * mebi), (16 * mebi, 16 * mebi)], "and a scratch file adds none"
    assert (tmp_path / "a").stat().st_size == 40 * mebi


def test_large_files_are_sought_and_told(tmp_path: Path) -> None:
    with storage.AtomicFile(tmp_path / "a") as file:
        file.write(b"0123456789")
        assert file.tell() == 10
        file.seek(2)
        file.write(b"ab")
        file.truncate(6)
    assert (tmp_path / "a").read_bytes() == b"01ab45"


def test_keep_copy_keeps_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copy = tmp_path / "a", tmp_path / "a.bak"
    path.write_text("first")
    storage.keep_copy(path, copy)
    storage.write_file(path, b"second")
    storage.keep_copy(path, copy)
    assert copy.read_text() == "first"
    copy.unlink()

    def link(source: Path, target: Path) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", link)
    storage.keep_copy(path, copy)
    assert tree(tmp_path) == {"a": b"second", "a.bak": b"second"}


def test_keep_copy_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("first")
    with before_changes(lambda name, number: os.strerror(0) if name != "rename" else _full()):
        monkeypatch.setattr(os, "link", lambda source, target: _full())
        with pytest.raises(OutputError, match=r"a\.bak: cannot keep a copy as: No space left"):
            storage.keep_copy(tmp_path / "a", tmp_path / "a.bak")
    assert tree(tmp_path) == {"a": b"first"}


def _full() -> None:
    raise OSError(FULL, os.strerror(FULL))


def test_remove_outputs_removes_folders_that_it_empties(tmp_path: Path) -> None:
    for name in ("a/b/1", "a/b/2", "a/3", "c/4"):
        storage.write_file(tmp_path / name, b"")
    output_tree.remove_outputs(tmp_path, ["a/b/1", "a/b/2", "c/4", "never/was"])
    assert tree(tmp_path) == {"a": None, "a/3": b""}


@pytest.mark.parametrize("remove", [storage.remove_tree, storage.remove_file])
def test_what_is_not_there_needs_no_removal_from_a_read_only_disk(
    remove: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(path: object, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (tmp_path / "file").touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        remove(tmp_path / "none")
        with pytest.raises(OutputError, match="file: cannot remove: Read-only file system"):
            remove(tmp_path / "file")


def test_move_makes_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    storage.move(tmp_path / "a", tmp_path / "b" / "c" / "a")
    assert (tmp_path / "b" / "c" / "a").read_text() == "a"
    with pytest.raises(OutputError, match="cannot move into place: No such file"):
        storage.move(tmp_path / "a", tmp_path / "b")


def test_guard_says_what_where_and_what_to_do() -> None:
    line = r"^x: cannot write: Permission denied\. Check its permissions\.$"
    with pytest.raises(FaceprepError, match=line), os_errors.guard("write", "x"):
        raise PermissionError(13, "Permission denied")
    with (
        pytest.raises(OutputError, match=r"^x: cannot write: strange$"),
        os_errors.guard("write", "x"),
    ):
        raise OSError("strange")


def test_scratch_folder_is_outside_and_goes_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), scratch.scratch_folder() as folder:
        (folder / "a").touch()
        raise FileNotFoundError("of the caller")
    assert not folder.exists()


def test_append_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    journal.append_durably(path, b"first\n")
    written = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(errno.ENOSPC, "full")
        return written(fd, data[: len(data) - 3])

    with (
        monkeypatch.context() as patch,
        pytest.raises(OutputError, match="cannot write: No space left"),
    ):
        patch.setattr(os, "write", half)
        journal.append_durably(path, b"second\n")
    assert path.read_bytes() == b"first\n"
    journal.append_durably(path, b"third\n")
    assert path.read_bytes() == b"first\nthird\n"


def test_append_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    journal.append_durably(tmp_path / "journal", b"first\n")
    assert synced == [6]
