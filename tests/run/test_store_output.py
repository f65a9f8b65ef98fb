"""Outputs in an object store: whole, resumed to the same objects, never over those of others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.command import FACEPREP, faceprep
from tests.object_store import CUT, DENY, DROP, FAIL, SLOW, Store
from tests.turns import points_of_the_day

OUT = "s3://faces/out/train.tar"
STATE = "out/.faceprep/train.tar"


def convert(source: Path, *options: object) -> tuple[object, ...]:
    return ("convert", source / "train.rec", OUT, "--shards", 4, "-q", *options)


def test_the_objects_are_those_of_the_disk(store: Store, rec_set: Path, tmp_path: Path) -> None:
    done = store.run(*convert(rec_set, "--json"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == OUT
    faceprep("convert", rec_set / "train.rec", tmp_path / "train.tar", "--shards", 4, "-q")
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(files) == 5
    for path in files:
        assert store.ask("GET", f"/out/{path.name}")[1] == path.read_bytes()
    assert json.loads(store.ask("GET", f"/{STATE}/run.json")[1])["finished"] is True
    assert f"{STATE}/lock" not in store.objects()
    puts = [path for method, path in store.requests if method == "PUT"]
    assert puts[-1].endswith("run.json"), "the record of completion is last"
    for number in range(4):
        page = next(i for i, path in enumerate(puts) if path.endswith(f"00000{number}.jsonl"))
        shard = next(i for i, path in enumerate(puts) if f"train-0000{number}-of" in path)
        assert shard < page, "the page is the commit"
    assert not list((tmp_path / "cache" / "faceprep" / "stores").glob("*/out"))


def test_a_folder_goes_to_a_store_and_back(store: Store, rec_set: Path, tmp_path: Path) -> None:
    folder, back = "s3://faces/out/folder", tmp_path / "back.parquet"
    assert store.run("convert", rec_set / "train.rec", folder).returncode == 0
    done = store.run("convert", folder, back)
    assert done.returncode == 0, done.stderr
    assert faceprep("convert", rec_set / "train.rec", tmp_path / "folder").returncode == 0
    assert faceprep("convert", tmp_path / "folder", tmp_path / "there.parquet").returncode == 0
    assert back.read_bytes() == (tmp_path / "there.parquet").read_bytes()


@pytest.mark.parametrize("n_puts", points_of_the_day([2, 3, 6, 13], 2))
def test_a_killed_run_resumes_to_the_same_objects(n_puts: int, store: Store, rec_set: Path) -> None:
    command = [*FACEPREP, *map(str, convert(rec_set))]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def kill(method: str, path: str, number: int) -> str:
        if sum(each == "PUT" for each, _ in store.requests) >= n_puts:  # puts come side by side
            process.send_signal(signal.SIGKILL)
            process.wait()
        return ""

    store.fault = kill
    assert process.wait(timeout=60) == -signal.SIGKILL
    store.fault = lambda *_: ""
    half = store.objects()
    if f"{STATE}/run.json" in half:
        assert json.loads(store.ask("GET", f"/{STATE}/run.json")[1])["finished"] is False
    done = store.run(*convert(rec_set))
    assert done.returncode == 0, done.stderr
    resumed = store.objects()
    assert store.run(*convert(rec_set, "--overwrite")).returncode == 0
    assert resumed == store.objects()


@pytest.mark.parametrize("n_removed", points_of_the_day([0, 1, 4, 9], 2))
def test_a_kill_while_an_earlier_output_is_removed_leaves_nothing_old(
    n_removed: int, store: Store, rec_set: Path, tmp_path: Path
) -> None:
    fewer = ("convert", rec_set / "train.rec", OUT, "--shards", 2, "-q", "--overwrite")
    assert store.run(*fewer).returncode == 0
    wanted = store.objects()
    store.clear()
    assert store.run(*convert(rec_set)).returncode == 0
    process = subprocess.Popen([*FACEPREP, *map(str, fewer)], stderr=subprocess.DEVNULL)

    def kill(method: str, path: str, number: int) -> str:
        if sum(each == "DELETE" for each, _ in store.requests) > n_removed:
            process.send_signal(signal.SIGKILL)
            process.wait()
        return ""

    store.requests.clear()
    store.fault = kill
    assert process.wait(timeout=60) == -signal.SIGKILL
    store.fault = lambda *_: ""
    for here in (tmp_path / "cache" / "faceprep" / "stores").glob("*/out"):
        shutil.rmtree(here)  # what another machine does not have
    done = store.run(*fewer)
    assert done.returncode == 0, done.stderr
    assert store.objects() == wanted


@pytest.mark.parametrize("fault", points_of_the_day([FAIL, CUT, DROP, SLOW], 2))
def test_faulty_answers_change_nothing(fault: str, store: Store, rec_set: Path) -> None:
    assert store.run(*convert(rec_set)).returncode == 0
    sound = store.objects()
    store.fault = lambda method, path, number: fault if number % 4 == 0 else ""
    done = store.run(*convert(rec_set, "--overwrite"))
    assert done.returncode == 0, done.stderr
    store.fault = lambda *_: ""
    assert store.objects() == sound


def test_what_is_there_stays(store: Store, rec_set: Path) -> None:
    store.ask("PUT", "/out/train-00002-of-00004.tar", b"of somebody else")
    before = store.objects()
    done = store.run(*convert(rec_set))
    assert done.returncode == 1
    assert "s3://faces/out/train-00002-of-00004.tar: exists already" in done.stderr
    assert store.objects() == before


@pytest.mark.parametrize("options", [(), ("--overwrite",), ("--overwrite", "--dry-run")])
def test_a_prefix_of_somebody_else_gets_no_output(
    options: tuple[str, ...], store: Store, rec_set: Path
) -> None:
    store.ask("PUT", "/out/folder/0/mine.jpg", b"of somebody else")
    before = store.objects()
    done = store.run("convert", rec_set / "train.rec", "s3://faces/out/folder", *options)
    assert done.returncode == 1
    assert "s3://faces/out/folder: exists already. Choose another output." in done.stderr
    assert store.objects() == before


def test_a_class_map_of_somebody_else_stays(store: Store, rec_set: Path) -> None:
    """It does so even with --overwrite, as on a disk, and even if the classes are the same."""
    store.ask("PUT", "/out/train_classes.csv", b"class,name,images\n0,mine,1\n")
    before = store.objects()
    for options in ((), ("--overwrite",)):
        done = store.run(*convert(rec_set, *options))
        assert done.returncode == 1
        line = "s3://faces/out/train_classes.csv: exists already; it belongs to another output or"
        assert line in done.stderr and "--overwrite" not in done.stderr
        assert store.objects() == before
    store.clear()
    assert store.run(*convert(rec_set)).returncode == 0
    before = store.objects()
    other = ("convert", rec_set / "train.rec", "s3://faces/out/train.parquet", "--overwrite")
    done = store.run(*other)
    assert done.returncode == 1
    assert "train_classes.csv: belongs to train.tar, which another run wrote" in done.stderr
    assert store.objects() == before
    assert store.run(*convert(rec_set, "--overwrite")).returncode == 0, "its own map is replaced"


def test_other_options_are_refused_and_overwriting_leaves_nothing_old(
    store: Store, rec_set: Path
) -> None:
    assert store.run(*convert(rec_set)).returncode == 0
    before = store.objects()
    fewer = ("convert", rec_set / "train.rec", OUT, "--shards", 2)
    done = store.run(*fewer)
    assert done.returncode == 1
    assert "s3://faces/out/train.tar: this output was begun differently" in done.stderr
    assert store.objects() == before
    assert store.run(*fewer, "--overwrite").returncode == 0
    assert not [key for key in store.objects() if "of-00004" in key]


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("memory://faces/out.tar", "outputs are written to s3://, gs://, az:// and to disks"),
        ("s3://faces", "names a whole bucket"),
        ("s3://faces/list.csv", "this output is not written to object stores"),
        ("s3://nobody/out.tar", "no such bucket"),
    ],
)
def test_outputs_that_cannot_be(output: str, line: str, store: Store, rec_set: Path) -> None:
    done = store.run("convert", rec_set / "train.rec", output)
    assert done.returncode == 1
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not store.objects()


def test_a_name_that_no_store_takes_costs_its_item(
    store: Store, face_folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(face_folder, source)
    deep = source.joinpath(*["y" * 200] * 6)
    deep.mkdir(parents=True)
    for name in (b"0/\xff.jpg", b"0/a\nb.jpg", os.fsencode(deep.relative_to(source)) + b"/0.jpg"):
        shutil.copy(source / "0" / "0.jpg", os.fsencode(source) + b"/" + name)
    done = store.run("convert", source, "s3://faces/out/folder", "--json")
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert told["by_status"] == {"bad_name": 2, "long_name": 1, "ok": 12}
    failures = store.ask("GET", "/out/folder/failures.csv")[1].decode(errors="surrogateescape")
    assert failures.count("the name does not fit an object") == 2
    assert "the name is too long for an object: 1,222 bytes, at most 1,024" in failures


def test_a_run_that_stops_names_the_output_in_the_store(store: Store, rec_set: Path) -> None:
    store.fault = lambda method, path, _: DENY if method == "PUT" and "train-00002" in path else ""
    done = store.run(*convert(rec_set, "--json"))
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["output"] == OUT and "the store refuses access" in told["error"]


def test_a_store_that_refuses(store: Store, rec_set: Path) -> None:
    store.fault = lambda method, *_: DENY if method == "PUT" else ""
    done = store.run(*convert(rec_set))
    assert done.returncode == 1
    assert "the store refuses access" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not store.objects()
