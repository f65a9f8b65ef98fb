"""Runs of samples: read and written, they are the same images as one by one."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from faceprep.core.types import Outcome
from faceprep.sets import webdataset
from faceprep.sets.containers import index_set
from faceprep.sets.image_paths import FORM, PLAIN
from faceprep.sets.image_set import ImageSet, SampleRun, read_singly
from faceprep.sets.recordio import spans
from faceprep.sets.recordio.framing import frame_image
from faceprep.sets.recordio.records import MAGIC_BYTES
from faceprep.sets.recordio.spans import GAP, Spans
from faceprep.sets.set_writer import Classes, OutPart
from faceprep.sets.stream_writers import TarWriter
from faceprep.synthetic import encode_face

JPEG, OTHER, PNG = encode_face(0, 0), encode_face(1, 0), encode_face(0, 0, ".png")
PLAIN_IMAGES = [JPEG, OTHER, JPEG[:-2] + b"\0\1" * 9 + JPEG[-2:]]
ODD = {
    "another format": ([3.0], PNG),
    "another head": ([3.0], JPEG[:2] + b"\xff\xfe\0\4no" + JPEG[2:]),
    "bytes behind the end": ([3.0], JPEG + b"more"),
    "cut off": ([3.0], JPEG[:-2]),
    "shorter than its neighbours' head": ([3.0], JPEG[:40]),
    "not an image": ([3.0], b"text"),
    "no bytes": ([3.0], b""),
    "no identity": ([float("nan")], JPEG),
    "two labels": ([3.0, 4.0], JPEG),
    "one label in an array": ([3.0, 0.0], JPEG),
    "a name with a dot": ([0.5], JPEG),
    "the magic inside": ([3.0], JPEG[:-2] + bytes((2 - len(JPEG)) % 4) + MAGIC_BYTES + JPEG[-2:]),
}


class Memory:
    """A sink whose one file stays in memory."""

    def __init__(self) -> None:
        self.file = io.BytesIO()

    def open(self, name: str) -> BinaryIO:
        return self.file


def write_rec(path: Path, records: Sequence[tuple[list[float], bytes]]) -> None:
    framed = [frame_image(labels, image, key) for key, (labels, image) in enumerate(records)]
    path.write_bytes(b"".join(framed))
    at, lines = 0, []
    for key, record in enumerate(framed):
        lines.append(f"{key}\t{at}\n")
        at += len(record)
    path.with_suffix(".idx").write_text("".join(lines))


def write_tar(images: ImageSet, in_runs: bool) -> tuple[bytes, list[Outcome]]:
    writer: Any = TarWriter(
        Path("a.tar"), Classes.of(images.index.identities), {FORM: PLAIN, "cuts_suffixes": True}
    )
    sink: Any = Memory()
    n = len(images)
    found = images.read_runs(range(n)) if in_runs else images.read(range(n))
    outcomes = list(writer.write_runs(found, OutPart("a.tar", 0, n, n, True), sink))
    return sink.file.getvalue(), outcomes


@pytest.mark.parametrize("odd", ODD)
def test_runs_are_written_as_their_samples_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    monkeypatch.setattr(spans, "_WINDOW", 3 * len(JPEG))
    plain = [([float(i % 3)], image) for i, image in enumerate(PLAIN_IMAGES * 3)]
    write_rec(tmp_path / "a.rec", [*plain[:4], ODD[odd], *plain[4:]])
    with index_set(tmp_path / "a.rec", tmp_path / "index") as images:
        assert any(isinstance(each, SampleRun) for each in images.read_runs(range(len(images))))
        alone = [each for i in range(len(images)) for each in images.read([i])]
        assert list(read_singly(images.read_runs(range(len(images))))) == alone
        assert write_tar(images, in_runs=True) == write_tar(images, in_runs=False)


def test_sound_images_of_one_head_are_encoded_as_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is done for each sample but its two headers."""
    write_rec(tmp_path / "a.rec", [([float(i % 3)], PLAIN_IMAGES[i % 3]) for i in range(30)])
    with index_set(tmp_path / "a.rec", tmp_path / "index") as images:
        expected = write_tar(images, in_runs=False)
        monkeypatch.delattr(TarWriter, "encode")
        monkeypatch.setattr(TarWriter, "__abstractmethods__", frozenset())
        assert write_tar(images, in_runs=True) == expected
    (tmp_path / "a.tar").write_bytes(expected[0])
    samples = list(webdataset.read_samples(tmp_path / "a.tar"))
    assert [sample.key for sample in samples] == [f"{i % 3}/{i}" for i in range(30)]
    assert [sample.files["jpg"] for sample in samples] == PLAIN_IMAGES * 10


def test_images_in_another_order_come_in_that_order(tmp_path: Path) -> None:
    write_rec(tmp_path / "a.rec", [([1.0], JPEG[:-2] + b"%d" % i + JPEG[-2:]) for i in range(50)])
    order = random.Random(1).sample(range(50), 50)
    with index_set(tmp_path / "a.rec", tmp_path / "index") as images:
        found = list(read_singly(images.read_runs(order)))
    assert [each.key for each in found] == [f"1/{i}" for i in order]


@pytest.mark.parametrize("seed", range(20))
def test_spans_are_read_up_to_a_gap_or_a_window(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "_WINDOW", 4 * GAP)
    draw = random.Random(seed)
    offsets, ends, at = [], [], 0
    for _ in range(40):
        offsets.append(at)
        ends.append(at + draw.randrange(1, GAP))
        at = draw.choice([ends[-1], ends[-1] - 1, ends[-1] + draw.randrange(2 * GAP)])
        at = max(at, offsets[-1])

    def expected(i: int) -> int:
        for j in range(i + 1, len(offsets)):
            if offsets[j] > ends[j - 1] and offsets[j] - offsets[j - 1] > GAP:
                return ends[j - 1] - offsets[i]
            if offsets[j] - offsets[i] >= 4 * GAP:
                return offsets[j] - offsets[i]
        return ends[-1] - offsets[i]

    found = Spans(offsets, ends)
    assert [found.reach(i) for i in range(40)] == [expected(i) for i in range(40)]
