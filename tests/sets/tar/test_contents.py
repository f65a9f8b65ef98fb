"""The fast way to read a sample finds what the slow one finds, or nothing."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from faceprep.sets.tar import contents
from faceprep.sets.tar.headers import read_size
from faceprep.sets.webdataset import sample_pieces

NEAR = range(90, 100)
PARTS = st.sampled_from(["a", "b.c", ".x", "..", "%2e", "__d__", "é", *("x" * n for n in NEAR)])
NAMES = st.builds("/".join, st.lists(PARTS, min_size=1, max_size=3))
EXTENSIONS = st.sampled_from(["jpg", "PNG", "cls", "json", "x.jpg", "", "seg.png", "é"])
DATA = st.binary(max_size=1100)


def shard_part(members: list[tuple[str, bytes]], pax: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of members, with pax records if any, without what fills the last block."""
    whole = b""
    for name, data in members:
        if pax:
            entry = tarfile.TarInfo(name)
            entry.size, entry.pax_headers = len(data), dict(pax)
            header = entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            whole += header + data + bytes(-len(data) % 512)
        else:
            whole += b"".join(sample_pieces(name, [("", data)]))
    return whole[: len(whole) - (-len(members[-1][1]) % 512)]


def read_pair(block: bytes) -> contents.SampleFiles | None:
    """Read `block` as it stands in a shard, between other bytes."""
    found = _files_of(block, 0, len(block))
    within = bytes(512) + block + b"after it".ljust(2048, b".")
    assert _files_of(within, 512, 512 + len(block)) == found
    return found


def _files_of(block: bytes, start: int, stop: int) -> contents.SampleFiles | None:
    pair = contents.find_pair(block, start, stop)
    if pair is None:
        return None
    return contents.SampleFiles(block[pair.start : pair.stop], {pair.name: pair.content})


PAX = st.sampled_from([None, {"mtime": "1.5"}, {"comment": "path=b"}, {"path": "b/2.jpg"}])


@given(NAMES, st.tuples(EXTENSIONS, EXTENSIONS), st.tuples(DATA, DATA), st.integers(0, 2), PAX)
def test_both_ways_agree(
    name: str,
    extensions: tuple[str, str],
    data: tuple[bytes, bytes],
    n_more: int,
    pax: dict[str, str] | None,
) -> None:
    members = [(f"{name}.{extensions[at]}", data[at]) for at in (0, 1)]
    members += [(f"other/{name}.txt", b"more")] * n_more
    block = shard_part(members, pax)
    fast = read_pair(block)
    assert fast is None or fast == contents._read_any(block, 0)
    assert read_pair(block[:-1]) is None or not data[1]


def test_the_usual_sample_is_read_the_fast_way() -> None:
    block = shard_part([("a/1.jpg", b"image"), ("a/1.cls", b"7")])
    assert read_pair(block) == contents.SampleFiles(b"image", {"cls": b"7"})
    assert contents.read_files(block, 1, 0, len(block)) is None
    timed = shard_part([("a/1.jpg", b"image"), ("a/1.cls", b"7")], {"mtime": "1.5"})
    assert len(timed) > len(block)
    assert read_pair(timed) == read_pair(block)


def test_an_extension_of_two_parts_is_not_taken_for_its_first() -> None:
    for names in (("a/1.jpg", "a/1.cls.txt"), ("a/1.jpg.txt", "a/1.seg.png")):
        assert read_pair(shard_part([(name, b"x") for name in names])) is None


def test_a_changed_file_is_not_taken_for_a_sample() -> None:
    block = shard_part([("a/1.jpg", b"image"), ("a/1.cls", b"7")])
    for at in (0, 100, 124, 156, 512 + 512, 512 + 512 + 156):
        changed = bytearray(block)
        changed[at : at + 1] = b"\xff"
        fast = read_pair(bytes(changed))
        assert fast is None or fast == contents._read_any(bytes(changed), 0)


def test_a_size_that_no_file_has_is_damage() -> None:
    assert read_size(b"\x80" + (1 << 70).to_bytes(11, "big")) == -1
    assert read_size(b"\x80" + (1 << 40).to_bytes(11, "big")) == 1 << 40
