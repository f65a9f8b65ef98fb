"""Parts of a section rendered as HTML; all text is escaped, as names are data."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Iterator

from faceprep.pages.report.plots import draw, printable
from faceprep.pages.report.sections import (
    Cell,
    Chain,
    Comparison,
    Curves,
    Examples,
    Figures,
    Histogram,
    Part,
    Picture,
    Pictures,
    Side,
    Table,
)

_WHOLE_FROM = 1000
"""Minimum number that is shown without decimals."""
_RIGHT, _SHORT, _LONG = ' class="n"', ' class="s"', ' class="l"'
_N_SHORT, _N_LONG = 12, 40


def titled(title: str, level: int) -> str:
    """Render a heading of this level; empty without a title."""
    if not title:
        return ""
    return f"<h{level}>{escaped(title)}</h{level}>\n"


def render_part(part: Part, load: Callable[[str], bytes | None], level: int) -> Iterator[str]:
    """Render a part, with headings of `level`; `load` loads crops.

    Raises MissingExtra without matplotlib.
    """
    if isinstance(part, Histogram | Curves):
        yield titled(part.title, level)
        alt, source = escaped(_describe(part)), _data_url(draw(part), "image/svg+xml")
        yield f'<img class="plot" alt="{alt}" src="{source}">\n'
    elif isinstance(part, Table):
        yield from _titled_table(part, level)
    elif isinstance(part, Chain):
        yield from _chain(part)
    elif isinstance(part, Figures):
        items = (
            f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
            for name, value in part.items
        )
        yield f'<dl class="figures">{"".join(items)}</dl>\n'
    elif isinstance(part, Comparison):
        yield from _comparison(part, level)
    else:
        yield from _pictures(_loaded(part, load), level)


def _loaded(part: Examples | Pictures, load: Callable[[str], bytes | None]) -> Pictures:
    """Return the pictures of a part, with those of its crops that can be loaded."""
    if isinstance(part, Pictures):
        return part
    items = ((path, label, load(path)) for path, label in part.crops)
    found = [Picture(path, data, label) for path, label, data in items if data is not None]
    return Pictures(part.title, found)


def _pictures(part: Pictures, level: int) -> Iterator[str]:
    """Render pictures with their labels and names, if there are any."""
    if not part.items:
        return
    large = " large" if part.is_large else ""
    yield titled(part.title, level)
    items = (
        f"<li>{_image(each)}<b>{escaped(each.label)}</b>{_breakable(each.name)}</li>"
        for each in part.items
    )
    yield f'<ul class="crops{large}">{"".join(items)}</ul>\n'


def _image(picture: Picture) -> str:
    source = _data_url(picture.data, "image/jpeg")
    return f'<img alt="{escaped(picture.alt or picture.name)}" src="{source}">'


def _comparison(part: Comparison, level: int) -> Iterator[str]:
    first, *others = (_side(side, level) for side in part.sides)
    sign = f'<b aria-hidden="true">{escaped(part.sign)}</b>'
    sides = first + "".join(f'<div class="joined">{sign}{side}</div>' for side in others)
    yield f'<div class="pair"><div class="sides">{sides}</div><p>{escaped(part.text)}</p></div>\n'


def _side(side: Side, level: int) -> str:
    items = "".join(f"<li>{_image(each)}</li>" for each in side.items)
    return f'<div class="side">{titled(side.name, level)}<ul>{items}</ul></div>'


def _chain(part: Chain) -> Iterator[str]:
    yield '<ol class="chain">\n'
    for link in part.links:
        yield f"<li><b>{escaped(link.title)}</b><p>{escaped(link.text)}</p>"
        if link.notes:
            notes = "".join(f"<li>{escaped(note)}</li>" for note in link.notes)
            yield f"<ul>{notes}</ul>"
        yield "</li>\n"
    yield "</ol>\n"


def _titled_table(table: Table, level: int) -> Iterator[str]:
    if not table.rows:
        return
    if table.is_folded:
        yield f"<details>\n<summary>{escaped(table.title)}</summary>\n"
        yield from _table(table)
        yield "</details>\n"
        return
    yield titled(table.title, level)
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
        f'<div class="wide" tabindex="0" role="group" aria-label="{label}">\n<table>\n<thead><tr>'
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


def _cell(text: str, is_number: bool) -> str:
    """Render a cell; short texts stay on one line, and long ones have room."""
    attribute = ""
    if is_number:
        attribute = _RIGHT
    elif len(text) <= _N_SHORT:
        attribute = _SHORT
    elif len(text) > _N_LONG:
        attribute = _LONG
    return f"<td{attribute}>{_breakable(text)}</td>"


def _breakable(name: str) -> str:
    """Escape a name that may be broken after a slash and an underscore.

    >>> _breakable("live/a_1")
    'live/<wbr>a_<wbr>1'
    """
    return re.sub("([/_])(?=.)", r"\1<wbr>", escaped(name))


def format_cell(cell: Cell) -> str:
    """Format a cell of a table for people.

    >>> format_cell(12345), format_cell(12345.6), format_cell(0.123456), format_cell(None)
    ('12,345', '12,346', '0.1235', '')
    """
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= _WHOLE_FROM:
        return f"{cell:,.0f}"
    return f"{cell:.4g}"


def escaped(text: str) -> str:
    """Escape text for HTML and its attributes; bytes that are not text become backslash codes.

    >>> escaped('<script>"a"</script>')
    '&lt;script&gt;&quot;a&quot;&lt;/script&gt;'
    """
    return html.escape(printable(text.encode("utf-8", "backslashreplace").decode()))


def _data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
