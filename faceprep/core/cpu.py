"""How many cores there are for this process: all that it may use, or its share of them beside
other workers.
"""

from __future__ import annotations

import os

_SHARE = "FACEPREP_CORES"


def n_cores() -> int:
    """The cores that this process may use, where the system tells; else those of the machine."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def my_cores() -> int:
    """The share that `take_share` set in this process, else all."""
    return int(os.environ.get(_SHARE) or 0) or n_cores()


def take_share(n: int) -> None:
    """What this process may use from here on; each of several workers takes its own."""
    os.environ.update(share_of(n))


def share_of(n: int) -> dict[str, str]:
    """The environment of a process that may use `n` cores."""
    return {_SHARE: str(n)}


_GROUP = "/sys/fs/cgroup"


def quota(group: str = _GROUP) -> float | None:
    """Cores' worth of time that the control group (version 2) of a container grants; None where
    there is no limit.

    >>> quota("/no/such/group") is None
    True
    """
    granted, _, period = _setting(f"{group}/cpu.max").partition(" ")
    return int(granted) / int(period) if granted.isdigit() and period.isdigit() else None


def memory_limit(group: str = _GROUP) -> int | None:
    """Bytes that the control group grants; None where there is no limit."""
    limit = _setting(f"{group}/memory.max")
    return int(limit) if limit.isdigit() else None


def _setting(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
