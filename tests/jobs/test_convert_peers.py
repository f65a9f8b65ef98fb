"""What convert writes is read by the programs that it is for, and what they write is read by it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.synthetic import encode_face
from tests.real import MXNET_PYTHON, needs_mxnet
from tests.set_reading import read_samples
from tests.warm_python import WarmPython

N_PEOPLE, N_IMAGES = 3, 4


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"pip install {package}")


def convert(source: Path, target: Path, **options: object) -> Path:
    job = Convert(**options)  # type: ignore[arg-type]
    run_job(job, Request((source,), target), SerialRunner())
    return target


def digest(data: Any) -> str:
    return hashlib.sha256(bytes(data)).hexdigest()


def rows(path: Path) -> list[tuple[str, str]]:
    """Return the identity and the digest of every image."""
    return [(each.identity, digest(each.data)) for each in read_samples(path)]


@pytest.fixture(scope="module", params=["numbers", "names"])
def people(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: IDENTITY/KEY.jpg with numbers from 1, or names with blanks and accents."""
    root = tmp_path_factory.mktemp("people") / "people"
    for number in range(N_PEOPLE * N_IMAGES):
        person = number // N_IMAGES
        name = f"{person}/{number + 1}.jpg"
        if request.param == "names":
            name = f"é {person}/image.{number % N_IMAGES}.jpg"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode_face(person, number))
    return root


def number_of(identity: str) -> int:
    """Return the class number of an identity of `people`."""
    return int(identity.removeprefix("é "))


def classes(path: Path) -> list[list[Any]]:
    return [[number_of(identity), data] for identity, data in rows(path)]


# MXNet

_READ = """
import hashlib, json, numbers, sys
import numpy as np, mxnet as mx
rec, idx, root = sys.argv[1] + ".rec", sys.argv[1] + ".idx", sys.argv[1]
records = mx.recordio.MXIndexedRecordIO(idx, rec, "r")
header, _ = mx.recordio.unpack(records.read_idx(0))   # as arcface_torch does
if header.flag > 0:
    keys = np.array(range(1, int(header.label[0])))
else:
    keys = np.array(list(records.keys))
arcface = []
for key in keys:
    header, image = mx.recordio.unpack(records.read_idx(key))
    label = header.label
    if not isinstance(label, numbers.Number):
        label = label[0]
    assert mx.image.imdecode(image).asnumpy().shape == (112, 112, 3)
    arcface.append([int(label), hashlib.sha256(image).hexdigest()])
identities, labels = -1, []
header, _ = mx.recordio.unpack(records.read_idx(0))
if header.flag > 0:
    identities = int(header.label[1]) - int(header.label[0])
else:
    found = mx.io.ImageRecordIter(path_imgrec=rec, path_imgidx=idx, data_shape=(3, 112, 112),
                              batch_size=1, preprocess_threads=1, shuffle=False)
    labels = [float(batch.label[0].asnumpy()[0]) for batch in found]
print(json.dumps([arcface, identities, labels]))
"""


