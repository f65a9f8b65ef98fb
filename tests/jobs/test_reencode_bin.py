"""reencode-bin: order and labels kept, sound pairs kept, originals never lost, nothing ever run."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from faceprep.errors import FaceprepError, OptionError, OutputError, ResumeError, SourceError
from faceprep.formats.pairs_bin import load_pairs
from faceprep.jobs import reencode_bin
from faceprep.jobs.reencode_bin import ReencodeBin
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.synthetic import encode_face
from faceprep.types import Request, Summary
from tests.fakes import before_changes, failing
from tests.hostile_pickles import attacks
from tests.real import DATA, needs_data

BINS = DATA / "bins"
BROKEN = BINS / "broken"
DAMAGED = BROKEN / "one_image_damaged.bin"
VINTAGES = ["list_container", "numpy_column", "numpy_uint8", "py2_byte_strings", "py3_bytes"]
FACES = [encode_face(i % 4, i, ".png" if i % 3 else ".jpg") for i in range(12)]


def write_bin(path: Path, images: Sequence[Any] = FACES, same: Sequence[bool] | None = None) -> Path:
    labels = [i % 2 == 0 for i in range(len(images) // 2)] if same is None else list(same)
    path.write_bytes(pickle.dumps((list(images), labels)))
    return path


def reencode(*sources: Path, to: Path | None = None, workers: int = 0, **options: Any) -> Summary:
    asked = {name: options.pop(name) for name in ("limit", "overwrite") if name in options}
    job = ReencodeBin(out_dir=to, in_place=to is None, **options)
    runner = ProcessRunner(workers) if workers else SerialRunner()
    return run_job(job, Request(sources, job.output_of(sources), **asked), runner)


def read(path: Path) -> tuple[list[bytes], list[bool]]:
    """As a trainer reads it."""
    with path.open("rb") as file:
        images, same = pickle.load(file, encoding="bytes")
    assert {type(image) for image in images} <= {bytes} and {type(each) for each in same} <= {bool}
    return images, same


def pixels(image: Any) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)


def failures(state: Path) -> list[dict[str, str]]:
    with (state / "failures.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# What comes out


@needs_data
def test_every_vintage_as_png_loses_nothing(tmp_path: Path) -> None:
    summary = reencode(*(BINS / f"{name}.bin" for name in VINTAGES), to=tmp_path / "out", format="png")
    truth = json.loads((BINS / "truth.json").read_text())
    assert summary.inputs == summary.ok == sum(truth[name]["pairs"] for name in VINTAGES) and summary.outputs == 5
    for name in VINTAGES:
        images, same = read(tmp_path / "out" / f"{name}.bin")
        assert same == truth[name]["same"]
        assert all(image.startswith(b"\x89PNG") for image in images)
        assert [hashlib.sha256(pixels(image).tobytes()).hexdigest() for image in images] == truth[name]["pixels_sha256"]


@needs_data
@pytest.mark.parametrize("name", VINTAGES)
def test_every_vintage_as_jpg_is_near(tmp_path: Path, name: str) -> None:
    reencode(BINS / f"{name}.bin", to=tmp_path / "out")
    images, same = read(tmp_path / "out" / f"{name}.bin")
    before = load_pairs(BINS / f"{name}.bin")
    assert same == list(before.same) and len(images) == len(before.images)
    for new, old in zip(images, before.images, strict=True):
        assert new.startswith(b"\xff\xd8\xff") and pixels(new).shape == pixels(old).shape
        assert np.abs(pixels(new).astype(int) - pixels(old)).mean() < 3


def test_quality(tmp_path: Path) -> None:
    source = write_bin(tmp_path / "a.bin")
    sizes = []
    for quality in (10, 95):
        reencode(source, to=tmp_path / str(quality), quality=quality)
        sizes.append((tmp_path / str(quality) / "a.bin").stat().st_size)
    assert sizes[0] * 2 < sizes[1]


def test_keep_leaves_what_has_the_format_already(tmp_path: Path) -> None:
    reencode(write_bin(tmp_path / "a.bin"), to=tmp_path / "out", keep=True)
    images = read(tmp_path / "out" / "a.bin")[0]
    for new, old in zip(images, FACES, strict=True):
        assert (new == old) == old.startswith(b"\xff\xd8") and new.startswith(b"\xff\xd8")


def test_same_bytes_whatever_the_workers_and_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [write_bin(tmp_path / f"{i}.bin", FACES[2 * i :]) for i in range(3)]
    reencode(*sources, to=tmp_path / "one")
    reencode(*sources, to=tmp_path / "three", workers=3)
    monkeypatch.setattr(reencode_bin, "_SHARD", 1)
    reencode(*sources, to=tmp_path / "small")
    for source in sources:
        assert len({(tmp_path / to / source.name).read_bytes() for to in ("one", "three", "small")}) == 1


def test_limit_counts_pairs_over_the_sources(tmp_path: Path) -> None:
    sources = [write_bin(tmp_path / f"{i}.bin", FACES[:8]) for i in range(3)]
    assert reencode(*sources, to=tmp_path / "out", limit=6).inputs == 6
    assert [len(read(path)[1]) for path in sorted((tmp_path / "out").glob("*.bin"))] == [4, 2]


# What is broken


@needs_data
def test_a_damaged_image_costs_its_pair_and_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = DAMAGED
    with caplog.at_level(logging.WARNING, "faceprep"):
        summary = reencode(source, to=tmp_path / "out", format="png")
    assert (summary.inputs, summary.ok, summary.by_status) == (30, 29, {"ok": 29, "undecodable": 1})
    assert caplog.messages == ["one_image_damaged.bin: 1 of 30 pairs are left out; each is named in failures.csv"]
    assert failures(tmp_path / "out" / ".faceprep") == [
        {
            "input": "one_image_damaged.bin pair 3",
            "status": "undecodable",
            "reason": "image 7 (the second of pair 3) at byte 158162: not an image: it begins with "
            "89 50 4e 47 78 78 78 78; the pair is left out",
        }
    ]
    before, (images, same) = load_pairs(source), read(tmp_path / "out" / source.name)
    kept = [i for i in range(30) if i != 3]
    assert same == [before.same[i] for i in kept]
    for new, old in zip(images, [before.images[2 * i + k] for i in kept for k in (0, 1)], strict=True):
        assert (pixels(new) == pixels(old)).all()


def bomb(side: int) -> bytes:
    """A PNG that says it is `side` pixels wide and high."""
    return FACES[1][:16] + side.to_bytes(4, "big") * 2 + FACES[1][24:]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "no bytes at all"),
        (b"hello", "not an image: it begins with 68 65 6c 6c 6f"),
        (FACES[0][:900], "JPEG without its end marker"),
        (FACES[0][:200], "JPEG of 200 bytes ends before its scan"),
        (FACES[1][:900], "PNG without its IEND chunk"),
        (b"BM" + bytes(80), "OpenCV cannot decode it"),
        (bomb(60_000), "expected at most 67,108,864 pixels, found 60,000 × 60,000"),
    ],
)
def test_what_cannot_be_decoded(tmp_path: Path, image: bytes, reason: str) -> None:
    summary = reencode(write_bin(tmp_path / "a.bin", [*FACES[:4], FACES[5], image]), to=tmp_path / "out")
    assert summary.by_status == {"ok": 2, "undecodable": 1}
    assert reason in failures(tmp_path / "out" / ".faceprep")[0]["reason"]
    assert read(tmp_path / "out" / "a.bin")[1] == [True, False]


def test_both_images_of_a_pair_are_named(tmp_path: Path) -> None:
    reencode(write_bin(tmp_path / "a.bin", [*FACES[:2], b"one", b"two"]), to=tmp_path / "out")
    reason = failures(tmp_path / "out" / ".faceprep")[0]["reason"]
    assert "image 2 (the first of pair 1)" in reason and "image 3 (the second of pair 1)" in reason


def test_a_set_without_one_sound_pair_is_not_written(tmp_path: Path) -> None:
    sources = [write_bin(tmp_path / "a.bin", [b"one", b"two"]), write_bin(tmp_path / "b.bin")]
    summary = reencode(*sources, to=tmp_path / "out")
    assert summary.by_status == {"ok": 6, "undecodable": 1} and summary.outputs == 1
    assert [path.name for path in (tmp_path / "out").glob("*.bin")] == ["b.bin"]


def test_a_set_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    bad = []
    for number, (name, data) in enumerate(attacks(canary).items()):
        bad.append(tmp_path / f"{number}.bin")
        bad[-1].write_bytes(data)
        assert name
    sources = [write_bin(tmp_path / "first.bin"), *bad, write_bin(tmp_path / "last.bin")]
    summary = reencode(*sources, to=tmp_path / "out", workers=2)
    assert summary.by_status == {"bad_bin": len(bad), "ok": 12} and summary.outputs == 2
    assert not canary.exists()
    named = {row["input"]: row["reason"] for row in failures(tmp_path / "out" / ".faceprep")}
    assert set(named) == {path.name for path in bad}
    assert all(named[path.name].startswith(f"{path}: ") for path in bad)


@needs_data
@pytest.mark.parametrize("path", sorted(set(BROKEN.glob("*.bin")) - {DAMAGED}), ids=lambda path: path.stem)
def test_a_broken_set_alone_is_refused_and_leaves_nothing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        reencode(path, to=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# Where it goes


@pytest.mark.parametrize(
    "options", [{}, {"out_dir": Path("out"), "in_place": True}, {"in_place": True, "quality": 0},
                {"in_place": True, "quality": 101}]
)  # fmt: skip
def test_wrong_usage(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        ReencodeBin(**options)


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    sources = [write_bin(tmp_path / "a.bin"), write_bin(tmp_path / "b" / "a.bin")]
    with pytest.raises(OutputError, match="two sources want the name 'a.bin'"):
        reencode(*sources, to=tmp_path / "out")
    with pytest.raises(OptionError, match="--in-place takes the files of one folder at a time"):
        reencode(*sources)


def test_the_source_is_never_written_over(tmp_path: Path) -> None:
    source = write_bin(tmp_path / "a.bin")
    before = source.read_bytes()
    with pytest.raises(OutputError, match="the output would lie over the input"):
        reencode(source, to=tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.bin").symlink_to(source)
    for overwrite in (False, True):
        with pytest.raises(OutputError):
            reencode(source, to=tmp_path / "out", overwrite=overwrite)
    assert source.read_bytes() == before


# In place


def test_in_place_keeps_the_original(tmp_path: Path) -> None:
    sources = [write_bin(tmp_path / name) for name in ("a.bin", "b.bin")]
    before = [source.read_bytes() for source in sources]
    reencode(*sources, to=tmp_path / "out", format="png")
    summary = reencode(*sources, format="png")
    assert summary.outputs == 2
    for source, original in zip(sources, before, strict=True):
        assert Path(f"{source}.bak").read_bytes() == original
        assert source.read_bytes() == (tmp_path / "out" / source.name).read_bytes()
    assert reencode(*sources, format="png").ok == 12, "again: nothing is left to do"


def test_in_place_one_file_after_the_other(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        assert reencode(write_bin(tmp_path / name)).ok == 6
    assert sorted(path.name for path in tmp_path.glob("*.bin*")) == ["a.bin", "a.bin.bak", "b.bin", "b.bin.bak"]


def test_in_place_again_begins_from_the_original(tmp_path: Path) -> None:
    source = write_bin(tmp_path / "a.bin")
    original = source.read_bytes()
    reencode(source, to=tmp_path / "out", format="png")
    reencode(source, quality=5)
    with pytest.raises(ResumeError, match="--format 'jpg' then, 'png' now"):
        reencode(source, format="png")
    reencode(source, format="png", overwrite=True)
    assert source.read_bytes() == (tmp_path / "out" / "a.bin").read_bytes()
    assert (tmp_path / "a.bin.bak").read_bytes() == original


def test_a_bak_of_something_else_is_left_alone(tmp_path: Path) -> None:
    source = write_bin(tmp_path / "a.bin")
    (tmp_path / "a.bin.bak").write_bytes(b"mine")
    before = source.read_bytes()
    with pytest.raises(OutputError, match=r"a.bin.bak: exists, and is not the original of a.bin. Move it elsewhere."):
        reencode(source)
    assert source.read_bytes() == before and (tmp_path / "a.bin.bak").read_bytes() == b"mine"


def test_in_place_leaves_what_cannot_be_read(tmp_path: Path) -> None:
    sources = [write_bin(tmp_path / "a.bin"), tmp_path / "b.bin", write_bin(tmp_path / "c.bin", [b"one", b"two"])]
    sources[1].write_bytes(b"cos\nsystem\n.")
    before = [source.read_bytes() for source in sources]
    assert reencode(*sources).by_status == {"bad_bin": 1, "ok": 6, "undecodable": 1}
    assert [source.read_bytes() for source in sources[1:]] == before[1:]
    assert [path.name for path in tmp_path.glob("*.bak")] == ["a.bin.bak"]


@pytest.fixture
def in_place(tmp_path: Path) -> tuple[Path, bytes, bytes]:
    """(source, its bytes, the bytes that it is to have)"""
    source = write_bin(tmp_path / "a.bin", FACES[:6])
    reencode(source, to=tmp_path / "out")
    return source, source.read_bytes(), (tmp_path / "out" / "a.bin").read_bytes()


def check_nothing_is_lost(source: Path, original: bytes, new: bytes) -> None:
    kept = Path(f"{source}.bak")
    assert source.read_bytes() in (original, new)
    assert not kept.exists() or kept.read_bytes() == original
    assert source.read_bytes() == original or kept.exists()


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("overwrite", [False, True])
def test_in_place_killed_at_any_change_of_the_disk(
    in_place: tuple[Path, bytes, bytes], monkeypatch: pytest.MonkeyPatch, links: bool, overwrite: bool
) -> None:
    source, original, new = in_place
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    if overwrite:
        reencode(source, quality=5)
    killed, at = True, 0
    while killed:
        at += 1
        killed = run_and_kill(source, at, overwrite)
        check_now = source.read_bytes()
        assert check_now in (original, new) or overwrite
        kept = Path(f"{source}.bak")
        assert not kept.exists() or kept.read_bytes() == original
        assert check_now == original or kept.exists()
    assert at > 10
    assert source.read_bytes() == new


def no_links(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, "no links here")


def run_and_kill(source: Path, at: int, overwrite: bool) -> bool:
    """Whether a run of its own process came to its change `at` of the disk, where it died."""
    child = os.fork()
    if child == 0:
        try:
            with before_changes(lambda name, number: os._exit(9) if number == at else None):
                reencode(source, overwrite=overwrite)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_in_place_with_a_disk_that_is_full_or_broken(in_place: tuple[Path, bytes, bytes], error: int) -> None:
    source, original, new = in_place
    at = failed = 0
    while True:
        at += 1
        try:
            with before_changes(failing(error, at)):
                reencode(source)
            break
        except FaceprepError:
            failed += 1
            check_nothing_is_lost(source, original, new)
    assert failed > 10
    reencode(source)
    assert source.read_bytes() == new and Path(f"{source}.bak").read_bytes() == original


# The command


def faceprep(*arguments: object) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "faceprep", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_exit_codes_and_lines(tmp_path: Path) -> None:
    good, bad = write_bin(tmp_path / "good.bin"), tmp_path / "bad.bin"
    bad.write_bytes(attacks(tmp_path / "canary")["eval"])
    assert faceprep("reencode-bin", good)[::2] == (
        2,
        "faceprep: where should the output go?: expected either --out-dir DIR or --in-place\n",
    )
    assert faceprep("reencode-bin", good, "--in-place", "--out-dir", tmp_path / "out")[0] == 2
    assert faceprep("reencode-bin", good, "--in-place", "--format", "gif")[0] == 2
    status, _, error = faceprep("reencode-bin", bad, "--out-dir", tmp_path / "out")
    assert status == 1 and error.startswith(f"faceprep: {bad}: not a sound pickle") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    status, printed, error = faceprep("reencode-bin", good, bad, "--out-dir", tmp_path / "out", "--json")
    assert status == 3 and f"faceprep: bad_bin: {bad}: not a sound pickle" in error
    summary = json.loads(printed)
    assert (summary["inputs"], summary["ok"], summary["failed"], summary["outputs"]) == (7, 6, 1, 1)
    assert faceprep("reencode-bin", good, "--in-place")[0] == 0
    assert (tmp_path / "good.bin").read_bytes() == (tmp_path / "out" / "good.bin").read_bytes()
    assert not (tmp_path / "canary").exists()


def test_one_after_the_other_into_the_same_folder(tmp_path: Path) -> None:
    """As in a shell's loop, twice: the second time there is nothing left to do."""
    sources = [write_bin(tmp_path / f"{name}.bin", [*FACES[:2], name.encode(), b"two"]) for name in ("a", "b")]
    for _ in range(2):
        for source in sources:
            reencode(source, to=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.bin")) == ["a.bin", "b.bin"]
    assert [row["input"] for row in failures(tmp_path / "out" / ".faceprep")] == ["a.bin pair 1", "b.bin pair 1"]
    assert [row["input"] for row in failures(tmp_path / "out" / ".faceprep" / "a.bin")] == ["a.bin pair 1"]
