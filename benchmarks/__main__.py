"""Run benchmarks, write their results, and generate the tables of the texts from them.

    python -m benchmarks                              every topic
    python -m benchmarks convert dedupe               two of them
    python -m benchmarks --data DATA --write-docs     with real photos; README and docs as well
    python -m benchmarks.texts                        README and docs alone, from the results

The peers are in benchmarks/peers.txt. What is missing is named, and its topic or peer left out.
Results are written to benchmarks/results/TOPIC.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import texts
from benchmarks.figures import RECORD
from benchmarks.machine import describe_machine, load, versions_here, versions_of
from benchmarks.results import RESULTS
from benchmarks.topics import HERE, TOPICS, Topic, fill_words, script_of
from faceprep.core.dependencies import version_of

_MXNET = HERE.parent / ".venv-mxnet" / "bin" / "python"
_CROPS = {"att": "orl", "registration": "photos/registration"}
_OPTIONS = {"data": "--data", "mxnet": "--mxnet-python", "landmarks": "--landmarks-python"}
_OPTIONS |= dict.fromkeys(_CROPS, "--data")


def main() -> int:
    """Run the topics; return 1 where the script of one failed."""
    given = parse()
    names = given.topics or list(TOPICS)
    failed = []
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        places = find_places(given, names, Path(folder))
        for name in names:
            if not run_topic(name, places, given):
                failed.append(name)
    if given.write_docs:
        write_texts()
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def write_texts() -> None:
    """Write the tables of the texts; a figure without a result is named."""
    try:
        texts.write()
    except LookupError as error:
        raise SystemExit(f"the texts are as they were: {error}") from None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description=__doc__,
        epilog=f"topics: {' '.join(TOPICS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="every topic by default")
    parser.add_argument("--data", type=Path, help="folder of real photos, videos and models")
    parser.add_argument("--mxnet-python", help="interpreter that has MXNet and webdataset")
    parser.add_argument("--landmarks-python", help="interpreter that has MediaPipe and dlib")
    parser.add_argument("--dir", type=Path, help="where sets are written: memory, or a disk")
    parser.add_argument("--disk", type=Path, help="a folder on a disk, whatever --dir is")
    parser.add_argument("--quick", action="store_true", help="small sizes; --results keeps them")
    parser.add_argument("--results", type=Path, help="folder of the results")
    parser.add_argument("--write-docs", action="store_true", help="write the tables of the texts")
    given = parser.parse_args()
    unknown = [name for name in given.topics if name not in TOPICS]
    if unknown:
        parser.error(f"unknown topic {unknown[0]!r}: expected one of {', '.join(TOPICS)}")
    if given.data and not given.data.is_dir():
        parser.error(f"--data: {given.data} is not a folder")
    if not given.mxnet_python and _MXNET.exists():
        given.mxnet_python = str(_MXNET)
    if not given.results and not given.quick:
        given.results = RESULTS
    return given


def find_places(given: argparse.Namespace, topics: Sequence[str], folder: Path) -> dict[str, str]:
    """Return the places that runs name; crops are made where a topic needs them."""
    found = {"dir": str(given.dir or tempfile.gettempdir())}
    found["disk"] = str(given.disk or tempfile.gettempdir())
    if given.mxnet_python:
        found["mxnet"] = given.mxnet_python
    if given.landmarks_python:
        found["landmarks"] = given.landmarks_python
    if given.data:
        found["data"] = str(given.data.resolve())
        runs = " ".join(run for name in topics for run in TOPICS[name].runs)
        for name, source in _CROPS.items():
            if f"{{{name}}}" in runs:
                found[name] = str(folder / name)
                make_crops(given.data / source, folder / name)
    return found


def make_crops(source: Path, target: Path) -> None:
    """Cut the faces out of photos; some photos have none."""
    print(f"cutting faces out of {source.name}", flush=True)
    words = [sys.executable, "-m", "faceprep", "extract-photos", str(source), str(target), "-q"]
    done = subprocess.run(words, stdout=subprocess.DEVNULL)
    if done.returncode not in (0, 3):
        raise SystemExit(f"extract-photos failed for {source}")


def run_topic(name: str, places: dict[str, str], given: argparse.Namespace) -> bool:
    """Run the script of a topic and write its result; return whether it ended well."""
    topic = TOPICS[name]
    absent = [package for package in topic.needs if not version_of(package)]
    if absent:
        print(f"\n{name}: left out, {', '.join(absent)} is not installed")
        return True
    left_out = [f"{peer} is not installed" for peer in topic.peers if not version_of(peer)]
    print(f"\n== {name}", flush=True)
    begun, started = load(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        record, commands = Path(folder) / "tables", []
        record.touch()
        for run, words in runnable(topic, places, left_out):
            quick = topic.quick.split() * given.quick
            words += quick
            script = str(script_of(name))
            done = subprocess.run(
                [sys.executable, script, *words],
                env=os.environ | {RECORD: str(record), "PYTHONPATH": _path()},
            )
            if done.returncode:
                return False
            commands.append(" ".join(["python", f"benchmarks/{Path(script).name}", run, *quick]))
        tables = [json.loads(line) for line in record.read_text().splitlines()]
    for reason in left_out:
        print(f"{name}: left out: {reason}")
    if given.results and tables:
        seconds = round(time.monotonic() - started)
        measured = {"quick": given.quick, "seconds": seconds, "load": [begun, load()]}
        measured["left_out"] = left_out
        write_result(given.results / f"{name}.json", commands, measured, tables, places)
    return True


def runnable(
    topic: Topic, places: dict[str, str], left_out: list[str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield each run and its words, and name in `left_out` what is missing."""
    for run in topic.runs:
        try:
            words, missing = fill_words(run, places)
        except KeyError as error:
            left_out.append(f"`{run}` needs {_OPTIONS[error.args[0]]}")
            continue
        left_out.extend(f"a part of it needs {_OPTIONS[each]}" for each in missing)
        yield run, words


def write_result(
    path: Path, commands: list[str], measured: dict, tables: list, places: dict[str, str]
) -> None:
    versions = versions_here()
    used = " ".join(commands)
    for name in ("mxnet", "landmarks"):
        if f"{{{name}}}" in used and name in places:
            versions |= {f"{name}: {k}": v for k, v in versions_of(places[name]).items()}
    result = {
        "commands": commands,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe_machine(),
        "versions": versions,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result | measured | {"tables": tables}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n")


def _path() -> str:
    """Return the search path of the scripts, on which this checkout comes first."""
    return os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))


if __name__ == "__main__":
    sys.exit(main())
