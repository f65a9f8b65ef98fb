"""Installed packages and requirements, read from metadata without importing a package.

requirements   extra -> its requirements, those of the base install under ""
version_of     installed version of a project or of its replacement
problem_of     reason why a requirement is not met
"""

from __future__ import annotations

import configparser
import functools
import operator
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

BASE = ""
_STAND_INS = {
    "ai-edge-litert": ("tensorflow", "tensorflow-cpu"),
    "faiss-cpu": ("faiss-gpu", "faiss-gpu-cu12"),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"),
    "opencv-python": (
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    "tensorflow": ("tensorflow-cpu", "tf-nightly"),
    "tensorflow-cpu": ("tensorflow",),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra *== *['\"]([\w-]+)['\"]")
_BOUND = re.compile(r"(>=|<=|<|>|==) *([\w.]+)")
_COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}


def requirements() -> Mapping[str, Sequence[str]]:
    """Return the requirements of each extra in pip's notation, such as `av>=17,<19`.

    Requirements that name another extra of faceprep are replaced by those of that extra. The base
    install has the key `BASE`. A source tree is read from setup.cfg, an installation from metadata.
    """
    settings = Path(__file__).parents[2] / "setup.cfg"
    direct = _read_settings(settings) if settings.is_file() else _read_metadata()
    return {extra: sorted(set(_expand(direct, extra))) for extra in direct}


def _read_settings(path: Path) -> dict[str, list[str]]:
    """Read the requirements that setup.cfg lists."""
    parser = configparser.ConfigParser()
    parser.read(path, "utf-8")
    extras = parser["options.extras_require"].items()
    base = _split_lines(parser["options"]["install_requires"])
    return {BASE: base} | {name: _split_lines(text) for name, text in extras}


def _split_lines(text: str) -> list[str]:
    return [line.partition(";")[0].strip() for line in text.splitlines() if line.strip()]


def _read_metadata() -> dict[str, list[str]]:
    """Read the requirements from the metadata of the installed package."""
    extras = metadata.metadata("faceprep").get_all("Provides-Extra") or []
    found: dict[str, list[str]] = {extra: [] for extra in (BASE, *extras)}
    for line in metadata.requires("faceprep") or ():
        extra = BASE
        if match := _EXTRA.search(line):
            extra = match[1]
        found.setdefault(extra, []).append(line.partition(";")[0].strip())
    return found


def _expand(direct: Mapping[str, Sequence[str]], extra: str) -> list[str]:
    """Return the requirements of `extra` and of the extras that it names."""
    found = []
    for requirement in direct.get(extra, ()):
        if requirement.startswith("faceprep["):
            for other in requirement.partition("[")[2].rstrip("]").split(","):
                found += _expand(direct, other.strip())
        else:
            found.append(requirement)
    return found


def project_of(requirement: str) -> str:
    """Return the name of the project in a requirement.

    >>> project_of("av>=17,<19")
    'av'
    """
    match = _NAME.match(requirement)
    return match[0] if match else requirement


@functools.cache
def version_of(project: str) -> str | None:
    """Return the installed version of the project or of its replacement, or None."""
    for name in (project, *_STAND_INS.get(project, ())):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def problem_of(requirement: str) -> str:
    """Explain why a requirement is not met; the text is empty if it is met.

    >>> problem_of("no-such-project>=1")
    'no-such-project is not installed'
    >>> problem_of("click>=900").startswith("click>=900 is required, found ")
    True
    """
    project = project_of(requirement)
    version = version_of(project)
    if version is None:
        return f"{project} is not installed"
    if all(_holds(version, sign, bound) for sign, bound in _BOUND.findall(requirement)):
        return ""
    return f"{requirement} is required, found {version}"


def _holds(version: str, sign: str, bound: str) -> bool:
    """Compare the leading numbers of two versions, as many as `bound` has.

    >>> _holds("18.0.1", "<", "19"), _holds("1.26.4", ">=", "1.26"), _holds("2.0", "<", "2")
    (True, True, False)
    """
    wanted = _numbers(bound)
    have = (_numbers(version) + (0,) * len(wanted))[: len(wanted)]
    return bool(_COMPARISONS[sign](have, wanted))


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, leading[0].split("."))) if leading else ()
