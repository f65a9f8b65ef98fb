"""Labels from 2^24 on, which float32 rounds: every command says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.jobs.inspect.job import Inspect
from faceprep.jobs.rec2folder import Rec2Folder
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets.recordio.framing import frame_image
from faceprep.synthetic import encode_face
from tests.set_reading import read_samples

EXACT = 1 << 24
FACE = encode_face(0, 0)


def write_rec(path: Path, labels: list[float]) -> Path:
    path.write_bytes(b"".join(frame_image([label], FACE, i) for i, label in enumerate(labels)))
    return path


@pytest.mark.parametrize(
    ("labels", "n"),
    [([EXACT, EXACT + 2, EXACT - 1], "2 images"), ([-EXACT, 0], "1 image"), ([EXACT - 1, 0.5], "")],
)
def test_a_rec_that_may_merge_people(
    labels: list[float], n: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rec = write_rec(tmp_path / "a.rec", labels)
    note = "are 16,777,216 or more, where float32 rounds whole numbers"
    told = str(Inspect().look(rec))
    run_job(Convert(), Request((rec,), tmp_path / "out.tar"), SerialRunner())
    for text in (told, caplog.text):
        assert (note in text) == bool(n) and (f"the labels of {n} {note}" in text or not n)
    caplog.clear()
    run_job(Rec2Folder(), Request((rec,), tmp_path / "out"), SerialRunner())
    assert (f"{rec}: the labels of some images {note}" in caplog.text) == bool(n)


@pytest.mark.parametrize(
    ("label", "is_rounded"),
    [
        (str(EXACT), False),
        (str(EXACT + 1), True),
        (str(-EXACT - 1), True),
        (str(EXACT + 2), False),
        (str((1 << 60) + 1), True),
        ("0.1", False),
        ("nan", False),
        ("3.4e38", False),
    ],
)
def test_a_further_label_that_float32_rounds(
    label: str, is_rounded: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(FACE)
    (tmp_path / "in.lst").write_text(f"0\t0\t7\ta.jpg\n1\t1\t{label}\tb.jpg\n")
    for source, output in (("in.lst", "out.rec"), ("out.rec", "again.rec")):
        caplog.clear()
        job = Convert(allow_loss=True)
        run_job(job, Request((tmp_path / source,), tmp_path / output), SerialRunner())
        expected = f"rounded a further label of 1 image, such as b.jpg ({label})"
        assert (expected in caplog.text) == (is_rounded and source == "in.lst")
    assert len(read_samples(tmp_path / "again.rec")) == 2
