"""dedupe: copies go and nothing else; the same plan whatever the workers; conflicts are for a person to decide."""

from __future__ import annotations

import csv
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

from faceprep import ProcessRunner, Request, SerialRunner, Summary, run_job
from faceprep.cli.build import command_for
from faceprep.errors import OptionError, OutputError, SourceError
from faceprep.faces import Pixels
from faceprep.formats import image_sets
from faceprep.formats.pairs_bin import load_pairs, write_pairs
from faceprep.formats.plan_jsonl import read_plan
from faceprep.formats.recordio import frame_image
from faceprep.jobs.apply import Apply
from faceprep.jobs.dedupe import Dedupe
from faceprep.synthetic import draw_face
from faceprep.types import ACCEPTED, UNDECIDED, Decision, PairSet
from faceprep.vision.codec import decode, encode
from faceprep.vision.hashes import Thumbnails, shrink, slopes
from tests.fakes import before_changes, killed_before, results, start, status_of
from tests.real import DATA, needs_data

BAD = {"empty.png": b"", "text.jpg": b"hello", "cut.jpg": encode(draw_face(9, 9)[0], ".jpg")[:900]}


def run(source: Path, output: Path, workers: int = 0, limit: int | None = None, **options: Any) -> Summary:
    runner = ProcessRunner(workers) if workers else SerialRunner()
    return run_job(Dedupe(**({"embedder": "none"} | options)), Request((source,), output, limit=limit), runner)


def plan_of(output: Path) -> tuple[dict[str, Any], list[Decision]]:
    judged, decisions = read_plan(output / "plan.jsonl")
    return dict(judged), list(decisions)


def sized(image: Pixels, side: int) -> Pixels:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def planted(image: Pixels, stem: str) -> dict[str, bytes]:
    """A photo, a copy of each kind, and its mirror image, which is none."""
    return {
        f"{stem}.png": encode(image, ".png"),
        f"{stem}_same.png": encode(image, ".png"),
        f"{stem}_q80.jpg": encode(image, ".jpg", 80),
        f"{stem}_half.png": encode(sized(image, 56), ".png"),
        f"{stem}_mirror.png": encode(np.ascontiguousarray(image[:, ::-1]), ".png"),
    }


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 people, one photo with copies each; one of a's also in b, the other way round in quality."""
    files: dict[str, bytes] = {}
    for identity in "abc":
        files |= planted(draw_face(ord(identity), 0)[0], f"{identity}/0")
    stray = draw_face(50, 0)[0]
    files |= {"a/stray.jpg": encode(stray, ".jpg", 85), "b/stray.png": encode(stray, ".png"), "c/bad.jpg": b"hello"}
    return write(tmp_path_factory.mktemp("crops"), files)


GONE = {f"{identity}/0_{kind}" for identity in "abc" for kind in ("same.png", "q80.jpg", "half.png")}


def test_copies_go_and_the_best_stays(crops: Path, tmp_path: Path) -> None:
    before = results(crops)
    summary = run(crops, tmp_path / "out")
    assert results(crops) == before
    assert summary.by_status == {"dropped": 9, "ok": 8, "undecodable": 1} and summary.inputs == 18
    placed = {name: data for name, data in results(tmp_path / "out").items() if data and name.count("/")}
    assert placed == {
        name: data for name, data in before.items() if data is not None and name not in GONE | {"c/bad.jpg"}
    }


def test_the_plan_says_why_and_counts(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "out", plan_only=True)
    assert set(results(tmp_path / "out")) == {"plan.jsonl"}
    judged, decisions = plan_of(tmp_path / "out")
    assert judged["found"] == {"exact": 3, "near": 6, "against": 0, "conflicts": 1, "damaged": 1}
    assert judged["options"] == {
        "exact_only": False, "against": [], "distance": 4, "agreement": 0.982, "embedder": "none"
    }  # fmt: skip
    told = {decision.subject: decision for decision in decisions}
    assert len(told) == len(decisions) and all(decision.action == "drop" for decision in decisions)
    assert told["c/bad.jpg"].reason.startswith("undecodable: c/bad.jpg: not an image")
    assert {name for name, decision in told.items() if decision.verdict == ACCEPTED} == GONE | {"c/bad.jpg"}
    for name in GONE:
        assert told[name].evidence["kept"] == f"{name[0]}/0.png"
    assert told["a/0_same.png"].reason == "the same bytes as a/0.png" and told["a/0_same.png"].score == 1
    assert re.fullmatch(r"a copy of a/0.png: thumbnails agree to 0\.9\d\d|.*1\.000", told["a/0_q80.jpg"].reason)
    assert told["a/0_q80.jpg"].evidence["distance"] <= 4 and 0.982 <= (told["a/0_q80.jpg"].score or 0) <= 1


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
    assert not {each.subject for each in accepted} & {each.evidence.get("kept") for each in accepted}


