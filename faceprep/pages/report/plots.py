"""Histograms and curves as SVG: grey, with hatches and line styles, the same bytes each time."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faceprep.core.errors import loading
from faceprep.pages.report.sections import Curves, Histogram

_SIZE = (4.6, 2.7)
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "0.3",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "faceprep",
    "text.parse_math": False,
}
_FILLS = (
    {"facecolor": "0.75", "edgecolor": "0.25", "hatch": ""},
    {"facecolor": "none", "edgecolor": "0.0", "hatch": "////"},
    {"facecolor": "none", "edgecolor": "0.45", "hatch": "...."},
)
_LINES = ("-", "--", "-.", ":")
_MARKERS = ("", "o", "s", "^")
_SHADES = ("0.0", "0.35", "0.6")
_LEAST_RATE = 1e-6
_AXES = {
    "roc": ("false accepts (FAR)", "true accepts (TAR)"),
    "det": ("false accepts (FAR)", "false rejects (FRR)"),
    "cmc": ("rank", "mates among the first"),
    "dir": ("strangers accepted (FPIR)", "mates found (TPIR)"),
}
"""The labels of the axes, by kind of curves."""
_SHORT_AXIS = 2000
_HALF = 0.5
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_COMMENT, _BREAK = re.compile(rb"<!--.*?-->", re.DOTALL), re.compile(rb"\s*\n\s*")


def draw(picture: Histogram | Curves) -> bytes:
    """Draw a picture as SVG. Raises MissingExtra without matplotlib."""
    with loading("pictures need the package {0.name}", "pip install 'faceprep[report]'"):
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    file = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        if isinstance(picture, Histogram):
            _draw_histogram(axes, picture)
        else:
            _draw_curves(axes, picture)
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    return _shorten(file.getvalue())


def _shorten(svg: bytes) -> bytes:
    """Remove from an SVG what does not change the picture: its prologue, comments and breaks."""
    start = svg.index(b"<svg ")
    return _BREAK.sub(b" ", _COMMENT.sub(b"", svg[start:])).replace(b"> <", b"><")


def _draw_histogram(axes: Any, picture: Histogram) -> None:
    edges = np.asarray(picture.edges, np.float64)
    for number, (name, counts) in enumerate(picture.series.items()):
        values = np.asarray(counts, np.float64)
        if picture.as_shares and values.sum():
            values = values / values.sum()
        fill = _FILLS[number % len(_FILLS)]
        axes.stairs(values, edges, fill=True, label=printable(name), linewidth=0.8, **fill)
    is_log = picture.is_log and edges[0] > 0
    if is_log:
        _log(axes, "x")
    for name, at in (picture.marks or {}).items():
        axes.axvline(at, color="0.0", linestyle="--", linewidth=1.4, label=printable(name))
    axes.set_xlabel(printable(picture.axis))
    axes.set_ylabel(printable(picture.unit))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    if not is_log and np.all(edges % 1 == _HALF):  # bins centred on whole numbers
        axes.xaxis.get_major_locator().set_params(integer=True)
    if not picture.as_shares:
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color="0.85", linewidth=0.6)
    if len(picture.series) > 1 or picture.marks:
        axes.legend(fontsize=9).set_in_layout(False)


def _draw_curves(axes: Any, picture: Curves) -> None:
    """Draw curves over false accepts on a logarithmic axis; DET has two, CMC none."""
    for number, (name, (xs, ys)) in enumerate(picture.lines.items()):
        x, y = (np.maximum(np.asarray(values, np.float64), _LEAST_RATE) for values in (xs, ys))
        axes.plot(
            x,
            y,
            linestyle=_LINES[number % len(_LINES)],
            marker=_MARKERS[number // len(_LINES) % len(_MARKERS)],
            markersize=3,
            markevery=0.1,
            color=_SHADES[number % len(_SHADES)],
            linewidth=1.5,
            label=printable(name)[:40],
        )
    across, upward = _AXES[picture.kind]
    axes.set_xlabel(across)
    axes.set_ylabel(upward)
    if picture.kind == "cmc":
        axes.xaxis.get_major_locator().set_params(integer=True)
    else:
        _log(axes, "x")
        axes.set_xlim(_least(picture.lines, 0), 1)
    if picture.kind == "det":
        _log(axes, "y")
        axes.set_ylim(_least(picture.lines, 1), 1)
    else:
        axes.set_ylim(top=1.01)
    axes.grid(color="0.85", linewidth=0.6)
    axes.legend(fontsize=9).set_in_layout(False)


def _log(axes: Any, which: str) -> None:
    """Make an axis logarithmic with plain numbers, at 1, 2 and 5 where it is short."""
    from matplotlib.ticker import LogLocator

    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    low, high = axis.get_data_interval()
    is_short = low > 0 and high / low < _SHORT_AXIS
    subs = (1, 2, 5) if is_short else (1,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(lambda value, _: f"{value:,g}" if value >= 1e-3 else f"{value:.0e}")
    axis.set_minor_formatter(lambda value, _: "")


def _least(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], axis: int) -> float:
    """Return the lower end of an axis: a little below the smallest positive rate."""
    values = [value for line in lines.values() for value in line[axis] if value > 0]
    return max(min(values, default=1e-3) * 0.8, _LEAST_RATE)


def printable(text: str) -> str:
    """Replace characters that XML cannot hold: control characters and lone surrogates.

    >>> printable("a" + chr(0) + "b")
    'a·b'
    """
    return "".join(letter if letter.isprintable() else "·" for letter in text)
