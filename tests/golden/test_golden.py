"""The golden run finds planted differences and finds none where there are none."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.golden import cases, cases_wrong
from tests.golden.compare import Difference, compare_case
from tests.golden.drive import Checkout, WrongCheckout, run_case
from tests.golden.intended import TABLE, find_reason
from tests.golden.normalize import Names
from tests.golden.run import judge, main
from tests.golden.snapshot import take_snapshot
from tests.golden.steps import case, edit

NAMES = Names({"WORK": Path("/tmp/somewhere")})
FAKE = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[2])
out.mkdir(exist_ok=True)
(out / "a.jpg").write_bytes(b"{pixels}")
(out / ".faceprep").mkdir(exist_ok=True)
print(json.dumps({{"command": sys.argv[1], "ok": {ok}, "seconds": {seconds}}}))
print("told in {seconds} s by", __file__, file=sys.stderr)
sys.exit({status})
"""


def fake_checkout(
    root: Path, label: str, pixels: str = "x", ok: int = 1, seconds: float = 0.5, status: int = 0
) -> Checkout:
    """Write a package that behaves like a small command line."""
    package = root / label / "faceprep"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    code = FAKE.format(pixels=pixels, ok=ok, seconds=seconds, status=status)
    (package / "__main__.py").write_text(code)
    work = root / "work"
    work.mkdir(exist_ok=True)
    return Checkout(label, package.parent, work)


def find(root: Path, **planted: Any) -> list[Difference]:
    """Return the differences between a package and one with a planted change."""
    old, new = fake_checkout(root, "old"), fake_checkout(root, "new", **planted)
    chosen = case("group/name", "run out", "run other")
    return compare_case(chosen.name, run_case(chosen, old), run_case(chosen, new))


def test_equal_checkouts_are_equal(tmp_path: Path) -> None:
    differences = find(tmp_path, seconds=0.7)
    assert differences == []
    assert judge(differences) == ("equal", [])


@pytest.mark.parametrize(
    ("planted", "kind", "field"),
    [
        ({"pixels": "y"}, "output.changed", "out/a.jpg"),
        ({"ok": 2}, "json.changed", "ok"),
        ({"status": 3}, "exit", ""),
    ],
)
def test_a_planted_change_is_found(
    tmp_path: Path, planted: dict[str, Any], kind: str, field: str
) -> None:
    differences = find(tmp_path, **planted)
    assert (kind, field) in {(found.kind, found.field) for found in differences}
    verdict, lines = judge(differences)
    assert verdict == "DIFFERENT"
    assert all(line.startswith("DIFFERENT: step ") for line in lines)


def test_a_foreign_faceprep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fake_checkout(tmp_path, "old")
    with pytest.raises(WrongCheckout):
        Checkout("new", tmp_path / "empty", tmp_path / "work").check()


# What files contain


def content(root: Path) -> list[dict[str, Any]]:
    """Return the record of one step that wrote the files below `root`."""
    outputs, state = take_snapshot(root, NAMES)
    return [{"words": "run", "exit": 0, "outputs": outputs, "state": state}]


