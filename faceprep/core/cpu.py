"""Cores and memory that this process may use: all of them, or its share of them."""

from __future__ import annotations

import os

_SHARE = "FACEPREP_CORES"
_NUMBER = "FACEPREP_WORKER"


def n_cores() -> int:
    """Count the cores that this process may use, or those of the machine where that is unknown."""
    affinity = getattr(os, "sched_getaffinity", None)
    if affinity is None:
        return os.cpu_count() or 1
    return len(affinity(0))


def my_cores() -> int:
    """Return the share that `take_share` set in this process, or all cores."""
    return int(os.environ.get(_SHARE) or 0) or n_cores()


def take_share(n: int) -> None:
    """Limit this process to `n` cores from now on; each worker calls it once."""
    os.environ.update(share_of(n))


def share_of(n: int) -> dict[str, str]:
    """Return the environment variables of a process that may use `n` cores."""
    return {_SHARE: str(n)}


def worker_number() -> int:
    """Return the number of this worker among its siblings, from 0; 0 in the driver."""
    return int(os.environ.get(_NUMBER) or 0)


def number_of(worker: int) -> dict[str, str]:
    """Return the environment variables of the worker of this number."""
    return {_NUMBER: str(worker)}


_GROUP = "/sys/fs/cgroup"


def quota(group: str = _GROUP) -> float | None:
    """Read how many cores the control group (version 2) of a container grants.

    None means that there is no limit.

    >>> quota("/no/such/group") is None
    True
    """
    granted, _, period = _setting(f"{group}/cpu.max").partition(" ")
    if granted.isdigit() and period.isdigit():
        return int(granted) / int(period)
    return None


def memory_limit(group: str = _GROUP) -> int | None:
    """Read how many bytes the control group grants; None means that there is no limit."""
    limit = _setting(f"{group}/memory.max")
    return int(limit) if limit.isdigit() else None


def usable_memory() -> int:
    """Return how many bytes of memory this process may use: the machine's, or the group's limit."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(machine, memory_limit() or machine)


def _setting(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
