"""The one table of differences that are intended, each with the sentence that says why."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.golden.compare import Difference

STATE = "the state of a finished output is one file, and failures are listed in a CSV beside it"
IMAGES = (
    "every command checks images the same way: cut-off, empty and foreign files have one status"
)
SUMMARY = "the summary counts one unit and has the same keys for every command"
FAILED = "--json prints an object with the error when a command fails, too"
WORDING = "messages and help are reworded"
OPTIONS = "commands and options are added"
KINDS = "inspect reads any set, names its kind, and compares its numbers with one another"
MAPS = "a class map is named after its manifest"
TRAINERS = "a .tfrecord of names and classes alone, which no trainer reads, is refused"
TOGETHER = "images are written to .parquet and together with embeddings, each of which needs one"
LOST = "what a set would lose is a failure, and an index of another set is refused"
FRAMES = "extract-video lists every wanted frame in a table"
MEASURES = "score has one more measure"
HIDDEN = "files whose names begin with a dot are counted among those that are skipped"
NAMES = "an image of a container is named by its key in the set"
PNG = "PNG images are compressed by ISA-L"


@dataclass(frozen=True, slots=True)
class Intended:
    """A pattern of differences and the reason for them; `*` matches any text.

    Elements of a list are called `*` in a field, which `[*]` matches.
    """

    case: str
    kind: str
    field: str
    why: str
    is_text: bool = False
    """Whether the difference is one of wording and is listed with --text only."""

    def matches(self, difference: Difference) -> bool:
        """Return whether the difference fits all three patterns."""
        return (
            fnmatchcase(difference.case, self.case)
            and fnmatchcase(difference.kind, self.kind)
            and fnmatchcase(difference.field, self.field)
        )


TABLE = (
    # What state is left beside an output
    Intended("*", "state", "*", STATE),
    Intended("*", "output.added", "*failures.csv", STATE),
    Intended("*", "output.added", "*.failures.csv", STATE),
    Intended("*", "json.*", "failures", STATE),
    # Which images count as damaged
    Intended("*/cut*", "exit", "", IMAGES),
    Intended("*/cut*", "json.*", "*", IMAGES),
    Intended("*/cut*", "failure.*", "*", IMAGES),
    Intended("*/cut*", "output.*", "*", IMAGES),
    # What the summary says
    Intended("*", "json.added", "unit", SUMMARY),
    Intended("*", "json.added", "others", SUMMARY),
    Intended("*", "json.added", "outputs", SUMMARY),
    Intended("*", "json.*", "inputs", SUMMARY),
    Intended("*", "json.appeared", "", FAILED),
    Intended("*", "json.added", "error", FAILED),
    Intended("rec/options", "failure.added", "*", FAILED),
    Intended("again/max-failures", "failure.added", "*", FAILED),
    # Wording
    Intended("*", "stderr", "*", WORDING, is_text=True),
    Intended("*", "stdout", "*", WORDING, is_text=True),
    Intended("*", "failure.reason", "*", WORDING, is_text=True),
    Intended("*", "json.changed", "damage.[*]", WORDING, is_text=True),
    Intended("*", "json.changed", "models.[*].about", WORDING, is_text=True),
    Intended("*", "json.changed", "*_origin", WORDING, is_text=True),
    Intended("*", "output.changed", "*.json*::*_origin", WORDING, is_text=True),
    Intended("*", "output.changed", "*.jsonl::[*].reason", WORDING, is_text=True),
    Intended("*", "json.changed", "models.[*].weights", WORDING, is_text=True),
    Intended("*", "json.changed", "models.[*].licence", WORDING, is_text=True),
    Intended("*", "output.changed", "*.html::lines", WORDING, is_text=True),
    Intended("review/*", "output.changed", "*.js::lines", WORDING, is_text=True),
    Intended("review/*", "output.changed", "*.css::lines", WORDING, is_text=True),
    Intended("*", "help.added", "*", OPTIONS),
    # Sets of any kind
    Intended("*", "json.added", "contradictions*", KINDS),
    Intended("*", "json.added", "label_width*", KINDS),
    Intended("*", "json.added", "per_identity*", KINDS),
    Intended("*", "json.added", "no_identity", KINDS),
    Intended("*", "json.removed", "fields*", KINDS),
    Intended("*", "json.changed", "other_files", HIDDEN),
    Intended("*", "json.added", "skipped.hidden", HIDDEN),
    Intended("*", "json.changed", "kind", KINDS),
    Intended("manifest*", "json.*", "*", KINDS),
    Intended("manifest/*-tfrecord", "*", "*", TRAINERS),
    Intended("manifest/options-parquet", "*", "*", TOGETHER),
    Intended("manifest/embeddings-*", "*", "*", TOGETHER),
    Intended("*", "output.removed", "*classes.csv", MAPS),
    Intended("*", "output.added", "*_classes.csv", MAPS),
    Intended("rec/case-*", "*", "*", LOST),
    Intended("rec/broken-*", "*", "*", LOST),
    Intended("folder2rec/stray", "*", "*", LOST),
    Intended("folder2rec/*", "output.changed", "*property*", LOST),
    Intended("hostile/*", "*", "*", LOST),
    Intended("*", "output.changed", "*plan.jsonl::*.evidence.*", NAMES),
    Intended("*", "output.changed", "*plan.jsonl::*.reason", NAMES),
    Intended("embed/*", "output.changed", "*", NAMES),
    # Images, whose pixels stay
    Intended("*", "output.bytes", "*.png", PNG),
    Intended("bin/*", "output.changed", "png/*.bin", PNG),
    Intended("bin/in-place", "output.changed", "*.bin", PNG),
    Intended("make-bin/drawn", "output.changed", "*.bin", PNG),
    # Frames and measures
    Intended("*", "output.added", "*frames.parquet*", FRAMES),
    Intended("*", "json.changed", "outputs", FRAMES),
    Intended("*", "output.*", "*laplacian_count_256*", MEASURES),
)


def find_reason(difference: Difference, table: tuple[Intended, ...] = TABLE) -> Intended | None:
    """Return the first entry of the table that the difference fits."""
    return next((entry for entry in table if entry.matches(difference)), None)
