"""An S3 of moto's on loopback, behind a proxy that counts requests and injects faults."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus

import pytest

from faceprep.core import stores
from tests.command import faceprep

BUCKET = "faces"
FAIL, CUT, SLOW = "answers 503", "breaks off in the middle", "answers late"
DROP, DENY = "breaks off in the middle of the request", "answers 403"
_LATE_S = 0.4
Fault = Callable[[str, str, int], str]
"""Names the fault of a request, by its method, its path and its number; empty for none."""
_HOP = ("transfer-encoding", "connection", "content-length", "server", "date")


class Store:
    """A store with one bucket. `requests` are the methods and paths that were asked for."""

    def __init__(self, port: int) -> None:
        self.requests: list[tuple[str, str]] = []
        self.fault: Fault = lambda *_: ""
        self.port = port
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_ACCESS_KEY_ID": "one",
            "AWS_SECRET_ACCESS_KEY": "two",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make this process talk to the store, whichever it has talked to before."""
        from s3fs import S3FileSystem

        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        stores.open_store.cache_clear()

    def run(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command against the store, in one process unless it names another runner.

        A process that talks to a store takes seconds to begin.
        """
        alone = {"FACEPREP_RUNNER": "serial"}
        return faceprep(*arguments, **(dict(self.environment) | alone | environment))

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Ask the store itself, past the proxy."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=one/x/us-east-1/s3/aws4"}
            connection.request(method, f"/{BUCKET}{path}", body, signed | headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def put(self, path: Path, key: str) -> str:
        """Put a file, or the files of a folder, under a key; return its name."""
        files = [path] if path.is_file() else sorted(each for each in path.rglob("*"))
        for file in files:
            below = "" if file == path else f"/{file.relative_to(path).as_posix()}"
            if file.is_file() and "/." not in below:
                assert self.ask("PUT", f"/{key}{below}", file.read_bytes())[0] == 200
        return f"s3://{BUCKET}/{key}"

    def objects(self) -> dict[str, str]:
        """Return the entity tag of every object."""
        text = self.ask("GET", "?list-type=2&encoding-type=url")[1].decode()
        entries = re.findall(r"<Contents>(.*?)</Contents>", text, re.DOTALL)
        pairs = (
            re.search(r"<Key>(.*?)</Key>.*<ETag>(.*?)</ETag>", each, re.DOTALL) for each in entries
        )
        return {unquote_plus(pair[1]): pair[2] for pair in pairs if pair}

    def clear(self) -> None:
        """Remove every object, fault and request."""
        self.fault = lambda *_: ""
        for key in self.objects():
            assert self.ask("DELETE", f"/{quote(key)}")[0] == 204
        self.requests.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler_for(store: Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def forward(self) -> None:
            store.requests.append((self.command, self.path))
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            fault = store.fault(self.command, self.path, len(store.requests))
            if fault == DROP:
                self.close_connection = True
                return
            if fault in (FAIL, DENY):
                self.send_response(503 if fault == FAIL else 403)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            if fault == SLOW:
                time.sleep(_LATE_S)
            with closing(HTTPConnection("127.0.0.1", store.port, timeout=20)) as connection:
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                answer = connection.getresponse()
                data = answer.read()
            self._answer(answer.status, dict(answer.getheaders()), data, fault == CUT)

        def _answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool) -> None:
            self.send_response(status)
            length = str(len(data))
            for name, value in headers.items():
                if name.lower() == "content-length" and self.command == "HEAD":
                    length = value
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("content-length", length)
            self.end_headers()
            if cut:
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
            else:
                self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    return Handler


@contextmanager
def running_store() -> Iterator[Store]:
    """Run a store with an empty bucket; skip the test without moto or s3fs."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    store = Store(port)
    try:
        for _ in range(600):
            try:
                assert store.ask("PUT", "")[0] == 200
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield store
    finally:
        store.close()
        server.terminate()
        server.wait()