def fields(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return kind and field of each difference."""
    return [(found.kind, found.field) for found in compare_case("a/b", old, new)]


def test_a_changed_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a"], "score": [0.5]}), tmp_path / "t.parquet")
    np.savez(tmp_path / "v.npz", names=np.array(["a"]), vectors=np.zeros(3, np.float32))
    old = content(tmp_path)
    pq.write_table(pa.table({"path": ["a"], "score": [0.25]}), tmp_path / "t.parquet")
    np.savez(tmp_path / "v.npz", names=np.array(["a"]), vectors=np.ones(3, np.float32))
    expected = [
        ("output.changed", "t.parquet::columns.score"),
        ("output.changed", "v.npz::columns.vectors"),
    ]
    assert fields(old, content(tmp_path)) == expected


def test_other_bytes_of_the_same_columns_are_told_apart(tmp_path: Path) -> None:
    table = pa.table({"path": ["a"] * 1000})
    pq.write_table(table, tmp_path / "t.parquet")
    old = content(tmp_path)
    pq.write_table(table, tmp_path / "t.parquet", compression="none", use_dictionary=False)
    assert fields(old, content(tmp_path)) == [("output.bytes", "t.parquet")]


def test_a_changed_value_in_a_plan_is_named(tmp_path: Path) -> None:
    (tmp_path / "plan.jsonl").write_text('{"kind": "plan"}\n{"action": "drop", "score": 1}\n')
    old = content(tmp_path)
    (tmp_path / "plan.jsonl").write_text('{"kind": "plan"}\n{"action": "drop", "score": 2}\n')
    assert fields(old, content(tmp_path)) == [("output.changed", "plan.jsonl::*.score")]


def test_paths_times_and_versions_make_no_difference(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>/tmp/somewhere/out, made by faceprep 0.1.0 in 1.5 s</p>")
    old = content(tmp_path)
    page.write_text("<p>/tmp/somewhere/out, made by faceprep 0.2.0 in 2.5 s</p>")
    assert fields(old, content(tmp_path)) == []
    page.write_text("<p>/tmp/somewhere/out, changed by faceprep 0.2.0 in 2.5 s</p>")
    assert fields(old, content(tmp_path)) == [("output.changed", "page.html::lines")]


def test_state_is_not_an_output(tmp_path: Path) -> None:
    (tmp_path / "out" / ".faceprep").mkdir(parents=True)
    (tmp_path / "out" / ".faceprep" / "run.json").touch()
    old = content(tmp_path)
    (tmp_path / "out" / ".faceprep" / "run.json").unlink()
    (tmp_path / "out" / ".faceprep").rmdir()
    (tmp_path / "out" / ".faceprep").touch()
    assert fields(old, content(tmp_path)) == [("state", "out/.faceprep")]


def test_links_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("a")
    old = content(tmp_path)
    (tmp_path / "b").unlink()
    (tmp_path / "b").symlink_to("a")
    assert ("output.link", "b") in fields(old, content(tmp_path))


# The table of intended differences


def record(**changed: Any) -> list[dict[str, Any]]:
    """Return a record of one step with some members replaced."""
    step = {
        "words": "rec2folder a out",
        "exit": 3,
        "json": {"ok": 1, "failures": "out/.faceprep/failures.csv"},
        "stderr": ["faceprep: one failed"],
        "failures": [["a/1.jpg", "truncated", "cut off"]],
        "outputs": {"out/0/1.jpg": {"sha256": "12", "bytes": 3}},
        "state": {"out/.faceprep": "folder"},
    }
    return [copy.deepcopy(step) | changed]


def test_intended_changes_are_listed_and_wording_is_silent() -> None:
    new = record(
        json={"ok": 1, "failures": "out/failures.csv", "unit": "image"},
        stderr=["faceprep: one image failed"],
        failures=[["a/1.jpg", "truncated", "the file is cut off"]],
        state={"out/.faceprep": "file"},
    )
    new[0]["outputs"] |= {"out/0/1.jpg": {"sha256": "12", "bytes": 3}}
    verdict, lines = judge(compare_case("rec/set", record(), new))
    assert verdict == "intended"
    assert len(lines) == 3
    assert judge(compare_case("rec/set", record(), record(stderr=["other"]))) == ("equal", [])
    _, lines = judge(compare_case("rec/set", record(), record(stderr=["other"])), with_text=True)
    assert len(lines) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"exit": 0},
        {"json": None},
        {"failures": []},
        {"failures": [["a/1.jpg", "damaged", "cut off"]]},
        {"outputs": {}},
        {"outputs": {"out/0/1.jpg": {"sha256": "34", "bytes": 3}}},
    ],
)
def test_what_is_computed_may_not_change(changed: dict[str, Any]) -> None:
    assert judge(compare_case("rec/set", record(), record(**changed)))[0] == "DIFFERENT"


def test_damaged_images_may_change_in_their_own_cases_only() -> None:
    differences = compare_case("folder2rec/cut", record(), record(exit=0))
    assert judge(differences)[0] == "intended"


def test_every_entry_of_the_table_says_why() -> None:
    assert all(entry.why for entry in TABLE)
    kinds = [
        "exit",
        "json.changed",
        "output.changed",
        "output.removed",
        "failure.removed",
        "help.removed",
    ]
    for kind in kinds:
        assert find_reason(Difference("rec/set", 1, kind, "out/0/1.jpg", "")) is None


# The cases and the script


def test_the_names_of_cases_are_unique_and_every_command_has_cases() -> None:
    names = [found.name for found in cases.all_cases()]
    assert len(set(names)) == len(names)
    lines = [step.words for found in cases.all_cases() for step in found.steps if not step.edit]
    for command in cases_wrong.COMMANDS:
        assert sum(words.split()[0] == command for words in lines) > 2


def test_an_edit_that_cannot_be_made_is_recorded(tmp_path: Path) -> None:
    checkout = fake_checkout(tmp_path, "old")
    result = run_case(case("a/b", edit("accept", "missing.jsonl")), checkout)
    assert result[0]["exit"] == "edit failed: FileNotFoundError"


def test_a_recorded_result_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [case("group/name", "run out")]
    monkeypatch.setattr("tests.golden.run.choose", lambda only: chosen)
    monkeypatch.setattr("tests.golden.run.make_inputs", lambda data, root: root.mkdir())
    (tmp_path / "data" / "mxnet").mkdir(parents=True)
    old, new = fake_checkout(tmp_path, "old"), fake_checkout(tmp_path, "new", ok=2)
    shared = ["--data", str(tmp_path / "data"), "--work", str(tmp_path / "w")]
    stored = str(tmp_path / "old.json")
    assert main([str(old.root), "--record", stored, *shared]) == 0
    assert json.loads(Path(stored).read_text())["results"].keys() == {"group/name"}
    assert main([str(old.root), "--against", stored, *shared]) == 0
    assert main([str(new.root), "--against", stored, *shared]) == 1
    assert main([str(old.root), str(new.root), *shared]) == 1
    assert "json.changed ok: 1 became 2" in capsys.readouterr().out
    assert main([str(old.root), *shared]) == 2
