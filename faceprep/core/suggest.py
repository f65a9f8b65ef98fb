"""Suggestions for misspelt names: commands, options, detectors, templates, embedders and paths."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def similar_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that begin with `name` and a hyphen or dot, else those spelt like it.

    Hyphens and underscores count as equal, and so do upper and lower case.

    >>> similar_names("extract", ["extract-photos", "extract-video", "apply"])
    ['extract-photos', 'extract-video']
    >>> similar_names("Extract_Foto", ["extract-photos", "apply"])
    ['extract-photos']
    >>> similar_names("plan", ["plan.jsonl", "plain"])
    ['plan.jsonl']
    """
    by_word = {_plain(each): each for each in known}
    word = _plain(name)
    begun = [each for plain, each in by_word.items() if plain.startswith((f"{word}-", f"{word}."))]
    return begun or [by_word[plain] for plain in difflib.get_close_matches(word, by_word)]


def _plain(name: str) -> str:
    return name.replace("_", "-").lower()


def did_you_mean(name: str, known: Iterable[str], folder: str = "") -> str:
    """Return a question that names the known names like `name`; empty where there are none.

    The names of files are joined to `folder`, which ends with a slash.

    >>> did_you_mean("retinafce", ["retinaface", "mtcnn"])
    'Did you mean retinaface?'
    >>> did_you_mean("zzz", ["retinaface", "mtcnn"])
    ''
    >>> did_you_mean("trian.rec", ["train.rec", "notes"], "set/")
    'Did you mean set/train.rec?'
    """
    meant = similar_names(name, known)
    if not meant:
        return ""
    return f"Did you mean {' or '.join(folder + each for each in meant)}?"
