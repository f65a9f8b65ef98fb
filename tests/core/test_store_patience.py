"""No store is asked more often, or waited for longer, than faceprep itself says."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from faceprep.core import store_patience, stores
from faceprep.core.store_errors import StoreError
from faceprep.core.store_patience import take_retries

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}


@contextmanager
def failing(silent: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a server that is not available, and the requests that it gets."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            if silent:
                time.sleep(1.5)
            self.send_error(503)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("scheme", PACKAGES)
def test_a_store_that_fails_is_asked_four_times(
    scheme: str, silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(PACKAGES[scheme])
    monkeypatch.setattr(stores, "_WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(store_patience, "ANSWER_S", 0.3)
    with failing(silent) as (url, requests):
        account = (
            f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;BlobEndpoint={url}/a;"
        )
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "STORAGE_EMULATOR_HOST": url,
            "AZURE_STORAGE_CONNECTION_STRING": account,
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        stores.open_store.cache_clear()
        began = time.monotonic()
        try:
            with pytest.raises(StoreError, match="does not answer properly"):
                stores.read(f"{scheme}://faces/a.jpg")
        finally:
            stores.open_store(scheme, os.getpid()).clear_instance_cache()
            stores.open_store.cache_clear()
    assert len(requests) == 4, requests
    assert time.monotonic() - began < 30


class _Google:
    """A file system that repeats requests in a decorator, as gcsfs does."""

    n_sent = 0

    @staticmethod
    def _again(send: Any) -> Any:
        @wraps(send)
        def repeat(self: Any) -> None:
            for _ in range(6):
                send(self)

        return repeat

    @_again
    def _request(self) -> None:
        self.n_sent += 1


def test_retries_inside_the_packages_are_taken_away() -> None:
    google = _Google()
    google._request()
    assert google.n_sent == 6
    take_retries(google)
    google._request()
    assert google.n_sent == 7
    policy = SimpleNamespace(total_retries=3)
    connection = SimpleNamespace(timeout=20, read_timeout=60)
    client = SimpleNamespace(
        _config=SimpleNamespace(retry_policy=policy),
        _pipeline=SimpleNamespace(_transport=SimpleNamespace(connection_config=connection)),
    )
    take_retries(SimpleNamespace(service_client=client))
    assert (policy.total_retries, connection.timeout, connection.read_timeout) == (0, 5, 10)
    take_retries(SimpleNamespace(service_client=SimpleNamespace()))
