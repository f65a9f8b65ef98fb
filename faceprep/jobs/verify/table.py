"""Short tables of verification results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from faceprep.core.text import join_lines
from faceprep.identity.metrics.verification import Rates

_PAIRS = ("set", "pairs", "accuracy", "threshold", "EER", "TAR at FAR", "best on all pairs")
_SEARCHES = ("set", "gallery", "probes", "no mate", "rank 1", "rank 5", "rank 10", "TPIR at FPIR")


def show(results: Iterable[Mapping[str, Any]]) -> str:
    """Format results of pairs, and below them those of searches, one line each.

    With several embedders, the name of each follows that of the set.

    >>> counts = {"gallery": 9, "probes": 4, "non_mated": 0}
    >>> print(show([{"name": "a", **counts, "rank": {"1": 0.5}, "tpir_at_fpir": {}}]))
    set  gallery  probes  no mate   rank 1  rank 5  rank 10  TPIR at FPIR
    a          9       4        0  50.00 %       -        -             -
    """
    results = list(results)
    if len({result.get("embedder") for result in results}) > 1:
        results = [
            dict(result) | {"name": f"{result['name']}, {result['embedder']}"} for result in results
        ]
    tables = [
        _table(head, [row(result) for result in results if mark in result])
        for head, mark, row in ((_PAIRS, "pairs", _pairs_row), (_SEARCHES, "probes", _search_row))
    ]
    return "\n\n".join(filter(None, tables))


def _pairs_row(result: Mapping[str, Any]) -> Sequence[str]:
    accuracy, best = _share(result["accuracy"]), _share(result["best_accuracy"])
    return (
        result["name"],
        f"{result['pairs']:,}",
        accuracy if result["std"] is None else f"{accuracy[:-2]} ± {100 * result['std']:.2f} %",
        _number(result["threshold"]),
        _share(result["eer"]),
        _surest(result["tar_at_far"]),
        f"{best} at {_number(result['best_threshold'])}",
    )


def _search_row(result: Mapping[str, Any]) -> Sequence[str]:
    counts = (f"{result[name]:,}" for name in ("gallery", "probes", "non_mated"))
    ranks = (_share(result["rank"].get(rank)) for rank in ("1", "5", "10"))
    return (result["name"], *counts, *ranks, _surest(result["tpir_at_fpir"]))


def _surest(rates: Rates) -> str:
    """Return the rate at the lowest false accept rate that the set can measure."""
    measured = [(name, rate) for name, rate in rates.items() if rate is not None]
    if measured:
        return f"{_share(measured[-1][1])} at {measured[-1][0]}"
    return "-"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format columns, the first aligned left; nothing without rows."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    sides: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * (len(head) - 1)]
    lines = (
        "  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True))
        for row in (head, *rows)
    )
    return join_lines(lines) if rows else ""
