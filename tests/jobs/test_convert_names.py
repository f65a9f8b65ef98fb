"""Hostile keys: no destination of convert, and of a plan, loses an image without naming it."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.job import Job
from faceprep.core.types import Outcome, Request, Summary
from faceprep.jobs.apply import Apply
from faceprep.jobs.convert import Convert
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.manifest import Manifest
from faceprep.jobs.score import Score
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets import webdataset
from faceprep.sets.image_set import Sample
from faceprep.sets.parquet_writer import ParquetWriter
from faceprep.sets.tfrecord_set import encode_sample
from faceprep.steps.planned_images import PlannedImages
from faceprep.synthetic import encode_face
from faceprep.tables.plan import read_plan
from tests.set_reading import member_bytes, read_samples, read_set

FACE = encode_face(1, 1)
FOLDERS = ["", "5/", "x/", "5/x/", "x_", "5/x_", "a b/", "5.jpg/", "x%2F"]
NAMES = ["1", "x_1", "1.jpg", "1.png", "_", "%2F1", "a.b", "x.jpg", "__x__"]
KEYS = st.builds(str.__add__, st.sampled_from(FOLDERS), st.sampled_from(NAMES))
IMAGES = st.lists(
    st.tuples(KEYS, st.sampled_from(["5", "x", "5/x", ""])),
    min_size=1,
    max_size=7,
    unique_by=lambda image: image[0],
)
Image = tuple[str, str]
"""Key and identity."""
SOURCES = ("txt", "tar", "parquet", "tfrecord")


def payload(number: int) -> bytes:
    """Return one of many different images."""
    comment = str(number).encode()
    return FACE[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + FACE[2:]


def write_source(kind: str, images: list[Image], folder: Path) -> tuple[Path, int]:
    """Write a set of this kind; return it and the number of its images."""
    path = folder / f"in.{kind}"
    samples = [Sample(key, name, payload(i)) for i, (key, name) in enumerate(images)]
    if kind == "txt":
        return path, write_list(path, samples)
    if kind == "tar":
        path.write_bytes(b"".join(map(encode_members, samples)) + webdataset.END)
    elif kind == "tfrecord":
        path.write_bytes(b"".join(encode_sample(sample, 1) for sample in samples))
    else:
        with path.open("wb") as file:
            writer = ParquetWriter(file, ["one"])
            for sample in samples:
                writer.add(sample, 0, ".jpg")
            writer.close()
    return path, len(samples)


def write_list(path: Path, samples: list[Sample]) -> int:
    lines = []
    for sample in samples:
        file = path.parent / sample.key
        parents = [path.parent.joinpath(*file.parts[:0]), *file.parents]
        if file.is_dir() or any(parent.is_file() for parent in parents):
            continue  # a disk cannot have both
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(sample.data))
        lines.append(f"{sample.key}\t{len(sample.identity)}\n")
    path.write_text("".join(lines))
    return len(lines)


def encode_members(sample: Sample) -> bytes:
    key = webdataset.key_of(sample.key)
    members = [(f"{key}.jpg", sample.data)]
    if sample.identity:
        members.append((f"{key}.cls", sample.identity.encode()))
    return b"".join(member_bytes(*member) for member in members)


def run(job: Job, source: Path, output: Path) -> Summary:
    return run_job(job, Request((source,), output), SerialRunner())


def check(summary: Summary, output: Path, n: int) -> None:
    """Check that the output holds all `n` images but those that are named."""
    assert (summary.inputs, summary.ok + summary.failed) == (n, n)
    found = read_set(output) if summary.ok else []
    assert not [each for each in found if isinstance(each, Outcome)]
    assert len({bytes(each.data) for each in found if isinstance(each, Sample)}) == summary.ok
    assert set(summary.by_status) <= {"ok", "bad_name"}
    if summary.ok and output.suffix == ".tar":
        with tarfile.open(output) as file:  # webdataset refuses a name that stands twice
            assert len(set(file.getnames())) == len(file.getnames())


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("target", ["out", "out.tar", "out.tfrecord", "out.parquet", "out.rec"])
@settings(max_examples=12)
@given(images=IMAGES)
@example(images=[("x/1.jpg", "5"), ("x_1.jpg", "5")])
@example(images=[("5/x_1", "5"), ("x_1", "5"), ("x/1", "5")])
@example(images=[("5/x", "5"), ("5/x.jpg", "5"), ("x.jpg", "5")])
@example(images=[("5/x", "5"), ("x", "5"), ("5/x_1", "5")])
def test_every_destination_has_every_image(
    kind: str, target: str, images: list[Image], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("names")
    source, n = write_source(kind, images, folder)
    plan = folder / "plan.jsonl"
    plan.write_text(json.dumps({"kind": "plan", "source": str(source)}) + "\n")
    for job, begin, name in ((Convert(allow_loss=True), source, "converted"), (Apply(), plan, "a")):
        output = folder / name / target
        try:
            summary = run(job, begin, output)
        except SourceError as error:
            assert "one name in a folder" in str(error) or "cannot hold" in str(error)
            assert not output.exists()
        else:
            check(summary, output, n)
    shutil.rmtree(folder)


def test_a_list_with_two_names_for_one_path(tmp_path: Path) -> None:
    """Two images of class 1 would both be 1/x_1.jpg."""
    source, _ = write_source("txt", [("x/1.jpg", "5"), ("x_1.jpg", "5")], tmp_path)
    run(Convert(), source, tmp_path / "out")
    found = sorted(path.name for path in (tmp_path / "out").rglob("*.jpg"))
    assert found == ["%2Fx_1.jpg", "x%2F1.jpg"]
    run(Convert(), source, tmp_path / "out.tar")
    keys = [each.key for each in read_set(tmp_path / "out.tar") if isinstance(each, Sample)]
    assert keys == ["1/x%2F1", "1/%2Fx_1"]
    (tmp_path / "x" / "1.jpg").write_bytes(payload(1))
    run(Dedupe(exact_only=True), source, tmp_path / "less.tar")
    assert len(read_set(tmp_path / "less.tar")) == 1
    run(Apply(), tmp_path / "less.undo.jsonl", tmp_path / "back.tar")
    assert len(read_set(tmp_path / "back.tar")) == 2


def test_a_manifest_has_every_image(tmp_path: Path) -> None:
    """The two images differ in suffix and class alone."""
    source, n = write_source("txt", [("x/1.jpg", "5"), ("x/1.png", "x"), ("x/2", "5")], tmp_path)
    run(Manifest(seed=1), source, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as file:
        assert len(set(file.getnames())) == 2 * n
    assert len(read_set(tmp_path / "a.tar")) == n


def test_usual_names_stay(tmp_path: Path) -> None:
    source, _ = write_source("txt", [("x/1.jpg", "5"), ("y/1.jpg", "5")], tmp_path)
    run(Convert(), source, tmp_path / "out")
    found = sorted(path.name for path in (tmp_path / "out").rglob("*.jpg"))
    assert found == ["x_1.jpg", "y_1.jpg"]


def test_a_number_with_more_than_a_suffix_is_no_key_of_a_rec(tmp_path: Path) -> None:
    for name in ("1.x.jpg", "2.jpg.jpg"):
        path = tmp_path / name / "7" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(payload(1))
        with pytest.raises(SourceError, match="rec cannot hold the names of the images"):
            run(Convert(), tmp_path / name, tmp_path / "out.rec")


def test_an_image_and_an_identity_of_one_name(tmp_path: Path) -> None:
    source, _ = write_source("parquet", [("a/b", "a"), ("a/b.jpg/1", "a/b.jpg")], tmp_path)
    with pytest.raises(SourceError, match="an image and an identity would have one name"):
        run(Convert(), source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_identity_that_leads_out_of_a_tar(tmp_path: Path) -> None:
    source, _ = write_source("parquet", [("1", ".."), ("a/2", "a")], tmp_path)
    output = tmp_path / "out.tar"
    with pytest.raises(SourceError, match=r"a .tar cannot hold the name '../1'"):
        run(Convert(), source, output)
    summary = run(Convert(allow_loss=True), source, output)
    assert summary.by_status == {"ok": 1, "bad_name": 1}
    assert [sample.key for sample in read_samples(output)] == ["a/2"]


@pytest.mark.parametrize("names", [["a/x.jpg", "a/x.jpeg", "b/y.jpg"], ["a/x.png.jpg", "b/y.jpg"]])
@pytest.mark.parametrize("kind", ["in.zip", "in.csv", "in.parquet", "in.tfrecord", "in.tar"])
def test_images_whose_suffix_matters_keep_their_names(
    kind: str, names: list[str], tmp_path: Path
) -> None:
    for number, name in enumerate(names):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload(number))
    if kind == "in.zip":
        shutil.make_archive(str(tmp_path / "in"), "zip", tmp_path / "set")
    else:
        run(Convert(), tmp_path / "set", tmp_path / kind)
    run(Convert(), tmp_path / kind, tmp_path / "out")
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.jp*")}
    assert found == set(names)


def test_a_plan_about_a_list_of_absolute_paths(tmp_path: Path) -> None:
    """Its names are those below the folder that the images share, as convert writes them."""
    deep = tmp_path / ("long" * 60) / ("name" * 60)
    for number, name in enumerate(("a/1.jpg", "a/2.jpg", "b/1.jpg")):
        (deep / name).parent.mkdir(parents=True, exist_ok=True)
        (deep / name).write_bytes(payload(number // 2))
    files = sorted(deep.rglob("*.jpg"))
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in files))
    for source in (deep, tmp_path / "list.txt"):
        output = tmp_path / f"{source.suffix[1:]}out"
        assert run(Dedupe(exact_only=True), source, output).failed == 0
        found = sorted(str(path.relative_to(output)) for path in output.rglob("*.jpg"))
        assert found == ["a/1.jpg", "b/1.jpg"]
        run(Apply(), output / "undo.jsonl", tmp_path / f"{output.name}-back")
        back = (tmp_path / f"{output.name}-back").rglob("*.jpg")
        wanted = ["a/1.jpg", "a/2.jpg", "b/1.jpg"]
        assert sorted(f"{path.parent.name}/{path.name}" for path in back) == wanted
    run(Score(drop_above=("contrast=0",)), tmp_path / "list.txt", tmp_path / "scores.parquet")
    plan = read_plan(tmp_path / "scores.plan.jsonl")
    assert sorted(decision.subject for decision in plan.decisions) == wanted
    images = PlannedImages(tmp_path / "list.txt", tmp_path / "index", "listed")
    assert images.names_of("a") == ["1.jpg", "2.jpg"]
    assert images.find("a/2.jpg") is not None and images.find_key(str(files[1])) is not None
    images.close()
