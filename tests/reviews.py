"""Plans to review, with drawn faces, and the command that reviews them."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import waitress.server

from faceprep.core import storage
from faceprep.core.scratch import scratch_folder
from faceprep.core.types import ACCEPTED, Decision
from faceprep.pages.review import server
from faceprep.pages.review.session import open_session
from faceprep.synthetic import encode_face
from faceprep.tables.plan import write_plan
from faceprep.tables.verdicts import journal_of

A, R, U = "accepted", "refused", "undecided"
BEFORE = [A, U, U, U, A, U, A]
"""The verdicts of `small_plan`."""
_VERDICT = re.compile('"verdict": ?"([a-z]+)"')
UNKNOWN = {"of somebody": [1, {"unknown": "to faceprep"}]}
"""What a plan's first line may have, besides."""


def write_faces(root: Path, sizes: Sequence[int]) -> None:
    """ROOT/person-N/IMAGE.jpg, so many images of each."""
    for identity, n in enumerate(sizes):
        for image in range(n):
            storage.write_file(
                root / f"person-{identity}/{image}.jpg", encode_face(identity, image), durable=False
            )


def save_plan(path: Path, source: Path, decisions: Iterable[Decision], **more: Any) -> Path:
    judged = (
        {
            "command": "merge-identities",
            "source": str(source),
            "options": {"mode": "copy"},
            "summary": {"threshold": 0.6},
        }
        | UNKNOWN
        | more
    )
    with storage.AtomicFile(path) as file:
        write_plan(file, judged, decisions)
    return path


def merge(subject: int, into: int, score: float, verdict: str = "undecided") -> Decision:
    """Return a merge decision with the evidence that merge-identities gives."""
    names = [f"person-{subject}/0.jpg", f"person-{into}/0.jpg"]
    others = [f"person-{subject}/1.jpg", f"person-{into}/1.jpg"]
    evidence = {
        "for": [*names, score + 0.1],
        "against": [*others, score - 0.2],
        "images": [3, 3],
        "pairs": 9,
    }
    if verdict == "undecided":
        evidence["left_undecided"] = True
    reason = f"mean similarity {score:.3f}, between 0.400 and 0.600"
    return Decision(
        "merge", f"person-{subject}", f"person-{into}", score, reason, verdict, evidence
    )


def small_plan(root: Path) -> Path:
    """ROOT/out/plan.jsonl with seven decisions on ROOT/faces."""
    write_faces(root / "faces", [8, 5, 3, 3])
    decisions = [
        merge(2, 0, 0.9, "accepted"),
        merge(3, 0, 0.41),
        merge(3, 1, 0.58),
        merge(2, 1, 0.5),
        Decision(
            "drop",
            "person-0/7.jpg",
            "",
            0.97,
            "a copy of person-0/0.jpg",
            evidence={"kept": "person-0/0.jpg"},
        ),
        Decision("move", "person-1/4.jpg", "person-2", 0.59, "nearer to the others", "undecided"),
        Decision("drop", "person-3", reason="1 image"),
    ]
    return save_plan(root / "out" / "plan.jsonl", root / "faces", decisions)


def large_plan(root: Path, n: int = 100_000) -> Path:
    """ROOT/out/plan.jsonl with `n` merges into one of a handful of people."""
    write_faces(root / "faces", [3, 3, 3, 3])

    def line(i: int) -> str:
        score = (i * 7919 % n) / n
        verdict = "" if score > 0.7 else '"verdict": "undecided", '
        evidence = f'{{"for": ["person-{i % 3}/0.jpg", "person-3/0.jpg", {score}]}}'
        names = f'"subject": "person-{i:06d}", "into": "person-3"'
        return (
            f'{{"action": "merge", {names}, "score": {score}, {verdict}"evidence": {evidence}}}\n'
        )

    plan = save_plan(root / "out" / "plan.jsonl", root / "faces", [])
    with plan.open("a") as file:
        file.writelines(map(line, range(n)))
    return plan


def verdicts(plan: Path) -> list[str]:
    """Return the verdicts in the plan."""
    found = map(_VERDICT.search, plan.read_text("utf-8").splitlines()[1:])
    return [match[1] if match else ACCEPTED for match in found]


def saved(plan: Path) -> list[str]:
    """Return the verdicts on the disk: those of the plan, and then those of the journal.

    The server folds the journal into the plan at any moment. So both are read again if the plan
    has changed meanwhile.
    """
    while True:
        before = plan.stat()
        found = verdicts(plan)
        journal = journal_of(plan)
        for line in journal.read_text().splitlines() if journal.exists() else []:
            told = json.loads(line)
            found[told["number"]] = told["verdict"]
        after = plan.stat()
        if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
            return found


class Running:
    """The command `review`, at work."""

    def __init__(self, plan: Path, *options: object) -> None:
        command = [sys.executable, "-m", "faceprep", "review", plan, "--no-browser", *options]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        if not re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", self.address):
            raise AssertionError(f"{self.address!r}: {self.process.communicate(timeout=60)}")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)

    def stop(self) -> tuple[int, str, str]:
        """As Ctrl-C does: exit status, the rest of stdout, stderr."""
        self.process.send_signal(2)
        stdout, stderr = self.process.communicate(timeout=60)
        stderr = re.sub(r"Task queue depth is \d+\n", "", stderr)  # waitress, on a busy machine
        return self.process.returncode, stdout, stderr


@contextmanager
def served(plan: Path) -> Iterator[str]:
    """The address of the page, served from a thread of this process: there in a moment."""
    servers: list[Any] = []
    addresses: queue.Queue[str] = queue.Queue()

    def create_server(app: Any, **options: Any) -> Any:
        servers.append(waitress.server.create_server(app, **options))
        return servers[0]

    with (
        open_session(plan) as session,
        scratch_folder() as scratch,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(server, "_waitress", lambda: create_server)
        thread = threading.Thread(
            target=server.serve, args=(session, scratch, 0, addresses.put, False), daemon=True
        )
        thread.start()
        try:
            yield addresses.get(timeout=60)
        finally:
            sockets = servers[0]._map  # the server's loop ends when none is left
            servers[0].trigger.pull_trigger(
                lambda: [each.close() for each in list(sockets.values())]
            )
            thread.join(60)
            servers[0].task_dispatcher.shutdown()
            assert not thread.is_alive()


@contextmanager
def running(plan: Path, *options: object) -> Iterator[Running]:
    server = Running(plan, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
