"""Signatures of records with a key that only this user has. They show which records were forged.

The key is `$XDG_STATE_HOME/faceprep/key`, or `~/.local/state/faceprep/key`. The first signature
creates it, and only its owner may read it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from faceprep.core import storage
from faceprep.core.errors import SourceError

_N_BYTES = 32


def sign(texts: Sequence[str]) -> str:
    """Return the signature of some strings, or an empty string if no key can be read or created."""
    path = _key_path()
    with suppress(OSError):
        if not path.exists():
            _make_key(path)
    return _sign(texts)


def is_signed(texts: Sequence[str], signature: object) -> bool:
    """Return whether `signature` is what `sign` returns for these strings."""
    expected = _sign(texts)
    return bool(expected) and hmac.compare_digest(expected.encode(), str(signature).encode())


def _sign(texts: Sequence[str]) -> str:
    key = b""
    with suppress(SourceError):
        key = storage.read_bytes(_key_path(), _N_BYTES + 1)
    if len(key) != _N_BYTES:
        return ""
    return hmac.new(key, json.dumps(list(texts)).encode(), hashlib.sha256).hexdigest()


def _key_path() -> Path:
    home = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(home if os.path.isabs(home) else os.path.expanduser("~/.local/state"))
    return folder / "faceprep" / "key"


def _make_key(path: Path) -> None:
    """Create a key unless another process is first. Raises OSError."""
    os.makedirs(path.parent, 0o700, exist_ok=True)
    temporary = path.with_name(f".key-{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(_N_BYTES))
            file.flush()
            os.fsync(fd)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
