"""The state of a finished output as one file, which no trainer reads as a class.

    FOLDER/.faceprep/      while a run works in FOLDER: run.json, ledger/, staging/, locks
    FOLDER/.faceprep       after it: the same in one ZIP file, without the locks
    FOLDER/.faceprep.open  only between the two renames that convert one form into the other

Both conversions hold a lock on FOLDER itself. A kill in the middle leaves one complete form, which
`open_state` puts back in place.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from faceprep.core import os_errors, storage
from faceprep.core.errors import FaceprepError, OutputError, SourceError
from faceprep.core.io.json_line import parse_json
from faceprep.core.output_tree import is_inside
from faceprep.core.paths import is_folder, is_present
from faceprep.core.signatures import is_signed

STATE = ".faceprep"
RUN = "run.json"
MADE_FROM, SIGNATURE = "made_from", "signature"
"""Keys of the record of a run: the sets that its output was made from, and who says so."""
LOCK, WORKERS = "lock", "workers"
_OPENED, _PACKED = ".faceprep.open", "packed"
_DATE = (1980, 1, 1, 0, 0, 0)
_LEVEL = 1
_MOST_RECORD = 64 << 20
"""Bytes of the record of a run; one that comes with the set of a stranger may claim any number."""
_N_SHARDS, _MOST_SHARDS = "n_shards", 1 << 53
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "faceprep": str,
    "command": str,
    "options": dict,
    "sources": list,
    "id": str,
    "fingerprint": str,
    _N_SHARDS: int,
    "files": (list, type(None)),
    "finished": bool,
}
"""Types of members of the record of a run."""
_DAMAGE = (KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)


def home_of(state: Path) -> Path | None:
    """Return the folder whose `.faceprep` the folder `state` is or lies in, if there is one."""
    return next((part.parent for part in (state, *state.parents) if part.name == STATE), None)


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a lock on `folder` itself while its state is converted, or a name in it is taken."""
    with os_errors.guard("lock", folder):
        fd = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # the file system has no such locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def open_state(folder: Path) -> None:
    """Turn the state file of `folder` into a folder, where there is one. Raises OutputError."""
    state, opened = folder / STATE, folder / _OPENED
    if is_folder(opened):
        if _holds_packed_alone(opened):
            _replace_by_packed(state, opened)
        elif is_present(state):  # the conversion had not begun, or was complete
            storage.remove_tree(opened)
        else:
            storage.move(opened, state)
    if state.is_file() and not state.is_symlink():
        _unpack(state, opened)
        storage.move(state, opened / _PACKED)
        storage.move(opened, state)
    if (state / _PACKED).is_file():
        storage.remove_file(state / _PACKED)


def pack_state(folder: Path) -> None:
    """Turn the state folder of `folder` into one file if its run is finished and no worker is busy.

    The state of outputs that are single files stays a folder, as `.faceprep` holds no run itself.
    Raises OutputError.
    """
    state, opened = folder / STATE, folder / _OPENED
    if not is_finished(state):
        return
    with ExitStack() as held:
        if not all(_is_free(lock, held) for lock in _locks(state)):
            return
        _pack(state, state / _PACKED)
        try:
            storage.move(state, opened)
        except OutputError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.EXDEV:
                raise
            storage.move(state / _PACKED, opened / _PACKED)  # a lower layer of an overlay
        _replace_by_packed(state, opened)


def _holds_packed_alone(opened: Path) -> bool:
    """Return whether a state that could not be renamed as a whole is about to be replaced."""
    with os_errors.guard("list", opened):
        return os.listdir(opened) == [_PACKED]


def _replace_by_packed(state: Path, opened: Path) -> None:
    """Put the packed state in `opened` in place of the folder `state`, if that is still there."""
    if is_folder(state):
        storage.remove_tree(state)
    storage.move(opened / _PACKED, state)
    storage.remove_tree(opened)


def is_finished(state: Path) -> bool:
    """Return whether the run of a state folder is finished."""
    return state.is_dir() and not state.is_symlink() and load_run(state).get("finished") is True


def _locks(state: Path) -> list[Path]:
    return sorted([*state.glob(LOCK), *state.glob(f"*/{LOCK}")])


