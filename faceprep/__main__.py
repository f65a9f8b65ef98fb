"""`python -m faceprep` and the `faceprep` script."""

from __future__ import annotations

import os
import signal
import sys
from threading import Timer, get_ident
from typing import Any

_DELAY_S = 0.02
"""Seconds until a Ctrl-C is delivered again; the finalizer has ended by then."""
_UTF8_MODE = "PYTHONUTF8"


def main() -> None:
    """End with the exit status of the command."""
    _ensure_utf8()
    sys.unraisablehook = _deliver_again
    try:
        from faceprep.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit("faceprep: stopped")
    status = command_line()
    for number in (signal.SIGINT, signal.SIGTERM):  # Python would print a traceback as it ends
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    sys.exit(status)


def _deliver_again(lost: Any) -> None:
    """Deliver a Ctrl-C again that came in a finalizer, where Python drops it.

    `lost` is the argument of `sys.unraisablehook`. Other exceptions are printed as usual.
    """
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    number = signal.SIGINT
    if signal.getsignal(number) == signal.SIG_IGN:  # then it was SIGTERM
        number = signal.SIGTERM
    Timer(_DELAY_S, signal.pthread_kill, [get_ident(), number]).start()


def _ensure_utf8() -> None:
    """Start Python again in UTF-8 mode if the locale has another encoding for names of files.

    Sets hold names as UTF-8, whatever the locale: in Latin-1 they would be encoded twice. Workers
    inherit the mode.
    """
    is_set = os.environ.get(_UTF8_MODE) == "1"  # Python ignores it, as under python -E
    if sys.executable and sys.getfilesystemencoding() != "utf-8" and not is_set:
        os.environ[_UTF8_MODE] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if __name__ == "__main__":
    main()
