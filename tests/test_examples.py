"""The examples run, and stay short."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real import MXNET_PYTHON, ROOT
from tests.warm_python import WarmPython

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SAYS = {
    "01_rec_to_folder": "60 of 60 images",
    "02_photos_to_faces": "6 faces in ",
    "03_video_to_faces": "10 of 10 frames have faces, 0 failed",
    "04_crop_again": "6 of 6 faces as box1.5-256",
    "05_merge_identities": "12 images of 6 people in ",
    "06_verify": "of 36 probes found first among 12",
    "07_tf_data": "from the shards: (8, 112, 112, 3) uint8, classes ",
    "08_keras_fit": "two steps on 32 images of 4 classes",
    "09_pytorch_dataset": "20 images, the first (3, 112, 112) of class 4",
    "10_webdataset": "20 samples in 2 shards, the first (112, 112, 3) of class 4",
    "11_arcface_torch_rec": "20 images of 5 classes, the last (112, 112, 3)",
    "12_distillation": "a batch of teacher vectors: (8, 128)",
    "13_siw_live_or_spoof": "10 faces, 6 of them spoof",
    "14_tflite_representative": "20 faces, a model of ",
    "15_pk_batches": "(12, 112, 112, 3), classes [5, 5, 5, 5, 0, 0, 0, 0, 1, 1, 1, 1]",
    "16_evaluate_each_epoch": "epoch 2: accuracy 0.",
    "17_triplets": "24 triplets of 24 images, the first ['0/0.jpg', '0/2.jpg', '2/0.jpg']",
    "18_hf_datasets": "20 images with ['identity', 'image', 'key', 'label'], the first (112, 112)",
    "19_own_models": "6 crops\n6 scores.parquet",
}


TAKE_ARGUMENTS = [each for each in EXAMPLES if each.stem not in ("06_verify", "19_own_models")]
LOADS_TENSORFLOW = re.compile(
    r"^ *(import|from) (tensorflow|keras)|import_module\(.tensorflow.\)", re.MULTILINE
)
WITH_TENSORFLOW = [each for each in EXAMPLES if LOADS_TENSORFLOW.search(each.read_text())]
OTHERS = [each for each in EXAMPLES if each not in WITH_TENSORFLOW]


def environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder),
        "FACEPREP_MXNET_PYTHON": str(MXNET_PYTHON),
    }


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 40


@pytest.mark.parametrize("example", WITH_TENSORFLOW, ids=lambda path: path.stem)
def test_example_with_tensorflow(example: Path, tmp_path: Path, tensorflow: WarmPython) -> None:
    assert SAYS[example.stem] in tensorflow.run(example, environment=environment(tmp_path))


@pytest.mark.parametrize("example", OTHERS, ids=lambda path: path.stem)
def test_example(example: Path, tmp_path: Path) -> None:
    if "datasets import" in example.read_text():
        pytest.importorskip("datasets")
    if "FACEPREP_MXNET_PYTHON" in example.read_text() and not MXNET_PYTHON.exists():
        pytest.skip("no MXNet: tests/run.sh makes its environment")
    done = subprocess.run(
        [sys.executable, example],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert SAYS[example.stem] in done.stdout


@pytest.mark.parametrize("example", TAKE_ARGUMENTS, ids=lambda path: path.stem)
def test_an_example_checks_the_number_of_its_arguments(example: Path) -> None:
    assert " sys.exit(__doc__)" in example.read_text()


@pytest.mark.parametrize("stem", ["04_crop_again", "17_triplets"])
def test_a_wrong_number_of_arguments_is_answered_with_the_usage(stem: str, tmp_path: Path) -> None:
    example = ROOT / "examples" / f"{stem}.py"
    done = subprocess.run(
        [sys.executable, example, "faces"],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        timeout=120,
    )
    assert done.returncode == 1 and f"python examples/{stem}.py" in done.stderr
    assert "Traceback" not in done.stderr