def _is_free(lock: Path, held: ExitStack) -> bool:
    """Take the lock until `held` closes; return False where another process has it."""
    with os_errors.guard("lock", lock):
        fd = os.open(lock, os.O_RDONLY)
    held.callback(os.close, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True


def _pack(state: Path, target: Path) -> None:
    written = os_errors.guard("write", target)
    with written, storage.AtomicFile(target) as file, zipfile.ZipFile(file, "w") as archive:
        for name in sorted(_files_below(state)):
            info = zipfile.ZipInfo(quote(os.fsencode(name), safe="/ "), _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, storage.read_bytes(state / name), compresslevel=_LEVEL)


def _files_below(state: Path) -> Iterator[str]:
    """Yield the files below a state folder, without locks and incomplete files."""
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        with (
            os_errors.guard("list", state / inside, SourceError),
            os.scandir(state / inside) as all_,
        ):
            entries = list(all_)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{inside}{entry.name}/")
            elif entry.name not in (LOCK, WORKERS, _PACKED) and not _is_temporary(entry.name):
                yield f"{inside}{entry.name}"


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _unpack(packed: Path, target: Path) -> None:
    """Unpack a state, or leave nothing: a trainer would take the folder for a class."""
    try:
        storage.make_folder(target)
        reader = PackedState(packed)
        for name in reader.names():
            storage.write_file(target / name, reader.read(name), durable=False)
    except BaseException:
        with suppress(FaceprepError):  # the original error says more
            storage.remove_tree(target)
        raise


class PackedState:
    """A reader of a state in one file. Raises SourceError where the file is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        data = storage.read_bytes(self._path)
        try:
            return zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError) as error:
            raise self._damaged(str(error)) from error

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names of its files, or of those below `folder`."""
        names = [os.fsdecode(unquote_to_bytes(name)) for name in self._archive.namelist()]
        if not all(map(is_inside, names)):
            raise self._damaged("a name that leaves the folder")
        return sorted(name for name in names if name.startswith(folder))

    def read(self, name: str, limit: int = -1) -> bytes:
        """Return the content of one of its files, or its first `limit` bytes."""
        try:
            with self._archive.open(quote(os.fsencode(name), safe="/ ")) as file:
                return file.read(limit)
        except _DAMAGE as error:
            raise self._damaged(f"{name}: {error}") from error

    def _damaged(self, found: str) -> SourceError:
        return SourceError(
            "not the state of an output",
            path=self._path,
            expected="a ZIP file that faceprep wrote",
            found=found,
            remedy="Move that file away, or choose another output.",
        )


class StateFolder:
    """A reader of a state in a folder, with the methods of `PackedState`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names of its files, or of those below `folder`."""
        return sorted(name for name in _files_below(self._path) if name.startswith(folder))

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return the content of one of its files, or its first `limit` bytes."""
        return storage.read_bytes(self._path / name, limit)


StateReader = PackedState | StateFolder


def find_state(folder: Path) -> StateReader | None:
    """Return a reader for the state in `folder` in either form, or None."""
    for path in (folder / STATE, folder / _OPENED):
        if path.is_dir():
            return StateFolder(path)
        if path.is_file():
            return PackedState(path)
    return None


def load_run(state: Path) -> dict[str, Any]:
    """Return the record of the run in a state folder; empty where it is missing or damaged.

    Raises SourceError where it cannot be read.
    """
    return load_record(StateFolder(state), RUN)


def run_id_of(path: Path) -> str | None:
    """Return the id of the run that made `path`.

    Returns None for a path that faceprep did not make, or made before runs had ids.
    """
    found = run_of(path).get("id")
    return found if isinstance(found, str) else None


def sets_behind(path: Path) -> list[str]:
    """Return the sets that `path` was made from by a run of this user, as full paths.

    Returns none for what was made by another user, or on another machine.
    """
    run = run_of(path)
    sets = run.get(MADE_FROM)
    if not isinstance(sets, list) or not all(isinstance(each, str) for each in sets):
        return []
    return sets if is_signed([str(run.get("id")), *sets], run.get(SIGNATURE)) else []


def run_of(path: Path) -> dict[str, Any]:
    """Return the record of the run that made `path`: an output folder, a file in one, or a file.

    It is empty for a path that faceprep did not make.
    """
    folder, inner = path, RUN
    if not path.is_dir():
        folder, inner = path.parent, f"{path.name}/{RUN}"
    state = find_state(folder)
    if state is None:
        return {}
    return load_record(state, inner) or load_record(state, RUN)


def load_record(state: StateReader, name: str) -> dict[str, Any]:
    """Return the record of the run in the file `name`; empty where it is missing or damaged.

    Raises SourceError where it cannot be read.
    """
    try:
        run = parse_json(state.read(name, _MOST_RECORD))
    except FaceprepError as error:
        if os_errors.is_fault(error):
            raise
        return {}
    except ValueError:
        return {}
    return run if _is_record(run) else {}


def _is_record(value: Any) -> bool:
    """Return whether a value is the record of a run, as far as others rely on its types."""
    if not isinstance(value, dict):
        return False
    known = value.keys() & _TYPES.keys()
    are_right = all(isinstance(value[name], _TYPES[name]) for name in known)
    return are_right and 0 <= value.get(_N_SHARDS, 0) <= _MOST_SHARDS
