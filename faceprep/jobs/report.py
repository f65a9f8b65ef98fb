"""`report`: describe runs as an HTML page, as numbers and as a dataset card."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faceprep import __version__
from faceprep.core import storage
from faceprep.core.errors import OptionError
from faceprep.core.job import Look
from faceprep.core.options import Values, option
from faceprep.core.os_errors import missing_source
from faceprep.core.paths import own_name
from faceprep.core.scratch import scratch_folder
from faceprep.core.slow_step import Progress, ignore_progress
from faceprep.core.text import count_noun, join_lines, list_words
from faceprep.core.types import OK
from faceprep.core.urls import as_paths
from faceprep.pages.left_out import describe_left_out, warning_of_left_out
from faceprep.pages.report.account import Account, Accountant, Extras
from faceprep.pages.report.answer import ANSWER
from faceprep.pages.report.card import card_path, refuse_own_card, write_card
from faceprep.pages.report.html import Chapter, Heading, write_page
from faceprep.pages.report.run_state import Run, find_runs
from faceprep.pages.report.sections import Cell, Section, Table
from faceprep.sets.file_format import refuse_other_format

_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.[a-z]+$)")
_PAGE = "report.html"
_COMPARED = ("output", "command", "inputs", "ok", "failed", "images", "identities", "state")
_IN_STORE = "is in an object store, and report writes beside it"
_COPY = "Copy it to a disk first."


@dataclass(frozen=True)
class Reported:
    """The path of the report, its accounts, and the cards and tables that were written."""

    path: Path
    numbers_path: Path
    accounts: tuple[Account, ...]
    cards: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()
    left_out: Collection[str] = ()
    """Why images that cannot be read are not on the page."""
    failed: ClassVar[int] = 0

    @property
    def sections(self) -> list[Section]:
        """Return the sections of all outputs."""
        return [section for account in self.accounts for section in account.sections]

    def as_json(self) -> dict[str, Any]:
        return {
            "command": "report",
            "unit": "output",
            "inputs": len(self.accounts),
            "ok": len(self.accounts),
            "by_status": {OK: len(self.accounts)},
            "outputs": 2 + len(self.cards) + len(self.tables),
            "output": str(self.path),
            "numbers": str(self.numbers_path),
            "sections": [section.name for section in self.sections],
            "cards": [str(path) for path in self.cards],
            "tables": [str(path) for path in self.tables],
        } | describe_left_out(self.left_out)

    def __str__(self) -> str:
        lines = []
        for account in self.accounts:
            if len(self.accounts) > 1:
                lines.append(f"{account.output}:")
            lines += [_describe(section) for section in account.sections]
        lines += [str(path) for path in self.cards]
        written = [self.path, self.numbers_path, *self.tables]
        return join_lines([*lines, list_words(map(str, written))])


def _describe(section: Section) -> str:
    """Describe a section in one line for the terminal."""
    if section.name == ANSWER:
        return f"{section.title} {section.text}".strip()
    return f"{section.title}: {section.text.partition('. ')[0].rstrip('.')}."


@dataclass(frozen=True)
class Report(Look):
    """Write a report of runs as one HTML page and as JSON.

    OUT is the output of a command: a set, a table, embeddings, the matches of search, a plan, or
    the saved --json output of verify. OUT/report.html (OUT.report.html beside a file) needs neither
    a network nor scripts. The same numbers are in a .json beside it. Several OUT share one page,
    report.html in the current folder.

    Details:

    The page begins with the answer: what was written, what failed, and whether the run
    finished. Then it shows merged people side by side, failures by reason with pictures, the worst
    videos, faces drawn on their photos, and the steps from the first source to this output with
    what each left out. Distributions, similarity, space and options are folded below. For
    embeddings there is one row per identity in an .identities.csv. --card writes README.md with the
    header that Hugging Face reads. It never replaces a file that a person wrote or edited, unless
    --overwrite is given.
    """

    command: ClassVar[str] = "report"
    stopped: ClassVar[str] = "stopped; the report was not finished"

    output: Path | None = option(
        None,
        "Write the HTML page here, and the numbers beside it.",
        values=Values("FILE", default="OUT/report.html"),
    )
    scores: Path | None = option(
        None, "Use this table of scores.", values=Values("TABLE", default="a sample is measured")
    )
    embeddings: Path | None = option(
        None, "Use these embeddings to show similarity.", values=Values("FILE")
    )
    verify: Path | None = option(
        None, "Include this saved --json output of verify.", values=Values("FILE")
    )
    card: bool = option(False, "Write a dataset card too: README.md for Hugging Face.")
    overwrite: bool = option(False, "Let --card replace a README.md that a person wrote or edited.")

    def look(
        self, outs: str | Path | Sequence[str | Path], progress: Progress = ignore_progress
    ) -> Reported:
        """Write the report of one output or of several. Raises FaceprepError."""
        places = list(dict.fromkeys(as_paths(outs)))
        for place in places:
            storage.refuse_store(place, _IN_STORE, _COPY)
        found = [_find(out) for out in places]
        target = self._target(places)
        if self.card:
            self._check_cards([card_path(out) for out in places])
        with (
            scratch_folder() as scratch,
            warning_of_left_out(target) as left_out,
            ExitStack() as stack,
        ):
            readers = [
                stack.enter_context(self._reader(out, runs, scratch / str(number)))
                for number, (out, runs) in enumerate(zip(places, found, strict=True))
            ]
            accounts = [reader.account(progress) for reader in readers]
            page = self._page(accounts, readers)
            cards = tuple(self._cards(accounts, readers))
        storage.write_file(target, page)
        tables = [
            path
            for account in accounts
            for path in _write_tables(account, target, len(accounts) > 1)
        ]
        numbers = target.with_suffix(".json")
        storage.write_file(numbers, _as_json(accounts))
        return Reported(target, numbers, tuple(accounts), cards, tuple(tables), left_out)

    def _check_cards(self, paths: Sequence[Path]) -> None:
        """Refuse cards at the same path, and one in place of a person's file."""
        twins = [path for path, n in Counter(paths).items() if n > 1]
        if twins:
            raise OptionError(
                "--card: two outputs have the same card",
                expected="outputs in different folders",
                found=str(twins[0]),
            )
        for path in paths:
            if not self.overwrite:
                refuse_own_card(path)

    def _reader(self, out: Path, runs: Sequence[Run], scratch: Path) -> Accountant:
        storage.make_folder(scratch)
        return Accountant(out, runs, Extras(self.scores, self.embeddings, self.verify), scratch)

    def _target(self, outs: Sequence[Path]) -> Path:
        target = self.output or _default_target(outs)
        storage.refuse_store(target)
        if target.suffix.lower() not in (".html", ".htm"):
            raise OptionError("--output is an HTML file", expected="FILE.html", found=target.name)
        return target

    def _page(self, accounts: Sequence[Account], readers: Sequence[Accountant]) -> bytes:
        chapters = [
            Chapter(
                _name_of(each), os.path.abspath(each.output), each.sections, reader.crops.encode
            )
            for each, reader in zip(accounts, readers, strict=True)
        ]
        footer = f"Made by faceprep {__version__}. No network, no script."
        if len(chapters) == 1:
            return write_page(Heading(f"Report on {chapters[0].title}", footer), chapters, None)
        rows = [_compared(account) for account in accounts]
        heading = Heading(f"Report on {len(rows)} outputs", footer, _answer_all(accounts))
        return write_page(heading, chapters, Table("Outputs", _COMPARED, rows))

    def _cards(self, accounts: Sequence[Account], readers: Sequence[Accountant]) -> Iterator[Path]:
        """Write the cards that were asked for, and yield their paths."""
        if self.card:
            for account, reader in zip(accounts, readers, strict=True):
                yield write_card(account, reader.crops)


