"""Every pair of containers, from the table of their capabilities: A to B and back to A.

What both can hold comes back. What B cannot hold is named before anything is written, and with
--allow-loss no image is lost but those that are named.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from faceprep.core import registry
from faceprep.core.errors import FaceprepError
from faceprep.core.types import Request, Summary
from faceprep.jobs.convert import Convert
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets import webdataset
from faceprep.sets.containers import index_set
from faceprep.sets.distinct_keys import strip_suffix
from faceprep.sets.image_paths import path_in_identity
from faceprep.sets.image_set import Sample
from faceprep.sets.set_writer import SetWriter
from faceprep.synthetic import encode_face
from tests.set_reading import member_bytes

WRITERS: dict[str, type[SetWriter]] = {
    kind: registry.load_target(entry.writer)
    for kind, entry in registry.CONTAINERS.items()
    if entry.writer
}
SUFFIXES = {kind: "".join(registry.CONTAINERS[kind].suffixes[:1]) for kind in WRITERS}
PAIRS = list(itertools.product(WRITERS, WRITERS))
FACE = encode_face(1, 1)
Entry = tuple[str, str, bytes]
"""An image to begin with: identity, name, payload."""


class Found(NamedTuple):
    """An image as a set has it; `name` is its path below its identity, without a suffix."""

    name: str
    identity: str
    data: bytes


def jpeg(comment: bytes) -> bytes:
    """Return a sound JPEG with any bytes in it."""
    return FACE[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + FACE[2:]


LETTERS = st.characters(codec="utf-8", exclude_characters="/\0")
PLAIN = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: not text.startswith("."))
LONG = st.builds(lambda letter: letter * (250 // len(letter.encode())), st.sampled_from("xä漢"))
ODD = st.sampled_from(["__x__", "a.b.c", " a ", "a.jpg", "a\tb", "a\nb", "%2E", "-1", "7", "1_0"])
HOSTILE = st.sampled_from(["..", ".", ".hidden", "x" * 255, "ä" * 127 + "x", "\udcff"])
BYTES = st.one_of(st.binary(max_size=40), st.just(b"\x0a\x23\xd7\xce" * 3))


def entries(names: st.SearchStrategy[str], numbers: bool = False) -> st.SearchStrategy[list[Entry]]:
    people = st.sampled_from(["ann", "bob c", "é", "a/b"])
    if numbers:
        people = st.sampled_from(["0", "1", "16777216"])
        names = st.integers(0, 1 << 62).map(str)
    entry = st.tuples(people, names, BYTES)
    key = lambda each: strip_suffix(f"{each[0]}/{each[1]}")  # noqa: E731
    return st.lists(entry, min_size=1, max_size=5, unique_by=key)


def write_tar(path: Path, images: list[Entry]) -> list[bytes]:
    """Write the shard to begin with, which holds any names; return the payloads, all different."""
    payloads = [jpeg(b"%d " % i + data) for i, (_, _, data) in enumerate(images)]
    members = (
        member_bytes(f"{webdataset.key_of(f'{person}/{name}')}.jpg", payload)
        for (person, name, _), payload in zip(images, payloads, strict=True)
    )
    path.write_bytes(b"".join(members) + webdataset.END)
    return payloads


def convert(source: Path, target: Path, **options: object) -> Summary:
    job = Convert(**options)  # type: ignore[arg-type]
    return run_job(job, Request((source,), target), SerialRunner())


def read(path: Path) -> list[Found]:
    scratch = path.with_name(f"{path.name} index")
    with index_set(path, scratch) as images:
        keys = images.plain_keys(0, len(images))
        samples = list(images.read(range(len(images))))
    shutil.rmtree(scratch)
    found = []
    for key, each in zip(keys, samples, strict=True):
        assert isinstance(each, Sample), each
        name = strip_suffix(path_in_identity(key, each.identity))
        found.append(Found(name, each.identity, bytes(each.data)))
    return found


def make(kind: str, begin: Path, folder: Path) -> Path | None:
    """Make a set of this kind without a loss; None where it cannot hold what there is."""
    writer = WRITERS[kind]
    source = begin
    if writer.refers_to_files:
        source = folder / "files"
        try:
            convert(begin, source)
        except FaceprepError:
            return None
    target = folder / f"first{SUFFIXES[kind]}"
    try:
        convert(source, target, allow_loss=kind == "bin")
    except FaceprepError as error:
        assert "cannot hold" in str(error) or "in pairs" in str(error)
        return None
    return target


def comparable(found: list[Found], in_order: bool) -> list[Found]:
    return found if in_order else sorted(found)


def check_pair(first: str, second: str, begin: Path, folder: Path) -> None:
    start = make(first, begin, folder)
    if start is None:
        return
    before = read(start)
    other, back = folder / f"other{SUFFIXES[second]}", folder / f"back{SUFFIXES[first]}"
    one, two = WRITERS[first], WRITERS[second]
    in_order = one.can.order and two.can.order
    if two.refers_to_files and not (one.refers_to_files or first == "folder"):
        with pytest.raises(FaceprepError, match="Convert it to a folder first"):
            convert(start, other)
        return
    try:
        convert(start, other)
    except FaceprepError as error:
        assert "cannot hold" in str(error) or "in pairs" in str(error) or "one person" in str(error)
        assert not other.exists() and not other.with_suffix(".idx").exists()
        check_losses(start, other, before, in_order, str(error))
        return
    if one.refers_to_files and not (two.refers_to_files or second == "folder"):
        between = read(other)
        assert comparable(between, in_order) == comparable(before, in_order)
        return
    convert(other, back)
    assert comparable(read(back), in_order) == comparable(before, in_order)


def check_losses(start: Path, other: Path, before: list[Found], in_order: bool, error: str) -> None:
    """Check that --allow-loss keeps every image but the named ones, or refuses all."""
    try:
        summary = convert(start, other, allow_loss=True)
    except FaceprepError as refusal:
        assert "in pairs" in str(refusal) or "one person" in str(refusal)
        return
    after = read(other) if summary.ok else []
    assert summary.inputs == len(before) and summary.ok == len(after)
    assert not Counter(each.data for each in after) - Counter(each.data for each in before)
    if "identit" not in error:
        kept = {each.data: each.identity for each in before}
        assert all(kept[each.data] == each.identity for each in after)
    if summary.failed == 0:
        data = [[each.data for each in images] for images in (after, before)]
        assert data[0] == data[1] if in_order else sorted(data[0]) == sorted(data[1])
    else:
        assert set(summary.by_status) <= {"ok", "bad_name"}


EXAMPLES = settings(max_examples=4, deadline=None)


@pytest.mark.parametrize(("first", "second"), PAIRS)
@EXAMPLES
@given(images=st.one_of(entries(st.one_of(PLAIN, LONG, ODD)), entries(PLAIN, numbers=True)))
@example(images=[("ann", "1", b""), ("bob c", "1", b"")])
@example(images=[("1", "2", b""), ("0", "1", b"")])
def test_what_both_can_hold_comes_back(
    first: str, second: str, images: list[Entry], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pairs")
    payloads = write_tar(folder / "begin.tar", images)
    assert [each.data for each in read(folder / "begin.tar")] == payloads
    check_pair(first, second, folder / "begin.tar", folder)


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if not WRITERS[kind].refers_to_files])
@settings(max_examples=15, deadline=None)
@given(images=entries(st.one_of(HOSTILE, ODD)))
def test_names_that_not_all_can_hold(
    kind: str, images: list[Entry], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pairs")
    write_tar(folder / "begin.tar", images)
    check_pair("webdataset", kind, folder / "begin.tar", folder)
