"""Verdicts survive: no run erases them, and what was refused stays refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faceprep.core.errors import OutputError, SourceError
from faceprep.core.types import ACCEPTED, DROP, MERGE, REFUSED, UNDECIDED, Decision, Request
from faceprep.jobs.clean_identities import CleanIdentities
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.merge_identities import MergeIdentities
from faceprep.jobs.score import Score
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.steps.earlier_plan import carry_verdicts, keep_reviewed
from faceprep.tables.plan import read_plan, write_plan
from tests.color_people import BLUE, RED, color_embedders, paint
from tests.fakes import break_file, tree
from tests.merging import apply, call_merge, decided, merge, source

__all__ = ["color_embedders", "source"]
pytestmark = pytest.mark.usefixtures("color_embedders")


def edit(plan: Path, before: str, after: str) -> None:
    text = plan.read_text()
    assert before in text
    plan.write_text(text.replace(before, after, 1))


def refuse(plan: Path, subject: str) -> None:
    """Refuse the decision on a subject, as a person does with an editor."""
    header, *lines = plan.read_text().splitlines()
    told = [json.loads(line) for line in lines]
    for each in told:
        if each["subject"] == subject:
            each["verdict"] = REFUSED
    plan.write_text("\n".join([header, *map(json.dumps, told)]) + "\n")


# A second run


@pytest.mark.parametrize("options", [{}, {"threshold": 0.97}], ids=["the same", "other options"])
def test_a_second_run_does_not_erase_verdicts(
    options: dict[str, float], source: Path, tmp_path: Path
) -> None:
    merge(source, tmp_path / "out")
    refuse(tmp_path / "out" / "plan.jsonl", "a")
    before = tree(tmp_path / "out")
    expected = "--overwrite" if options else "a person has set verdicts.*faceprep apply.*--verdicts"
    with pytest.raises(Exception, match=expected):
        merge(source, tmp_path / "out", **options)
    assert tree(tmp_path / "out") == before


def test_a_plan_that_the_disk_does_not_give_is_not_one_with_verdicts(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(source, tmp_path / "out")
    break_file(monkeypatch, tmp_path / "out" / "plan.jsonl")
    with pytest.raises(SourceError, match=r"plan.jsonl: cannot read: Input/output error"):
        keep_reviewed(tmp_path / "out" / "plan.jsonl", overwrite=False)


def test_a_second_run_of_an_unedited_plan_has_nothing_to_do(source: Path, tmp_path: Path) -> None:
    merge(source, tmp_path / "out")
    before = tree(tmp_path / "out")
    merge(source, tmp_path / "out")
    assert tree(tmp_path / "out") == before


def test_overwriting_keeps_every_edited_plan(source: Path, tmp_path: Path) -> None:
    plan = tmp_path / "out" / "plan.jsonl"
    merge(source, tmp_path / "out")
    planned = plan.read_bytes()
    kept = []
    for name in ("plan.jsonl.bak", "plan.jsonl.bak1"):
        refuse(plan, "a")
        kept.append(plan.read_bytes())
        run = Request((source,), tmp_path / "out", overwrite=True)
        run_job(MergeIdentities(embedder="colors"), run, SerialRunner())
        assert (tmp_path / "out" / name).read_bytes() == kept[-1]
        assert plan.read_bytes() == planned


def test_overwriting_does_not_remove_the_plan_whose_verdicts_count(
    source: Path, tmp_path: Path
) -> None:
    merge(source, tmp_path / "out")
    plan = tmp_path / "out" / "plan.jsonl"
    refuse(plan, "a")
    before = tree(tmp_path / "out")
    run = Request((source,), tmp_path / "out", overwrite=True)
    with pytest.raises(OutputError, match="--overwrite would remove the plan that --verdicts"):
        run_job(MergeIdentities(embedder="colors", verdicts=plan), run, SerialRunner())
    assert tree(tmp_path / "out") == before


def test_a_review_that_was_killed_is_not_lost(source: Path, tmp_path: Path) -> None:
    merge(source, tmp_path / "out")
    (tmp_path / "out" / "plan.jsonl.review.jsonl").write_text("")
    with pytest.raises(SourceError, match="verdicts that are not in the plan yet"):
        merge(source, tmp_path / "out")


def test_a_plan_that_an_edit_broke_is_kept(source: Path, tmp_path: Path) -> None:
    merge(source, tmp_path / "out")
    edit(tmp_path / "out" / "plan.jsonl", '"action"', "action")
    with pytest.raises(OutputError, match="a person has set verdicts"):
        merge(source, tmp_path / "out")


@pytest.mark.parametrize("name", ["clean", "dedupe", "score"])
def test_every_command_that_plans_keeps_verdicts(name: str, tmp_path: Path) -> None:
    for person, n in {"a": 3, "b": 3, "c": 4}.items():
        for number in range(n):
            paint(tmp_path / "set" / person / f"{number}.png", RED)
    job = {
        "clean": CleanIdentities(embedder="colors", min_images=4),
        "dedupe": Dedupe(embedder="none"),
        "score": Score(drop_below=("laplacian_variance=1000000",)),
    }[name]
    output = tmp_path / ("scores.parquet" if name == "score" else "out")
    plan = tmp_path / "scores.plan.jsonl" if name == "score" else output / "plan.jsonl"
    run_job(job, Request((tmp_path / "set",), output), SerialRunner())
    assert "digest" in read_plan(plan)[0]
    refuse(plan, next(read_plan(plan)[1]).subject)
    with pytest.raises(OutputError, match="a person has set verdicts"):
        run_job(job, Request((tmp_path / "set",), output), SerialRunner())


def test_the_exit_status_is_one(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call_merge(monkeypatch, source, tmp_path / "out") == 0
    refuse(tmp_path / "out" / "plan.jsonl", "a")
    assert call_merge(monkeypatch, source, tmp_path / "out") == 1
    assert "faceprep apply" in capsys.readouterr().err


# --verdicts


def test_a_refused_pair_stays_refused(source: Path, tmp_path: Path) -> None:
    merge(source, tmp_path / "one")
    refuse(tmp_path / "one" / "plan.jsonl", "a")
    summary = merge(source, tmp_path / "two", verdicts=tmp_path / "one" / "plan.jsonl")
    assert ("merge", "a", "b", "refused") in decided(tmp_path / "two")
    assert (summary.details["merged"], summary.details["refused"]) == (2, 1)
    assert "5 people: 2 merged, 1 undecided, 1 refused;" in MergeIdentities().sentence(
        summary.details
    )
    assert (tmp_path / "two" / "a" / "1.png").exists()
    header, _ = read_plan(tmp_path / "two" / "plan.jsonl")
    assert header["options"]["verdicts"] == str(tmp_path / "one" / "plan.jsonl")
    third = merge(source, tmp_path / "three", verdicts=tmp_path / "two" / "plan.jsonl")
    assert third.details["merged"] == 2
    apply(tmp_path / "three" / "plan.jsonl", tmp_path / "applied")


def write(path: Path, decisions: list[Decision], threshold: float = 0.5) -> Path:
    with path.open("wb") as file:
        write_plan(file, {"summary": {"threshold": threshold}}, decisions)
    return path


def pair(subject: str, into: str, verdict: str, score: float = 0.9) -> Decision:
    return Decision(MERGE, subject, into, score, "alike", verdict)


def verdicts(decisions: list[Decision]) -> dict[str, str]:
    return {f"{each.subject} {each.into}": each.verdict for each in decisions}


def test_a_third_identity_does_not_bring_a_refused_pair_together(tmp_path: Path) -> None:
    plan = write(tmp_path / "p", [pair("a", "b", REFUSED)])
    new = [pair("a", "c", ACCEPTED, 0.8), pair("b", "c", ACCEPTED, 0.9)]
    found = carry_verdicts(new, plan, {"a", "b", "c"})
    assert verdicts(found) == {"b c": ACCEPTED, "a c": UNDECIDED, "a b": REFUSED}
    assert found[1].reason == "alike; a and b are refused in p"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "clean/plan.jsonl",
            "same command.*one of merge-identities, found one of clean-identities",
        ),
        ("merged/undo.jsonl", "same command.*one of merge-identities, found an undo plan"),
        ("merged", r"Run faceprep merge-identities with --verdicts \S*merged/plan.jsonl"),
        ("clean/broken.jsonl", "not a decision at line 2"),
    ],
)
def test_verdicts_that_mean_nothing_here_are_refused_before_the_work(
    name: str, message: str, source: Path, tmp_path: Path
) -> None:
    merge(source, tmp_path / "merged")
    request = Request((source,), tmp_path / "clean")
    run_job(CleanIdentities(embedder="colors"), request, SerialRunner())
    (tmp_path / "clean" / "broken.jsonl").write_text('{"kind": "plan"}\n{"action": "merge"}\n')
    with pytest.raises(SourceError, match=message):
        merge(source, tmp_path / "out", verdicts=tmp_path / name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["merge-identities", "dedupe"])
def test_a_warning_names_what_a_refused_decision_does_not_find(
    command: str, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused = [
        pair("a", "b", REFUSED),
        pair("gone", "b", REFUSED),
        Decision(DROP, "lost/1.png", verdict=REFUSED, evidence={"kept": "b/1.png"}),
    ]
    plan = write(tmp_path / "p", refused)
    if command == "dedupe":
        job = Dedupe(embedder="none", verdicts=plan)
        run_job(job, Request((source,), tmp_path / "out"), SerialRunner())
    else:
        merge(source, tmp_path / "out", verdicts=plan)
    expected = "p: 2 refused decisions have no effect, because the set has no 'gone'; if it was"
    assert expected in caplog.text


def test_clusters_with_a_refused_pair_are_refused(tmp_path: Path) -> None:
    plan = write(tmp_path / "p", [pair("b", "a", REFUSED)])
    new = [pair("a", "c", ACCEPTED), pair("b", "c", UNDECIDED, 0.4)]
    assert verdicts(carry_verdicts(new, plan, set("abc")))["b c"] == REFUSED


def test_the_sides_of_a_pair_may_change(tmp_path: Path) -> None:
    plan = write(tmp_path / "p", [pair("b", "a", REFUSED)])
    assert verdicts(carry_verdicts([pair("a", "b", ACCEPTED)], plan, set("ab"))) == {"a b": REFUSED}


def test_pairs_that_are_gone_are_left_out(tmp_path: Path) -> None:
    plan = write(tmp_path / "p", [pair("b", "a", REFUSED)])
    assert carry_verdicts([], plan, {"b"}) == []


def test_a_merge_that_a_person_accepted_below_the_threshold_is_accepted(tmp_path: Path) -> None:
    plan = write(tmp_path / "p", [pair("a", "b", ACCEPTED, 0.4), pair("c", "d", ACCEPTED, 0.6)])
    new = [pair("a", "b", UNDECIDED, 0.4), pair("c", "d", UNDECIDED, 0.6)]
    found = carry_verdicts(new, plan, set("abcd"))
    assert verdicts(found) == {"a b": ACCEPTED, "c d": UNDECIDED}


def test_identities_that_a_person_merged_are_counted_once(tmp_path: Path) -> None:
    """Each of the three is accepted to be either of the others."""
    for name, color in {"a": (250, 130, 130), "b": (130, 250, 130), "c": (130, 130, 250)}.items():
        paint(tmp_path / "set" / name / "1.png", color)
    merge(tmp_path / "set", tmp_path / "one")
    plan = tmp_path / "one" / "plan.jsonl"
    plan.write_text(plan.read_text().replace(UNDECIDED, ACCEPTED))
    summary = merge(tmp_path / "set", tmp_path / "two", verdicts=plan)
    assert len(decided(tmp_path / "two")) == 3
    assert MergeIdentities().sentence(summary.details).startswith("3 identities are 1 person: 2 ")
    assert len({path.parent for path in (tmp_path / "two").glob("*/*.png")}) == 1


def test_a_verdict_on_a_drop_is_about_the_person_of_the_other_set(tmp_path: Path) -> None:
    """It says that these two are, or are not, one person, and nothing about a third."""

    def drop(name: str, person: str, verdict: str, score: float) -> Decision:
        return Decision(DROP, name, "", score, "alike", verdict, {"person": person})

    earlier = [drop("a", "zoe", REFUSED, 0.9), drop("b", "zoe", ACCEPTED, 0.4)]
    plan = write(tmp_path / "p", earlier)
    same = [drop("a", "zoe", ACCEPTED, 0.9), drop("b", "zoe", UNDECIDED, 0.4)]
    found = carry_verdicts(same, plan, {"a", "b"})
    assert {each.subject: each.verdict for each in found} == {"a": REFUSED, "b": ACCEPTED}
    others = [drop("a", "ann", ACCEPTED, 0.9), drop("b", "ann", UNDECIDED, 0.4)]
    assert carry_verdicts(others, plan, {"a", "b"}) == others


def test_refused_copies_stay_refused(tmp_path: Path) -> None:
    """The two sides of a pair of copies may change, as the better one may."""
    for name in ("a/1.png", "a/2.png"):
        paint(tmp_path / "set" / name, RED)
    (tmp_path / "set" / "a" / "2.png").write_bytes((tmp_path / "set" / "a" / "1.png").read_bytes())
    drop = Decision(DROP, "a/1.png", verdict=REFUSED, evidence={"kept": "a/2.png"})
    plan = write(tmp_path / "p", [drop])
    job = Dedupe(embedder="none", verdicts=plan)
    summary = run_job(job, Request((tmp_path / "set",), tmp_path / "out"), SerialRunner())
    assert (summary.details["exact"], summary.details["refused"]) == (0, 1)
    assert job.sentence(summary.details).endswith("dropped; 1 refused")
    (decision,) = read_plan(tmp_path / "out" / "plan.jsonl")[1]
    assert decision.verdict == REFUSED and "refused in p" in decision.reason
    assert len(list((tmp_path / "out").glob("a/*.png"))) == 2


@pytest.mark.parametrize(("verdict", "n_left"), [(ACCEPTED, 2), (REFUSED, 3), (UNDECIDED, 3)])
def test_a_decided_label_conflict_stays_decided(verdict: str, n_left: int, tmp_path: Path) -> None:
    for name, color in {"a/1.png": RED, "b/1.png": RED, "b/2.png": BLUE}.items():
        paint(tmp_path / "set" / name, color)

    def dedupe(name: str, plan: Path | None = None) -> tuple[dict[str, int], Decision]:
        job = Dedupe(embedder="none", exact_only=True, verdicts=plan)
        summary = run_job(job, Request((tmp_path / "set",), tmp_path / name), SerialRunner())
        (decision,) = read_plan(tmp_path / name / "plan.jsonl")[1]
        return dict(summary.details), decision

    assert dedupe("first")[1].verdict == UNDECIDED
    plan = tmp_path / "first" / "plan.jsonl"
    edit(plan, UNDECIDED, verdict)
    details, decision = dedupe("second", plan)
    assert (
        decision.verdict == verdict and len(list((tmp_path / "second").glob("*/*.png"))) == n_left
    )
    assert details["conflicts"] == (verdict == UNDECIDED)
    assert details["exact"] == (verdict == ACCEPTED)
    other = decision._replace(subject="a/1.png", evidence={"kept": "b/1.png"}, verdict=UNDECIDED)
    (carried,) = carry_verdicts([other], plan, set())
    assert carried.verdict == (REFUSED if verdict == REFUSED else UNDECIDED)