def mxnet(code: str, *arguments: object, path: str = "") -> str:
    done = subprocess.run(
        [MXNET_PYTHON, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert not done.returncode, done.stderr[-2000:]
    return done.stdout


@needs_mxnet
@pytest.mark.parametrize("seed", [None, 1])
def test_arcface_torch_reads_a_rec(people: Path, seed: int | None, tmp_path: Path) -> None:
    """The logic of its MXFaceDataset: record 0 is a header, or all keys are images."""
    convert(people, tmp_path / "train.rec", seed=seed, allow_loss=True)
    arcface, n_identities, labels = json.loads(mxnet(_READ, tmp_path / "train"))
    assert sorted(arcface) == sorted(classes(people))
    has_numbers = (people / "0").is_dir()
    if has_numbers:
        assert n_identities == N_PEOPLE  # Keras_insightface's number of classes
    else:  # ImageRecordIter stops at a header, as it does in InsightFace's own sets
        assert n_identities == -1 and labels == [label for label, _ in arcface]


_IM2REC = """
import runpy, sys
from pathlib import Path
import mxnet
tool = Path(mxnet.__file__).parent / "tools" / "im2rec.py"
sys.argv[0] = str(tool)
runpy.run_path(str(tool), run_name="__main__")
"""


@pytest.fixture
def im2rec(tmp_path: Path) -> Iterator[Any]:
    """MXNet's im2rec; it imports OpenCV, which --pass-through does not use."""
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "cv2.py").write_text("")
    yield lambda *arguments: mxnet(_IM2REC, *arguments, path=str(tmp_path / "stub"))


@needs_mxnet
def test_im2rec_packs_our_list(people: Path, im2rec: Any, tmp_path: Path) -> None:
    convert(people, tmp_path / "train.lst")
    im2rec("--pass-through", tmp_path / "train", people)
    assert [
        [int(each.labels[0]), digest(each.data)] for each in read_samples(tmp_path / "train.rec")
    ] == (classes(people))


@needs_mxnet
def test_the_list_and_set_of_im2rec_are_read(people: Path, im2rec: Any, tmp_path: Path) -> None:
    im2rec("--list", "--recursive", tmp_path / "train", people)
    im2rec("--pass-through", tmp_path / "train", people)
    convert(tmp_path / "train.lst", tmp_path / "a.tar", relative_to=people)
    convert(tmp_path / "train.rec", tmp_path / "b.tar")
    for name in ("a.tar", "b.tar"):
        found = [[int(each.labels[0]), digest(each.data)] for each in read_samples(tmp_path / name)]
        assert sorted(found) == sorted(classes(people))


# TensorFlow

_TF = """
import hashlib, json, sys
import tensorflow as tf
out = []
parts = {"image_raw": tf.io.FixedLenFeature([], tf.string),
         "label": tf.io.FixedLenFeature([], tf.int64)}
for record in tf.data.TFRecordDataset(sys.argv[1:]):
    found = tf.io.parse_single_example(record, parts)
    image = found["image_raw"].numpy()
    assert tf.io.decode_image(image).shape == (112, 112, 3)
    out.append([int(found["label"]), hashlib.sha256(image).hexdigest()])
print(json.dumps(out))
"""


def test_tensorflow_reads_our_records(people: Path, tmp_path: Path, tensorflow: WarmPython) -> None:
    convert(people, tmp_path / "a.tfrecord", shards=2)
    files = sorted(tmp_path.glob("a-*.tfrecord"))
    assert json.loads(tensorflow.run(_TF, *files)) == classes(people)


# webdataset

quiet = pytest.mark.filterwarnings("ignore")


@quiet
@needs("webdataset")
def test_webdataset_reads_our_shards(people: Path, tmp_path: Path) -> None:
    webdataset = importlib.import_module("webdataset")
    convert(people, tmp_path / "a.tar", shards=2)
    files = [str(path) for path in sorted(tmp_path.glob("a-*.tar"))]
    loaded = webdataset.WebDataset(files, shardshuffle=False).to_tuple("jpg", "cls")
    assert [[int(label), digest(data)] for data, label in loaded] == classes(people)


@quiet
@needs("webdataset")
@pytest.mark.parametrize("writer", ["TarWriter", "ShardWriter"])
def test_shards_of_webdataset_are_read(writer: str, people: Path, tmp_path: Path) -> None:
    webdataset = importlib.import_module("webdataset")
    (tmp_path / "shards").mkdir()
    if writer == "TarWriter":
        sink = webdataset.TarWriter(str(tmp_path / "shards" / "0.tar"))
    else:
        pattern = str(tmp_path / "shards" / "%06d.tar")
        sink = webdataset.ShardWriter(pattern, maxcount=5, verbose=0)
    with sink:
        for number, (label, each) in enumerate(
            zip(classes(people), read_samples(people), strict=True)
        ):
            sample = {"__key__": f"{number:06d}", "jpg": bytes(each.data), "cls": label[0]}
            sink.write(sample)
    convert(tmp_path / "shards", tmp_path / "folder")
    assert [[int(identity), data] for identity, data in rows(tmp_path / "folder")] == (
        classes(people)
    )


# Hugging Face


@quiet
@needs("datasets")
@pytest.mark.parametrize("target", ["a.parquet", "a.tar", "folder"])
def test_hugging_face_reads_what_we_write(
    target: str, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = importlib.import_module("datasets")
    output = convert(people, tmp_path / target)
    cache: dict[str, Any] = {"cache_dir": str(tmp_path / "cache"), "split": "train"}
    kind = {"a.parquet": "parquet", "a.tar": "webdataset", "folder": "imagefolder"}[target]
    if target == "folder":
        found = datasets.load_dataset(kind, data_dir=str(output), **cache)
    else:
        found = datasets.load_dataset(kind, data_files=str(output), **cache)
    column, label = ("jpg", "cls") if target == "a.tar" else ("image", "label")
    found = found.cast_column(column, datasets.Image(decode=False))
    loaded = []
    for row in found:
        image = row[column]
        loaded.append([row[label], digest(image["bytes"] or Path(image["path"]).read_bytes())])
    assert sorted(loaded) == sorted(classes(people))


@quiet
@needs("datasets")
def test_the_parquet_of_hugging_face_is_read(people: Path, tmp_path: Path) -> None:
    datasets = importlib.import_module("datasets")
    names = sorted({identity for identity, _ in rows(people)})
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    )
    made = datasets.Dataset.from_dict(
        {
            "image": [{"bytes": bytes(each.data), "path": None} for each in read_samples(people)],
            "label": [names.index(each.identity) for each in read_samples(people)],
        },
        features=features,
    )
    made.to_parquet(str(tmp_path / "a.parquet"))
    assert rows(convert(tmp_path / "a.parquet", tmp_path / "folder")) == rows(people)


# torchvision


@quiet
@needs("torchvision")
def test_image_folder_reads_our_folder(people: Path, tmp_path: Path) -> None:
    image_folder = importlib.import_module("torchvision.datasets").ImageFolder
    convert(people, tmp_path / "a.tar")
    found = image_folder(str(convert(tmp_path / "a.tar", tmp_path / "folder")))
    loaded = [[label, digest(Path(path).read_bytes())] for path, label in found.samples]
    assert sorted(loaded) == sorted(classes(people))
    assert np.asarray(found[0][0]).shape == (112, 112, 3)


# Verification sets


def test_insightface_reads_our_bin(people: Path, tmp_path: Path) -> None:
    """The logic of its load_bin: a pickle, and images that OpenCV decodes."""
    pickle = importlib.import_module("pickle")
    convert(people, tmp_path / "a.bin", allow_loss=True)
    bins, same = pickle.load(io.BytesIO((tmp_path / "a.bin").read_bytes()), encoding="bytes")
    assert list(map(digest, bins)) == [data for _, data in rows(people)]
    assert same == [True] * (len(bins) // 2)
    assert all(cv2.imdecode(np.frombuffer(each, "u1"), 1).shape == (112, 112, 3) for each in bins)
