"""dedupe: copies go and nothing else; the same plan whatever the workers; conflicts are for a
person to decide.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from faceprep import Request, SerialRunner, run_job
from faceprep.cli.build import command_for
from faceprep.core.arrays import Pixels
from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.core.types import ACCEPTED, UNDECIDED
from faceprep.jobs.apply import Apply
from faceprep.jobs.dedupe import job as dedupe_job
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.synthetic import draw_face
from faceprep.vision.codec import encode
from tests.deduping import crops, plan_of, run, write
from tests.fakes import before_changes, images, killed_before, results, start, status_of
from tests.real import DATA, needs_data

__all__ = ["crops"]
BAD = {"empty.png": b"", "text.jpg": b"hello", "cut.jpg": encode(draw_face(9, 9)[0], ".jpg")[:900]}
GONE = {
    f"{identity}/0_{kind}"
    for identity in "abc"
    for kind in ("same.png", "q80.jpg", "half.png", "mirror.png")
}


def test_copies_go_and_the_best_stays(crops: Path, tmp_path: Path) -> None:
    before = results(crops)
    summary = run(crops, tmp_path / "out")
    assert results(crops) == before
    assert summary.by_status == {"dropped": 12, "ok": 5, "undecodable": 1} and summary.inputs == 18
    placed = {
        name: data for name, data in results(tmp_path / "out").items() if data and name.count("/")
    }
    assert placed == {
        name: data
        for name, data in before.items()
        if data is not None and name not in GONE | {"c/bad.jpg"}
    }


@pytest.mark.parametrize("suffix", ["", ".tar"])
@pytest.mark.parametrize("n", [2, 3])
def test_a_line_that_a_list_repeats_is_named(
    crops: Path, tmp_path: Path, suffix: str, n: int
) -> None:
    names = sorted(name for name in images(crops) if "_" not in name and "bad" not in name)
    lines = [f"{crops / name} {i}\n" for i, name in enumerate(names)]
    (tmp_path / "a.txt").write_text("".join([*lines, *lines[-1:] * (n - 1)]))
    summary = run(tmp_path / "a.txt", tmp_path / f"out{suffix}", exact_only=True)
    assert summary.by_status == {"ok": len(names), "repeated": n - 1}


def test_the_plan_says_why_and_counts(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "out", plan_only=True)
    assert set(results(tmp_path / "out")) == {"plan.jsonl"}
    judged, decisions = plan_of(tmp_path / "out")
    assert judged["found"] == {"exact": 3, "near": 9, "against": 0, "conflicts": 1, "damaged": 1}
    assert judged["options"] == {
        "exact_only": False,
        "against": [],
        "distance": 12,
        "agreement": 0.982,
        "embedder": "none",
    }
    told = {decision.subject: decision for decision in decisions}
    assert len(told) == len(decisions) and all(decision.action == "drop" for decision in decisions)
    assert told["c/bad.jpg"].reason.startswith("undecodable: c/bad.jpg: not an image")
    assert {name for name, decision in told.items() if decision.verdict == ACCEPTED} == GONE | {
        "c/bad.jpg"
    }
    for name in GONE:
        assert told[name].evidence["kept"] == f"{name[0]}/0.png"
    assert (
        told["a/0_same.png"].reason == "the same bytes as a/0.png"
        and told["a/0_same.png"].score == 1
    )
    assert re.fullmatch(
        r"a copy of a/0.png: thumbnails agree to 0\.9\d\d|.*1\.000", told["a/0_q80.jpg"].reason
    )
    assert (
        told["a/0_q80.jpg"].evidence["distance"] <= 4
        and 0.982 <= (told["a/0_q80.jpg"].score or 0) <= 1
    )
    assert told["a/0_mirror.png"].reason.startswith("a copy of a/0.png (mirrored): thumbnails")


def test_label_conflicts_come_last_and_nobody_goes_for_them(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "out")
    conflict = plan_of(tmp_path / "out")[1][-1]
    assert conflict.verdict == UNDECIDED and conflict.subject == "a/stray.jpg"
    assert conflict.reason.startswith("label conflict: a copy of b/stray.png")
    assert conflict.evidence["identities"] == ["a", "b"] and conflict.evidence["images"] == [6, 6]
    assert {"a/stray.jpg", "b/stray.png"} <= set(results(tmp_path / "out"))


def test_one_kept_is_never_dropped(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "out", plan_only=True)
    accepted = [each for each in plan_of(tmp_path / "out")[1] if each.verdict == ACCEPTED]
    assert not {each.subject for each in accepted} & {
        each.evidence.get("kept") for each in accepted
    }


@pytest.mark.parametrize("options", [{}, {"exact_only": True}], ids=["near", "exact"])
def test_a_second_time_finds_nothing(crops: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    run(crops, tmp_path / "once", **options)
    run(tmp_path / "once", tmp_path / "twice", **options)
    assert all(each.verdict == UNDECIDED for each in plan_of(tmp_path / "twice")[1])
    once, twice = (
        {name for name in results(tmp_path / each) if name.count("/")} for each in ("once", "twice")
    )
    assert once == twice


def test_the_same_whatever_the_workers_the_shards_and_the_order_on_disk(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(crops, tmp_path / "one")
    run(crops, tmp_path / "two", workers=2)
    monkeypatch.setattr(dedupe_job, "_SHARD", 5)
    monkeypatch.setattr("faceprep.jobs.dedupe.job._SHARD", 5)
    run(crops, tmp_path / "cut")
    for other in ("cut", "two"):
        assert (tmp_path / other / "plan.jsonl").read_bytes() == (
            tmp_path / "one" / "plan.jsonl"
        ).read_bytes()
        assert images(tmp_path / other) == images(tmp_path / "one")
    again = tmp_path / "again"
    for name, data in sorted(results(crops).items(), reverse=True):
        if data is not None:
            write(again, {name: data})
    run(again, tmp_path / "three")
    assert plan_of(tmp_path / "three")[1] == plan_of(tmp_path / "one")[1]


def test_exact_only_decodes_nothing(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceprep.vision.codec.decode", None)
    summary = run(crops, tmp_path / "out", exact_only=True)
    judged, decisions = plan_of(tmp_path / "out")
    assert judged["found"] == {"exact": 3, "near": 0, "against": 0, "conflicts": 0, "damaged": 1}
    assert summary.by_status == {"dropped": 3, "ok": 14, "undecodable": 1}
    assert {each.subject for each in decisions} == {
        f"{identity}/0_same.png" for identity in "abc"
    } | {"c/bad.jpg"}


def test_a_plan_can_be_edited_and_applied(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "whole")
    run(crops, tmp_path / "out", plan_only=True)
    plan = tmp_path / "out" / "plan.jsonl"
    run_job(Apply(), Request((plan,), tmp_path / "applied"), SerialRunner())
    assert images(tmp_path / "applied") == images(tmp_path / "whole")
    plan.write_text(plan.read_text().replace('"undecided"', '"accepted"'))
    run_job(Apply(), Request((plan,), tmp_path / "edited"), SerialRunner())
    assert set(images(tmp_path / "applied")) - set(images(tmp_path / "edited")) == {"a/stray.jpg"}


def test_links_in_place_of_copies(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "out", mode="symlink")
    assert (tmp_path / "out" / "a" / "0.png").readlink() == crops / "a" / "0.png"


# Odd sources


def test_one_image(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"1.png": encode(draw_face(1, 1)[0], ".png")})
    assert run(source, tmp_path / "out").by_status == {"ok": 1}
    assert plan_of(tmp_path / "out")[1] == [] and set(images(tmp_path / "out")) == {"1.png"}


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    data = encode(draw_face(1, 1)[0], ".png")
    write(
        tmp_path / "in",
        {os.fsdecode(name): data for name in (b"a/1.png", b"a/\xff.png", b"b\xff/1.png")},
    )
    run(tmp_path / "in", tmp_path / "out")
    assert [(each.subject, each.evidence["kept"]) for each in plan_of(tmp_path / "out")[1]] == [
        (os.fsdecode(b"a/\xff.png"), "a/1.png"),
        (os.fsdecode(b"b\xff/1.png"), "a/1.png"),
    ]
    assert set(images(tmp_path / "out")) == {"a/1.png", os.fsdecode(b"b\xff/1.png")}


def test_a_limit_and_a_flat_folder(crops: Path, tmp_path: Path) -> None:
    assert run(crops / "a", tmp_path / "out", limit=2).inputs == 2
    assert len(images(tmp_path / "out")) == 1


def test_only_damaged_images(tmp_path: Path) -> None:
    summary = run(
        write(tmp_path / "in", BAD), tmp_path / "out", against=(write(tmp_path / "test", BAD),)
    )
    assert summary.by_status == {"undecodable": 6} and images(tmp_path / "out") == {}


def test_flat_pictures_are_copies_only_byte_for_byte(tmp_path: Path) -> None:
    flat = {
        f"a/{level}.png": encode(np.full((112, 112, 3), level, np.uint8), ".png")
        for level in (0, 90, 91, 255)
    }
    source = write(tmp_path / "in", flat | {"a/again.png": flat["a/0.png"]})
    run(source, tmp_path / "out")
    assert [(each.subject, each.evidence["kept"]) for each in plan_of(tmp_path / "out")[1]] == [
        ("a/again.png", "a/0.png")
    ]


def test_refused_sources_outputs_and_options(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(SourceError, match="no images in it"):
        run(tmp_path / "none", tmp_path / "out")
    with pytest.raises(SourceError, match="text.txt: "):
        run(crops, tmp_path / "out", against=(tmp_path / "text.txt",))
    with pytest.raises(OutputError, match="the output would be inside the input"):
        run(crops, crops / "out")
    with pytest.raises(OptionError, match="--exact-only looks at bytes alone"):
        Dedupe(exact_only=True, embedder="insightface:buffalo_l")
    with pytest.raises(OptionError, match="unknown embedder|expected"):
        run(crops, tmp_path / "out", embedder="no-such")
    with pytest.raises(OptionError, match="^invalid --mode: expected"):
        Dedupe(mode="move")


def test_the_command_line_says_what_was_found(crops: Path, tmp_path: Path) -> None:
    arguments = [str(crops), str(tmp_path / "out"), "--runner", "serial", "--embedder", "none"]
    done = CliRunner().invoke(command_for("dedupe"), arguments, standalone_mode=False)
    assert done.return_value == 3 and not done.exception
    told = "3 exact and 9 near duplicates dropped; 1 label conflict, undecided in the plan"
    assert told in done.stdout.splitlines()
    done = CliRunner().invoke(command_for("dedupe"), [*arguments, "--json"], standalone_mode=False)
    found = json.loads(done.stdout)
    assert (found["exact"], found["near"], found["against"], found["conflicts"]) == (3, 9, 0, 1)


# Killed


def test_killed_at_any_change_of_the_disk_and_resumed(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedupe_job, "_SHARD", 7)
    monkeypatch.setattr("faceprep.jobs.dedupe.job._SHARD", 7)
    monkeypatch.setattr("faceprep.steps.place_images._SHARD", 6)

    def changing(output: Path, at: int = 0) -> int:
        with before_changes(killed_before(at)) as made:
            run(crops, output, against=(crops / "c",))
        return len(made)

    n_changes = changing(tmp_path / "whole")
    for at in range(1, n_changes + 1, n_changes // 12):
        output = tmp_path / str(at)
        assert status_of(start(partial(changing, output, at))) == -signal.SIGKILL
        changing(output)
        assert images(output) == images(tmp_path / "whole")
        assert (output / "plan.jsonl").read_bytes() == (
            tmp_path / "whole" / "plan.jsonl"
        ).read_bytes()


# Real images and vectors


@needs_data
def test_one_face_in_every_encoding_is_one_image(tmp_path: Path) -> None:
    """Grey, 16 bit, CMYK, palette, turned by EXIF: all copies. The RGBA is another photo."""
    run(DATA / "photos" / "odd", tmp_path / "out")
    judged, decisions = plan_of(tmp_path / "out")
    near = [each for each in decisions if "a copy of" in each.reason]
    assert len(near) == 15 and len({each.evidence["kept"] for each in near}) == 1
    assert set(images(tmp_path / "out")) == {near[0].evidence["kept"], "rgba_32bit.png"}
    assert min(each.score or 0 for each in near) > 0.99 and judged["found"]["damaged"] == 6


@needs_data
def test_photos_of_one_person_are_no_copies_but_copies_are(tmp_path: Path) -> None:
    """AT&T: 10 photos each of 20 people, taken one after the other."""
    source = tmp_path / "in"
    shutil.copytree(DATA / "orl", source)
    originals = sorted(source.glob("*/*.pgm"))[::10]
    for path in originals:
        image = np.repeat(cv2.imread(str(path))[:, :, :1], 3, axis=2)
        write(path.parent, {f"{path.stem}_q40.jpg": encode(image, ".jpg", 40)})
    run(source, tmp_path / "out", workers=2, embedder="dlib-resnet", plan_only=True)
    judged, decisions = plan_of(tmp_path / "out")
    assert {each.subject for each in decisions} == {
        f"{path.parent.name}/{path.stem}_q40.jpg" for path in originals
    }
    assert all(each.evidence["likeness"] >= judged["options"]["likeness"] for each in decisions)
    assert judged["model"].startswith("dlib-resnet")


def test_vectors_can_say_no(crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedder to which all copies are strangers leaves only what is the same byte for byte."""
    asked: list[int] = []

    def strangers(self: Dedupe, fitted: Pixels) -> np.ndarray[Any, np.dtype[np.float32]]:
        vectors = np.zeros((len(fitted), 128), np.float32)
        for vector in vectors:
            vector[len(asked)] = 1
            asked.append(1)
        return vectors

    monkeypatch.setattr(Dedupe, "embed_fitted", strangers)
    run(crops, tmp_path / "out", embedder="dlib-resnet", plan_only=True)
    assert plan_of(tmp_path / "out")[0]["found"] == {
        "exact": 3,
        "near": 0,
        "against": 0,
        "conflicts": 0,
        "damaged": 1,
    }
    assert len(asked) == 14, "the candidates alone, each content once"
