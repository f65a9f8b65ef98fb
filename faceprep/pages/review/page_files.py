"""The page's own files, as they are shipped."""

from __future__ import annotations

from importlib import resources

from faceprep.pages.review.app import PageFile

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_NAMES = (
    "index.html",
    "icon.svg",
    "review.css",
    "store.js",
    "list.js",
    "threshold.js",
    "review.js",
)


def page_files() -> dict[str, PageFile]:
    """By name."""
    folder = resources.files("faceprep.pages.review") / "page"
    return {
        name: PageFile(_KINDS[name[name.rindex(".") :]], (folder / name).read_bytes())
        for name in _NAMES
    }
