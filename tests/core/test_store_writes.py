"""Puts on a condition, and leases: one of several is first, and who is lost notices it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from faceprep.core import store_writes
from faceprep.core.errors import OutputError
from faceprep.core.store_writes import Lease, check_lease
from tests.object_store import Store, running_store


@pytest.fixture(scope="module")
def running() -> Iterator[Store]:
    with running_store() as found:
        yield found


@pytest.fixture
def store(running: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    for key in ("lock", "page"):
        running.ask("DELETE", f"/{key}")
    running.enter(monkeypatch)
    return running


def test_a_run_at_work_keeps_others_out(store: Store) -> None:
    with Lease("s3://faces/lock", "somebody", seconds=0.9):
        with pytest.raises(OutputError, match="another faceprep run is at work here"):
            Lease("s3://faces/lock", "me", seconds=3).__enter__()
        time.sleep(1.5)
        assert store.ask("GET", "/lock")[0] == 200
    assert store.ask("GET", "/lock")[0] == 404


def test_a_lease_that_is_not_renewed_is_taken_over(store: Store) -> None:
    url = "s3://faces/lock"
    assert store_writes.put_new(url, b"dead 1 1")
    began = time.monotonic()
    with Lease(url, "me", seconds=0.6):
        assert time.monotonic() - began > 0.6
    assert store_writes.put_new(url, b"me 1 1")
    began = time.monotonic()
    with Lease(url, "me", seconds=60) as lease:
        assert time.monotonic() - began < 30
        check_lease(lease.url, lease.name)


def test_a_lease_that_was_taken_is_noticed(store: Store) -> None:
    with Lease("s3://faces/lock", "me", seconds=0.3) as lease:
        store.ask("PUT", "/lock", b"other 1 1")
        for _ in range(100):
            try:
                check_lease(lease.url, lease.name)
            except OutputError as error:
                assert "another run has taken over here" in str(error)
                break
            time.sleep(0.05)
        else:
            pytest.fail("the lease is still held")
    assert store.ask("GET", "/lock")[1] == b"other 1 1"


def test_of_several_puts_one_is_first(store: Store) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda n=n: found.append(store_writes.put_new("s3://faces/page", b"%d" % n))
        )
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(bool, found)) == 1
