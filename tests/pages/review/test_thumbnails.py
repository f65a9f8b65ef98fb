"""Thumbnails: small, made once, bounded; without a place for them they are made each time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.types import Outcome
from faceprep.pages.review import thumbnails
from faceprep.pages.review.thumbnails import Thumbnails, make_thumbnail
from faceprep.synthetic import draw_face, encode_face
from faceprep.vision.codec import decode, encode


def kept(folder: Path) -> list[str]:
    return sorted(name for _, _, names in os.walk(folder) for name in names)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((320, 80), (160, 40)),
        ((80, 320), (40, 160)),
        ((112, 112), (112, 112)),
        ((4000, 4), (160, 1)),
    ],
)
def test_size(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    pixels = np.tile(draw_face(0, 0)[0], (1 + size[0] // 112, 1 + size[1] // 112, 1))[
        : size[0], : size[1]
    ]
    (tmp_path / "a.png").write_bytes(encode(pixels, ".png"))
    thumbnail = make_thumbnail(str(tmp_path / "a.png"))
    assert isinstance(thumbnail, bytes) and thumbnail.startswith(b"\xff\xd8\xff")
    if min(expected) >= 4:
        assert decode(thumbnail).shape[:2] == expected


def test_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(encode_face(0, 0))
    first = Thumbnails(tmp_path / "kept").load(str(tmp_path / "a.jpg"))
    monkeypatch.setattr(thumbnails, "make_thumbnail", lambda path: b"again")
    assert Thumbnails(tmp_path / "kept").load(str(tmp_path / "a.jpg")) == first
    os.utime(tmp_path / "a.jpg", (1, 1))
    assert Thumbnails(tmp_path / "kept").load(str(tmp_path / "a.jpg")) == b"again"


def test_bounded(tmp_path: Path) -> None:
    drawn = Thumbnails(tmp_path / "kept", most=5)
    for number in range(23):
        (tmp_path / f"{number}.jpg").write_bytes(encode_face(number, 0))
        drawn.load(str(tmp_path / f"{number}.jpg"))
        assert len(kept(tmp_path / "kept")) <= 10
    assert Thumbnails(tmp_path / "kept", most=5).load(str(tmp_path / "22.jpg"))


def test_many_at_once(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(encode_face(number, 0))
    drawn, found = Thumbnails(tmp_path / "kept", most=3), []
    threads = [
        threading.Thread(
            target=lambda: found.extend(
                drawn.load(str(tmp_path / f"{i % 4}.jpg")) for i in range(20)
            )
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 120 and len(set(found)) == 4
    assert not [name for name in kept(tmp_path / "kept") if name.endswith(".tmp")]


def test_no_place_for_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jpg").write_bytes(encode_face(0, 0))
    (tmp_path / "kept").write_text("in the way")
    drawn = Thumbnails(tmp_path / "kept")
    assert drawn.load(str(tmp_path / "a.jpg")) == drawn.load(str(tmp_path / "a.jpg"))
    (record,) = caplog.records
    assert record.getMessage().startswith("thumbnails are not kept: ")


@pytest.mark.parametrize("data", [b"", b"text", encode_face(0, 0)[:500]])
def test_what_is_no_image(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    loaded = Thumbnails(tmp_path / "kept").load(str(tmp_path / "a.jpg"))
    assert isinstance(loaded, Outcome) and loaded.status == "undecodable"
    assert not (tmp_path / "kept").exists()
