"""The contract of every container: it reads back its own bytes, the same each time; damage is one
line.

A new kind of manifest is tried by its line in `manifests.FORMATS`, and needs one in `READERS` that
reads it back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from faceprep.core.errors import FaceprepError
from faceprep.core.types import Request
from faceprep.jobs.folder2rec import Folder2Rec
from faceprep.jobs.inspect.job import Inspect
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets.manifests.writers import FORMATS
from faceprep.sets.pairs_bin.container import load_pairs
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.entries import read_in_file_order
from faceprep.sets.recordio.records import ImageRecord, RecordFile
from tests.bins import write_bin
from tests.manifests import READERS, run

Entry = tuple[Any, int]


class Container(NamedTuple):
    """`write` a folder of identities at the path; `read` it as (name or bytes, class); `expect`
    what to find.
    """

    write: Callable[[Path, Path], object]
    read: Callable[[Path], list[Entry]]
    expect: Callable[[Path], list[Entry]]
    cut_is_told: bool = True


def images(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jpg"))


def names(folder: Path) -> list[Entry]:
    return [(str(path), int(path.parent.name)) for path in images(folder)]


def keys(folder: Path) -> list[Entry]:
    return [(f"{path.parent.name}/{path.stem}", int(path.parent.name)) for path in images(folder)]


def contents(folder: Path) -> list[Entry]:
    return [(path.read_bytes(), int(path.parent.name)) for path in images(folder)]


def write_rec(folder: Path, path: Path) -> None:
    run_job(Folder2Rec(), Request((folder,), path.parent), SerialRunner())


def read_rec(path: Path) -> list[Entry]:
    index = path.parent / "index"
    n = rec_index.write_index(rec_index.find_rec(path), index)
    with RecordFile(path) as file:
        records = list(file.read_images(read_in_file_order(index, 0, n)[1]))
    return [
        (bytes(each.image), int(each.labels[0]))
        for each in records
        if isinstance(each, ImageRecord) and each.image
    ]


def write_pairs(folder: Path, path: Path) -> None:
    write_bin(
        path, [data for data, _ in contents(folder)], [True, False] * (len(images(folder)) // 4)
    )


def read_pairs(path: Path) -> list[Entry]:
    pairs = load_pairs(path)
    return [(bytes(image), int(pairs.same[i // 2])) for i, image in enumerate(pairs.images)]


def pairs(folder: Path) -> list[Entry]:
    return [(data, int(i // 2 % 2 == 0)) for i, (data, _) in enumerate(contents(folder))]


CONTAINERS = {
    "train.rec": Container(write_rec, read_rec, contents),
    "pairs.bin": Container(write_pairs, read_pairs, pairs),
} | {
    f"set{suffix}": Container(
        run, READERS[suffix], keys if suffix == ".tar" else names, suffix not in (".csv", ".lst")
    )
    for suffix in FORMATS
}


@pytest.fixture(params=CONTAINERS)
def container(request: pytest.FixtureRequest) -> Container:
    return CONTAINERS[request.param]


@pytest.fixture
def path(
    request: pytest.FixtureRequest, tmp_path: Path, container: Container, face_folder: Path
) -> Path:
    """12 images of 4 identities, written."""
    found: Path = tmp_path / "written" / request.node.callspec.params["container"]
    found.parent.mkdir()
    container.write(face_folder, found)
    return found


def test_what_was_written_is_read(container: Container, path: Path, face_folder: Path) -> None:
    assert sorted(container.read(path)) == sorted(container.expect(face_folder))


def test_inspect_counts_it(path: Path) -> None:
    found = Inspect().look(path)
    assert (found.images, found.damaged) == (12, 0)
    assert found.identities in (4, None)


def test_the_same_images_give_the_same_bytes(
    container: Container, path: Path, face_folder: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again" / path.name
    again.parent.mkdir()
    container.write(face_folder, again)
    assert again.read_bytes() == path.read_bytes()


def told(container: Container, path: Path) -> bool:
    """Return whether reading or inspecting reports damage; any error of another kind fails the
    test.
    """
    lines = []
    with suppress(FaceprepError):
        found = Inspect().look(path)
        assert found.images <= 12
        lines += found.damage
    for look in (Inspect().look, container.read):
        try:
            look(path)
        except FaceprepError as error:
            lines.append(str(error))
    assert not [line for line in lines if "\n" in line]
    return bool(lines)


def test_a_file_that_is_cut_off_is_told(container: Container, path: Path) -> None:
    """But where it is cut between two records, which may be so for one of two neighbouring
    lengths.
    """
    data = path.read_bytes()
    for n in (0, 1, 7, *(len(data) * share // 9 for share in range(1, 9))):
        is_told = []
        for length in (n, n + 1):
            path.write_bytes(data[:length])
            is_told.append(told(container, path))
        assert any(is_told) or not container.cut_is_told, n


def test_changed_bytes_are_no_crash(container: Container, path: Path) -> None:
    data = path.read_bytes()
    for place in (*range(0, len(data), max(len(data) // 40, 1)), len(data) - 1):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        told(container, path)


def test_what_is_not_there_or_no_file_of_its_kind_is_one_line(
    container: Container, path: Path
) -> None:
    path.write_bytes(b"\xff\xfe no file of any kind")
    assert told(container, path)
    path.unlink()
    assert told(container, path)
