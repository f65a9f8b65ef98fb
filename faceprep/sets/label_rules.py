"""Rules that read the class of an image from its path, for trees whose folders are not the
classes.

    live=0,spoof=1      the class whose word is one of the folders in the path
    re:^(?:.*/)?(\\w+)-  the class is what the one group of the expression finds in the path

Paths are relative to the source and separated by "/". A path that fits no class, or several, has
none.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from faceprep.core.errors import OptionError

_WORDS = re.compile(r"[^=,]+=[0-9]{1,99}(,[^=,]+=[0-9]{1,99})*")
LABEL_RULE, GROUP_BY = "--label-rule", "--group-by"
_FOUND = {LABEL_RULE: "class", GROUP_BY: "group"}
"""What a rule finds, by its option."""
_MOST_FOLDERS = 1 << 12
_EXAMPLES = {
    LABEL_RULE: "a rule such as live=0,spoof=1 or, with one capturing group, "
    "re:^[^/]*/(live|spoof)/",
    GROUP_BY: r"a rule such as re:/(\d+)/, whose one capturing group finds the person in the path, "
    "or live=0,spoof=1",
}


class Unlabelled(NamedTuple):
    """The status and the reason of a path that has no class."""

    status: str
    reason: str


@dataclass(frozen=True)
class LabelRule:
    """A rule that finds the classes of a path.

    `find` returns all classes that match. `classes` are the class names by number, where the rule
    fixes them. Messages name `option`.
    """

    find: Callable[[str], set[str]]
    expected: str
    classes: tuple[str, ...] = ()
    option: str = LABEL_RULE

    def label(self, path: str) -> str | Unlabelled:
        """Return the name of the class of `path`, or the reason why it has none."""
        found = self.find(path)
        if len(found) == 1:
            return next(iter(found))
        if not found:
            return Unlabelled(
                "no_label", f"{path}: expected {self.expected}, found none; change {self.option}"
            )
        listed = ", ".join(sorted(found))
        return Unlabelled(
            "ambiguous_label",
            f"{path}: expected one {_FOUND[self.option]}, found {listed}; change {self.option}",
        )


def parse_rule(text: str, option: str = LABEL_RULE) -> LabelRule:
    """Parse a rule, the value of `option`. Raises OptionError.

    >>> rule = parse_rule("live=0,spoof=1")
    >>> rule.label("Train/live/003/1.png"), rule.classes
    ('live', ('live', 'spoof'))
    >>> parse_rule(r"re:/(\\d+)-").label("live/003/003-1-1.png")
    '003'
    >>> rule.label("live/spoof/1.png").status
    'ambiguous_label'
    """
    if text.startswith("re:"):
        return _expression_rule(text[3:], option)
    if _WORDS.fullmatch(text):
        return _word_rule(text, option)
    if "(" in text:
        return _expression_rule(text, option)
    raise OptionError(option, expected=_EXAMPLES[option], found=_quoted(text))


def _word_rule(text: str, option: str) -> LabelRule:
    pairs = [pair.split("=") for pair in text.split(",")]
    numbers = {word.strip(): int(number) for word, number in pairs}
    if len(numbers) < len(pairs):
        raise OptionError(
            f"{option} names a word twice", expected=_EXAMPLES[option], found=_quoted(text)
        )
    wanted = sorted(set(numbers.values()))
    if wanted != list(range(len(wanted))):
        raise OptionError(
            f"{option} leaves out class numbers",
            expected=f"all of 0 to {len(wanted) - 1}",
            found=", ".join(map(str, wanted)),
        )
    classes = tuple(
        "|".join(word for word, n in numbers.items() if n == number) for number in wanted
    )

    @functools.lru_cache(_MOST_FOLDERS)
    def find_in(folder: str) -> set[str]:
        return {classes[numbers[word]] for word in folder.split("/") if word in numbers}

    def find(path: str) -> set[str]:
        return find_in(path.rpartition("/")[0])

    expected = "a folder named " + " or ".join(numbers)
    return LabelRule(find, expected, classes, option=option)


def _expression_rule(text: str, option: str) -> LabelRule:
    try:
        expression = re.compile(text)
    except re.error as error:
        raise OptionError(
            f"{option} is not a regular expression: {error}", found=_quoted(text)
        ) from error
    if expression.groups != 1:
        raise OptionError(
            f"{option} must have one capturing group, which finds the {_FOUND[option]}",
            expected=_EXAMPLES[option],
            found=f"{expression.groups} groups in {_quoted(text)}",
            remedy=f"Write (...) around the {_FOUND[option]} alone, and (?:...) elsewhere.",
        )

    def find(path: str) -> set[str]:
        return {match[1] for match in expression.finditer(path) if match[1]}

    return LabelRule(find, f"a path that fits {_quoted(text)}", option=option)


def _quoted(text: str) -> str:
    """Quote a rule with its backslashes as they were typed.

    >>> print(_quoted(r"re:/(\\d+)/"))
    're:/(\\d+)/'
    """
    return repr(text).replace("\\\\", "\\")
