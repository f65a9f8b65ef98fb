"""`review`: let a person accept or refuse the decisions of a plan."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core import storage
from faceprep.core.job import Service
from faceprep.core.options import Values, option
from faceprep.core.scratch import scratch_folder
from faceprep.core.text import count_noun, on_one_line
from faceprep.core.types import OK, VERDICTS
from faceprep.core.urls import as_output, as_paths
from faceprep.pages.left_out import describe_left_out
from faceprep.pages.review.session import Session, open_session
from faceprep.tables.plan import apply_command, refuse_output
from faceprep.tables.verdicts import journal_of, read_verdicts

log = logging.getLogger("faceprep")


@dataclass(frozen=True)
class Reviewed:
    """The result: how many verdicts have changed, and how many decisions have each verdict."""

    plan: str
    decided: int
    verdicts: dict[str, int]
    note: str = ""
    page: str = ""
    """The static page that was written."""
    left_out: Collection[str] = ()
    """Why images that cannot be read are not on it."""

    def as_json(self) -> dict[str, Any]:
        n = sum(self.verdicts.values())
        counts = {"unit": "decision", "inputs": n, "ok": n, "by_status": {OK: n}}
        about = {"command": "review", "plan": self.plan, "decided": self.decided}
        return counts | about | self.verdicts | describe_left_out(self.left_out)

    def __str__(self) -> str:
        now = ", ".join(f"{n:,} {verdict}" for verdict, n in self.verdicts.items())
        done = []
        if self.page:
            done.append(f"wrote {self.page}")
        if self.decided or not self.page:
            done.append(f"{count_noun(self.decided, 'decision')} changed in {self.plan}")
        return on_one_line(f"{', '.join(done)}: {now}{self.note and f'; {self.note}'}")


@dataclass(frozen=True)
class Review(Service):
    """Review a plan on a page: accept or refuse its decisions.

    PLAN is the plan.jsonl of merge-identities, clean-identities, exclude-people, dedupe or score. A
    server on this machine, reachable from this machine alone, shows the page at the address that is
    printed. Stop it with Ctrl-C. Every verdict is on disk before the page confirms it: first in
    PLAN.review.jsonl and a moment later in PLAN, which `apply` carries out.
    """

    command: ClassVar[str] = "review"

    port: int = option(
        0,
        "Serve on this port of 127.0.0.1; 0 takes a free one.",
        values=Values("PORT", least=0, most=65535),
    )
    no_browser: bool = option(False, "Print the address and open no browser.")
    static: Path | None = option(
        None,
        "Write the page to this folder instead, as files that need no server.",
        values=Values("DIR"),
    )
    import_: Path | None = option(
        None, "Import the verdicts that a --static page saved, then stop.", values=Values("FILE")
    )

    @property
    def stopped(self) -> str:
        """Return the message for Ctrl-C before the page is ready, or while it is written as
        files.
        """
        return (
            f"stopped; no verdict is lost{', and no page is half written' if self.static else ''}"
        )

    def serve(self, plan: str | Path, announce: Callable[[str], None]) -> Reviewed:
        """Serve or write the page; `announce` receives its address. Raises FaceprepError."""
        (plan,) = as_paths(plan)
        storage.refuse_store(
            plan, "is in an object store, and review writes beside it", "Copy it to a disk first."
        )
        refuse_output(plan, "faceprep review {plan}")
        taken = self.import_ is not None and self.import_.resolve() == journal_of(plan.resolve())
        read_only = self.static is not None and self.import_ is None
        opened = open_session(plan, journal=not taken, read_only=read_only)
        with opened as session, scratch_folder() as scratch:
            note, page = self._import(session) if self.import_ else "", ""
            left_out: Collection[str] = ()
            following = f"apply the plan: {apply_command(plan)}"
            if self.static:
                from faceprep.pages.review.static_site import import_command, write_static

                static = as_output(self.static)
                n, left_out = write_static(session, static, scratch)
                following = f"import the verdicts that the page saves: {import_command(plan)}"
                page = f"{static / 'index.html'} ({count_noun(n, 'picture')})"
            elif not self.import_:
                from faceprep.pages.review.server import serve

                with suppress(KeyboardInterrupt):
                    serve(session, scratch, self.port, announce, browse=not self.no_browser)
        log.info("%s", following)
        counts = Counter(decision.verdict for decision in session.decisions)
        verdicts = {verdict: counts[verdict] for verdict in VERDICTS}
        return Reviewed(str(plan), session.n_changed, verdicts, note, page, left_out)

    def _import(self, session: Session) -> str:
        n, n_overruled = session.adopt(read_verdicts(self.import_ or ""))
        if n_overruled:
            return f"{n_overruled:,} overruled what was decided meanwhile"
        return ""
