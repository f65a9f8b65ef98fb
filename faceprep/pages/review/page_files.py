"""Files of the review page, as shipped with the package."""

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
    """Load the files of the page by name."""
    folder = resources.files("faceprep.pages.review") / "page"
    files = {}
    for name in _NAMES:
        suffix = name[name.rindex(".") :]
        files[name] = PageFile(_KINDS[suffix], (folder / name).read_bytes())
    return files
