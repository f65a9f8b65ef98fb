"""Reports rendered as one HTML file without network, scripts or other files.

All text is escaped, as names are data. The words of the page itself are here, and its looks in
report.css.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from typing import NamedTuple

from faceprep.pages.report.html_parts import escaped, render_part, titled
from faceprep.pages.report.sections import Chain, Figures, Pictures, Section, Table

Load = Callable[[str], bytes | None]
"""The path of a crop -> a small JPEG of it, or None."""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_DETAILS = "Details"


class Heading(NamedTuple):
    """Title and footer of the page, and what several chapters come to."""

    title: str
    footer: str
    answer: str = ""


class Chapter(NamedTuple):
    """One output on the page: its title, its path, its sections, and the loader of its crops.

    The first section is the answer.
    """

    title: str
    place: str
    sections: Sequence[Section]
    load: Load


def write_page(heading: Heading, chapters: Sequence[Chapter], overview: Table | None) -> bytes:
    """Render the HTML file. `overview` compares several chapters.

    Raises MissingExtra without matplotlib.
    """
    return "".join(_page(heading, chapters, overview)).encode()


def _page(heading: Heading, chapters: Sequence[Chapter], overview: Table | None) -> Iterator[str]:
    style = (resources.files("faceprep.pages.report") / "report.css").read_text("utf-8")
    yield "<!DOCTYPE html>\n"
    yield '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{escaped(heading.title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    yield f"<header>\n<h1>{escaped(heading.title)}</h1>\n"
    if overview is None:
        yield from _answer(chapters[0])
        yield "</header>\n"
        yield from _contents(chapters[0], "0")
        yield "<main>\n"
        yield from _sections(chapters[0], "0", 2, _has_details_alone(chapters[0]))
    else:
        yield f'<p class="answer">{escaped(heading.answer)}</p>\n</header>\n<main>\n'
        yield from _overview(chapters, overview)
    yield f"</main>\n<footer>{escaped(heading.footer)}</footer>\n</body>\n</html>\n"


def _overview(chapters: Sequence[Chapter], overview: Table) -> Iterator[str]:
    """Render a table of the chapters, then each of them."""
    yield '<div class="parts"><div class="part full">\n'
    yield from render_part(overview, chapters[0].load, 2)
    yield "</div></div>\n"
    items = [(f"c{number}", chapter.title) for number, chapter in enumerate(chapters)]
    yield from _links(dict(items), "Outputs")
    for number, chapter in enumerate(chapters):
        yield f'<section class="run" id="c{number}">\n<h2>{escaped(chapter.title)}</h2>\n'
        yield from _answer(chapter)
        yield from _sections(chapter, str(number), 3)
        yield "</section>\n"


def _answer(chapter: Chapter) -> Iterator[str]:
    answer = chapter.sections[0]
    yield f'<p class="answer">{escaped(answer.title)}</p>\n'
    yield f'<p class="place">{escaped(chapter.place)}</p>\n'
    if answer.text:
        yield f'<p class="warning">{escaped(answer.text)}</p>\n'
    for part in answer.parts:
        if isinstance(part, Figures):
            yield from render_part(part, chapter.load, 2)


def _links(items: Mapping[str, str], label: str) -> Iterator[str]:
    links = "".join(f'<li><a href="#{at}">{escaped(text)}</a></li>' for at, text in items.items())
    yield f'<nav aria-label="{label}"><ul>{links}</ul></nav>\n'


def _contents(chapter: Chapter, mark: str) -> Iterator[str]:
    """Render links to the sections that are not folded, and to the details."""
    items = {
        f"s{mark}-{number}": section.title
        for number, section in enumerate(chapter.sections[1:])
        if not section.is_detail
    }
    if any(section.is_detail for section in chapter.sections):
        items[f"d{mark}"] = _DETAILS
    if len(items) > 1:
        yield from _links(items, "Sections")


def _has_details_alone(chapter: Chapter) -> bool:
    """Return whether the sections after the answer are details or the lineage alone."""
    return all(section.is_detail or section.name == "lineage" for section in chapter.sections[1:])


def _sections(chapter: Chapter, mark: str, level: int, are_open: bool = False) -> Iterator[str]:
    """Render the sections, then the details, unfolded if they `are_open`."""
    numbered = list(enumerate(chapter.sections[1:]))
    for number, section in numbered:
        if not section.is_detail:
            yield f'<section id="s{mark}-{number}">\n{titled(section.title, level)}'
            yield from _body(section, chapter.load, level + 1)
            yield "</section>\n"
    details = [section for _, section in numbered if section.is_detail]
    if not details:
        return
    yield f'<section class="details" id="d{mark}">\n{titled(_DETAILS, level)}'
    for section in details:
        attribute = ""
        if are_open:
            attribute = ' open=""'
        brief = section.text.partition(". ")[0].rstrip(".")
        yield f"<details{attribute}>\n<summary>{titled(section.title, level + 1).rstrip()}"
        yield f'<span>{escaped(brief)}</span></summary>\n<div class="inside">\n'
        yield from _body(section, chapter.load, level + 2)
        yield "</div>\n</details>\n"
    yield "</section>\n"


def _body(section: Section, load: Load, level: int) -> Iterator[str]:
    if section.text:
        yield f'<p class="text">{escaped(section.text)}</p>\n'
    if not section.parts:
        return
    yield '<div class="parts">\n'
    for part in section.parts:
        rendered = "".join(render_part(part, load, level))
        if rendered:
            yield f'<div class="part{_width(part)}">\n{rendered}</div>\n'
    yield "</div>\n"


_N_NARROW = 4


def _width(part: object) -> str:
    """Return the class of a part that takes the whole width; empty for half of it."""
    is_wide = isinstance(part, Chain | Pictures)
    if isinstance(part, Table):
        is_wide = len(part.header) > _N_NARROW
    return " full" if is_wide else ""