def _find(out: Path) -> list[Run]:
    """Return the runs that made an output. Raises SourceError where there is none to describe."""
    found = find_runs(out) or find_runs(out.parent / _SHARD.sub("", out.name))
    if not out.exists() and not found:
        raise missing_source(out)
    if not found and out.is_file():
        refuse_other_format(out)
    return found


def _default_target(outs: Sequence[Path]) -> Path:
    (out, *others) = outs
    if others:
        return Path(_PAGE)
    return out / _PAGE if out.is_dir() else out.with_name(f"{out.name}.{_PAGE}")


def _name_of(account: Account) -> str:
    return own_name(account.output)


def _answer_all(accounts: Sequence[Account]) -> str:
    """Summarise several outputs in one sentence."""
    n_open = sum(not each.sections[0].numbers["finished"] for each in accounts)
    n_failed = sum(tally.outcomes.n_failed for each in accounts for tally in each.tallies)
    state, failures = "all finished", "no failures"
    if n_open:
        state = f"{n_open:,} not finished"
    if n_failed:
        failures = count_noun(n_failed, "failure")
    return f"{len(accounts):,} outputs, {state}; {failures}."


def _compared(account: Account) -> list[Cell]:
    """Return the row of an output in the table that compares several."""
    numbers = {section.name: section.numbers for section in account.sections}
    run, identities = numbers.get("run", {}), numbers.get("identities", {})
    is_finished = numbers[ANSWER]["finished"]
    return [
        _name_of(account),
        run.get("command"),
        *(run.get(name) for name in ("inputs", "ok", "failed")),
        *(identities.get(name) for name in ("images", "identities")),
        "finished" if is_finished else "not finished",
    ]


def _write_tables(account: Account, target: Path, is_named: bool) -> Iterator[Path]:
    """Write the tables of an output beside the page, and yield their paths.

    Their names hold that of the output where there are several.
    """
    stem = target.stem
    if is_named:
        stem = f"{stem}.{_name_of(account)}"
    for section in account.sections:
        for ending, data in section.files.items():
            path = target.with_name(f"{stem}.{ending}")
            storage.write_file(path, data)
            yield path


def _as_json(accounts: Sequence[Account]) -> bytes:
    """Return sections by name; those of several runs form a list, and so do several outputs."""
    made = {"command": "report", "faceprep": __version__}
    if len(accounts) == 1:
        numbers: dict[str, Any] = made | _numbers_of(accounts[0])
    else:
        numbers = {**made, "reports": [_numbers_of(account) for account in accounts]}
    return json.dumps(numbers, indent=1).encode() + b"\n"


def _numbers_of(account: Account) -> dict[str, Any]:
    numbers: dict[str, Any] = {"output": os.path.abspath(account.output)}
    for section in account.sections:
        same = [each.numbers for each in account.sections if each.name == section.name]
        numbers[section.name] = same if len(same) > 1 else same[0]
    return numbers
