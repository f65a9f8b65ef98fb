"""manifest: images together with their embeddings, written, read back, and by the peers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.errors import OptionError, SourceError
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.jobs.inspect.job import Inspect
from faceprep.jobs.manifest import Manifest
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.sets import tfrecord, webdataset
from faceprep.sets.containers import index_set
from faceprep.sets.manifests import partition
from faceprep.sets.manifests.vectors import read_vectors
from tests.bins import write_bin
from tests.manifests import JPEG, embeddings_of, failures, files, make, run
from tests.set_reading import read_rows

SUFFIXES = (".tfrecord", ".tar", ".parquet")
CONTAINERS = ("in.rec", "in.tar", "in.tfrecord", "in.parquet", "in.zip")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def key_in(suffix: str, name: str) -> str:
    return name.removesuffix(".jpg") if suffix == ".tar" else name


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_images_and_vectors_are_read_back(
    face_folder: Path, tmp_path: Path, out: Path, suffix: str, dtype: type
) -> None:
    vectors = embeddings_of(face_folder, tmp_path / "e.npz", dtype=dtype)
    options: Any = {"embeddings": tmp_path / "e.npz", "with_images": True}
    summary = run(face_folder, out / f"t{suffix}", **options)
    assert (summary.ok, summary.failed) == (12, 0)
    found = {key: (identity, data) for key, identity, data, _ in read_rows(out / f"t{suffix}")}
    assert found == {
        key_in(suffix, name): (name[0], (face_folder / name).read_bytes()) for name in vectors
    }
    read = dict(read_vectors(out / f"t{suffix}"))
    assert read.keys() == found.keys()
    for name, vector in vectors.items():
        np.testing.assert_array_equal(read[key_in(suffix, name)], vector, strict=True)
    shown = Inspect().look(out / f"t{suffix}")
    assert (shown.images, shown.identities, shown.damaged) == (12, 4, 0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_image_or_a_vector_without_the_other_is_named(
    tmp_path: Path, out: Path, suffix: str
) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg", "b/1.jpg")
    embeddings_of(source, tmp_path / "e.npz")
    (source / "a/2.jpg").rename(source / "a/3.jpg")
    summary = run(
        source, out / f"t{suffix}", embeddings=tmp_path / "e.npz", with_images=suffix != ".npz"
    )
    assert (summary.inputs, summary.ok, summary.failed) == (3, 2, 2)
    assert summary.others == {"embedding": {"no_image": 1}}
    assert failures(out / f"t{suffix}") == {"a/3.jpg": "no_embedding", "a/2.jpg": "no_image"}
    assert len(read_rows(out / f"t{suffix}")) == 2


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bad_images_take_their_vectors_along(tmp_path: Path, out: Path, suffix: str) -> None:
    source = make(tmp_path / "set", *(f"a/{i}.jpg" for i in range(4)))
    make(source, "a/cut1.jpg", "a/cut2.jpg", data=JPEG[:-40])
    vectors = embeddings_of(source, tmp_path / "e.npz")
    for seed in range(3):  # any may be the first
        output = out / str(seed) / f"t{suffix}"
        run(source, output, seed=seed, embeddings=tmp_path / "e.npz", with_images=True)
        read = dict(read_vectors(output))
        assert sorted(read) == [key_in(suffix, f"a/{i}.jpg") for i in range(4)]
        for key, vector in read.items():
            np.testing.assert_array_equal(vector, vectors[f"{key.removesuffix('.jpg')}.jpg"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_parts_and_workers(
    face_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    embeddings_of(face_folder, tmp_path / "e.npz")
    options: Any = {"embeddings": tmp_path / "e.npz", "with_images": True, "val_fraction": 0.2}
    run(face_folder, tmp_path / "one" / f"t{suffix}", **options)
    monkeypatch.setattr(partition, "_LOADED", 5)
    for name, runner in (("parts", SerialRunner()), ("three", ProcessRunner(3))):
        run(face_folder, tmp_path / name / f"t{suffix}", runner, **options)
    assert files(tmp_path / "parts") == files(tmp_path / "three")
    for name in (f"t{suffix}", f"t_val{suffix}"):
        one, parts = tmp_path / "one" / name, tmp_path / "parts" / name
        assert read_rows(parts) == read_rows(one)
        for (key, vector), (wanted, other) in zip(
            read_vectors(parts), read_vectors(one), strict=True
        ):
            assert (key, vector.tolist()) == (wanted, other.tolist())


@pytest.mark.parametrize("suffix", [".parquet", ".tfrecord", ".tar"])
def test_vectors_of_a_manifest_are_joined_again(
    face_folder: Path, tmp_path: Path, out: Path, suffix: str
) -> None:
    embeddings_of(face_folder, tmp_path / "e.npz")
    first, second = out / f"t{suffix}", out / "again.tfrecord"
    run(face_folder, first, embeddings=tmp_path / "e.npz", with_images=True)
    summary = run(first, second, seed=2, embeddings=first, with_images=True)
    assert (summary.ok, summary.failed) == (12, 0)
    assert {k: v.tolist() for k, v in read_vectors(second)} == {
        k: v.tolist() for k, v in read_vectors(first)
    }


def test_parquet_with_images_alone(face_folder: Path, out: Path) -> None:
    run(face_folder, out / "t.parquet", with_images=True)
    found = read_rows(out / "t.parquet")
    assert sorted((key, data) for key, _, data, _ in found) == sorted(
        (f"{i}/{k}.jpg", (face_folder / f"{i}/{k}.jpg").read_bytes())
        for i in range(4)
        for k in range(3)
    )


# Any set as source


def container(folder: Path, path: Path) -> Path:
    if path.suffix == ".zip":
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*.jpg")):
                archive.write(file, file.relative_to(folder))
    else:
        run_job(Convert(allow_loss=True), Request((folder,), path), SerialRunner())
    return path


def vectors_of(source: Path, path: Path, scratch: Path) -> dict[str, list[float]]:
    """Make embeddings of a set under its keys, as `embed` names them."""
    with index_set(source, scratch) as images:
        keys = images.keys(0, len(images))
    vectors = np.arange(4 * len(keys), dtype="f4").reshape(-1, 4)
    np.savez(path, image_names=keys, image_classes=np.zeros(len(keys)), embeddings=vectors)
    return dict(zip(keys, vectors.tolist(), strict=True))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", CONTAINERS)
def test_any_set_with_vectors(
    face_folder: Path, tmp_path: Path, out: Path, name: str, suffix: str
) -> None:
    numbered = tmp_path / "numbered"
    for i, file in enumerate(sorted(face_folder.rglob("*.jpg"))):
        make(numbered, f"{file.parent.name}/{i}.jpg", data=file.read_bytes())
    source = container(numbered, tmp_path / name)
    wanted = vectors_of(source, tmp_path / "e.npz", tmp_path / "scratch")
    options: Any = {"embeddings": tmp_path / "e.npz", "with_images": True, "check": True}
    summary = run(source, out / f"t{suffix}", val_fraction=0.2, **options)
    assert (summary.ok, summary.failed) == (12, 0)
    found: dict[str, list[float]] = {}
    for split in ("t", "t_val"):
        found |= {key: v.tolist() for key, v in read_vectors(out / f"{split}{suffix}")}
    assert found == {key_in(suffix, key): vector for key, vector in wanted.items()}


@pytest.mark.parametrize("target", ["t.npz", "t.csv", "t.lst", "t.parquet", "t.tfrecord"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_a_list_of_what_are_no_files_is_refused(
    face_folder: Path, tmp_path: Path, out: Path, name: str, target: str
) -> None:
    source = container(face_folder, tmp_path / name)
    vectors_of(source, tmp_path / "e.npz", tmp_path / "scratch")
    options = {"embeddings": tmp_path / "e.npz"} if target == "t.tfrecord" else {}
    with pytest.raises(OptionError, match="are not files, so a list cannot name them") as error:
        run(source, out / target, **options)
    assert "OUT.tar, or OUT.tfrecord or OUT.parquet with --with-images" in str(error.value)
    assert not out.exists()


def test_a_verification_set_by_a_rule(tmp_path: Path, out: Path) -> None:
    write_bin(tmp_path / "pairs.bin", [JPEG] * 12, [True] * 6)
    options: Any = {"label_rule": r"re:^(\d+)_", "with_images": True, "val_fraction": 0.2}
    run(tmp_path / "pairs.bin", out / "t.parquet", **options)
    with pytest.raises(OptionError, match="are not files"):
        run(tmp_path / "pairs.bin", out / "t.csv", label_rule=r"re:^(\d+)_")


# The peers


def test_tensorflow_reads_both(face_folder: Path, tmp_path: Path, out: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    vectors = embeddings_of(face_folder, tmp_path / "e.npz")
    run(face_folder, out / "t.tfrecord", embeddings=tmp_path / "e.npz", with_images=True)
    number, text = tf.io.FixedLenFeature([], tf.int64), tf.io.FixedLenFeature([], tf.string)
    records = tf.data.TFRecordDataset(str(out / "t.tfrecord"))
    about = dict.fromkeys(("classes", "emb_shape", "total", "use_fp16"), number)
    first = tf.io.parse_single_example(next(iter(records)), about)
    assert {name: int(value) for name, value in first.items()} == {
        "classes": 4,
        "emb_shape": 5,
        "total": 12,
        "use_fp16": 0,
    }
    images = {"image_raw": text, "label": number}
    distilled = {"image_names": text, "image_classes": number, "embeddings": text}
    for record in records:
        image = tf.io.parse_single_example(record, images)
        row = tf.io.parse_single_example(record, distilled)
        name = row["image_names"].numpy().decode().removesuffix(".jpg")
        assert image["image_raw"].numpy() == (face_folder / name).read_bytes()
        assert int(image["label"]) == int(row["image_classes"]) == int(name[0])
        vector = tf.io.decode_raw(row["embeddings"], tf.float32).numpy()
        np.testing.assert_array_equal(vector, vectors[name])
        assert tf.io.decode_image(image["image_raw"]).shape[2] == 3


def test_numpy_reads_the_member_of_a_tar(face_folder: Path, tmp_path: Path, out: Path) -> None:
    vectors = embeddings_of(face_folder, tmp_path / "e.npz")
    run(face_folder, out / "t.tar", embeddings=tmp_path / "e.npz")
    samples = list(webdataset.read_samples(out / "t.tar"))
    assert len(samples) == len(vectors)
    for sample in samples:
        assert list(sample.files) == ["jpg", "cls", "npy"]
        found = np.load(io.BytesIO(sample.files["npy"]), allow_pickle=False)
        np.testing.assert_array_equal(found, vectors[f"{sample.key}.jpg"], strict=True)


@pytest.mark.parametrize("suffix", [".tar", ".tfrecord", ".parquet"])
def test_vectors_of_a_manifest_with_images_are_joined_to_the_folder(
    suffix: str, face_folder: Path, tmp_path: Path, out: Path
) -> None:
    """Its names have no suffixes."""
    vectors = embeddings_of(face_folder, tmp_path / "e.npz")
    run(face_folder, out / f"t{suffix}", embeddings=tmp_path / "e.npz", with_images=True)
    run(face_folder, out / "again.npz", embeddings=out / f"t{suffix}")
    with np.load(out / "again.npz") as found:
        names = [name.removeprefix(f"{face_folder}/") for name in found["image_names"].tolist()]
        expected = np.stack([vectors[name] for name in names])
        np.testing.assert_array_equal(found["embeddings"], expected)


def test_images_whose_names_differ_in_the_suffix_alone_are_not_joined(
    tmp_path: Path, out: Path
) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg")
    embeddings_of(source, tmp_path / "e.npz")
    run(source, out / "t.tar", embeddings=tmp_path / "e.npz")
    make(source, "a/1.png")
    with pytest.raises(SourceError, match="none of the images is in it"):
        run(source, out / "again.npz", embeddings=out / "t.tar")


def test_an_image_of_another_suffix_is_another_image(tmp_path: Path, out: Path) -> None:
    embeddings_of(make(tmp_path / "set", "a/1.jpg"), tmp_path / "e.npz")
    other = make(tmp_path / "other", "a/1.png")
    with pytest.raises(SourceError, match="none of the images is in it"):
        run(other, out / "t.npz", embeddings=tmp_path / "e.npz")


# A .tfrecord of names alone


def test_a_list_in_a_tfrecord_is_refused_and_still_known(face_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no trainer reads") as error:
        request = Request((face_folder,), tmp_path / "t.tfrecord")
        run_job(Manifest(seed=1), request, SerialRunner())
    assert "expected --with-images or --embeddings" in str(error.value)
    old = tmp_path / "old.tfrecord"
    record = tfrecord.encode_example({"image_names": b"a/1.jpg", "image_classes": 0})
    old.write_bytes(tfrecord.frame(record))
    shown = Inspect().look(old)
    assert (shown.kind, shown.images) == ("tfrecord-list", 1)
