"""The HTTP server of the review page on 127.0.0.1; it saves the plan between decisions."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faceprep.core import os_errors, storage
from faceprep.core.errors import FaceprepError, loading
from faceprep.pages.review.app import MAX_BODY, ReviewApp
from faceprep.pages.review.gallery import Gallery
from faceprep.pages.review.page_files import page_files
from faceprep.pages.review.session import Session, state_folder
from faceprep.pages.review.thumbnails import Thumbnails

_THREADS = 8
_IDLE_S = 1.0
_MOST_CONNECTIONS, _TIMEOUT_S = 800, 20
"""Half-open connections may not keep the page from being served."""
log = logging.getLogger("faceprep")


def serve(
    session: Session, scratch: Path, port: int, announce: Callable[[str], None], browse: bool
) -> None:
    """Serve the page until Ctrl-C; `announce` receives its address once it can be opened.

    Sets that are not folders are indexed in `scratch`.

    Raises OutputError when the port is in use.
    """
    create_server = _waitress()
    token = secrets.token_urlsafe(24)
    thumbnails = Thumbnails(state_folder(session.plan) / "thumbnails")
    gallery = Gallery(session.judged, scratch)
    app = ReviewApp(session, gallery, thumbnails, token, page_files())
    with os_errors.guard(f"listen on port {port}", "127.0.0.1"):
        server = create_server(
            app,
            host="127.0.0.1",
            port=port,
            threads=_THREADS,
            max_request_body_size=MAX_BODY,
            ident=None,
            connection_limit=_MOST_CONNECTIONS,
            channel_timeout=_TIMEOUT_S,
            asyncore_use_poll=True,  # select() takes no descriptor above 1,023
        )
    try:
        with _saving(session, app):
            address = f"http://127.0.0.1:{server.effective_port}/{token}/"
            announce(address)
            log.info(
                "the page is ready; each verdict is saved at once, and Ctrl-C stops the server"
            )
            if browse and _has_screen():
                _open_browser(address, scratch)
            server.run()  # returns on Ctrl-C
    finally:
        server.close()
        gallery.close()


def _waitress() -> Callable[..., Any]:
    with loading("the page needs waitress ({0})", "pip install 'faceprep[review]'"):
        from waitress.server import create_server
    return create_server  # type: ignore[no-any-return]


def _open_browser(address: str, scratch: Path) -> None:
    """Open the page through a file that leads to it.

    Every user of the machine sees the arguments of the browser, which must not hold the token.
    """
    page = scratch / "open.html"
    storage.write_file(page, f'<meta http-equiv="refresh" content="0; url={address}">\n'.encode())
    webbrowser.open(page.as_uri())


def _has_screen() -> bool:
    """Return whether there is a screen; without one Python would open a browser in the terminal."""
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def _saving(session: Session, app: ReviewApp) -> Iterator[None]:
    """Save the plan from a thread whenever there is a pause between decisions.

    So `apply` finds the latest verdicts in it.
    """
    ended = threading.Event()

    def save_when_idle() -> None:
        seen = len(session.changes)
        while not ended.wait(_IDLE_S):
            if session.n_unsaved and len(session.changes) == seen:
                _save(session, app)
            seen = len(session.changes)

    thread = threading.Thread(target=save_when_idle, name="save", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _save(session: Session, app: ReviewApp) -> None:
    """Save the plan, and show the reason on the page where that fails."""
    try:
        session.save()
        app.trouble = ""
    except FaceprepError as error:
        if app.trouble != str(error):
            log.warning("%s", error)
        app.trouble = str(error)
