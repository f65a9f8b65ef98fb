"""bin2folder: untouched bytes, a table of the pairs, and a round trip."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from faceprep.core.errors import SourceError
from faceprep.core.types import Request, Summary
from faceprep.jobs import bin2folder
from faceprep.jobs.bin2folder import Bin2Folder
from faceprep.jobs.make_bin import MakeBin
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.sets.pairs_bin.container import load_pairs
from tests.bins import BINS, FACES, VINTAGES, write_bin
from tests.failures import read_failures
from tests.fakes import results
from tests.hostile_pickles import attacks
from tests.real import needs_data


def unpack(source: Path, target: Path, workers: int = 0, **options: Any) -> Summary:
    runner = ProcessRunner(workers) if workers else SerialRunner()
    return run_job(Bin2Folder(), Request((source,), target, **options), runner)


def table(target: Path) -> list[dict[str, str]]:
    with (target / "pairs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@needs_data
@pytest.mark.parametrize("name", VINTAGES)
def test_every_vintage_and_back(tmp_path: Path, name: str) -> None:
    pairs = load_pairs(BINS / f"{name}.bin")
    summary = unpack(BINS / f"{name}.bin", tmp_path / "out")
    assert summary.inputs == summary.ok == len(pairs) and summary.outputs == 2 * len(pairs) + 1
    rows = table(tmp_path / "out")
    assert [row["same"] for row in rows] == [str(int(same)) for same in pairs.same]
    images = [
        (tmp_path / "out" / row[column]).read_bytes()
        for row in rows
        for column in ("first", "second")
    ]
    assert images == [bytes(image) for image in pairs.images]
    job = MakeBin(pairs_file=tmp_path / "out" / "pairs.csv")
    run_job(job, Request((tmp_path / "out",), tmp_path / "back.bin"), SerialRunner())
    back = load_pairs(tmp_path / "back.bin")
    assert [bytes(image) for image in back.images] == images and back.same == list(pairs.same)


def test_names_say_pair_and_place_and_what_the_bytes_are(tmp_path: Path) -> None:
    unpack(write_bin(tmp_path / "a.bin", FACES[:4]), tmp_path / "out")
    assert (tmp_path / "out" / "pairs.csv").read_text() == (
        "pair,first,second,same\n"
        "0,images/000000_0.jpg,images/000000_1.png,1\n"
        "1,images/000001_0.png,images/000001_1.jpg,0\n"
    )
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == [
        *("000000_0.jpg", "000000_1.png", "000001_0.png", "000001_1.jpg")
    ]


def test_same_bytes_whatever_the_workers_and_the_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_bin(tmp_path / "a.bin", FACES)
    unpack(source, tmp_path / "one")
    monkeypatch.setattr(bin2folder, "_SHARD", 2)
    unpack(source, tmp_path / "small", workers=2)
    assert results(tmp_path / "one") == results(tmp_path / "small")


def test_limit(tmp_path: Path) -> None:
    assert unpack(write_bin(tmp_path / "a.bin", FACES), tmp_path / "out", limit=2).inputs == 2
    assert len(table(tmp_path / "out")) == 2


@pytest.mark.parametrize("image", [b"", b"hello", FACES[0][:900], FACES[1][:900]])
def test_a_damaged_image_costs_its_pair_and_no_other(tmp_path: Path, image: bytes) -> None:
    summary = unpack(
        write_bin(tmp_path / "a.bin", [*FACES[:3], image, *FACES[4:6]]), tmp_path / "out"
    )
    assert summary.by_status == {"ok": 2, "undecodable": 1} and summary.outputs == 5
    assert [row["pair"] for row in table(tmp_path / "out")] == ["0", "2"]
    (failure,) = read_failures(tmp_path / "out")
    assert failure["input"] == "pair 1"
    assert failure["reason"].startswith("image 3 (the second of pair 1) at byte ")


@pytest.mark.parametrize("name", attacks(Path("canary")))
def test_attacks(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.bin").write_bytes(attacks(tmp_path / "canary")[name])
    with pytest.raises(SourceError, match="a.bin: not a sound pickle"):
        unpack(tmp_path / "a.bin", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
