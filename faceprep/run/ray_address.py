"""Addresses of Ray clusters, checked before Ray connects to them.

Ray itself tries for minutes to reach an address that is dead, frozen, or another program's.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress

from faceprep.core.errors import OptionError

log = logging.getLogger("faceprep")
LOCAL, AT_HAND = "local", "auto"
"""Words that Ray takes in place of an address: a new cluster, and the one of this machine."""
_CONNECT_S = 5.0
_SETTINGS = 4
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])
"""What a client of gRPC says first (RFC 9113); a server answers with its own settings."""


def check_address(address: str) -> None:
    """Check that a cluster answers at `address`, or else at the one in RAY_ADDRESS.

    Raises OptionError.
    """
    name, found = "--ray-address", address
    if not address:
        name, found = "RAY_ADDRESS", os.environ.get("RAY_ADDRESS", AT_HAND) or AT_HAND
        if found in (LOCAL, AT_HAND):
            return
    host, _, port = found.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise OptionError(name, expected="HOST:PORT, as `ray start --head` prints it", found=found)
    if problem := _find_problem(host, port):
        raise OptionError(
            f"{name}: no Ray cluster at {found}: {problem}",
            remedy=f"Start one with `ray start --head`, or leave out {name}.",
        )


def choose_address(address: str) -> str:
    """Return what Ray takes: `address`, or the one in RAY_ADDRESS, or `AT_HAND`, or `LOCAL`.

    A machine keeps the address of the cluster that was started on it last, which may be gone.
    """
    given = address or os.environ.get("RAY_ADDRESS", "")
    if given not in ("", AT_HAND):
        return given
    found = ""
    path = os.path.join(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        found = file.readline().strip()
    host, _, port = found.rpartition(":")
    if found and (problem := _find_problem(host, port)):
        line = "no Ray cluster at %s, which %s names: %s: starting one on this machine"
        log.warning(line, found, path, problem)
        return LOCAL
    return AT_HAND


def _find_problem(host: str, port: str) -> str:
    """Return why no cluster answers there; empty if one does."""
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("0", "false"):
                return ""  # it answers to TLS alone
            connection.sendall(_HELLO)
            answer = connection.recv(len(_HELLO))
    except TimeoutError:
        return f"no answer within {_CONNECT_S:.0f} s"
    except (OSError, OverflowError, ValueError) as error:
        return str(error)
    return "" if answer[3:4] == bytes([_SETTINGS]) else "another program answers"
