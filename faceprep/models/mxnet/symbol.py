"""Reader of `-symbol.json`, the graph of an MXNet checkpoint, without MXNet.

A file holds `nodes` and `heads`. A node has `op` (`null` for data and weights), `name`, `inputs`
(pairs: row of an earlier node, number of its output) and attributes, which are texts. They are
under `attrs`, in older files under `attr` and `param`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from faceprep.core.errors import SourceError
from faceprep.core.io.json_line import parse_json

_EXPECTED = "an object with nodes and heads"
_ATTRIBUTES = ("attr", "param", "attrs")
_MAX_BYTES, _MAX_NAME = 16 << 20, 1 << 10
VARIABLE = "null"

Link = tuple[int, int]
"""Row of a node, and number of its output."""


class Node(NamedTuple):
    """An operator with its inputs, or a variable."""

    operator: str
    name: str
    attributes: Mapping[str, str] = {}
    inputs: Sequence[Link] = ()

    @property
    def place(self) -> str:
        """Return the words that name the node in an error."""
        return f"node {self.name!r} ({self.operator})"


class Symbol(NamedTuple):
    """A graph in the order of the data flow; `heads` are its outputs."""

    nodes: Sequence[Node]
    heads: Sequence[Link]

    def find(self, name: str) -> Link | None:
        """Return the first output of the operator `name`, or None if there is no such operator."""
        for row, node in enumerate(self.nodes):
            if node.name == name and node.operator != VARIABLE:
                return row, 0
        return None

    def rows_before(self, outputs: Sequence[Link]) -> list[int]:
        """Return the rows of all nodes that `outputs` depend on, in order."""
        needed = {row for row, _ in outputs}
        for row in range(max(needed), -1, -1):
            if row in needed:
                needed.update(source for source, _ in self.nodes[row].inputs)
        return sorted(needed)


def parse_symbol(data: bytes) -> Symbol:
    """Parse the contents of a `-symbol.json`. Raises SourceError.

    >>> text = b'{"nodes": [{"op": "null", "name": "data", "inputs": []}], "heads": [[0, 0]]}'
    >>> parse_symbol(text)
    Symbol(nodes=[Node(operator='null', name='data', attributes={}, inputs=[])], heads=[(0, 0)])
    """
    if len(data) > _MAX_BYTES:
        raise _error("a file", f"at most {_MAX_BYTES:,} bytes", f"{len(data):,}")
    try:
        graph = parse_json(data)
    except ValueError as error:
        raise _error("the file", "JSON", str(error) or type(error).__name__) from error
    if not isinstance(graph, dict) or not isinstance(graph.get("nodes"), list):
        raise _error("the file", _EXPECTED, type(graph).__name__)
    nodes = [_parse_node(row, node) for row, node in enumerate(graph["nodes"])]
    heads = _parse_links(graph.get("heads"), len(nodes), "heads")
    if not heads:
        raise _error("heads", "one output or more", "none")
    return Symbol(nodes, heads)


def _parse_node(row: int, node: Any) -> Node:
    """Parse node `row`; its inputs must come before it."""
    place = f"node {row}"
    if not isinstance(node, dict):
        raise _error(place, "an object", type(node).__name__)
    operator, name = (_parse_name(node.get(key), f"{key} of {place}") for key in ("op", "name"))
    attributes: dict[str, str] = {}
    for key in _ATTRIBUTES:
        attributes |= _parse_attributes(node.get(key), f"{key} of {place}")
    return Node(operator, name, attributes, _parse_links(node.get("inputs", []), row, place))


def _parse_name(name: Any, place: str) -> str:
    """Return a name that can be printed and written. Raises SourceError."""
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _MAX_NAME:
        raise _error(place, f"1 to {_MAX_NAME:,} characters", f"{name!r:.40}")
    return name


def _parse_attributes(attributes: Any, place: str) -> dict[str, str]:
    if attributes is None:
        return {}
    if not isinstance(attributes, dict):
        raise _error(place, "an object", type(attributes).__name__)
    for name, text in attributes.items():
        if not isinstance(text, str):
            raise _error(place, f"a string as {name}", f"{text!r:.40}")
    return attributes


def _parse_links(links: Any, limit: int, place: str) -> list[Link]:
    """Parse pairs of a row below `limit` and an output's number; a third number is a version."""
    if not isinstance(links, list):
        raise _error(place, "a list of inputs", type(links).__name__)
    found = []
    for link in links:
        if not isinstance(link, list) or len(link) not in (2, 3):
            raise _error(place, "inputs of two numbers", f"{link!r:.40}")
        row, output = link[:2]
        if type(row) is not int or type(output) is not int or output < 0:
            raise _error(place, "inputs of two numbers", f"{link!r:.40}")
        if not 0 <= row < limit:
            raise _error(place, f"inputs from nodes before {limit}", f"node {row!r:.40}")
        found.append((row, output))
    return found


def _error(where: str, expected: str, found: str) -> SourceError:
    return SourceError(
        "not the graph of an MXNet checkpoint", where=where, expected=expected, found=found
    )
