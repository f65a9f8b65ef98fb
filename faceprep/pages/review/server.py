"""The page on 127.0.0.1: HTTP, and the plan written while nobody is deciding."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from faceprep.core import storage
from faceprep.core.errors import FaceprepError, MissingExtra
from faceprep.pages.review.app import MAX_BODY, ReviewApp
from faceprep.pages.review.page_files import page_files
from faceprep.pages.review.session import Session, state_folder
from faceprep.pages.review.thumbnails import Thumbnails

_THREADS = 8
_IDLE = 1.0
log = logging.getLogger("faceprep")


def serve(session: Session, port: int, announce: Callable[[str], None], browse: bool) -> None:
    """Until Ctrl-C. `announce` is told the address once it can be asked. Raises OutputError
    when the port is taken.
    """
    create_server = _waitress()
    token = secrets.token_urlsafe(24)
    app = ReviewApp(
        session, Thumbnails(state_folder(session.plan) / "thumbnails"), token, page_files()
    )
    with storage.guard(f"listen on port {port}", "127.0.0.1"):
        server = create_server(
            app,
            host="127.0.0.1",
            port=port,
            threads=_THREADS,
            max_request_body_size=MAX_BODY,
            ident=None,
        )
    try:
        with _folding(session, app):
            address = f"http://127.0.0.1:{server.effective_port}/{token}/"
            announce(address)
            if browse and _has_screen():
                webbrowser.open(address)
            server.run()  # returns on Ctrl-C
    finally:
        server.close()


def _waitress() -> Callable[..., Any]:
    try:
        from waitress.server import create_server
    except ImportError as error:
        raise MissingExtra(
            f"the page needs waitress ({error})", remedy="pip install 'faceprep[review]'"
        ) from error
    return create_server  # type: ignore[no-any-return]


def _has_screen() -> bool:
    """On a terminal alone Python would open a browser of text, and take the terminal from us."""
    return sys.platform != "linux" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


@contextmanager
def _folding(session: Session, app: ReviewApp) -> Iterator[None]:
    """A thread that writes the plan when nobody has decided for a moment: who applies it then
    has it as it is.
    """
    ended = threading.Event()

    def fold() -> None:
        seen = len(session.changes)
        while not ended.wait(_IDLE):
            if session.n_unfolded and len(session.changes) == seen:
                try:
                    session.fold()
                    app.trouble = ""
                except FaceprepError as error:
                    if app.trouble != str(error):
                        log.warning("%s", error)
                    app.trouble = str(error)
            seen = len(session.changes)

    thread = threading.Thread(target=fold, name="fold", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