@pytest.mark.parametrize("options", [{}, {"exact_only": True}], ids=["near", "exact"])
def test_a_second_time_finds_nothing(crops: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    run(crops, tmp_path / "once", **options)
    run(tmp_path / "once", tmp_path / "twice", **options)
    assert all(each.verdict == UNDECIDED for each in plan_of(tmp_path / "twice")[1])
    images = [{name for name in results(tmp_path / each) if name.count("/")} for each in ("once", "twice")]
    assert images[0] == images[1]


def test_the_same_whatever_the_workers_the_shards_and_the_order_on_disk(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(crops, tmp_path / "one")
    run(crops, tmp_path / "two", workers=2)
    monkeypatch.setattr(image_sets, "CUT", 5)
    monkeypatch.setattr("faceprep.jobs.dedupe.CUT", 5)
    run(crops, tmp_path / "cut")
    for other in ("cut", "two"):
        assert (tmp_path / other / "plan.jsonl").read_bytes() == (tmp_path / "one" / "plan.jsonl").read_bytes()
        assert images_of(tmp_path / other) == images_of(tmp_path / "one")
    again = tmp_path / "again"
    for name, data in sorted(results(crops).items(), reverse=True):
        if data is not None:
            write(again, {name: data})
    run(again, tmp_path / "three")
    assert plan_of(tmp_path / "three")[1] == plan_of(tmp_path / "one")[1]


def images_of(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in results(root).items() if data is not None and not name.endswith(".jsonl")}


def test_exact_only_decodes_nothing(crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceprep.vision.codec.decode", None)
    summary = run(crops, tmp_path / "out", exact_only=True)
    judged, decisions = plan_of(tmp_path / "out")
    assert judged["found"] == {"exact": 3, "near": 0, "against": 0, "conflicts": 0, "damaged": 1}
    assert summary.by_status == {"dropped": 3, "ok": 14, "undecodable": 1}
    assert {each.subject for each in decisions} == {f"{identity}/0_same.png" for identity in "abc"} | {"c/bad.jpg"}


def test_a_plan_can_be_edited_and_applied(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "whole")
    run(crops, tmp_path / "out", plan_only=True)
    plan = tmp_path / "out" / "plan.jsonl"
    run_job(Apply(), Request((plan,), tmp_path / "applied"), SerialRunner())
    assert images_of(tmp_path / "applied") == images_of(tmp_path / "whole")
    plan.write_text(plan.read_text().replace('"undecided"', '"accepted"'))
    run_job(Apply(), Request((plan,), tmp_path / "edited"), SerialRunner())
    assert set(images_of(tmp_path / "applied")) - set(images_of(tmp_path / "edited")) == {"a/stray.jpg"}


def test_links_in_place_of_copies(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "out", mode="symlink")
    assert (tmp_path / "out" / "a" / "0.png").readlink() == crops / "a" / "0.png"


# Test sets


def test_no_image_of_a_test_set_stays(crops: Path, tmp_path: Path) -> None:
    """Whatever its identity and its quality, and only those."""
    tests = write(tmp_path / "test", {"z/1.jpg": encode(draw_face(ord("a"), 0)[0], ".jpg", 70), "z/bad.jpg": b"hello"})
    summary = run(crops, tmp_path / "out", against=(tests,))
    judged, decisions = plan_of(tmp_path / "out")
    gone = [each for each in decisions if each.reason.startswith("test image")]
    assert {each.subject for each in gone} == {f"a/0{end}" for end in (".png", "_same.png", "_q80.jpg", "_half.png")}
    assert {each.evidence["kept"] for each in gone} == {str(tests / "z" / "1.jpg")}
    assert {each.verdict for each in gone} == {ACCEPTED} and judged["found"]["against"] == 4
    assert "a/0_mirror.png" in images_of(tmp_path / "out")
    assert summary.by_status == {"dropped": 10, "ok": 7, "undecodable": 2}
    assert f"{tests}: z/bad.jpg: not an image" in failures(tmp_path / "out")


def failures(output: Path) -> str:
    with (output / ".faceprep" / "failures.csv").open(newline="") as file:
        return "\n".join(row["reason"] for row in csv.DictReader(file))


def test_verification_sets_and_recs_as_test_sets(crops: Path, tmp_path: Path) -> None:
    jpegs = {identity: encode(draw_face(ord(identity), 0)[0], ".jpg", 90) for identity in "ab"}
    with (tmp_path / "set.bin").open("wb") as file:
        write_pairs(file, PairSet([encode(draw_face(70, 1)[0], ".jpg"), jpegs["a"]], [False]))
    same = (crops / "b" / "0_q80.jpg").read_bytes()
    (tmp_path / "set.rec").write_bytes(frame_image([0.0], jpegs["a"], 7) + frame_image([1.0], same, 8))
    run(crops, tmp_path / "out", against=(tmp_path / "set.bin", tmp_path / "set.rec"))
    told = {each.subject: each.reason for each in plan_of(tmp_path / "out")[1]}
    assert told["a/0.png"].startswith(f"test image: a copy of {tmp_path}/set.bin: pair 0, image 1")
    assert told["b/0_q80.jpg"] == f"test image: the same bytes as {tmp_path}/set.rec: record 8"
    assert told["b/0.png"].startswith("test image: a copy of")


def test_against_bytes_only(crops: Path, tmp_path: Path) -> None:
    tests = write(tmp_path / "test", {"1.png": (crops / "a" / "0.png").read_bytes()})
    run(crops, tmp_path / "out", against=(tests,), exact_only=True)
    assert plan_of(tmp_path / "out")[0]["found"] == {
        "exact": 2, "near": 0, "against": 2, "conflicts": 0, "damaged": 1
    }  # fmt: skip


def test_a_source_that_is_its_own_test_set_leaves_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"a/1.png": encode(draw_face(1, 1)[0], ".png")})
    assert run(source, tmp_path / "out", against=(source,)).by_status == {"dropped": 1}
    assert set(images_of(tmp_path / "out")) == set()


# Odd sources


def test_one_image(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"1.png": encode(draw_face(1, 1)[0], ".png")})
    assert run(source, tmp_path / "out").by_status == {"ok": 1}
    assert plan_of(tmp_path / "out")[1] == [] and set(images_of(tmp_path / "out")) == {"1.png"}


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    data = encode(draw_face(1, 1)[0], ".png")
    write(tmp_path / "in", {os.fsdecode(name): data for name in (b"a/1.png", b"a/\xff.png", b"b\xff/1.png")})
    run(tmp_path / "in", tmp_path / "out")
    assert [(each.subject, each.evidence["kept"]) for each in plan_of(tmp_path / "out")[1]] == [
        (os.fsdecode(b"a/\xff.png"), "a/1.png"),
        (os.fsdecode(b"b\xff/1.png"), "a/1.png"),
    ]
    assert set(images_of(tmp_path / "out")) == {"a/1.png", os.fsdecode(b"b\xff/1.png")}


