"""What a result was measured on: the machine, its load, and versions."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

from faceprep import __version__
from faceprep.core.cpu import n_cores, usable_memory
from faceprep.core.dependencies import project_of, requirements, version_of

_PEERS = Path(__file__).parent / "peers.txt"
_FOR_DEVELOPERS = ("test", "docs", "dev")
_ELSEWHERE = ("mxnet", "numpy", "webdataset", "mediapipe", "dlib-bin")
_ASK = (
    "import json, sys\nfrom importlib.metadata import PackageNotFoundError, version\nfound = {}\n"
    "for name in sys.argv[1:]:\n try: found[name] = version(name)\n"
    " except PackageNotFoundError: pass\nprint(json.dumps(found))"
)


def describe_machine() -> dict[str, str | int]:
    """Return processor, cores, memory in GiB, system and Python."""
    return {
        "processor": _processor(),
        "cores": n_cores(),
        "memory_gib": round(usable_memory() / (1 << 30)),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def load() -> float:
    """Return the load of the last minute."""
    return round(os.getloadavg()[0], 1)


def versions_here() -> dict[str, str]:
    """Return the versions of faceprep, its dependencies and the peers that are installed."""
    found = {
        project: version_of(project)
        for project in sorted({project_of(each) for each in _requirements()}, key=str.lower)
    }
    return {"faceprep": __version__} | {name: each for name, each in found.items() if each}


def _requirements() -> list[str]:
    peers = [line for line in _PEERS.read_text().splitlines() if line and line[0] != "#"]
    extras = {name: each for name, each in requirements().items() if name not in _FOR_DEVELOPERS}
    return [*peers, *(each for group in extras.values() for each in group)]


def versions_of(python: str) -> dict[str, str]:
    """Return the versions of the peers that another interpreter has."""
    words = [python, "-c", _ASK, *_ELSEWHERE]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))
