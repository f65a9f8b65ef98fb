"""The options that every command with models has: the device, and the download of a pack."""

from __future__ import annotations

from typing import Any

from faceprep.core.options import Values, option


def device_option(models: str) -> Any:
    """Declare the field `device`; `models` names what runs on it."""
    help_text = f"Run {models} on auto, cpu, cuda, cuda:N, or cuda:0,cuda:1 in turn."
    return option("auto", help_text, values=Values("DEVICE", known=("auto", "cpu", "cuda")))


def require_gpu_option() -> Any:
    """Declare the field `require_gpu`."""
    return option(False, "Stop if no GPU can be used.")


def download_option() -> Any:
    """Declare the field `download`."""
    return option(False, "Download a missing insightface pack.")


class UsesDevice:
    """The hook of a command with the option `device`."""

    device: str

    def uses_gpu(self) -> bool:
        """Return whether a worker may take a GPU."""
        return self.device != "cpu"
