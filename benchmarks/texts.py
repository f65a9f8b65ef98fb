"""The tables of README and docs, generated from benchmarks/results.

python -m benchmarks.texts      write them
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import passages, scale
from benchmarks.figures import RUNS, cells_of
from benchmarks.results import RESULTS, Results, load_results
from benchmarks.topics import HERE, TOPICS, sentence_of

ROOT = HERE.parent
_BLOCK = re.compile(r"(<!-- generated: benchmarks ([\w-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)

COMPARISON = (
    (
        "rec2folder, {rec > rec2folder > note}",
        "MXNet script: {rec > rec2folder > MXNet script > seconds} s",
        "{rec > rec2folder > faceprep rec2folder > seconds} s",
    ),
    (
        "`.rec` to four `.tar`, {convert > .rec to 4 .tar > note}",
        "MXNet's loop into `webdataset`: "
        "{convert > .rec to 4 .tar > MXNet's loop into ShardWriter > seconds} s",
        "{convert > .rec to 4 .tar > faceprep convert, two workers > seconds} s",
    ),
    (
        "faces from a 640 × 360 video, frames per second of processor time",
        "imageio, TensorFlow MTCNN, skimage: "
        "{extract-video > 640×360 > the script: imageio, TensorFlow MTCNN, skimage > a CPU second}",
        "{extract-video > 640×360 > extract-video, in steady state > a CPU second}",
    ),
    (
        "embed, {embed > embed > note}",
        "dlib-bin: {embed > embed > dlib-bin, chip by chip > a second} per second",
        "{embed > embed > faceprep embed, whole command > a second} per second",
    ),
    (
        "merging people with two names, F score on drawn identities",
        "DBSCAN: {identities > F of merging > DBSCAN > mean}",
        "{identities > F of merging > merge-identities > mean}",
    ),
    (
        "running MXNet checkpoints",
        "MXNet 1.9.1",
        "within {mxnet-models > checkpoints > largest > difference} of MXNet's outputs, "
        "without MXNet",
    ),
)


def pages(results: Results) -> dict[Path, str]:
    """Return the text of each page that holds generated tables."""
    makers: dict[str, Callable[[Results], str]] = {
        "machines": machines,
        "tables": all_tables,
        "comparison": comparison,
        **scale.BLOCKS,
        **passages.BLOCKS,
    }

    def fill(match: re.Match[str]) -> str:
        return match[1] + makers[match[2]](results) + match[3]

    texts = {path: path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]}
    return {path: _BLOCK.sub(fill, text) for path, text in texts.items() if _BLOCK.search(text)}


def write() -> None:
    """Write every page with the tables of the results."""
    for path, text in pages(load_results(RESULTS)).items():
        path.write_text(text)


def comparison(results: Results) -> str:
    """Return the table of the README."""
    rows = [[results.fill(cell) for cell in row] for row in COMPARISON]
    topics = re.findall(r"{([\w-]+) > ", str(COMPARISON))
    return markdown([["task", "others", "faceprep"], *rows]) + results.caution(topics)


def machines(results: Results) -> str:
    """Return the machines and the versions of all results, each once."""
    found = {describe(result["machine"]) for result in results.topics.values()}
    versions: dict[str, set[str]] = {}
    for result in results.topics.values():
        for name, version in result["versions"].items():
            versions.setdefault(name, set()).add(version)
    shown = ", ".join(f"{name} {' and '.join(sorted(each))}" for name, each in versions.items())
    return "".join(f"* {line}\n" for line in [*sorted(found), f"Versions: {shown}."])


def describe(machine: dict[str, str | int]) -> str:
    return (
        "{processor}, {cores} cores, {memory_gib} GiB of memory, {system}, Python {python}"
    ).format_map(machine)


def all_tables(results: Results) -> str:
    """Return a section for each topic that has a result, in the order of the topics."""
    found = [name for name in TOPICS if name in results.topics]
    return "".join(f"\n## {name}\n\n{section(name, results.topics[name])}" for name in found) + "\n"


def section(name: str, result: dict) -> str:
    """Return what a topic measures, when, and its tables."""
    begun, ended = result["load"]
    lines = f"{sentence_of(name)}\n\n*{result['date']}, load {begun:g} to {ended:g}"
    if result["quick"]:
        lines += "; small sizes, for a first look"
    if result["left_out"]:
        lines += f"; left out: {'; '.join(result['left_out'])}"
    return lines + ".*\n" + "".join(map("".join, map(_table, result["tables"])))


def _table(table: dict) -> Iterator[str]:
    note = f": {table['note']}" if table["note"] else ""
    rows = {
        name: {head: cell for head, cell in row.items() if head != RUNS}
        for name, row in table["rows"].items()
    }
    yield f"\n**{table['title']}**{note}\n\n"
    (_, *heads), *lines = cells_of(rows)
    yield markdown([["measured", *heads], *lines])


def markdown(cells: list[list[str]]) -> str:
    """Return a table in Markdown with its numbers on the right."""
    heads, *rows = ([cell.replace("|", "\\|") for cell in line] for line in cells)
    rule = "|---" + "|---:" * (len(heads) - 1) + "|"
    lines = [f"| {' | '.join(line)} |" for line in [heads, *rows]]
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


if __name__ == "__main__":
    write()
