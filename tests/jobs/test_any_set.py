"""Commands that plan go from any container to any container, and back again."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.core.os_errors import guard
from faceprep.core.types import Decision, Request, Summary
from faceprep.jobs.apply import Apply
from faceprep.jobs.convert import Convert
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.embed.job import Embed
from faceprep.jobs.manifest import Manifest
from faceprep.jobs.merge_identities import MergeIdentities
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets import class_map
from faceprep.sets.containers import index_set
from faceprep.sets.image_set import Sample
from faceprep.synthetic import encode_face
from faceprep.tables.embeddings import load_embeddings
from faceprep.tables.plan import read_plan, write_plan
from tests.applying import save_plan
from tests.color_people import color_embedders
from tests.merging import source

__all__ = ["color_embedders", "source"]  # fixtures
KINDS = ["in.rec", "in.tar", "in.tfrecord", "in.parquet"]


def run(job: Any, source: Path, output: Path) -> Summary:
    return run_job(job, Request((source,), output), SerialRunner())


def images_of(path: Path, scratch: Path) -> dict[str, list[bytes]]:
    """Return the sorted images of each identity."""
    found: dict[str, list[bytes]] = {}
    with index_set(path, scratch) as images:
        for each in images.read(range(len(images))):
            assert isinstance(each, Sample)
            found.setdefault(each.identity, []).append(bytes(each.data))
    return {identity: sorted(data) for identity, data in sorted(found.items())}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three people with numbers as names; the third has a copy of an image."""
    for number in range(12):
        path = tmp_path / "folder" / str(number // 4) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_face(number // 4, number if number != 11 else 10))
    return tmp_path / "folder"


@pytest.fixture(params=KINDS)
def container(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Path:
    output: Path = tmp_path / str(request.param)
    run(Convert(), folder, output)
    return output


def test_a_list_cannot_name_images_in_a_container(container: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="are not files, so a list cannot name them") as refused:
        run(Manifest(seed=3), container, tmp_path / "out.csv")
    assert f"faceprep convert {container} FOLDER." in str(refused.value)
    run(Convert(), container, tmp_path / "unpacked")
    assert not run(Manifest(seed=3), tmp_path / "unpacked", tmp_path / "out.csv").failed


def test_dedupe_into_the_same_container(container: Path, tmp_path: Path) -> None:
    output = tmp_path / f"out{container.suffix}"
    before = images_of(container, tmp_path / "a")
    run(Dedupe(exact_only=True), container, output)
    after = images_of(output, tmp_path / "b")
    assert after["0"] == before["0"] and after["1"] == before["1"]
    assert len(after["2"]) == 3 and set(after["2"]) == set(before["2"])
    plan = tmp_path / "out.plan.jsonl"
    assert [decision.action for decision in read_plan(plan)[1]] == ["drop"]
    folder = tmp_path / "as_folder"
    run(Apply(), plan, folder)
    assert images_of(folder, tmp_path / "c") == after
    undone = tmp_path / f"undone{container.suffix}"
    run(Apply(), tmp_path / "out.undo.jsonl", undone)
    assert images_of(undone, tmp_path / "d") == before


@pytest.mark.parametrize("name", ["train.rec", "train.tar", "train.parquet", "train.tfrecord"])
def test_undo_where_the_source_is_a_folder_with_a_container(
    name: str, folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "set"
    run(Convert(shards=None if name == "train.rec" else 2), folder, source / name)
    before = images_of(source, tmp_path / "a")
    run(Dedupe(exact_only=True), source, tmp_path / "out")
    assert images_of(tmp_path / "out", tmp_path / "b") != before
    run(Apply(), tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert images_of(tmp_path / "back", tmp_path / "c") == before


def test_an_undo_in_a_folder_can_be_undone(container: Path, tmp_path: Path) -> None:
    """The keys of a container may have no suffix, and the images that are restored get one."""
    run(Dedupe(exact_only=True), container, tmp_path / "out")
    before = tmp_path / "out"
    for name in ("back", "again", "and back"):
        run(Apply(), before / "undo.jsonl", tmp_path / name)
        before = tmp_path / name
    back, out = images_of(tmp_path / "back", tmp_path / "i1"), tmp_path / "out"
    assert back == images_of(container, tmp_path / "i2")
    assert images_of(tmp_path / "again", tmp_path / "i3") == images_of(out, tmp_path / "i4") != back
    assert images_of(tmp_path / "and back", tmp_path / "i5") == back


@pytest.mark.parametrize("kind", ["out.tar", "out.parquet", "out.tfrecord"])
def test_undo_where_names_differ_in_their_suffix_alone(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    (folder / "1" / "4.png").write_bytes(encode_face(1, 99, ".png"))
    run(Convert(), folder, tmp_path / "in.tar")
    before = images_of(tmp_path / "in.tar", tmp_path / "a")
    plan = tmp_path / "a.plan.jsonl"
    with plan.open("wb") as file:
        write_plan(file, {"source": str(tmp_path / "in.tar")}, [Decision("merge", "0", "2")])
    run(Apply(), plan, tmp_path / kind)
    assert set(images_of(tmp_path / kind, tmp_path / "b")) == {"1", "2"}
    run(Apply(), tmp_path / "out.undo.jsonl", tmp_path / "back.tar")
    assert images_of(tmp_path / "back.tar", tmp_path / "c") == before


@pytest.mark.parametrize(
    "decision", [Decision("drop", "1"), Decision("move", "1/4.png", "2")], ids=["drop", "move"]
)
def test_the_way_back_to_names_that_differ_in_their_suffix_alone(
    decision: Decision, folder: Path, tmp_path: Path
) -> None:
    """The .tar has only one of these names, or none."""
    (folder / "1" / "4.png").write_bytes(encode_face(1, 99, ".png"))
    plan = save_plan(tmp_path / "plan.jsonl", folder, [decision])
    run(Apply(), plan, tmp_path / "out.tar")
    run(Apply(), tmp_path / "out.undo.jsonl", tmp_path / "back")
    names = [
        {path.relative_to(root).as_posix() for path in root.glob("*/*")}
        for root in (folder, tmp_path / "back")
    ]
    assert names[0] == names[1]
    assert images_of(tmp_path / "back", tmp_path / "b") == images_of(folder, tmp_path / "a")


@pytest.mark.parametrize("name", ["back", "back.tar", "back.parquet"])
def test_the_way_back_from_a_container_without_its_damaged_images(
    name: str, folder: Path, tmp_path: Path
) -> None:
    before = images_of(folder, tmp_path / "a")
    for bad in ("0/bad.jpg", "2/bad.jpg"):
        (folder / bad).write_bytes(b"not an image")
    plan = save_plan(tmp_path / "plan.jsonl", folder, [Decision("merge", "0", "1")])
    assert run(Apply(), plan, tmp_path / "out.tar").by_status == {"ok": 12, "undecodable": 2}
    back = run(Apply(), tmp_path / "out.undo.jsonl", tmp_path / name)
    assert back.by_status == {"ok": 12, "undecodable": 2}
    assert images_of(tmp_path / name, tmp_path / "b") == before


def test_a_container_that_has_changed(container: Path, folder: Path, tmp_path: Path) -> None:
    run(Dedupe(exact_only=True, plan_only=True), container, tmp_path / "plan")
    run_job(Convert(seed=1), Request((folder,), container, overwrite=True), SerialRunner())
    changed = "has changed since this plan was made: expected the images as they were .*, found "
    with pytest.raises(SourceError, match=f"{changed}files of other names, sizes or times"):
        run(Apply(), tmp_path / "plan" / "plan.jsonl", tmp_path / "out")


def test_undo_of_drops_where_some_keys_end_as_images_do(tmp_path: Path) -> None:
    for name in ("a/1.jpg.jpg", "b/2.jpg"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_face(1, len(name)))
    plan = save_plan(tmp_path / "plan.jsonl", tmp_path / "set", [Decision("drop", "b/2.jpg")])
    run(Apply(), plan, tmp_path / "out.tar")
    run(Apply(), tmp_path / "out.undo.jsonl", tmp_path / "back")
    wanted = images_of(tmp_path / "set", tmp_path / "before")
    assert images_of(tmp_path / "back", tmp_path / "after") == wanted


def test_the_class_map_of_another_output_stays(folder: Path, tmp_path: Path) -> None:
    """Its numbers are the labels of that output; --overwrite is about this one alone."""
    run(Manifest(seed=1), folder, tmp_path / "set.lst")
    classes = (tmp_path / "set_classes.csv").read_bytes()
    with pytest.raises(OutputError, match="exists already; it belongs to another output"):
        run(Dedupe(exact_only=True), folder, tmp_path / "set.tar")
    shutil.rmtree(folder / "1")
    other, planned = "exists already, with other classes; it belongs", "exists already; it belongs"
    for job, name, problem in (
        (Convert(), "set.tar", other),
        (Dedupe(exact_only=True), "set.parquet", planned),
    ):
        for overwrites in (False, True):
            request = Request((folder,), tmp_path / name, overwrite=overwrites)
            with pytest.raises(OutputError, match=f"{problem} to another output or to you"):
                run_job(job, request, SerialRunner())
            assert not (tmp_path / name).exists()
            assert (tmp_path / "set_classes.csv").read_bytes() == classes


def test_an_earlier_output_that_is_the_input_is_not_removed(folder: Path, tmp_path: Path) -> None:
    """Shards are files of NAME.tar, which --overwrite would remove before they are read."""
    request = Request((folder,), tmp_path / "set" / "o.tar", overwrite=True)
    run_job(Convert(shards=2), request, SerialRunner())
    shards = sorted((tmp_path / "set").glob("o-*.tar"))
    run(Dedupe(exact_only=True, plan_only=True), shards[0], tmp_path / "plan")
    plan = tmp_path / "plan" / "plan.jsonl"
    jobs: list[tuple[Any, Path]] = [
        (Convert(), shards[1]),
        (Convert(), shards[0].parent),
        (Apply(), plan),
    ]
    for job, path in jobs:
        again = Request((path,), request.output, overwrite=True)
        with pytest.raises(OutputError, match="o-0000[01]-of-00002.tar: is part of the input"):
            run_job(job, again, SerialRunner())
        assert all(shard.exists() for shard in shards)
    run_job(Convert(shards=2), request, SerialRunner())


def test_an_earlier_output_with_the_images_of_a_list_is_not_removed(
    folder: Path, tmp_path: Path
) -> None:
    run(Convert(), folder, tmp_path / "in.tar")
    run(Convert(), tmp_path / "in.tar", tmp_path / "images")
    run(Manifest(seed=1), tmp_path / "images", tmp_path / "list.csv")
    request = Request((tmp_path / "list.csv",), tmp_path / "images", overwrite=True)
    for job in (Convert(), Dedupe(exact_only=True)):
        with pytest.raises(OutputError, match="the output would overwrite the input: found the"):
            run_job(job, request, SerialRunner())
    assert len(list((tmp_path / "images").rglob("*.jpg"))) == 12


def test_an_own_class_map_is_written_again_while_no_other_output_has_it(
    folder: Path, tmp_path: Path
) -> None:
    for job, name in ((Convert(), "a.tar"), (Dedupe(exact_only=True), "b.tar")):
        request = Request((folder,), tmp_path / name, overwrite=True)
        run_job(job, request, SerialRunner())
        run_job(job, request, SerialRunner())
    run(Convert(), folder, tmp_path / "a.parquet")
    shutil.rmtree(folder / "1")
    run_job(Dedupe(exact_only=True), request, SerialRunner())
    assert [row.name for row in class_map.load(tmp_path / "b_classes.csv")] == ["0", "2"]
    with pytest.raises(OutputError, match="belongs to another output or to you"):
        run_job(Convert(), Request((folder,), tmp_path / "a.tar", overwrite=True), SerialRunner())
    assert len(class_map.load(tmp_path / "a_classes.csv")) == 3


@pytest.mark.parametrize("name", KINDS)
def test_a_container_beside_identities_is_not_chosen_silently(
    name: str, folder: Path, tmp_path: Path
) -> None:
    run(Convert(), folder, tmp_path / "set" / name)
    shutil.copytree(folder, tmp_path / "set", dirs_exist_ok=True)
    found = f"holds two sets.*found {name} beside [012] with images. Name .*/{name}, or move it"
    with pytest.raises(SourceError, match=found):
        run(Convert(), tmp_path / "set", tmp_path / "out")
    run(Convert(), tmp_path / "set" / name, tmp_path / "out")


def test_a_rec_with_gaps_in_its_labels_is_warned_of(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keras_insightface takes the number of classes from the identity records."""
    run(Convert(), folder, tmp_path / "sound.rec")
    assert "labels" not in caplog.text
    shutil.rmtree(folder / "1")
    run(Convert(), folder, tmp_path / "gap.rec")
    assert "the labels of 2 identities go up to 2" in caplog.text


@pytest.mark.parametrize("name", KINDS + ["out.csv"])
def test_a_class_without_a_sound_image_is_warned_of(
    name: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warning = "1 class without a sound image, such as 1: their class numbers stay unused"
    run_job(Convert(), Request((folder,), tmp_path / f"few{name}", limit=1), SerialRunner())
    assert "without a sound image" not in caplog.text
    for path in (folder / "1").iterdir():
        path.write_bytes(b"not an image")
    run(Convert(), folder, tmp_path / name)
    assert warning in caplog.text
    caplog.clear()
    run(Convert(), folder, tmp_path / "as_folder")
    assert "without a sound image" not in caplog.text
    if name in KINDS:
        plan = save_plan(tmp_path / "plan.jsonl", folder, [])
        run(Apply(), plan, tmp_path / f"applied{name}")
        assert warning in caplog.text


def test_names_that_a_container_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "named" / "ann" / "first.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(encode_face(1, 1))
    with pytest.raises(SourceError, match="rec cannot hold the names of the images"):
        run(Dedupe(exact_only=True), tmp_path / "named", tmp_path / "out.rec")


def test_new_names_that_a_rec_cannot_hold(folder: Path, tmp_path: Path) -> None:
    """A .rec holds numbers as identities: `30` is accepted, and `1-2` is not."""
    run(Convert(), folder, tmp_path / "in.rec")
    for name, new in (("plan", "1-2"), ("numbers", "30")):
        with (tmp_path / f"{name}.jsonl").open("wb") as file:
            header = {"source": str(tmp_path / "in.rec")}
            write_plan(file, header, [Decision("move", "1/5", new), Decision("move", "0/2", "2")])
    with pytest.raises(SourceError, match="names of the identities, such as '1-2' of the plan"):
        run(Apply(), tmp_path / "plan.jsonl", tmp_path / "out.rec")
    run(Apply(), tmp_path / "numbers.jsonl", tmp_path / "out.rec")
    found = images_of(tmp_path / "out.rec", tmp_path / "index")
    assert {name: len(images) for name, images in found.items()} == {
        "0": 3,
        "1": 3,
        "2": 5,
        "30": 1,
    }


@pytest.mark.usefixtures("color_embedders")
def test_merge_identities(source: Path, tmp_path: Path) -> None:
    people = source
    run(Convert(), people, tmp_path / "in.tar")
    run(MergeIdentities(embedder="colors"), people, tmp_path / "wanted")
    run(MergeIdentities(embedder="colors"), tmp_path / "in.tar", tmp_path / "out.tar")
    run(MergeIdentities(embedder="colors"), tmp_path / "in.tar", tmp_path / "out")
    wanted = images_of(tmp_path / "wanted", tmp_path / "a")
    assert images_of(tmp_path / "out.tar", tmp_path / "b") == wanted
    assert images_of(tmp_path / "out", tmp_path / "c") == wanted
    run(Apply(), tmp_path / "out.undo.jsonl", tmp_path / "back.tar")
    before = images_of(people, tmp_path / "d")
    assert images_of(tmp_path / "back.tar", tmp_path / "e") == before
    run(Apply(), tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert images_of(tmp_path / "back", tmp_path / "f") == before


@pytest.mark.usefixtures("color_embedders")
def test_merge_from_embeddings_of_a_container(source: Path, tmp_path: Path) -> None:
    people = source
    run(Convert(), people, tmp_path / "in.tar")
    run(Embed(embedder="colors"), tmp_path / "in.tar", tmp_path / "in.npz")
    run(MergeIdentities(), tmp_path / "in.npz", tmp_path / "merged.tar")
    run(MergeIdentities(embedder="colors"), people, tmp_path / "wanted")
    wanted = images_of(tmp_path / "wanted", tmp_path / "a")
    assert images_of(tmp_path / "merged.tar", tmp_path / "b") == wanted
    assert np.isfinite(load_embeddings(tmp_path / "in.npz").vectors).all()
    header = json.loads((tmp_path / "merged.plan.jsonl").read_text().splitlines()[0])
    assert header["source"] == str(tmp_path / "in.tar")


def test_an_own_class_map_is_made_again_after_the_set_was(folder: Path, tmp_path: Path) -> None:
    for gone in ("set.rec", "set_classes.csv"):
        run(Convert(), folder, tmp_path / "set.rec")
        (tmp_path / gone).unlink()
    run(Convert(), folder, tmp_path / "set.rec")
    assert (tmp_path / "set_classes.csv").exists()


def test_a_disk_error_is_not_taken_for_a_map_of_another(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request((folder,), tmp_path / "set.tar", overwrite=True)
    run_job(Dedupe(exact_only=True), request, SerialRunner())

    def fail(*_: Any) -> None:
        with guard("read", "finish.jsonl", SourceError):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("faceprep.sets.map_owner.Page", fail)
    with pytest.raises(SourceError, match="finish.jsonl: cannot read: Input/output error"):
        run_job(Dedupe(exact_only=True), request, SerialRunner())
