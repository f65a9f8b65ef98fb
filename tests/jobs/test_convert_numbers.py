"""convert and plans keep the class numbers that a set states, or warn that they change."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceprep.core.errors import SourceError
from faceprep.core.types import Decision, Request
from faceprep.jobs.apply import Apply
from faceprep.jobs.convert import Convert
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.manifest import Manifest
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets import class_map
from faceprep.sets.containers import index_set
from faceprep.sets.image_set import Sample
from faceprep.sets.recordio.framing import frame_image
from faceprep.synthetic import encode_face, write_folder
from faceprep.tables.plan import write_plan

FACE = encode_face(1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "folder", 3, 2)
    return tmp_path / "folder"


def manifest(source: Path, output: Path, **options: object) -> Path:
    run_job(Manifest(seed=1, **options), Request((source,), output), SerialRunner())  # type: ignore[arg-type]
    return output


def convert(source: Path, output: Path) -> Path:
    run_job(Convert(allow_loss=True), Request((source,), output), SerialRunner())
    return output


def numbers(path: Path) -> dict[str, float]:
    """Return the class number of each image by the end of its name."""
    with index_set(path, path.with_name(f"{path.name} index")) as images:
        samples = list(images.read(range(len(images))))
    found = [each for each in samples if isinstance(each, Sample)]
    assert len(found) == len(samples)
    return {"/".join(each.key.split(".")[0].split("/")[-2:]): each.labels[0] for each in found}


def rows(output: Path) -> list[tuple[int, str, int]]:
    return [(*row,) for row in class_map.load(output.with_name(class_map.name_for(output)))]


@pytest.mark.parametrize("first", [".tar", ".csv", ".parquet", ".lst", ".npz"])
@pytest.mark.parametrize("second", [".tar", ".parquet", ".csv"])
def test_the_numbers_of_a_class_map_stay(
    first: str, second: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fixed = tmp_path / "fixed.csv"
    fixed.write_text("class,name,images\n0,zed,4\n1,2,4\n2,1,4\n3,0,0\n")
    source = manifest(folder, tmp_path / f"a{first}", classes=fixed)
    if second == ".csv" and first == ".tar":  # a list refers to files
        source = manifest(folder, tmp_path / "other.csv", classes=fixed)
    with caplog.at_level(logging.WARNING, "faceprep"):
        output = convert(source, tmp_path / f"b{second}")
    expected = {f"{name}/{i}": 3 - name for name in range(3) for i in range(2)}
    assert numbers(output) == numbers(source) == expected
    assert rows(output) == [(0, "zed", 0), (1, "2", 2), (2, "1", 2), (3, "0", 2)]
    assert "another class number" not in caplog.text


def test_a_validation_set_keeps_the_numbers_of_its_training_set(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest(folder, tmp_path / "a.tar", val_fraction=0.2)
    with caplog.at_level(logging.WARNING, "faceprep"):
        output = convert(tmp_path / "a_val.tar", tmp_path / "b.tar")
    assert numbers(output) == numbers(tmp_path / "a_val.tar")
    assert [row[:2] for row in rows(output)] == [(0, "0"), (1, "1"), (2, "2")]
    assert "another class number" not in caplog.text


def test_the_classes_of_hugging_face_keep_their_order(tmp_path: Path) -> None:
    source = tmp_path / "hf.parquet"
    features = (
        b'{"image": {"_type": "Image"}, "label": {"names": ["zoe", "ann"], "_type": "ClassLabel"}}'
    )
    table = pa.table({"image": [{"bytes": FACE, "path": None}] * 3, "label": [0, 1, 1]})
    marked = table.replace_schema_metadata(
        {"huggingface": b'{"info": {"features": %b}}' % features}
    )
    pq.write_table(marked, source)
    output = convert(source, tmp_path / "out.tar")
    assert rows(output) == [(0, "zoe", 1), (1, "ann", 2)]


def test_classes_of_hugging_face_with_one_name_are_refused(tmp_path: Path) -> None:
    names = b'{"info": {"features": {"label": {"names": ["a", "b", "a"], "_type": "ClassLabel"}}}}'
    table = pa.table({"image": [FACE] * 3, "label": [0, 1, 2]})
    pq.write_table(table.replace_schema_metadata({"huggingface": names}), tmp_path / "in.parquet")
    with pytest.raises(SourceError, match="gives two classes the same name: .* 'a' as 0 and as 2"):
        convert(tmp_path / "in.parquet", tmp_path / "out.tar")


def test_a_class_that_hugging_face_does_not_name_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = b'{"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}}'
    table = pa.table({"image": [FACE] * 5, "label": [0, 1, 2, -1, None]})
    source = tmp_path / "in.parquet"
    pq.write_table(table.replace_schema_metadata({"huggingface": names}), source)
    convert(source, tmp_path / "out.tar")
    said = "1 image has a class not among the 2 classes that the features name; the number is"
    assert f"{source}: {said} the identity" in caplog.messages


def test_labels_that_a_rec_keeps_are_not_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = [frame_image([label], FACE, key) for key, label in enumerate((-1, 0, 1.5, 7))]
    (tmp_path / "in.rec").write_bytes(b"".join(records))
    for name in ("out.rec", "out.tar"):
        with caplog.at_level(logging.WARNING, "faceprep"):
            convert(tmp_path / "in.rec", tmp_path / name)
    assert "another class number" not in caplog.text
    assert set(numbers(tmp_path / "out.rec").values()) == {-1, 0, 1.5, 7}


@pytest.mark.parametrize("suffix", [".tar", ".csv"])
def test_a_label_that_is_not_the_identity_is_warned_of(
    suffix: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, name in enumerate(["live/p", "spoof/p", "spoof/q"]):
        (tmp_path / "people" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).rename(tmp_path / "people" / name)
    source = manifest(tmp_path / "people", tmp_path / f"a{suffix}", label_rule="live=0,spoof=1")
    with caplog.at_level(logging.WARNING, "faceprep"):
        output = convert(source, tmp_path / f"b{suffix}")
    assert len(rows(output)) == 3
    assert "2 images got another class number than in" in caplog.text
    assert "(2 instead of 1)" in caplog.text


@pytest.fixture
def fixed(folder: Path, tmp_path: Path) -> Path:
    """Write a .tar of three identities whose classes are numbered from behind, after zed."""
    classes = tmp_path / "fixed.csv"
    classes.write_text("class,name,images\n0,zed,4\n1,2,4\n2,1,4\n3,0,0\n")
    return manifest(folder, tmp_path / "a.tar", classes=classes)


def apply(source: Path, output: Path, *decisions: Decision) -> Path:
    plan = output.with_suffix(".jsonl")
    with plan.open("wb") as file:
        write_plan(file, {"command": "test", "source": str(source)}, decisions)
    return carry_out(plan, output)


def carry_out(plan: Path, output: Path) -> Path:
    run_job(Apply(), Request((plan,), output), SerialRunner())
    return output


@pytest.mark.parametrize("suffix", [".tar", ".parquet", ".tfrecord"])
def test_a_plan_keeps_the_stated_numbers(
    suffix: str, fixed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deduped = tmp_path / f"b{suffix}"
    run_job(Dedupe(exact_only=True), Request((fixed,), deduped), SerialRunner())
    with caplog.at_level(logging.WARNING, "faceprep"):
        merged = apply(fixed, tmp_path / f"c{suffix}", Decision("merge", "1", "2"))
    assert set(numbers(deduped).values()) == {1, 2, 3}
    assert sorted(numbers(merged).values()) == [1, 1, 1, 1, 3, 3]
    assert rows(merged) == [(0, "zed", 0), (1, "2", 4), (2, "1", 0), (3, "0", 2)]
    said = [record.getMessage() for record in caplog.records if "class" in record.getMessage()]
    emptied = "1 class whose images were all moved or dropped, such as 1"
    assert said == [f"{emptied}: their class numbers stay unused"]
    back = carry_out(tmp_path / "c.undo.jsonl", tmp_path / f"d{suffix}")
    assert numbers(back) == numbers(fixed)


def test_a_plan_warns_of_numbers_that_cannot_stay(
    fixed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "faceprep"):
        output = apply(fixed, tmp_path / "b.tar", Decision("move", "2/0", "new"))
    assert rows(output) == [(0, "0", 2), (1, "1", 2), (2, "2", 1), (3, "new", 1)]
    assert f"{output}: 5 images got another class number than in {fixed}, such as" in caplog.text
    assert "faceprep manifest sets other numbers, with --label-rule or --classes." in caplog.text


def test_a_map_of_other_numbers_is_not_used(tmp_path: Path, folder: Path) -> None:
    """The names are those of classes, and the identities are numbers of classes."""
    source = convert(folder, tmp_path / "a.tar")
    (tmp_path / "a_classes.csv").write_text("class,name,images\n0,2,2\n1,1,2\n2,0,2\n")
    output = convert(source, tmp_path / "b.tar")
    assert numbers(output) == numbers(source)
    assert rows(output) == [(0, "0", 2), (1, "1", 2), (2, "2", 2)]


def test_names_that_are_not_utf8(folder: Path, tmp_path: Path) -> None:
    """Two outputs share their map, and a plan keeps its numbers, as with other names."""
    (folder / "2").rename(folder / "\udcff")
    source = convert(folder, tmp_path / "a.tar")
    written = (tmp_path / "a_classes.csv").read_bytes()
    assert written == b"class,name,images\n0,0,2\n1,1,2\n2,\xff,2\n"
    convert(folder, tmp_path / "a.tfrecord")
    assert (tmp_path / "a_classes.csv").read_bytes() == written
    output = apply(source, tmp_path / "b.tar", Decision("drop", "0"))
    assert set(numbers(output).values()) == {1, 2}
    with pytest.raises(SourceError, match="UTF-8"):
        manifest(folder, tmp_path / "c.tar", classes=tmp_path / "a_classes.csv")


@pytest.mark.parametrize("first", [0, 1])
def test_a_rec_has_a_class_map_only_if_its_labels_are_the_classes(
    first: int, tmp_path: Path
) -> None:
    for label in range(first, first + 3):
        path = tmp_path / "set" / str(label) / f"{label}.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_face(label, 1))
    own = convert(tmp_path / "set", tmp_path / "a.rec")
    dropped = Dedupe(exact_only=True)
    run_job(dropped, Request((own,), tmp_path / "b.rec"), SerialRunner())
    for name in ("a", "b"):
        labels = sorted(numbers(tmp_path / f"{name}.rec").values())
        assert labels == [first, first + 1, first + 2]
        path = tmp_path / f"{name}_classes.csv"
        assert path.exists() == (first == 0)
        if path.exists():
            assert rows(path.with_name(f"{name}.rec")) == [(n, str(n), 1) for n in range(3)]