def test_a_limit_and_a_flat_folder(crops: Path, tmp_path: Path) -> None:
    assert run(crops / "a", tmp_path / "out", limit=2).inputs == 2
    assert len(images_of(tmp_path / "out")) == 1


def test_only_damaged_images(tmp_path: Path) -> None:
    summary = run(write(tmp_path / "in", BAD), tmp_path / "out", against=(write(tmp_path / "test", BAD),))
    assert summary.by_status == {"undecodable": 6} and images_of(tmp_path / "out") == {}


def test_flat_pictures_are_copies_only_byte_for_byte(tmp_path: Path) -> None:
    flat = {f"a/{level}.png": encode(np.full((112, 112, 3), level, np.uint8), ".png") for level in (0, 90, 91, 255)}
    source = write(tmp_path / "in", flat | {"a/again.png": flat["a/0.png"]})
    run(source, tmp_path / "out")
    assert [(each.subject, each.evidence["kept"]) for each in plan_of(tmp_path / "out")[1]] == [
        ("a/again.png", "a/0.png")
    ]


def test_refused_sources_outputs_and_options(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(SourceError, match="no images in this folder"):
        run(tmp_path / "none", tmp_path / "out")
    with pytest.raises(SourceError, match="text.txt: no set of images: expected a folder of images, a verification"):
        run(crops, tmp_path / "out", against=(tmp_path / "text.txt",))
    with pytest.raises(OutputError, match="the output would lie over the input"):
        run(crops, crops / "out")
    with pytest.raises(OptionError, match="--exact-only looks at bytes alone"):
        Dedupe(exact_only=True, embedder="insightface:buffalo_l")
    with pytest.raises(OptionError, match="unknown embedder|expected"):
        run(crops, tmp_path / "out", embedder="no-such")
    with pytest.raises(OptionError, match="unknown mode"):
        Dedupe(mode="move")


def test_an_empty_test_set_changes_nothing(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    run(crops, tmp_path / "out", against=(tmp_path / "none",), plan_only=True)
    assert plan_of(tmp_path / "out")[0]["found"]["against"] == 0


def test_the_command_line_says_what_was_found(crops: Path, tmp_path: Path) -> None:
    arguments = [str(crops), str(tmp_path / "out"), "--runner", "serial", "--embedder", "none"]
    done = CliRunner().invoke(command_for("dedupe"), arguments, standalone_mode=False)
    assert done.return_value == 3 and not done.exception
    told = "3 exact and 6 near duplicates dropped; 1 label conflict, undecided in the plan"
    assert told in done.stdout.splitlines()
    done = CliRunner().invoke(command_for("dedupe"), [*arguments, "--json"], standalone_mode=False)
    found = json.loads(done.stdout)
    assert (found["exact"], found["near"], found["against"], found["conflicts"]) == (3, 6, 0, 1)


# Killed


def test_killed_at_any_change_of_the_disk_and_resumed(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_sets, "CUT", 7)
    monkeypatch.setattr("faceprep.jobs.dedupe.CUT", 7)
    monkeypatch.setattr("faceprep.application._SHARD", 6)

    def changing(output: Path, at: int = 0) -> int:
        with before_changes(killed_before(at)) as made:
            run(crops, output, against=(crops / "c",))
        return len(made)

    n_changes = changing(tmp_path / "whole")
    for at in range(1, n_changes + 1, n_changes // 12):
        output = tmp_path / str(at)
        assert status_of(start(partial(changing, output, at))) == -signal.SIGKILL
        changing(output)
        assert images_of(output) == images_of(tmp_path / "whole")
        assert (output / "plan.jsonl").read_bytes() == (tmp_path / "whole" / "plan.jsonl").read_bytes()


# Real images and vectors


@needs_data
def test_one_face_in_every_encoding_is_one_image(tmp_path: Path) -> None:
    """Grey, 16 bit, CMYK, palette, turned by EXIF: all copies. The RGBA is another photo."""
    run(DATA / "photos" / "odd", tmp_path / "out")
    judged, decisions = plan_of(tmp_path / "out")
    near = [each for each in decisions if "a copy of" in each.reason]
    assert len(near) == 15 and len({each.evidence["kept"] for each in near}) == 1
    assert set(images_of(tmp_path / "out")) == {near[0].evidence["kept"], "rgba_32bit.png"}
    assert min(each.score or 0 for each in near) > 0.99 and judged["found"]["damaged"] == 6


@needs_data
def test_verification_sets_made_of_the_same_photos(tmp_path: Path) -> None:
    """Theirs are 112 × 112 and JPEG, the source's 92 × 112 and not compressed: all are found, and no other."""
    path = DATA / "bins" / "py3_bytes.bin"
    run(DATA / "orl", tmp_path / "out", workers=2, against=(path,), plan_only=True)
    tested = thumbnails([decode(bytes(image)) for image in load_pairs(path).images])
    photos = sorted((DATA / "orl").glob("*/*.pgm"))
    agreement = slopes(thumbnails([decode(photo.read_bytes()) for photo in photos])) @ slopes(tested).T
    expected = {f"{p.parent.name}/{p.name}" for p, row in zip(photos, agreement, strict=True) if row.max() > 0.999}
    assert len(expected) > 20
    assert {each.subject for each in plan_of(tmp_path / "out")[1]} == expected


def thumbnails(images: list[Pixels]) -> Thumbnails:
    return np.stack([shrink(image).thumbnail for image in images])


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
    assert {each.subject for each in decisions} == {f"{path.parent.name}/{path.stem}_q40.jpg" for path in originals}
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
        "exact": 3, "near": 0, "against": 0, "conflicts": 0, "damaged": 1
    }  # fmt: skip
    assert len(asked) == 11, "the candidates alone, each content once"
