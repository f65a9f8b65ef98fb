"""Sections rendered as one HTML file without network, scripts or other files.

All text is escaped, as names are data.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from faceprep.pages.report.plots import draw, printable
from faceprep.pages.report.sections import Cell, Curves, Examples, Histogram, Part, Section, Table

Load = Callable[[str], bytes | None]
"""The path of a crop -> a small JPEG of it, or None."""

_STYLE = """
:root { color-scheme: light dark; --ink: #111; --dim: #555; --line: #ccc; --page: #fff; }
@media (prefers-color-scheme: dark) { :root { \
--ink: #eee; --dim: #aaa; --line: #444; --page: #141414; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 52rem; color: var(--ink); background: var(--page);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem;
  border-top: 1px solid var(--line); padding-top: 1rem; }
h3, summary { font-size: 1rem; font-weight: 700; margin: 1.5rem 0 .25rem; } \
summary { cursor: pointer; }
p { margin: .5rem 0; } \
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; list-style: none; }
a { color: inherit; }
.plot { display: block; width: 100%; max-width: 32rem; height: auto; }
@media (prefers-color-scheme: dark) { .plot { filter: invert(1); } }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0; \
border-bottom: 1px solid var(--line); }
td { max-width: 24rem; overflow-wrap: break-word; } \
td:first-child { min-width: 9.5rem; overflow-wrap: anywhere; }
th { color: var(--dim); font-weight: 600; white-space: nowrap; }
.n { text-align: right; } .n, .s { white-space: nowrap; }
.crops { display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; \
margin: .25rem 0; list-style: none; }
.crops li { width: 7rem; font-size: .75rem; line-height: 1.3; color: var(--dim); }
.crops img { display: block; width: 7rem; height: 7rem; object-fit: contain; background: #888; }
.crops b { color: var(--ink); }
footer { margin-top: 3rem; color: var(--dim); font-size: .875rem; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Heading(NamedTuple):
    """Title, subtitle and footer of the page."""

    title: str
    subtitle: str
    footer: str


def write_page(heading: Heading, sections: Sequence[Section], load: Load) -> bytes:
    """Render the HTML file; `load` loads crops. Raises MissingExtra without matplotlib."""
    return "".join(_page(heading, sections, load)).encode()


def _page(heading: Heading, sections: Sequence[Section], load: Load) -> Iterator[str]:
    yield "<!DOCTYPE html>\n"
    yield '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{escaped(heading.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    yield f"<header>\n<h1>{escaped(heading.title)}</h1>\n"
    yield f"<p>{escaped(heading.subtitle)}</p>\n</header>\n"
    if len(sections) > 1:
        links = "".join(
            f'<li><a href="#s{n}">{escaped(each.title)}</a></li>' for n, each in enumerate(sections)
        )
        yield f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
    yield "<main>\n"
    for number, section in enumerate(sections):
        yield f'<section id="s{number}">\n<h2>{escaped(section.title)}</h2>\n'
        if section.text:
            yield f"<p>{escaped(section.text)}</p>\n"
        for part in section.parts:
            yield from _part(part, load)
        yield "</section>\n"
    yield f"</main>\n<footer>{escaped(heading.footer)}</footer>\n</body>\n</html>\n"


def _part(part: Part, load: Load) -> Iterator[str]:
    if isinstance(part, Examples):
        yield from _examples(part, load)
    elif isinstance(part, Table):
        yield from _titled_table(part)
    else:
        yield f"<h3>{escaped(part.title)}</h3>\n"
        alt, source = escaped(_describe(part)), _data_url(draw(part), "image/svg+xml")
        yield f'<img class="plot" alt="{alt}" src="{source}">\n'


def _titled_table(table: Table) -> Iterator[str]:
    if not table.rows:
        return
    if table.is_folded:
        yield f"<details>\n<summary>{escaped(table.title)}</summary>\n"
        yield from _table(table)
        yield "</details>\n"
        return
    if table.title:
        yield f"<h3>{escaped(table.title)}</h3>\n"
    yield from _table(table)


def _describe(picture: Histogram | Curves) -> str:
    """Describe a picture in words, for readers who cannot see it."""
    if isinstance(picture, Curves):
        return f"{picture.title}: {', '.join(picture.lines)}"
    highest = []
    for name, counts in picture.series.items():
        place = max(range(len(counts)), key=counts.__getitem__, default=0)
        edges = picture.edges[place : place + 2]
        highest.append(f"{name} most between {edges[0]:.4g} and {edges[-1]:.4g}")
    marks = [f"a line at {name}" for name in picture.marks or ()]
    return f"{picture.title}, {picture.axis}: {'; '.join([*highest, *marks])}"


def _table(table: Table) -> Iterator[str]:
    is_number = [
        not any(isinstance(row[place], str) for row in table.rows)
        for place in range(len(table.header))
    ]
    label = escaped(table.title or "Table")
    yield (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}">\n<table>\n<thead><tr>'
    )
    for name, right in zip(table.header, is_number, strict=True):
        yield f'<th scope="col"{_RIGHT * right}>{escaped(name)}</th>'
    yield "</tr></thead>\n<tbody>\n"
    for row in table.rows:
        cells = [
            _cell(format_cell(cell), right) for cell, right in zip(row, is_number, strict=True)
        ]
        yield f"<tr>{''.join(cells)}</tr>\n"
    yield "</tbody>\n</table>\n</div>\n"


_RIGHT, _SHORT = ' class="n"', ' class="s"'
_N_SHORT = 12


def _cell(text: str, is_number: bool) -> str:
    """Render a cell; short texts stay on one line."""
    attribute = ""
    if is_number:
        attribute = _RIGHT
    elif len(text) <= _N_SHORT:
        attribute = _SHORT
    return f"<td{attribute}>{escaped(text)}</td>"


def _examples(part: Examples, load: Load) -> Iterator[str]:
    """Render the crops that can be loaded, if any."""
    items = []
    for path, label in part.crops:
        picture = load(path)
        if picture is not None:
            image = f'<img alt="{escaped(path)}" src="{_data_url(picture, "image/jpeg")}">'
            items.append(f"<li>{image}<b>{escaped(label)}</b><br>{escaped(path)}</li>")
    if items:
        yield f'<h3>{escaped(part.title)}</h3>\n<ul class="crops">{"".join(items)}</ul>\n'


def format_cell(cell: Cell) -> str:
    """Format a cell of a table for people.

    >>> format_cell(12345), format_cell(0.123456), format_cell(None)
    ('12,345', '0.1235', '')
    """
    if cell is None:
        return ""
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return cell


def escaped(text: str) -> str:
    """Escape text for HTML and its attributes; bytes that are not text become backslash codes.

    >>> escaped('<script>"a"</script>')
    '&lt;script&gt;&quot;a&quot;&lt;/script&gt;'
    """
    return html.escape(printable(text.encode("utf-8", "backslashreplace").decode()))


def _data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
