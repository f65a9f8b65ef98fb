"""insightface's detectors, with a network of known answers: there are no weights of theirs here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from faceprep.core.errors import OptionError, SourceError
from faceprep.models.detectors.detector import DetectorSpec, open_detector
from faceprep.models.detectors.insightface import InsightFacePack, download_pack
from faceprep.models.onnx_session import Runtime
from faceprep.steps.find_faces import FaceOptions
from tests.models.scrfd import CELL, SIDE, scrfd_like

pytest.importorskip("insightface")


def coloured(*rgb: int) -> Any:
    return np.full((SIDE, SIDE, 3), rgb, np.uint8)


def test_a_file_is_decoded_as_the_library_decodes_it(tmp_path: Path) -> None:
    path = str(scrfd_like(tmp_path / "det_1.onnx"))
    detector = open_detector(DetectorSpec(path, "cpu", threads=1))
    faces = detector.detect([coloured(255, 0, 0)])[0]
    x, y = CELL[0] * 16, CELL[1] * 16
    np.testing.assert_allclose(faces.boxes, [(x - 16, y - 8, x + 16, y + 24)], atol=1e-4)
    np.testing.assert_allclose(
        faces.landmarks[0], np.arange(10).reshape(5, 2) * 2 + (x, y), atol=1e-4
    )
    np.testing.assert_allclose(faces.scores, 127.5 / 128, atol=1e-3)
    assert len(InsightFacePack(Runtime("cpu", 1), path).detect([coloured(0, 0, 255)])[0]) == 0, (
        "red is red"
    )
    assert detector.fingerprint.startswith("det_1/") and detector.provider == "CPU"


def test_a_pack_is_found_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".insightface" / "models" / "buffalo_x"
    folder.mkdir(parents=True)
    (folder / "1k3d68.onnx").write_bytes(b"not to be opened")
    scrfd_like(folder / "det_500m.onnx")
    assert (
        len(InsightFacePack(Runtime("cpu", 1), "buffalo_x").detect([coloured(255, 0, 0)])[0]) == 1
    )
    (folder / "det_500m.onnx").unlink()
    with pytest.raises(
        SourceError, match=r"no detector in this pack: expected .* found 1k3d68\.onnx"
    ):
        InsightFacePack(Runtime("cpu", 1), "buffalo_x")


def test_nothing_is_downloaded_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from insightface.utils import storage

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(storage, "ensure_available", lambda *_, **__: pytest.fail("downloads"))
    with pytest.raises(SourceError, match=r"'buffalo_l' is not there: .* Add --download"):
        open_detector(DetectorSpec("insightface:buffalo_l", "cpu"))
    for name in ("retinaface", "net.onnx", "dlib-resnet"):
        download_pack(name)
    with pytest.raises(OptionError, match="the name of a pack"):
        download_pack("insightface:../../etc")


def test_a_pack_is_downloaded_on_request_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from insightface.utils import storage

    monkeypatch.setenv("HOME", str(tmp_path))
    n_calls = 0

    def fetch(kind: str, name: str, root: str) -> str:
        nonlocal n_calls
        n_calls += 1
        sys.stdout.write(f"download_path: {name}\n")
        folder = Path(root, kind, name)
        folder.mkdir(parents=True)
        scrfd_like(folder / "det_500m.onnx")
        assert not packs.exists(), "it appears when it is whole"
        return str(folder)

    packs = tmp_path / ".insightface" / "models"
    monkeypatch.setattr(storage, "ensure_available", fetch)
    options = FaceOptions("insightface:buffalo_x", "cpu", download=True, refine=False, turns="0")
    options.announce()
    options.announce()
    assert n_calls == 1 and sorted(path.name for path in packs.parent.iterdir()) == ["models"]
    assert capsys.readouterr().out == "", "stdout is the result's"


def test_a_pack_that_cannot_be_downloaded_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from insightface.utils import storage

    def unreachable(kind: str, name: str, root: str) -> str:
        Path(root, kind, name).mkdir(parents=True)
        raise OSError("no route to host")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(storage, "ensure_available", unreachable)
    with pytest.raises(SourceError, match=r"'buffalo_l' cannot be downloaded: .*no route to host"):
        download_pack("insightface:buffalo_l")
    assert not list((tmp_path / ".insightface").iterdir())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"det\.onnx: no such file"):
        open_detector(DetectorSpec(str(tmp_path / "det.onnx"), "cpu"))


@pytest.mark.parametrize("n_outputs", [1, 6])
def test_a_network_without_landmarks_is_refused(n_outputs: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"expected 9 or 15 outputs .* found {n_outputs}"):
        InsightFacePack(Runtime("cpu", 1), str(scrfd_like(tmp_path / "det.onnx", n_outputs)))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "det.onnx").write_bytes(b"no model")
    with pytest.raises(SourceError, match="not a model that ONNX Runtime can open"):
        InsightFacePack(Runtime("cpu", 1), str(tmp_path / "det.onnx"))


def test_a_pack_needs_a_name() -> None:
    with pytest.raises(OptionError, match="insightface:PACK"):
        open_detector(DetectorSpec("insightface:"))


def test_the_network_of_this_test_is_sound(tmp_path: Path) -> None:
    onnx.checker.check_model(onnx.load(scrfd_like(tmp_path / "det.onnx")))
