"""Sets, photos and videos are read from an object store as from the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.jobs.finish import Finish
from faceprep.synthetic.video import write_siw_like
from faceprep.video.reader import open_video
from tests.command import faceprep
from tests.object_store import CUT, FAIL, SLOW, Store, running_store
from tests.turns import points_of_the_day

SUFFIXES = ("tar", "tfrecord", "parquet")
CONTAINERS = ["set.rec", "set.tar", "set.tfrecord", "set.parquet", "cut-00000-of-00002.tar"]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_faults(request: pytest.FixtureRequest) -> None:
    if "store" in request.fixturenames:
        found = request.getfixturevalue("store")
        found.fault = lambda *_: ""
        found.requests.clear()


@pytest.fixture(scope="module")
def containers(store: Store, face_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set of `face_folder` in several containers, on the disk and below `sets/`."""
    root = tmp_path_factory.mktemp("containers")
    for suffix in SUFFIXES:
        assert faceprep("convert", face_folder, root / f"set.{suffix}", "-q").returncode == 0
    done = faceprep("convert", face_folder, root / "set.rec", "-q", "--allow-loss")
    assert done.returncode == 0, done.stderr
    faceprep("convert", face_folder, root / "cut.tar", "-q", "--shards", 2)
    faceprep("manifest", face_folder, root / "list.csv", "--seed", 1, "--relative-to", face_folder)
    store.put(root, "sets")
    store.put(face_folder, "sets/folder")
    return root


@pytest.mark.parametrize("name", points_of_the_day(CONTAINERS, 3))
def test_a_container_converts_to_the_same_bytes(
    name: str, store: Store, containers: Path, tmp_path: Path
) -> None:
    target = f"OUT{'.tar' if name != 'set.tar' else '.parquet'}"
    here, there = tmp_path / "here", tmp_path / "there"
    for source, folder in ((containers / name, here), (f"s3://faces/sets/{name}", there)):
        done = store.run("convert", source, folder / target, "--seed", 2, "-q")
        assert done.returncode == 0, done.stderr
    assert (here / target).read_bytes() == (there / target).read_bytes()


def test_a_folder_and_a_list_convert_to_the_same_bytes(
    store: Store, containers: Path, face_folder: Path, tmp_path: Path
) -> None:
    listed = ("s3://faces/sets/list.csv", "--relative-to", "s3://faces/sets/folder")
    here = ("--relative-to", face_folder)
    for number, (near, far) in enumerate(
        [((face_folder,), ("s3://faces/sets/folder",)), ((containers / "list.csv", *here), listed)]
    ):
        outputs = [tmp_path / f"{place}{number}" / "out.tar" for place in ("near", "far")]
        for (source, *options), output in zip((near, far), outputs, strict=True):
            done = store.run("convert", source, output, *options)
            assert done.returncode == 0, done.stderr
        assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_large_reads_join_and_folders_are_listed_once(store: Store, containers: Path) -> None:
    done = store.run("inspect", "s3://faces/sets/set.rec", "--json")
    assert json.loads(done.stdout)["images"] == 12
    assert len(store.requests) < 20
    store.requests.clear()
    done = store.run("inspect", "s3://faces/sets/folder", "--json")
    assert json.loads(done.stdout)["images"] == 12
    reads = [path for method, path in store.requests if method == "GET" and "/folder/" in path]
    lists = [path for _, path in store.requests if "list-type" in path]
    assert len(reads) <= 12 + len(lists)
    assert len(lists) <= 4 + 4, lists


@pytest.mark.parametrize("fault", points_of_the_day([FAIL, CUT, SLOW], 1))
def test_faulty_answers_cost_nothing(
    fault: str, store: Store, containers: Path, tmp_path: Path
) -> None:
    store.fault = lambda method, path, number: fault if number % 3 == 0 else ""
    done = store.run("convert", "s3://faces/sets/set.rec", tmp_path / "out.tar", "-q")
    assert done.returncode == 0, done.stderr
    faceprep("convert", containers / "set.rec", tmp_path / "b" / "out.tar", "-q")
    assert (tmp_path / "out.tar").read_bytes() == (tmp_path / "b" / "out.tar").read_bytes()


