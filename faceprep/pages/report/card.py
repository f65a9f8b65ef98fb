"""A dataset card: README.md with the YAML header that Hugging Face reads, from what is known.

The card holds a digest of itself, so that one that a person has edited is never replaced unasked.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from faceprep import __version__
from faceprep.core import storage
from faceprep.core.errors import OutputError
from faceprep.core.io.image_header import IMAGE_SUFFIXES
from faceprep.core.paths import own_name
from faceprep.core.text import count_noun, format_bytes
from faceprep.pages.report.account import Account
from faceprep.pages.report.answer import ANSWER
from faceprep.pages.report.crops import Crops
from faceprep.pages.report.lineage import Step
from faceprep.pages.report.section_runs import count_outcome

CARD = "README.md"
_MARK = re.compile(r"<!-- faceprep report --card, digest ([0-9a-f]{16}) -->\n\Z")
_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
_NAMES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")
_MOST_NAMES = 1_000
"""Identities that are named in the header; more would make it unreadable."""
_LICENSE = (
    "The header says `license: other`, because faceprep cannot know the licence of the images. "
    "**To do: a person must state the licence and the consent that these faces are used under, "
    "here and in the header, before the set is shared.**"
)


def card_path(out: Path) -> Path:
    """Return the path of the card of an output: in its folder, or in the folder of its file."""
    return out / CARD if out.is_dir() else out.parent / CARD


def refuse_own_card(path: Path) -> None:
    """Raise OutputError where a person wrote or edited the card at `path`."""
    if not os.path.lexists(path):
        return
    text = storage.read_bytes(path).decode("utf-8", "replace")
    found = _MARK.search(text)
    if found is None or found[1] != _digest(text[: found.start()]):
        raise OutputError(
            "not replaced, because a person wrote or edited it",
            path=path,
            remedy="Move it away, or replace it with --overwrite.",
        )


def write_card(account: Account, crops: Crops) -> Path:
    """Write the card of an output, and return its path; see `refuse_own_card`."""
    path = card_path(account.output)
    text = "".join(_card(account, crops))
    mark = f"<!-- faceprep report --card, digest {_digest(text)} -->\n"
    storage.write_file(path, (text + mark).encode("utf-8", "backslashreplace"))
    return path


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def size_category(n: int) -> str:
    """Return the category of a number of images, as Hugging Face names it.

    >>> size_category(400), size_category(1_000), size_category(5_000_000_000)
    ('n<1K', '1K<n<10K', 'n>1B')
    """
    place = sum(n >= size for size in _SIZES)
    if place == 0:
        return f"n<{_NAMES[0]}"
    if place == len(_SIZES):
        return f"n>{_NAMES[-1]}"
    return f"{_NAMES[place - 1]}<n<{_NAMES[place]}"


def _card(account: Account, crops: Crops) -> Iterator[str]:
    numbers = {section.name: section.numbers for section in account.sections}
    name = own_name(account.output)
    n_images, n_identities = _count(numbers, crops)
    yield from _header(account, name, n_images)
    yield f"\n# {_plain(name)}\n\n{_plain(numbers[ANSWER]['text'])}\n"
    if not numbers[ANSWER]["finished"]:
        yield "\n**The run that writes this set is not finished.**\n"
    yield f"\n## Contents\n\n* {count_noun(n_images, 'image')}"
    if n_identities:
        yield f" of {count_noun(n_identities, 'identity', 'identities')}"
    yield "\n"
    written = numbers.get("storage")
    if isinstance(written, Mapping):
        size = format_bytes(written["bytes"])
        yield f"* {size} in {count_noun(written['files'], 'file')}\n"
    yield "\n## Where it comes from\n\n"
    yield from _lineage(account)
    yield f"\n## Licence\n\n{_LICENSE}\n\n## Made with\n\nfaceprep {__version__}.\n\n"


def _count(numbers: Mapping[str, Any], crops: Crops) -> tuple[int, int]:
    """Return the numbers of images and of identities, 0 where they are not known."""
    identities = numbers.get("identities")
    if isinstance(identities, Mapping):
        return identities["images"], identities["identities"]
    if isinstance(videos := numbers.get("videos"), Mapping):
        return videos["detected"], 0
    return crops.n or 0, 0


def _header(account: Account, name: str, n_images: int) -> Iterator[str]:
    """Yield the YAML header; JSON strings are YAML strings as well."""
    yield "---\n"
    yield f"pretty_name: {json.dumps(name)}\n"
    yield "license: other\nlicense_name: to-do\n"
    yield "task_categories:\n- image-classification\n- image-feature-extraction\n"
    yield "tags:\n- face-recognition\n- faces\n- faceprep\n"
    yield f"size_categories:\n- {size_category(n_images)}\n"
    yield from _dataset_info(account, n_images)
    yield "---\n"


def _dataset_info(account: Account, n_images: int) -> Iterator[str]:
    """Yield the columns and the size of a finished folder of identities; else nothing.

    Hugging Face finds the columns of other containers by itself.
    """
    tallies = account.tallies
    is_finished = account.sections[0].numbers["finished"]
    if not account.output.is_dir() or len(tallies) != 1 or not is_finished:
        return
    names = sorted(tallies[0].images_of)
    if not all(names) or any("/" in name for name in names) or not 0 < len(names) <= _MOST_NAMES:
        return
    n_bytes = sum(
        n
        for (beside, suffix), n in tallies[0].bytes.items()
        if not beside and suffix in IMAGE_SUFFIXES
    )
    yield "dataset_info:\n  features:\n  - name: image\n    dtype: image\n"
    yield "  - name: label\n    dtype:\n      class_label:\n        names:\n"
    for number, name in enumerate(names):
        yield f"          '{number}': {json.dumps(name)}\n"
    yield f"  splits:\n  - name: train\n    num_bytes: {n_bytes}\n"
    yield f"    num_examples: {n_images}\n"
    yield f"  download_size: {n_bytes}\n  dataset_size: {n_bytes}\n"


def _lineage(account: Account) -> Iterator[str]:
    """Yield the steps as a numbered list, each with what it left out."""
    for number, step in enumerate(account.steps, 1):
        if not isinstance(step, Step):
            yield f"{number}. {_plain(step.path.name)}: the source\n"
            continue
        found = step.outcomes
        lost = [
            count_outcome(status, n, step.run.noun)
            for status, n in found.left_out.by_status().items()
        ]
        yield f"{number}. `{step.run.command}`: {found.n_ok:,} of "
        yield f"{count_noun(found.n_inputs, step.run.noun)} ok"
        yield f"; {', '.join(lost)}\n" if lost else "\n"
    if not account.steps:
        yield "Not known: no faceprep run is recorded here.\n"


def _plain(text: str) -> str:
    """Escape the characters that Markdown would take for markup, and line breaks."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(text.split()))
