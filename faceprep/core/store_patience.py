"""Timeouts and retries of the packages behind fsspec: one attempt for each request, short waits.

`stores.send` retries requests in the same way for every store. By default, gcsfs sends a request
six times and waits for an answer without a limit; adlfs sends it four times and waits a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

CONNECT_S, ANSWER_S = 5, 10
"""Seconds that a connection may take, and the time without a byte of the answer."""


def options_of(scheme: str) -> dict[str, Any]:
    """Return the options of a file system of fsspec. Raises ImportError without its package."""
    return _OPTIONS.get(scheme, dict)()


def _s3() -> dict[str, Any]:
    patience = {"connect_timeout": CONNECT_S, "read_timeout": ANSWER_S}
    return {"config_kwargs": patience | {"retries": {"total_max_attempts": 1}}}


def _gcs() -> dict[str, Any]:
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=ANSWER_S)
    return {"requests_timeout": timeout}


_OPTIONS: Mapping[str, Callable[[], dict[str, Any]]] = {"s3": _s3, "gs": _gcs, "gcs": _gcs}


def take_retries(store: Any) -> None:
    """Let a file system of fsspec send each request once, where it has no option for that.

    A package that is built in another way keeps its own retries.
    """
    store.retries = 1  # of s3fs
    with suppress(AttributeError):
        store._request = store._request.__wrapped__.__get__(store)  # of gcsfs, in a decorator
    with suppress(AttributeError):
        client = store.service_client  # of adlfs
        client._config.retry_policy.total_retries = 0
        connection = client._pipeline._transport.connection_config
        connection.timeout, connection.read_timeout = CONNECT_S, ANSWER_S
