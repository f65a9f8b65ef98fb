"""Options of jobs: a field of the job's dataclass is also the option of the command line."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any

from faceprep.core.errors import OptionError


@dataclass(frozen=True, slots=True)
class Values:
    """The values that an option takes, as the command line shows and completes them.

    `metavar` stands for a value in the help. Numbers lie between `least` and `most`, above `above`
    and below `below`; None stands for no bound. `known` are names to complete and to suggest; a
    value may also be another one. `default` says in words what holds without the option, where that
    is not a constant. A number that `is_time` may also be typed as hours, minutes and seconds.
    """

    metavar: str = ""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    known: tuple[str, ...] = ()
    default: str = ""
    is_time: bool = False

    def range(self) -> str:
        """Describe the bounds of a number; empty where there are none.

        >>> Values(least=0, most=1).range(), Values(least=1).range()
        ('0 to 1', '1 or more')
        >>> Values(least=0, below=1).range(), Values(above=0, below=1).range()
        ('0 or more, less than 1', 'more than 0, less than 1')
        """
        if self.least is not None and self.most is not None:
            return f"{self.least:g} to {self.most:g}"
        bounds = {
            "{:g} or more": self.least,
            "more than {:g}": self.above,
            "at most {:g}": self.most,
            "less than {:g}": self.below,
        }
        return ", ".join(text.format(n) for text, n in bounds.items() if n is not None)

    def hold(self, number: float) -> bool:
        """Return whether `number` lies within the bounds; NaN lies in no range."""
        return (
            (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] = (),
    required: bool = False,
    values: Values | None = None,
) -> Any:
    """Declare a dataclass field with a help text and, if there are few, its allowed values.

    A `required` option has no sensible default, such as a seed or an output folder.
    """
    described = {"help": help, "choices": tuple(choices), "required": required}
    return field(default=default, metadata=described | {"values": values or Values()})


def own_first(job: type) -> list[tuple[Field[Any], str]]:
    """Return the fields of a dataclass of options, each with the heading that its class states.

    The fields of the class itself come first, then those of its bases. Fields with one heading stay
    together. A field that a class declares again keeps its place.
    """
    headings: dict[str, str] = {}
    places: dict[str, int] = {}
    first: dict[object, int] = {}
    for place, each in enumerate(filter(is_dataclass, job.__mro__)):
        heading = vars(each).get("heading", "")
        first.setdefault(heading or each, place)
        for name in inspect.get_annotations(each):
            headings[name], places[name] = heading, first[heading or each]
    ordered = sorted(fields(job), key=lambda field: places[field.name])
    return [(field, headings[field.name]) for field in ordered]


def typed_name(name: str) -> str:
    """Return the option of a field as a user types it.

    >>> typed_name("min_score"), typed_name("import_")
    ('--min-score', '--import')
    """
    return "--" + name.rstrip("_").replace("_", "-")  # `import_` avoids a Python keyword


def check_ranges(job: Any) -> None:
    """Raise OptionError for a number of `job`, a dataclass of options, that is out of range, and
    for a value that is not one of the choices.
    """
    for each in fields(job):
        name, value = typed_name(each.name), getattr(job, each.name)
        values, choices = each.metadata.get("values"), each.metadata.get("choices")
        if isinstance(value, int | float) and values and not values.hold(value):
            raise OptionError(name, expected=values.range(), found=f"{value:g}")
        if choices and value not in (None, *choices):
            expected = (" or " if len(choices) == 2 else ", ").join(choices)
            raise OptionError(name, expected=expected, found=repr(value))
