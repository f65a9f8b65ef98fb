"""What is installed, read from the notes that installers leave: no package is imported.

requirements   extra -> what it needs, the base install under ""
version_of     of a project, or of one that stands in for it
problem_of     what is wrong with how a requirement is met
"""

from __future__ import annotations

import configparser
import functools
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

BASE = ""
_STAND_INS = {
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


def requirements() -> Mapping[str, Sequence[str]]:
    """What each extra needs as pip has it (`av>=17,<19`), other extras of ours followed; the base
    under `BASE`.

    From the source tree where this is one, else from what pip noted.
    """
    settings = Path(__file__).parents[2] / "setup.cfg"
    direct = _of_tree(settings) if settings.is_file() else _of_installation()
    return {extra: sorted(set(_followed(direct, extra))) for extra in direct}


def _of_tree(path: Path) -> dict[str, list[str]]:
    """As setup.cfg lists them."""
    parser = configparser.ConfigParser()
    parser.read(path, "utf-8")
    extras = parser["options.extras_require"].items()
    return {BASE: _lines(parser["options"]["install_requires"])} | {
        name: _lines(text) for name, text in extras
    }


def _lines(text: str) -> list[str]:
    return [line.partition(";")[0].strip() for line in text.splitlines() if line.strip()]


def _of_installation() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {BASE: []}
    with_none = metadata.metadata("faceprep").get_all("Provides-Extra") or []
    found |= {extra: [] for extra in with_none}
    for line in metadata.requires("faceprep") or ():
        extra = _EXTRA.search(line)
        found.setdefault(extra[1] if extra else BASE, []).append(line.partition(";")[0].strip())
    return found


def _followed(direct: Mapping[str, Sequence[str]], extra: str) -> list[str]:
    """The requirements of `extra`, those of the extras that it names among them."""
    found = []
    for requirement in direct.get(extra, ()):
        if requirement.startswith("faceprep["):
            for other in requirement.partition("[")[2].rstrip("]").split(","):
                found += _followed(direct, other.strip())
        else:
            found.append(requirement)
    return found


def project_of(requirement: str) -> str:
    """The name in a requirement.

    >>> project_of("av>=17,<19")
    'av'
    """
    match = _NAME.match(requirement)
    return match[0] if match else requirement


@functools.cache
def version_of(project: str) -> str | None:
    """The version that is installed, of the project or of one that stands in for it; None where
    there is none.
    """
    for name in (project, *_STAND_INS.get(project, ())):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def problem_of(requirement: str) -> str:
    """What is wrong with how it is met; empty where nothing is.

    >>> problem_of("no-such-project>=1")
    'no-such-project is not installed'
    >>> problem_of("click>=900").startswith("click>=900 is asked for, found ")
    True
    """
    project = project_of(requirement)
    version = version_of(project)
    if version is None:
        return f"{project} is not installed"
    meets = all(_holds(version, sign, bound) for sign, bound in _BOUND.findall(requirement))
    return "" if meets else f"{requirement} is asked for, found {version}"


def _holds(version: str, sign: str, bound: str) -> bool:
    """Compares the leading numbers only, as many as `bound` has.

    >>> _holds("18.0.1", "<", "19"), _holds("1.26.4", ">=", "1.26"), _holds("2.0", "<", "2")
    (True, True, False)
    """
    wanted = _numbers(bound)
    have = (_numbers(version) + (0,) * len(wanted))[: len(wanted)]
    return {">=": have >= wanted, "<=": have <= wanted, "<": have < wanted, ">": have > wanted}.get(
        sign, have == wanted
    )


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, leading[0].split("."))) if leading else ()
