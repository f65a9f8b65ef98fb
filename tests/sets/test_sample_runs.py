"""Runs of samples: read and written, they are the same images as one by one."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from faceprep.core.types import Outcome
from faceprep.sets import webdataset
from faceprep.sets.class_numbers import NumberCheck
from faceprep.sets.containers import index_set
from faceprep.sets.image_set import ImageSet, Sample, SampleRun, read_singly
from faceprep.sets.recordio import spans
from faceprep.sets.recordio.framing import frame_image
from faceprep.sets.recordio.records import MAGIC_BYTES
from faceprep.sets.recordio.set_writer import RecWriter
from faceprep.sets.recordio.spans import GAP, Spans
from faceprep.sets.set_writer import Classes, OutPart, SetNames, SetWriter
from faceprep.sets.stream_writers import TarWriter, TfrecordWriter
from faceprep.sets.tar import image_set as tar_set
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
    """A sink whose files stay in memory, by name or by suffix."""

    def __init__(self) -> None:
        self.files: dict[str, io.BytesIO] = {}

    def open(self, name: str) -> BinaryIO:
        return self.files.setdefault(name, io.BytesIO())

    open_part = open


def write_rec(path: Path, records: Sequence[tuple[list[float], bytes]]) -> None:
    framed = [frame_image(labels, image, key) for key, (labels, image) in enumerate(records)]
    path.write_bytes(b"".join(framed))
    at, lines = 0, []
    for key, record in enumerate(framed):
        lines.append(f"{key}\t{at}\n")
        at += len(record)
    path.with_suffix(".idx").write_text("".join(lines))


def write(
    images: ImageSet, writer: type[SetWriter], in_runs: bool
) -> tuple[dict[str, bytes], list[Outcome]]:
    """Write the images as one part; return the bytes of each file."""
    classes = Classes.of(images.index.identities)
    own: SetWriter = writer(Path("a"), classes, writer.choose_settings(SetNames.of(images, writer)))
    sink: Any = Memory()
    n = len(images)
    images.keeps_labels = writer.kind == images.kind
    found = images.read_runs(range(n)) if in_runs else images.read(range(n))
    outcomes = list(own.write(iter(found), OutPart("a", 0, n, n, True), sink))
    return {name: file.getvalue() for name, file in sink.files.items()}, outcomes


@pytest.mark.parametrize("odd", ODD)
def test_runs_are_written_as_their_samples_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    monkeypatch.setattr(spans, "_WINDOW", 3 * len(JPEG))
    plain = [([float(i % 3)], image) for i, image in enumerate(PLAIN_IMAGES * 3)]
    write_rec(tmp_path / "a.rec", [*plain[:4], ODD[odd], *plain[4:]])
    with index_set(tmp_path / "a.rec", tmp_path / "index") as images:
        _check(images)


PAIR = {"jpg": JPEG, "cls": b"2"}
ODD_SAMPLES: dict[str, list[tuple[str, bytes]]] = {
    "another format": [("3/x.png", PNG), ("3/x.cls", b"2")],
    "cut off": [("3/x.jpg", JPEG[:-2]), ("3/x.cls", b"2")],
    "not an image": [("3/x.jpg", b"text"), ("3/x.cls", b"2")],
    "no bytes": [("3/x.jpg", b""), ("3/x.cls", b"2")],
    "no label": [("3/x.jpg", JPEG)],
    "another class": [("3/x.jpg", JPEG), ("3/x.cls", b"7")],
    "a class as no writer puts it": [("3/x.jpg", JPEG), ("3/x.cls", b" 2\n")],
    "a name for a class": [("3/x.jpg", JPEG), ("3/x.cls", b"ann")],
    "an empty class": [("3/x.jpg", JPEG), ("3/x.cls", b"")],
    "two labels": [("3/x.jpg", JPEG), ("3/x.json", b'{"labels": [2, 4]}')],
    "a third file": [("3/x.jpg", JPEG), ("3/x.cls", b"2"), ("3/x.txt", b"text")],
    "the class first": [("3/x.cls", b"2"), ("3/x.jpg", JPEG)],
    "two images": [("3/x.1.jpg", JPEG), ("3/x.2.jpg", OTHER), ("3/x.cls", b"2")],
    "no identity": [("x.jpg", JPEG)],
    "a class for an identity": [("x.jpg", JPEG), ("x.cls", b"3")],
    "a name with a dot": [("3/x%2Ey.jpg", JPEG), ("3/x%2Ey.cls", b"2")],
    "a folder with a dot": [("3.b/x.jpg", JPEG), ("3.b/x.cls", b"2")],
    "the same key again": [("3/2.jpg", JPEG), ("3/2.cls", b"2")],
    "a long name": [(f"3/{'y' * 60}/{'x' * 60}.{end}", data) for end, data in PAIR.items()],
    "the magic inside": [
        ("3/x.jpg", JPEG[:-2] + bytes((2 - len(JPEG)) % 4) + MAGIC_BYTES + JPEG[-2:]),
        ("3/x.cls", b"2"),
    ],
}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("odd", ODD_SAMPLES)
def test_runs_from_a_tar_are_written_as_their_samples_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str, format: int
) -> None:
    monkeypatch.setattr(tar_set, "_AHEAD", 3 * 512 + 3 * len(JPEG))
    members = list[tuple[str, bytes]]()
    for i, image in enumerate(PLAIN_IMAGES * 3):
        if i == 4:
            members += ODD_SAMPLES[odd]
        members += [(f"{i % 3}/{i}.jpg", image), (f"{i % 3}/{i}.cls", b"%d" % (i % 3))]
    with tarfile.open(tmp_path / "a.tar", "w", format=format) as file:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), 1.5 if format == tarfile.PAX_FORMAT else 1
            file.addfile(entry, io.BytesIO(data))
    with index_set(tmp_path / "a.tar", tmp_path / "index") as images:
        _check(images)


def _check(images: ImageSet) -> None:
    """Check that runs hold the images of the set, and that each writer writes them the same."""
    found = list(images.read_runs(range(len(images))))
    assert any(isinstance(each, SampleRun) for each in found)
    alone = [each for i in range(len(images)) for each in images.read([i])]
    assert list(read_singly(found)) == alone
    for each in found:
        if isinstance(each, SampleRun) and each.labels:
            assert [(label,) for label in each.labels] == [
                sample.labels for sample in each.read_singly() if isinstance(sample, Sample)
            ]
    for writer in (TarWriter, RecWriter, TfrecordWriter):
        assert write(images, writer, in_runs=True) == write(images, writer, in_runs=False)


@pytest.mark.parametrize(
    ("suffix", "writer"), [(".rec", TarWriter), (".tar", TarWriter), (".tar", RecWriter)]
)
def test_sound_images_of_one_head_are_written_as_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, writer: type[SetWriter]
) -> None:
    """Nothing is checked or encoded singly."""
    path = tmp_path / f"a{suffix}"
    write_rec(tmp_path / "a.rec", [([float(i % 3)], PLAIN_IMAGES[i % 3]) for i in range(30)])
    if suffix == ".tar":
        with index_set(tmp_path / "a.rec", tmp_path / "rec-index") as images:
            written, _ = write(images, TarWriter, in_runs=False)
            path.write_bytes(written["a"])
        samples = list(webdataset.read_samples(path))
        assert [sample.key for sample in samples] == [f"{i % 3}/{i}" for i in range(30)]
        assert [sample.files["jpg"] for sample in samples] == PLAIN_IMAGES * 10
    with index_set(path, tmp_path / "index") as images:
        expected = write(images, writer, in_runs=False)
        monkeypatch.delattr("faceprep.sets.set_writer.check_sample")
        assert write(images, writer, in_runs=True) == expected


def test_a_changed_class_number_in_a_run_is_counted(tmp_path: Path) -> None:
    samples = [
        webdataset.sample_bytes(f"{'abc'[i % 3]}/{i}", JPEG, ".jpg", i % 3) for i in range(9)
    ]
    (tmp_path / "a.tar").write_bytes(b"".join(samples) + webdataset.END)
    with index_set(tmp_path / "a.tar", tmp_path / "index") as images:
        found = list(images.read_runs(range(9)))
        assert all(isinstance(each, SampleRun) for each in found)
        same, other = NumberCheck(Classes.of("abc")), NumberCheck(Classes.in_order("bac"))
        assert list(same.watch(found)) == list(other.watch(found)) == found
    assert (same.n, other.n) == (0, 6)


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
