"""The ledger is read back as the engine wrote it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from faceprep import Rec2Folder, Report, Request, Score, SerialRunner, run_job
from faceprep.pages.report.run_state import find_runs, is_work_page
from faceprep.run.ledger import Ledger
from faceprep.run.places import Places
from tests.bins import reencode, write_bin
from tests.failures import failure_lines
from tests.fakes import opened


def test_pages_are_those_of_the_run(rec_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_job(Rec2Folder(), Request((rec_set,), out), SerialRunner())
    (run,) = find_runs(out)
    assert run.command == "rec2folder"
    pages = list(run.pages())
    opened(out)
    theirs = Ledger(Places(out))
    for page in pages:
        assert list(theirs.outcomes(page.shard_id)) == list(page.outcomes())
        assert [(out / name).stat().st_size for name in page.outputs] == list(page.sizes)
    assert sum(map(is_work_page, pages)) == run.record["n_shards"]


def test_failures_are_those_of_the_list(face_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "crops"
    (source / "a,b").mkdir(parents=True)
    (source / "a,b" / 'x"y.png').write_bytes(b"no image")
    (source / "a,b" / "line\nbreak.png").write_bytes(b"no image")
    run_job(Score(), Request((source,), tmp_path / "t.parquet"), SerialRunner())
    (run,) = find_runs(tmp_path / "t.parquet")
    lines = failure_lines(tmp_path / "t.parquet")
    assert [tuple(line) for line in lines] == list(run.failures())
    assert Counter(status for _, status, _ in run.failures()) == {"undecodable": 2}


def test_several_runs_in_one_folder(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        write_bin(tmp_path / name)
        reencode(tmp_path / name, to=tmp_path / "out")
    found = find_runs(tmp_path / "out")
    assert [run.command for run in found] == ["reencode-bin"] * 2
    made = Report().look(tmp_path / "out")
    numbers = json.loads(made.numbers_path.read_bytes())
    assert [Path(run["sources"][0]).name for run in numbers["run"]] == ["a.bin", "b.bin"]
    n_inputs = sum(run["inputs"] for run in numbers["run"])
    expected = f"2 runs: {n_inputs:,} of {n_inputs:,} inputs are ok; none failed."
    assert numbers["answer"] == {"text": expected, "finished": True}


@pytest.mark.parametrize(
    "changed",
    [
        {"options": True},
        {"options": {"layout": 3, "limit": None}},
        {"sources": 3},
        {"sources": [None]},
        {"id": []},
        {"n_shards": -1},
        {"n_shards": 10**400},
        {"inputs": [[]]},
        {"files": "x"},
        {"finished": {}},
        {"faceprep": None},
    ],
)
def test_a_record_with_values_of_other_types(
    changed: dict[str, object], rec_set: Path, tmp_path: Path
) -> None:
    """It is as a damaged one: the set of a stranger may come with any."""
    out = tmp_path / "out"
    run_job(Rec2Folder(), Request((rec_set,), out), SerialRunner())
    record = opened(out) / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | changed))
    Report().look(out)


def test_no_run(tmp_path: Path) -> None:
    assert find_runs(tmp_path) == []
    assert find_runs(tmp_path / "none.parquet") == []
