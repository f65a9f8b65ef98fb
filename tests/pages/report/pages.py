"""Reads the HTML of a report back, and judges it."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The content of a page: texts, pictures, and whether it is complete and self-contained."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.pictures: dict[str, bytes] = {}
        self._open: list[str] = []
        self._is_broken = False
        self.source = path.read_bytes().decode()
        self.feed(self.source)
        self.close()
        assert self.source.startswith("<!DOCTYPE html>") and self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._is_broken = tag == "wbr"
        if self._is_broken:
            return
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attributes:
            assert value is not None and not name.startswith("on")
            if name == "id":
                self.ids.append(value)
            if name == "href":
                self.links.append(value)
            if name == "src":
                kind, _, data = value.partition(";base64,")
                assert kind in ("data:image/svg+xml", "data:image/jpeg")
                self.pictures[dict(attributes)["alt"] or ""] = base64.b64decode(data, validate=True)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] == "style":
            return
        if self._is_broken:  # the text before <wbr> goes on
            self.texts[-1] += data
        else:
            self.texts.append(data)
        self._is_broken = False

    def judge(self) -> Page:
        """It has no script, asks nobody for anything, and its links lead somewhere."""
        assert not {"script", "iframe", "link", "object", "form"} & set(self.tags)
        assert len(set(self.ids)) == len(self.ids)
        assert {link.removeprefix("#") for link in self.links} <= set(self.ids)
        assert "url(" not in self.source and "@import" not in self.source
        assert "default-src 'none'" in self.source
        return self
