"""The places of a run: where its outputs and its state lie on the disk, and in a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faceprep.core import output_tree, storage, store_writes
from faceprep.core.paths import exists, is_folder, is_present
from faceprep.core.state_file import STATE
from faceprep.run.staging import BESIDE
from faceprep.run.store_places import StorePlaces
from faceprep.tables.ledger import FAILURES, PAGES, page_name

PARTS = "parts"


class Places:
    """Paths of a run. They are small and picklable: workers get a copy.

    `root` is the folder that output names are relative to. `state_name` names the folder of the
    state where several runs have the same root; `all_failures` is then the list that they share, if
    they do. A process that carries out a `share` of the run keeps what is its own in a folder of
    that name: its lock, its scratch and its failures. With `home`, the output is the folder of that
    name in `root`. The folders beside it have one of the endings `siblings`.
    """

    def __init__(
        self,
        root: Path,
        state_name: str = "",
        shares_failures: bool = False,
        home: str = "",
        siblings: Sequence[str] = (),
        share: str = "",
    ) -> None:
        self.root, self.home = root, home
        self.tops = tuple(home + ending for ending in ("", *siblings)) if home else ()
        state = root / home / STATE
        self.state = state / state_name
        self.all_failures = state / FAILURES if shares_failures and state_name else None
        self.is_share = bool(share)
        self.shares = self.state / "shares"
        self.private = self.shares / share if share else self.state
        self.scratch = self.private / "scratch"
        self.signs = self.scratch / "signs of life"
        self.is_alone = not state_name
        folder = root / home if self.is_alone else self.state
        if share:
            folder, self.is_alone, self.all_failures = self.private, False, None
        self.failures = folder / FAILURES
        self._state_name = self.state.relative_to(self.root).as_posix()
        self.store: StorePlaces | None = None
        """Where the outputs and the ledger go, if that is an object store."""

    def page(self, shard_id: str) -> Path:
        return self.state / page_name(shard_id)

    def staging(self, attempt: str) -> Path:
        return self.state / "staging" / attempt

    @property
    def all_states(self) -> Path:
        """Return the folder of the states of all runs whose outputs are files beside this one."""
        root = self.root if self.store is None else Path(self.store.root)
        return root / STATE

    def attempts(self) -> list[str]:
        """Return the names of all attempts that have left something."""
        return names_in(self.staging(""))

    def state_folders(self) -> list[Path]:
        """Return every folder that holds state of the run, outermost first."""
        inner = [self.state / name for name in (PAGES, PARTS, "scratch", "staging", "shares")]
        inner += [self.private, self.scratch] * self.is_share
        beside = [self.root / top for top in self.tops[1:]]
        outer = [self.root / self.home / STATE, self.state, self.signs]
        return [*outer, *inner, *(top / STATE for top in beside), *(top / BESIDE for top in beside)]

    def part_name(self, shard_id: str, suffix: str) -> str:
        return f"{self._state_name}/{PARTS}/{shard_id}{suffix}"

    def is_part(self, name: str) -> bool:
        return name.startswith(f"{self._state_name}/{PARTS}/")

    def place_of(self, name: str) -> str:
        """Return where an output lies, or a file of the state, by its name below the root."""
        if self.store is None:
            return f"{self.root}/{name}"
        inner = name.removeprefix(f"{self._state_name}/")
        if inner == name:
            return f"{self.store.root}/{name}"
        return f"{self.store.state}/{inner}"

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse names that outputs cannot have. Raises OutputError."""
        output_tree.check_names(names)
        if self.store is not None:
            for name in names:
                store_writes.check_name(self.place_of(name))

    def has(self, name: str) -> bool:
        """Return whether something is in the place of an output."""
        if self.store is None:
            return is_present(self.root / name)
        return exists(self.place_of(name))

    def shown_output(self, output: Path) -> str:
        """Return the name of the output that the user gave; `output` is its place on the disk."""
        if self.store is None:
            return str(output)
        folder, _, name = self.store.state.rpartition(f"/{STATE}/")
        return f"{folder}/{name}"

    @property
    def shown_failures(self) -> str:
        """Return where the user finds the list of failures."""
        if self.store is None:
            return str(self.failures)
        return self.place_of(self.failures.relative_to(self.root).as_posix())


def names_in(folder: Path) -> list[str]:
    """Return the names in `folder`, or an empty list if it does not exist."""
    if not is_folder(folder):
        return []
    folders, files = storage.list_folder(folder)
    return sorted(folders + files)
