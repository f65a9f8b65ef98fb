"""The table of containers in the docs is that of the code: run this file to write it anew."""

from __future__ import annotations

from pathlib import Path

from faceprep.core import registry
from faceprep.sets.set_writer import SetWriter

PAGE = Path(__file__).resolve().parent.parent / "docs" / "containers.md"
START, END = "<!-- generated: tests/test_containers_page.py -->\n", "<!-- end -->\n"


def table() -> str:
    """Return one row per container: suffixes, and what its writer can hold."""
    heads = ["kind", "suffix", "is read", "is written"]
    heads += [
        "names of images",
        "names of identities",
        "images without an identity",
        "labels",
        "order",
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for kind, entry in registry.CONTAINERS.items():
        suffixes = " ".join(f"`{suffix}`" for suffix in entry.suffixes) or "a folder"
        cells = ["", "", "", "", ""]
        if entry.writer:
            writer: type[SetWriter] = registry.load_target(entry.writer)
            can = writer.can
            flags = ((can.keys, can.text_keys), (can.identities, can.identity_names))
            cells = [("yes" if text else "numbers") if any_ else "no" for any_, text in flags]
            cells.append("yes" if can.unnamed else "no")
            cells.append("all" if writer.can.many_labels else "one")
            cells.append("yes" if writer.can.order else "by name")
        is_written = "yes" if entry.writer else "no"
        row = [f"{entry.help} (`{kind}`)", suffixes, "yes", is_written, *cells]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def written() -> str:
    """Return the page with the table of the code."""
    before, _, rest = PAGE.read_text().partition(START)
    return before + START + table() + END + rest.partition(END)[2]


def test_the_page_says_what_the_code_can() -> None:
    assert PAGE.read_text() == written()


if __name__ == "__main__":
    PAGE.write_text(written())
