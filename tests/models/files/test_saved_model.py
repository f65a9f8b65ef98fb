import sys
from pathlib import Path

import pytest

from faceprep.core.errors import SourceError
from faceprep.models.files.saved_model import open_saved_model
from faceprep.models.onnx_session import Runtime


def test_another_folder_is_refused_before_tensorflow_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # as where it is not installed
    (tmp_path / "a.jpg").touch()
    with pytest.raises(SourceError, match="expected saved_model.pb in it"):
        open_saved_model(Runtime("cpu"), str(tmp_path))
