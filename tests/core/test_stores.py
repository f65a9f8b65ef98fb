"""Reads by range, listings, and names of objects, on the store that fsspec keeps in memory."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core import storage, stores
from faceprep.core.errors import SourceError
from faceprep.core.paths import exists, full_path, is_file, is_folder, real_path
from faceprep.core.urls import is_remote, url_of

fsspec = pytest.importorskip("fsspec")
DATA = bytes(range(256)) * 2000


@pytest.fixture(autouse=True)
def memory() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe({"/faces/a/1.jpg": b"one", "/faces/a/b/2.jpg": b"two", "/faces/data": DATA})
    stores.forget_listings()
    yield memory
    memory.store.clear()


@given(st.lists(st.tuples(st.integers(0, len(DATA) + 9), st.integers(0, 200_000)), max_size=20))
def test_reads_anywhere_are_slices(reads: list[tuple[int, int]]) -> None:
    fsspec.filesystem("memory").pipe("/faces/data", DATA)
    with storage.ByteSource("memory://faces/data") as source:
        assert source.size == len(DATA)
        for offset, n_bytes in reads:
            assert source.read_at(offset, n_bytes) == DATA[offset : offset + n_bytes]


def test_reads_that_follow_one_another_are_few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    n_requests = 0
    read = stores.read

    def count(*arguments: Any) -> bytes:
        nonlocal n_requests
        n_requests += 1
        return read(*arguments)

    monkeypatch.setattr(stores, "read", count)
    with storage.ByteSource("memory://faces/data") as source:
        for offset in range(0, len(DATA), 100):
            source.read_at(offset, 100)
    assert n_requests <= 3
    with storage.open_source("memory://faces/data") as file:
        assert file.read() == DATA


def test_a_path_keeps_naming_its_object() -> None:
    path = Path("s3://faces") / "a" / "x.rec"
    assert is_remote(path)
    assert url_of(path.with_suffix(".idx")) == "s3://faces/a/x.idx"
    assert url_of(path.parent.parent) == full_path("s3://faces/") == real_path("s3:/faces")
    assert not is_remote("/s3://faces")
    assert not is_remote("s3:x")


def test_folders_files_and_nothing() -> None:
    root = Path("memory://faces")
    assert storage.list_folder(root / "a") == (["b"], ["1.jpg"])
    assert is_folder(root / "a")
    assert is_file(root / "a" / "1.jpg")
    assert not exists(root / "a" / "none.jpg")
    assert storage.file_size(root / "a" / "1.jpg") == 3
    assert storage.file_size(root / "a" / "b") == storage.NOT_A_FILE
    assert storage.file_size(root / "none") == -errno.ENOENT
    with pytest.raises(SourceError, match=r"memory://faces/none: cannot read: no such object"):
        storage.read_bytes(root / "none")


def test_sizes_of_a_listed_prefix_need_no_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    storage.list_folder("memory://faces/a")
    monkeypatch.setattr(stores, "send", None)
    assert storage.size_of("memory://faces/a/1.jpg") == 3
    assert storage.size_of("memory://faces/a/none.jpg") is None


def test_a_fingerprint_changes_with_the_object(memory: Any) -> None:
    before = storage.fingerprint_of("memory://faces/data")
    assert storage.fingerprint_of("memory:/faces/data") == before
    memory.pipe("/faces/data", DATA[::-1])
    assert storage.fingerprint_of("memory://faces/data") != before


def test_a_request_is_sent_again_unless_there_is_a_verdict(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "_WAITS_S", (0.0, 0.0, 0.0))
    answers: list[Exception] = []
    read = type(memory).cat_file

    def answer(*arguments: Any, **options: Any) -> Any:
        if answers:
            raise answers.pop()
        return read(*arguments, **options)

    monkeypatch.setattr(type(memory), "cat_file", answer)
    answers[:] = [TimeoutError("slow")] * 3
    assert storage.read_bytes("memory://faces/a/1.jpg") == b"one"
    answers[:] = [TimeoutError("slow")] * 4
    with pytest.raises(SourceError, match=r"does not answer properly \(slow\)"):
        storage.read_bytes("memory://faces/a/1.jpg")
    answers[:] = [PermissionError("Forbidden")] * 2
    with pytest.raises(SourceError, match=r"refuses access \(Forbidden\)"):
        storage.read_bytes("memory://faces/a/1.jpg")
    assert len(answers) == 1
