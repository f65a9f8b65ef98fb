"""Plans carried out: there and back again, edited, against changed folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import OutputError, ResumeError, SourceError
from faceprep.core.types import PLACING_MODES, Decision, Request
from faceprep.jobs.apply import Apply
from faceprep.jobs.convert import Convert
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.score import Score
from faceprep.run.engine import run_job
from faceprep.run.preview import preview_job
from faceprep.run.serial import SerialRunner
from faceprep.sets.folder import find_identities
from faceprep.sets.listing import list_images
from faceprep.tables.embeddings import Place, write_npz
from faceprep.tables.faces import FACES_TABLE, FaceRow, FacesWriter, read_face_tables
from faceprep.tables.plan import read_plan, write_plan
from tests.applying import DECISIONS, apply, save_plan, source
from tests.fakes import images, results, tree

__all__ = ["source"]


@pytest.mark.parametrize("mode", PLACING_MODES)
def test_there_and_back(mode: str, source: Path, tmp_path: Path) -> None:
    before = tree(source)
    summary = apply(
        save_plan(tmp_path / "plan.jsonl", source, DECISIONS), tmp_path / "out", mode=mode
    )
    assert (summary.inputs, summary.by_status, summary.outputs) == (
        18,
        {"ok": 15, "dropped": 3},
        16,
    )
    merged = images(tmp_path / "out")
    assert set(merged) == {
        *(
            f"2/inner/{name}"
            for name in ("0.jpg", "1.jpg", "2.jpg", "0_0.jpg", "0_1.jpg", "0_2.jpg")
        ),
        *(f"2/inner/{name}" for name in ("1_0.jpg", "1_1.jpg", "1_2.jpg")),
        *("3/1.jpg", "3/2.jpg", "3/4_2.jpg", "5/first.jpg", "5/1.jpg", "5/2.jpg"),
    }
    assert (
        merged["2/inner/1_2.jpg"] == before["1/2.jpg"] and merged["3/4_2.jpg"] == before["4/2.jpg"]
    )
    judged, decisions = read_plan(tmp_path / "out" / "undo.jsonl")
    assert (judged["source"], judged["origin"]) == (str(tmp_path / "out"), str(source))
    assert {decision.action for decision in decisions} == {"rename", "restore"}
    back = apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back", mode=mode)
    assert back.by_status == {"ok": 18}
    assert images(tmp_path / "back") == images(source)
    assert tree(source) == before
    plan = save_plan(tmp_path / "again.jsonl", tmp_path / "back", [])
    assert (
        read_plan(plan)[0]["fingerprint"] == read_plan(tmp_path / "plan.jsonl")[0]["fingerprint"]
    ), "times, too"


def test_undo_of_an_undo(source: Path, tmp_path: Path) -> None:
    apply(save_plan(tmp_path / "plan.jsonl", source, DECISIONS), tmp_path / "out")
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    apply(tmp_path / "back" / "undo.jsonl", tmp_path / "out again")
    assert images(tmp_path / "out again") == images(tmp_path / "out")


def test_a_warning_says_that_nothing_is_left(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("0", "1", "2/inner", "3", "4", "5")
    drops = [Decision("drop", name, reason="too dark") for name in names]
    apply(save_plan(tmp_path / "one.jsonl", source, drops[1:]), tmp_path / "one")
    assert "all images are dropped" not in caplog.text
    apply(save_plan(tmp_path / "all.jsonl", source, drops), tmp_path / "all")
    assert "all images are dropped (18), the first one 0: too dark" in caplog.text
    caplog.clear()
    apply(tmp_path / "all" / "undo.jsonl", tmp_path / "back")
    assert "all images are dropped" not in caplog.text


def test_a_plan_that_decides_nothing_copies(source: Path, tmp_path: Path) -> None:
    apply(save_plan(tmp_path / "plan.jsonl", source, []), tmp_path / "out")
    assert images(tmp_path / "out") == images(source)
    assert len((tmp_path / "out" / "undo.jsonl").read_text().splitlines()) == 1


def test_a_plan_edited_by_hand(source: Path, tmp_path: Path) -> None:
    """Lines deleted and turned round, a verdict changed, one added, blank lines."""
    plan = save_plan(tmp_path / "plan.jsonl", source, DECISIONS)
    head, *lines = plan.read_text().splitlines()
    lines = [line.replace('"undecided"', '"accepted"') for line in lines if '"4"' not in line][::-1]
    lines += ["", '{"action":"drop","subject":"5/1.jpg","reason":"by hand"}', ""]
    (tmp_path / "edited.jsonl").write_text("\n\n".join([head, *lines]))
    summary = apply(tmp_path / "edited.jsonl", tmp_path / "out")
    assert summary.by_status == {"ok": 16, "dropped": 2}
    found = set(images(tmp_path / "out"))
    assert {name for name in found if name.startswith("3/")} == {
        "3/1.jpg",
        "3/5_2.jpg",
        "3/2.jpg",
        "3/4_2.jpg",
    }
    assert "5/first.jpg" in found and "4/0.jpg" in found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda root: (root / "3/new.jpg").touch(),
            "expected 18 images when the plan was made, found 19",
        ),
        (
            lambda root: (root / "3/0.jpg").unlink(),
            "expected 18 images when the plan was made, found 17",
        ),
        (
            lambda root: (root / "3/1.jpg").write_bytes(b"3 2"),
            "found 18 as before, with other names, sizes or times",
        ),
        (
            lambda root: (root / "3/1.jpg").rename(root / "3/9.jpg"),
            "found 18 as before, with other names",
        ),
        (
            lambda root: shutil.rmtree(root),
            "the set that the plan is about is not there. Put it back",
        ),
    ],
    ids=["added", "removed", "edited", "renamed", "gone"],
)
def test_a_folder_that_has_changed(
    change: Callable[[Path], None], told: str, source: Path, tmp_path: Path
) -> None:
    plan = save_plan(tmp_path / "plan.jsonl", source, DECISIONS)
    change(source)
    with pytest.raises(SourceError, match=told):
        apply(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not results(tmp_path / "out")


def test_a_plan_about_embeddings_has_no_images_to_place(tmp_path: Path) -> None:
    with (tmp_path / "faces.npz").open("wb") as file:
        embeddings = Embeddings(["a/1"], ["a"], np.ones((1, 2), np.float32), Model())
        write_npz(file, embeddings, Place())
    plan = tmp_path / "plan.jsonl"
    with plan.open("wb") as file:
        write_plan(file, {"command": "test", "source": str(tmp_path / "faces.npz")}, [])
    with pytest.raises(
        SourceError, match="is about embeddings alone, without their images: found .*faces.npz. Put"
    ):
        apply(plan, tmp_path / "out")


def test_a_plan_or_a_folder_that_changes_between_two_starts(source: Path, tmp_path: Path) -> None:
    plan = save_plan(tmp_path / "plan.jsonl", source, DECISIONS)
    apply(plan, tmp_path / "out")
    assert apply(plan, tmp_path / "out").details["done_before"] == 18
    plan.write_text(plan.read_text().replace('"undecided"', '"accepted"'))
    with pytest.raises(ResumeError, match="the input has changed since this run began") as raised:
        apply(plan, tmp_path / "out")
    assert "expected plan " in str(raised.value), "the images are the same"
    with pytest.raises(ResumeError, match="--mode 'copy' then, 'symlink' now"):
        apply(plan, tmp_path / "out", mode="symlink")


@pytest.mark.parametrize("where", ["inside", ".", "above"])
def test_output_and_input_are_apart(where: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    plan = save_plan(tmp_path / "plans" / "plan.jsonl", source, [])
    output = {"inside": source / "out", ".": source, "above": source / ".."}[where]
    before = images(source)
    with pytest.raises(OutputError, match="the output would (overwrite|be inside) the input"):
        apply(plan, output)
    assert images(source) == before


def test_restored_from_what_is_gone_or_changed(source: Path, tmp_path: Path) -> None:
    apply(
        save_plan(tmp_path / "plan.jsonl", source, [Decision("drop", "3/1.jpg")]), tmp_path / "out"
    )
    undo = tmp_path / "out" / "undo.jsonl"
    (source / "0" / "0.jpg").unlink()  # of no matter
    (source / "3" / "1.jpg").write_bytes(b"another")
    with pytest.raises(
        SourceError, match=r"3/1.jpg: cannot be restored: it has changed. Put it back, or refuse"
    ):
        apply(undo, tmp_path / "back")
    (source / "3" / "1.jpg").unlink()
    with pytest.raises(
        SourceError, match=r"3/1.jpg: cannot be restored: it is gone. Put it back, or refuse"
    ):
        apply(undo, tmp_path / "back")
    refused = tmp_path / "refused.jsonl"
    refused.write_text(undo.read_text().replace('"restore"', '"restore", "verdict": "refused"'))
    apply(refused, tmp_path / "back")
    assert len(images(tmp_path / "back")) == 17
    nowhere = tmp_path / "nowhere.jsonl"
    nowhere.write_text(undo.read_text().replace('"origin"', '"other"'))
    with pytest.raises(
        SourceError, match='restores images: expected "origin": the set.*found None'
    ):
        apply(nowhere, tmp_path / "other")


@pytest.mark.parametrize(
    "head", ['{"kind": "plan"}', '{"kind": "plan", "source": 3}', '{"kind": "plan", "source": ""}']
)
def test_a_plan_about_nothing(head: str, tmp_path: Path) -> None:
    (tmp_path / "plan.jsonl").write_text(head)
    with pytest.raises(SourceError, match="does not name the set that it is about"):
        apply(tmp_path / "plan.jsonl", tmp_path / "out")


def test_a_plan_written_by_hand(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "plan.jsonl").write_text(
        '{"kind": "plan", "source": "source"}\n{"action": "drop", "subject": "0"}'
    )
    apply(tmp_path / "plan.jsonl", tmp_path / "out")
    assert "does not say in what state it expects" in caplog.text
    assert len(images(tmp_path / "out")) == 15


def test_the_plan_of_score(face_folder: Path, tmp_path: Path) -> None:
    job = Score(drop_below=("brightness=255",))
    run_job(job, Request((face_folder,), tmp_path / "scores.parquet"), SerialRunner())
    plan = tmp_path / "scores.plan.jsonl"
    head, *lines = plan.read_text().splitlines()
    plan.write_text("\n".join([head, *lines[:5]]))
    assert apply(plan, tmp_path / "out").by_status == {"dropped": 5, "ok": 7}
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert images(tmp_path / "back") == images(face_folder)


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "source" / "empty").mkdir(parents=True)
    with pytest.raises(SourceError, match="no images in the set that the plan is about"):
        apply(save_plan(tmp_path / "plan.jsonl", tmp_path / "source", []), tmp_path / "out")


@pytest.mark.parametrize("suffix", ["", ".tar", ".parquet"])
def test_a_container_of_many_images_takes_few_files(
    suffix: str, face_folder: Path, tmp_path: Path
) -> None:
    with (tmp_path / "plan.jsonl").open("wb") as file:
        write_plan(file, {"command": "test", "source": str(face_folder)}, [])
    output = tmp_path / "new" / f"out{suffix}"
    applied = preview_job(Apply(), Request(tmp_path / "plan.jsonl", output)).details
    job = Dedupe(embedder="none", exact_only=True)
    deduped = preview_job(job, Request(face_folder, output)).details
    n_files = [each["planned_files"] for each in (applied, deduped)]
    assert n_files == ([3, 4] if suffix else [12, 14])
    apply(tmp_path / "plan.jsonl", output)
    if suffix:
        assert applied["planned_bytes"] == pytest.approx(output.stat().st_size, rel=0.3)


def test_everything_dropped_and_restored(source: Path, tmp_path: Path) -> None:
    drops = [Decision("drop", name) for name in ("0", "1", "2/inner", "3", "4", "5")]
    summary = apply(save_plan(tmp_path / "plan.jsonl", source, drops), tmp_path / "out")
    assert summary.by_status == {"dropped": 18} and images(tmp_path / "out") == {}
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert images(tmp_path / "back") == images(source)


@pytest.mark.parametrize("suffix", [".tar", ".parquet", ".tfrecord"])
def test_everything_dropped_from_a_container_and_restored(
    suffix: str, face_folder: Path, tmp_path: Path
) -> None:
    whole = tmp_path / f"set{suffix}"
    run_job(Convert(), Request((face_folder,), whole), SerialRunner())
    drops = [Decision("drop", each.name) for each in find_identities(face_folder)]
    with (tmp_path / "plan.jsonl").open("wb") as file:
        write_plan(file, {"command": "test", "source": str(whole)}, drops)
    summary = apply(tmp_path / "plan.jsonl", tmp_path / f"out{suffix}")
    assert summary.by_status == {"dropped": 12}
    apply(tmp_path / "out.undo.jsonl", tmp_path / f"back{suffix}")
    assert (tmp_path / f"back{suffix}").read_bytes() == whole.read_bytes()


def test_everything_dropped_from_a_rec_and_restored(face_folder: Path, tmp_path: Path) -> None:
    """Both files are empty then, which is damage for the commands that need images."""
    whole = tmp_path / "set.rec"
    run_job(Convert(allow_loss=True), Request((face_folder,), whole), SerialRunner())
    drops = [Decision("drop", each.name) for each in find_identities(face_folder)]
    with (tmp_path / "plan.jsonl").open("wb") as file:
        write_plan(file, {"command": "test", "source": str(whole)}, drops)
    assert apply(tmp_path / "plan.jsonl", tmp_path / "out.rec").by_status == {"dropped": 12}
    for empty in ("out.rec", "out.idx"):
        assert (tmp_path / empty).read_bytes() == b""
    apply(tmp_path / "out.undo.jsonl", tmp_path / "back.rec")
    for name in ("set", "back"):
        run_job(Convert(), Request((tmp_path / f"{name}.rec",), tmp_path / name), SerialRunner())
    assert images(tmp_path / "back") == images(tmp_path / "set")
    with pytest.raises(SourceError, match=r"out.rec: no images in it"):
        run_job(Convert(), Request((tmp_path / "out.rec",), tmp_path / "none"), SerialRunner())


def test_what_cannot_be_read_is_named_and_is_not_lost(source: Path, tmp_path: Path) -> None:
    (source / "3" / "9.jpg").symlink_to("nowhere.jpg")
    plan = save_plan(tmp_path / "plan.jsonl", source, DECISIONS)
    summary = apply(plan, tmp_path / "out")
    assert summary.by_status == {"ok": 15, "dropped": 3, "unreadable": 1}
    failures = (tmp_path / "out" / "failures.csv").read_text()
    assert '3/9.jpg,unreadable,"' in failures or "3/9.jpg,unreadable," in failures
    with pytest.raises(SourceError, match=r"3/9.jpg: cannot be restored: it is gone"):
        apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")


def faces_of(folder: Path) -> dict[str, tuple[str, float]]:
    """Output -> key and score."""
    return {
        row["output"]: (row["key"], row["score"])
        for table in read_face_tables(folder / FACES_TABLE)
        for row in table.to_pylist()
    }


def test_the_table_of_faces_goes_along(source: Path, tmp_path: Path) -> None:
    names = [
        *list_images(find_identities(source)).prefixed_paths(""),
        "not/there.jpg",
        "+_multi/3/1.jpg",
    ]
    rows = [
        FaceRow(
            name[:-4],
            "photo.jpg",
            (9, 9),
            [0] * 4,
            [0] * 10,
            i / 64,
            [0] * 6,
            "detector",
            "template",
            name,
        )
        for i, name in enumerate(names)
    ]
    with (source / FACES_TABLE).open("wb") as file, FacesWriter(file) as writer:
        for row in [*rows, rows[0]._replace(output=None)]:
            writer.add(row)
    before = faces_of(source)
    apply(save_plan(tmp_path / "plan.jsonl", source, DECISIONS), tmp_path / "out")
    found = faces_of(tmp_path / "out")
    assert set(found) == {name for name in images(tmp_path / "out") if name.endswith(".jpg")}
    assert found["2/inner/1_2.jpg"] == ("2/inner/1_2", before["1/2.jpg"][1])
    assert found["5/1.jpg"] == before["5/1.jpg"]
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert faces_of(tmp_path / "back") == {name: before[name] for name in names[:-2]}


def test_the_table_above_a_part_of_an_output_goes_along(source: Path, tmp_path: Path) -> None:
    row = FaceRow("k", "a.mp4", (9, 9), [0] * 4, [0] * 10, 1, [0] * 6, "d", "t")
    above = source.parent
    with (above / FACES_TABLE).open("wb") as file, FacesWriter(file) as writer:
        writer.add(row._replace(output=f"{source.name}/3/1.jpg"))
        writer.add(row._replace(output="elsewhere/3/1.jpg"))
    moves = [Decision("merge", "3", "5")]
    apply(save_plan(tmp_path / "plan.jsonl", source, moves), tmp_path / "out")
    (output,) = faces_of(tmp_path / "out")
    assert output.startswith("5/")
    (above / FACES_TABLE).unlink()
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert set(faces_of(tmp_path / "back")) == {"3/1.jpg"}


def test_a_table_of_something_else_stays_behind(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / FACES_TABLE).write_text("no table")
    apply(save_plan(tmp_path / "plan.jsonl", source, []), tmp_path / "out")
    assert (
        "the table of faces is not copied along: " in caplog.text
        and not (tmp_path / "out" / FACES_TABLE).exists()
    )


def test_names_of_all_kinds(source: Path, tmp_path: Path) -> None:
    for name in ("ä b.png", "line\nbreak.png", "{'\"}.png", os.fsdecode(b"\xff.png")):
        (source / "3" / name).write_bytes(os.fsencode(name))
    apply(
        save_plan(tmp_path / "plan.jsonl", source, [Decision("merge", "3", "5")]), tmp_path / "out"
    )
    assert (tmp_path / "out" / "5" / os.fsdecode(b"\xff.png")).read_bytes() == b"\xff.png"
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert images(tmp_path / "back") == images(source)
