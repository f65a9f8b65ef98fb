"""Images of a folder, a .bin and a .rec, all by number, whatever piece is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.types import PairSet
from faceprep.sets import image_source as image_sets
from faceprep.sets.image_source import NamedImage, lay_out, read
from faceprep.sets.pairs_bin.container import write_pairs
from faceprep.sets.recordio.records import Damage, frame_image
from tests.real import DATA, needs_data


def read_all(path: Path, scratch: Path, piece: int) -> list[NamedImage]:
    scratch.mkdir(exist_ok=True)
    images = lay_out(path, scratch, "set")
    cuts = range(0, images.n, piece)
    return [
        image
        for start in cuts
        for image in read(images, scratch, start, min(start + piece, images.n))
    ]


def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sets, "CUT", 2)
    for name in ("a/1.png", "a/2.png", "b/é.jpg"):
        storage.write_file(tmp_path / "in" / name, name.encode())
    (tmp_path / "in" / "b" / "gone.png").symlink_to("nowhere")
    found = {image.name: image.data for image in read_all(tmp_path / "in", tmp_path / "scratch", 2)}
    gone = found.pop("b/gone.png")
    assert found == {name: name.encode() for name in ("a/1.png", "a/2.png", "b/é.jpg")}
    assert isinstance(gone, Damage) and gone.status == "unreadable"


def test_a_bin_in_pieces_that_cut_pairs(tmp_path: Path) -> None:
    images = [b"\xff\xd8\xff" + bytes([number]) * 9 for number in range(6)]
    with (tmp_path / "a.bin").open("wb") as file:
        write_pairs(file, PairSet(images, [True, False, True]))
    for piece in (2, 4, 512):
        found = read_all(tmp_path / "a.bin", tmp_path / "scratch", piece)
        assert [(image.number, image.name, bytes(image.data)) for image in found] == [  # type: ignore[arg-type]
            (i, f"pair {i // 2}, image {i % 2}", data) for i, data in enumerate(images)
        ]


def test_a_rec_without_header_and_identities(rec_set: Path, tmp_path: Path) -> None:
    for piece in (7, 512):
        found = read_all(rec_set, tmp_path / "scratch", piece)
        assert [image.name for image in found] == [f"record {key}" for key in range(1, 31)]
        assert all(bytes(image.data).startswith(b"\xff\xd8\xff") for image in found)  # type: ignore[arg-type]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    sound = [frame_image([0.0], b"\xff\xd8\xff" * 9, key) for key in (1, 2)]
    (tmp_path / "a.rec").write_bytes(sound[0] + b"\0" * 40 + sound[1])
    found = read_all(tmp_path / "a.rec", tmp_path / "scratch", 512)
    assert [isinstance(image.data, Damage) for image in found] == [False, True, False]


def test_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(SourceError, match="a.txt: no set of images"):
        lay_out(tmp_path / "a.txt", tmp_path, "set")
    with pytest.raises(SourceError):
        lay_out(tmp_path / "no.bin", tmp_path, "set")


def test_the_fingerprint_is_that_of_names_and_sizes(tmp_path: Path) -> None:
    storage.write_file(tmp_path / "in" / "a" / "1.png", b"1")
    (tmp_path / "scratch").mkdir()
    before = lay_out(tmp_path / "in", tmp_path / "scratch", "set")
    assert lay_out(tmp_path / "in", tmp_path / "scratch", "set") == before
    storage.write_file(tmp_path / "in" / "a" / "1.png", b"12")
    assert lay_out(tmp_path / "in", tmp_path / "scratch", "set") != before


@needs_data
@pytest.mark.parametrize("path", sorted((DATA / "bins").glob("*.bin")), ids=lambda path: path.name)
def test_bins_of_any_vintage(path: Path, tmp_path: Path) -> None:
    found = read_all(path, tmp_path / "scratch", 512)
    assert found and all(
        not isinstance(image.data, Damage) and len(image.data) > 100 for image in found
    )