def test_an_image_that_stays_away_is_one_outcome_and_is_tried_again(
    store: Store, containers: Path, tmp_path: Path
) -> None:
    store.fault = lambda method, path, _: FAIL if path.endswith("/folder/1/2.jpg") else ""
    output = tmp_path / "out.tar"
    done = store.run("convert", "s3://faces/sets/folder", output)
    assert done.returncode == 3, done.stderr
    assert "folder/1/2.jpg" in done.stderr
    assert "1 of 12" in done.stdout + done.stderr
    store.fault = lambda *_: ""
    done = store.run("convert", "s3://faces/sets/folder", output)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "environment", "line"),
    [
        ("s3://faces/none.rec", {}, "no such object or prefix. Check the path."),
        ("s3://nobody/none.rec", {}, "no such bucket: nobody."),
        ("s3://faces/sets/cut.tar", {}, "found s3://faces/sets/cut-00000-of-00002.tar. Name that"),
        ("s3://faces/x.rec", {"AWS_PROFILE": "nobody"}, "no valid credentials for the store"),
        (
            "s3://faces/x.rec",
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "no valid credentials for the store",
        ),
        (
            "s3://faces/sets/set.rec",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            "the store does not answer properly",
        ),
    ],
)
def test_a_refusal_is_one_line(
    path: str,
    environment: dict[str, str],
    line: str,
    store: Store,
    containers: Path,
    tmp_path: Path,
) -> None:
    done = store.run("convert", path, tmp_path / "out.tar", **environment)
    assert done.returncode == 1
    assert line in done.stderr.splitlines()[-1]
    assert path in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("s3://nobody/out.tar", "no such bucket: nobody"),
        ("s3://faces/none", "no such object or prefix"),
        ("s3://faces/sets", "no run to finish here"),
    ],
)
def test_nothing_to_finish(
    output: str, problem: str, store: Store, containers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.enter(monkeypatch)
    with pytest.raises(SourceError, match=problem):
        Finish().resume(Path(output))


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    done = faceprep("inspect", "gs://bucket/x.rec")
    assert done.returncode == 1
    assert "pip install 'faceprep[gcs]'" in done.stderr


def test_a_plan_about_a_store_is_applied(
    store: Store, containers: Path, face_folder: Path, tmp_path: Path
) -> None:
    planned, applied, here = tmp_path / "planned", tmp_path / "applied", tmp_path / "here"
    assert store.run("dedupe", "s3://faces/sets/folder", planned).returncode == 0
    assert store.run("apply", planned / "plan.jsonl", applied).returncode == 0
    assert faceprep("dedupe", face_folder, here).returncode == 0
    found = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.jpg")}
        for root in (planned, applied, here)
    ]
    assert found[0]
    assert found[0] == found[1] == found[2]
    linked = store.run("apply", planned / "plan.jsonl", tmp_path / "linked", "--mode", "symlink")
    assert linked.returncode == 2
    assert "only files can be linked" in linked.stderr


def test_a_video_and_its_boxes_are_read(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("av")
    write_siw_like(tmp_path / "siw", n_frames=8)
    source = store.put(tmp_path / "siw", "siw")
    outputs = [tmp_path / "near", tmp_path / "far"]
    for each, output in zip((tmp_path / "siw", source), outputs, strict=True):
        done = store.run("extract-video", each, output, "--every", "4")
        assert done.returncode in (0, 3), done.stderr
    crops = [
        {path.name: path.read_bytes() for path in tmp_path.glob(f"{output.name}_original/**/*.png")}
        for output in outputs
    ]
    assert crops[0]
    assert crops[0] == crops[1]


def test_an_empty_object_is_an_empty_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").touch()
    store.enter(monkeypatch)
    assert storage.read_bytes(store.put(tmp_path / "none", "none/1/1.jpg")) == b""
    pytest.importorskip("av")
    with pytest.raises(SourceError, match="none.mp4: an empty file, not a video"):
        open_video(store.put(tmp_path / "none", "none.mp4"))


def test_the_names_of_objects_are_whole(store: Store, containers: Path, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("image_names,e0,e1\n1/2.jpg,0,1\n9/9.jpg,1,0\n")
    name = store.put(tmp_path / "v.csv", "v.csv")
    asked = ("--embeddings", name, "--seed", 1, "--json")
    done = store.run("manifest", "s3://faces/sets/folder", tmp_path / "out.npz", *asked)
    assert done.returncode == 3, done.stderr
    written = Path(json.loads(done.stdout)["failures"])
    state = json.loads((written.parent / "run.json").read_text())
    assert "no embedding of this name in s3://faces/v.csv" in written.read_text()
    assert "s3://faces/v.csv has an embedding of this name" in written.read_text()
    assert [each["path"] for each in state["inputs"]] == ["s3://faces/sets/folder"]
    done = store.run("search", name, name, tmp_path / "out.csv", "--relative-to", tmp_path)
    assert "has no effect on the embeddings in s3://faces/v.csv" in done.stderr


def test_a_list_names_objects_in_full_or_below_a_prefix(
    store: Store, containers: Path, tmp_path: Path
) -> None:
    for below, name in ((), "s3://faces/sets/folder"), (("s3://faces/sets",), "folder"):
        options = [each for folder in below for each in ("--relative-to", folder)]
        out = tmp_path / f"{len(below)}.csv"
        done = store.run("convert", "s3://faces/sets/folder", out, *options)
        assert done.returncode == 0, done.stderr
        lines = out.read_text().splitlines()[1:]
        assert len(lines) == 12
        assert all(line.startswith(f"{name}/") for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "PLAN", "--scores", "OUT.csv"),
        ("report", "PLAN", "--output", "OUT.html"),
        ("review", "PLAN", "--static", "OUT"),
        ("convert-model", "none.tflite", "OUT.onnx"),
    ],
)
def test_a_place_that_must_be_on_a_disk_is_refused_first(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.jsonl"
    plan.write_text(json.dumps({"kind": "plan", "source": str(tmp_path)}) + "\n")
    given = [each.replace("OUT", "s3://faces/out").replace("PLAN", str(plan)) for each in arguments]
    done = faceprep(*given)
    assert done.returncode == 1
    assert f"{given[-1]}: this output cannot be in an object store" in done.stderr


def test_objects_that_no_path_can_name_are_warned_of(
    store: Store, face_folder: Path, tmp_path: Path
) -> None:
    image = next(face_folder.rglob("*.jpg"))
    for key in ("odd/a/1.jpg", "odd/a//2.jpg", "odd/a/../3.jpg"):
        store.put(image, key)
    done = store.run("convert", "s3://faces/odd", tmp_path / "out")
    assert "1 of 1 image" in done.stdout, done.stderr
    assert "odd/a: objects below the prefix '' are not read: rename them" in done.stderr
    assert "odd/a: objects below the prefix '..' are not read: rename them" in done.stderr
