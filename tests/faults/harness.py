"""The harness: one command, disturbed at one point after the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.cases import SCENES, Case
from tests.faults.checks import (
    Reference,
    check_first,
    check_read,
    check_second,
    differences,
    visible_tree,
)
from tests.faults.commands import Commands, Run
from tests.faults.injection import Domain, Injector, Kind, Strike
from tests.faults.inputs import Store
from tests.faults.points import READ_FAULTS, Point, plan_points, plan_read_points

FACEPREP = "faceprep.cli:main"
_COUNT = Strike(Kind.COUNT)
_SCENE = "scene"
_PAGE = "out/page"


@dataclass(frozen=True)
class Finding:
    """A fault found: the point, the operation that was struck, and what was wrong."""

    point: str
    operation: str
    problems: list[str]

    def __str__(self) -> str:
        return f"{self.point} ({self.operation}): {'; '.join(self.problems)}"


class Harness:
    """A work folder, a fork server for the command line `target`, and the injector between them."""

    def __init__(self, folder: Path, target: str = FACEPREP) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self.injector = Injector(folder, self.work)
        self._commands = Commands(folder, self.work, self.injector.environment, target)
        self._store = Store(folder / "store", self.work, self._prepare)

    def close(self) -> None:
        """End the server."""
        self._commands.close()

    def _prepare(self, argv: str) -> None:
        self.injector.disarm()
        run = self._commands.run([*argv.split(), "--quiet"], learn=True)
        if run.status:
            raise RuntimeError(f"{argv}: exit status {run.status}: {run.err}")

    def start(
        self,
        case: Case,
        runner: str,
        strike: Strike = _COUNT,
        domain: Domain = Domain.CHANGES,
        learn: bool = False,
    ) -> Run:
        """Start the command of a case in the work folder as it is."""
        self.injector.arm(strike, domain)
        try:
            return self._commands.run(case.command(runner), learn)
        finally:
            self.injector.disarm()

    def place_inputs(self, case: Case) -> None:
        """Leave nothing but the inputs of a case in the work folder."""
        self._store.place(case.inputs)

    def set_scene(self, case: Case, scene: str) -> None:
        """Carry out a case until it is `begun` or `done`, and keep the work folder."""
        self.place_inputs(case)
        self.start(case, "serial", learn=True)
        if scene == "begun":
            n_changes = len(self.injector.operations())
            self.place_inputs(case)
            self.start(case, "serial", Strike(Kind.KILL, at=n_changes * 2 // 3))
        self._store.keep(_SCENE)

    def place_scene(self) -> None:
        """Leave in the work folder what `set_scene` has kept."""
        self._store.place_again(_SCENE)


class Trial:
    """One case with one runner: an undisturbed run, then any number of points.

    With a `scene`, reads are disturbed instead of changes, in a start that finds that scene.
    """

    def __init__(
        self, harness: Harness, case: Case, runner: str = "serial", scene: str = ""
    ) -> None:
        self._harness, self._case, self._runner = harness, case, runner
        self._scene, self._domain = scene, Domain.READS if scene else Domain.CHANGES
        self.n_tried = 0
        self.findings: list[Finding] = []
        if scene in SCENES[1:]:
            harness.set_scene(case, scene)
        harness.place_inputs(case)
        self._inputs = visible_tree(harness.work)
        self._reference = self._look(learn=True)
        operations = harness.injector.operations()
        self.points = plan_read_points(operations) if scene else plan_points(operations, runner)
        self._check_reference(bool(operations))

    def _place(self) -> None:
        if self._scene in SCENES[1:]:
            self._harness.place_scene()
        else:
            self._harness.place_inputs(self._case)

    def _look(self, learn: bool = False) -> Reference:
        self._place()
        before = visible_tree(self._harness.work)
        run = self._harness.start(self._case, self._runner, domain=self._domain, learn=learn)
        after = visible_tree(self._harness.work)
        return Reference(self._inputs, before, after, run, self._case.repeats)

    def _check_reference(self, is_seen: bool) -> None:
        """Record what is wrong with a command that fails undisturbed or is not the same twice."""
        first, second = self._reference, self._look()
        problems = []
        if first.run.status not in (0, 3):
            problems.append(f"exit status {first.run.status}: {first.run.err}")
        if is_seen != (self._case.writes or bool(self._scene)):
            problems.append("it writes" if is_seen else "no operation was seen")
        if wrong := differences(first.after, second.after):
            problems.append(f"not the same twice: {wrong}")
        if first.run.answer != second.run.answer:
            problems.append(f"another answer: {first.run.out}, then {second.run.out}")
        if problems:
            self.findings.append(Finding("undisturbed", "", problems))

    def try_point(self, point: Point) -> Finding | None:
        """Disturb the command at a point, start it again, and keep what is wrong."""
        self._place()
        run = self._harness.start(self._case, self._runner, point.strike, self._domain)
        struck = self._harness.injector.hit
        if struck is None:
            return None
        if self._scene and point.fault not in READ_FAULTS[struck.name]:
            return None  # workers have come in another order
        self.n_tried += 1
        between = visible_tree(self._harness.work)
        if self._scene:
            found = check_read(point, self._reference, run, between, self._harness.work)
        else:
            found = check_first(point, self._reference, run, between)
        problems = list(found)
        if run.status == 0 and not self._case.repeats:
            shutil.rmtree(self._harness.work / _PAGE, ignore_errors=True)  # as the refusal asks
        again = self._harness.start(self._case, self._runner, domain=self._domain)
        now = visible_tree(self._harness.work)
        problems += check_second(self._reference, again, between, now)
        if not problems:
            return None
        self.findings.append(Finding(str(point), f"{struck.name} {struck.path}", problems))
        return self.findings[-1]


@contextmanager
def open_harness(folder: Path, target: str = FACEPREP) -> Iterator[Harness]:
    """Start a harness in `folder` and end it."""
    harness = Harness(folder, target)
    try:
        yield harness
    finally:
        harness.close()
