"""reencode-bin: order and labels kept, sound pairs kept, nothing ever run."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.jobs import reencode_bin
from faceprep.jobs.reencode_bin import ReencodeBin
from faceprep.sets.pairs_bin.container import load_pairs
from tests.bins import BINS, BROKEN, DAMAGED, FACES, VINTAGES, pixels, read, reencode, write_bin
from tests.command import faceprep
from tests.failures import read_failures
from tests.hostile_pickles import attacks
from tests.real import needs_data

# What comes out


@needs_data
def test_every_vintage_as_png_loses_nothing(tmp_path: Path) -> None:
    summary = reencode(
        *(BINS / f"{name}.bin" for name in VINTAGES), to=tmp_path / "out", format="png"
    )
    truth = json.loads((BINS / "truth.json").read_text())
    assert (
        summary.inputs == summary.ok == sum(truth[name]["pairs"] for name in VINTAGES)
        and summary.outputs == 5
    )
    for name in VINTAGES:
        images, same = read(tmp_path / "out" / f"{name}.bin")
        assert same == truth[name]["same"]
        assert all(image.startswith(b"\x89PNG") for image in images)
        assert [hashlib.sha256(pixels(image).tobytes()).hexdigest() for image in images] == truth[
            name
        ]["pixels_sha256"]


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


def test_same_bytes_whatever_the_workers_and_the_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [write_bin(tmp_path / f"{i}.bin", FACES[2 * i :]) for i in range(3)]
    reencode(*sources, to=tmp_path / "one")
    reencode(*sources, to=tmp_path / "three", workers=3)
    monkeypatch.setattr(reencode_bin, "_SHARD", 1)
    reencode(*sources, to=tmp_path / "small")
    for source in sources:
        assert (
            len({(tmp_path / to / source.name).read_bytes() for to in ("one", "three", "small")})
            == 1
        )


def test_limit_counts_pairs_over_the_sources(tmp_path: Path) -> None:
    sources = [write_bin(tmp_path / f"{i}.bin", FACES[:8]) for i in range(3)]
    assert reencode(*sources, to=tmp_path / "out", limit=6).inputs == 6
    assert [len(read(path)[1]) for path in sorted((tmp_path / "out").glob("*.bin"))] == [4, 2]


# What is broken


@needs_data
def test_a_damaged_image_costs_its_pair_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = DAMAGED
    with caplog.at_level(logging.WARNING, "faceprep"):
        summary = reencode(source, to=tmp_path / "out", format="png")
    assert (summary.inputs, summary.ok, summary.by_status) == (30, 29, {"ok": 29, "undecodable": 1})
    assert caplog.messages == [
        "one_image_damaged.bin: 1 of 30 pairs are left out; each is named in failures.csv"
    ]
    assert read_failures(tmp_path / "out" / ".faceprep") == [
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
    for new, old in zip(
        images, [before.images[2 * i + k] for i in kept for k in (0, 1)], strict=True
    ):
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
        (bomb(9000), "expected at most 67,108,864 pixels, found 9,000 × 9,000"),
        (bomb(60_000), "cannot hold 60,000 × 60,000 pixels"),
    ],
)
def test_what_cannot_be_decoded(tmp_path: Path, image: bytes, reason: str) -> None:
    summary = reencode(
        write_bin(tmp_path / "a.bin", [*FACES[:4], FACES[5], image]), to=tmp_path / "out"
    )
    assert summary.by_status == {"ok": 2, "undecodable": 1}
    assert reason in read_failures(tmp_path / "out" / ".faceprep")[0]["reason"]
    assert read(tmp_path / "out" / "a.bin")[1] == [True, False]


def test_both_images_of_a_pair_are_named(tmp_path: Path) -> None:
    reencode(write_bin(tmp_path / "a.bin", [*FACES[:2], b"one", b"two"]), to=tmp_path / "out")
    reason = read_failures(tmp_path / "out" / ".faceprep")[0]["reason"]
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
    named = {row["input"]: row["reason"] for row in read_failures(tmp_path / "out")}
    assert set(named) == {path.name for path in bad}
    assert all(named[path.name].startswith(f"{path}: ") for path in bad)


@needs_data
@pytest.mark.parametrize(
    "path", sorted(set(BROKEN.glob("*.bin")) - {DAMAGED}), ids=lambda path: path.stem
)
def test_a_broken_set_alone_is_refused_and_leaves_nothing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        reencode(path, to=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# Where it goes


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"out_dir": Path("out"), "in_place": True},
        {"in_place": True, "quality": 0},
        {"in_place": True, "quality": 101},
    ],
)
def test_wrong_usage(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        ReencodeBin(**options)


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    sources = [write_bin(tmp_path / "a.bin"), write_bin(tmp_path / "b" / "a.bin")]
    with pytest.raises(OutputError, match="two sources have the name 'a.bin'"):
        reencode(*sources, to=tmp_path / "out")
    with pytest.raises(OptionError, match="--in-place takes the files of one folder at a time"):
        reencode(*sources)


def test_the_source_is_never_written_over(tmp_path: Path) -> None:
    source = write_bin(tmp_path / "a.bin")
    before = source.read_bytes()
    with pytest.raises(OutputError, match="the output would overwrite the input"):
        reencode(source, to=tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.bin").symlink_to(source)
    for overwrite in (False, True):
        with pytest.raises(OutputError):
            reencode(source, to=tmp_path / "out", overwrite=overwrite)
    assert source.read_bytes() == before


# The command


def told(*arguments: object) -> tuple[int, str, str]:
    done = faceprep(*arguments)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_exit_codes_and_lines(tmp_path: Path) -> None:
    good, bad = write_bin(tmp_path / "good.bin"), tmp_path / "bad.bin"
    bad.write_bytes(attacks(tmp_path / "canary")["eval"])
    assert told("reencode-bin", good)[::2] == (
        2,
        "faceprep: invalid place of the output: expected either --out-dir DIR or --in-place\n",
    )
    assert told("reencode-bin", good, "--in-place", "--out-dir", tmp_path / "out")[0] == 2
    assert told("reencode-bin", good, "--in-place", "--format", "gif")[0] == 2
    status, _, error = told("reencode-bin", bad, "--out-dir", tmp_path / "out")
    assert (
        status == 1
        and error.startswith(f"faceprep: {bad}: not a sound pickle")
        and error.count("\n") == 1
    )
    assert not (tmp_path / "out").exists()
    status, printed, error = told(
        "reencode-bin", good, bad, "--out-dir", tmp_path / "out", "--json"
    )
    assert status == 3 and f"faceprep: bad_bin: {bad}: not a sound pickle" in error
    summary = json.loads(printed)
    assert (summary["inputs"], summary["ok"], summary["failed"], summary["outputs"]) == (6, 6, 1, 1)
    assert told("reencode-bin", good, "--in-place")[0] == 0
    assert (tmp_path / "good.bin").read_bytes() == (tmp_path / "out" / "good.bin").read_bytes()
    assert not (tmp_path / "canary").exists()


def test_one_after_the_other_into_the_same_folder(tmp_path: Path) -> None:
    """Run twice in a loop, as a shell would; the second time there is nothing left to do."""
    sources = [
        write_bin(tmp_path / f"{name}.bin", [*FACES[:2], name.encode(), b"two"])
        for name in ("a", "b")
    ]
    for _ in range(2):
        for source in sources:
            reencode(source, to=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.bin")) == ["a.bin", "b.bin"]
    assert [row["input"] for row in read_failures(tmp_path / "out" / ".faceprep")] == [
        "a.bin pair 1",
        "b.bin pair 1",
    ]
    assert [row["input"] for row in read_failures(tmp_path / "out" / ".faceprep" / "a.bin")] == [
        "a.bin pair 1"
    ]
