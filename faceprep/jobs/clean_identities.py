"""`clean-identities`: find images of other people, and identities that are too small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from faceprep.core.embeddings import Embeddings
from faceprep.core.options import Values, option
from faceprep.core.slow_step import log_progress
from faceprep.core.text import count_noun
from faceprep.core.types import ACCEPTED, DROP, MOVE, UNDECIDED, Decision, Sink
from faceprep.identity.outliers import plan_cleaning
from faceprep.sets.image_paths import NO_IDENTITY
from faceprep.steps.earlier_plan import describe_open, open_verdicts
from faceprep.steps.judged_source import About
from faceprep.steps.listed_set import load_listed
from faceprep.steps.plan_identities import (
    Judgement,
    PlanningOptions,
    refuse_unknown_model,
    separable,
)
from faceprep.steps.shared_frames import hold_shared_moves


@dataclass(frozen=True)
class CleanIdentities(PlanningOptions):
    """Remove images that belong to someone else from each identity.

    SRC is any set of crops, or the embeddings that embed wrote for one. An image too far from the
    centre of its identity is moved to the identity that it clearly matches, moved to a new identity
    together with others like it, or dropped. DST/plan.jsonl lists each decision with its reason,
    DST/IDENTITY/IMAGE is the clean set, and DST/undo.jsonl is a plan that reverses it. Undecided
    decisions are not applied: accept them in the plan, then use `apply`.

    Details:

    Moves that put two faces of one photo or frame together, according to SRC/faces.parquet, are
    undecided. Images that cannot be read are named in failures.csv, dropped in the plan, and left
    out of DST.
    """

    command: ClassVar[str] = "clean-identities"

    angle: float | None = option(
        None,
        "Treat images more than this many degrees from the centre of their identity as outliers.",
        values=Values("DEGREES", above=0, most=180, default="the embedder's"),
    )
    min_images: int = option(
        0, "Drop identities with fewer images than this.", values=Values(least=0)
    )

    def overrides_check(self) -> bool:
        """Return whether --crops or --angle is given."""
        return super().overrides_check() or self.angle is not None

    def judge(self, embeddings: Embeddings, about: About, sink: Sink) -> Judgement:
        model = embeddings.model
        if self.angle is None:
            refuse_unknown_model(model, "--angle")
        progress = log_progress("looking for outliers")
        verdict_of = open_verdicts(self.verdicts)

        def hold(moves: Sequence[Decision]) -> list[Decision]:
            return [verdict_of(move) for move in hold_shared_moves(moves, about.source)]

        taken = set[str]()
        if about.has_images:
            taken = {*load_listed(sink.scratch).listing.identities} - {NO_IDENTITY}
        return plan_cleaning(embeddings, self.angle, self.min_images, progress, hold, taken), {
            "identities": len(set(embeddings.identities)),
            "angle": model.outlier_angle if self.angle is None else self.angle,
            "angle_origin": model.origin if self.angle is None else "--angle",
            "moved_from": model.merge_from,
        }

    def count(self, decisions: Sequence[Decision]) -> dict[str, int]:
        accepted = [each for each in decisions if each.verdict == ACCEPTED]
        counts = Counter(each.action for each in accepted)
        undecided = sum(each.verdict == UNDECIDED for each in decisions)
        too_small = sum(each.action == DROP and "images" not in each.evidence for each in accepted)
        return {
            "moved": counts[MOVE],
            "dropped": counts[DROP],
            "too_small": too_small,
            "undecided": undecided,
        }

    def sentence(self, found: Mapping[str, Any]) -> str:
        """State how many images are out of place, and by which rule."""
        if "identities" not in found:
            return "nothing to compare: no image has a vector"
        images = count_noun(found["images"], "image")
        identities = count_noun(found["identities"], "identity", "identities")
        sentence = (
            f"{images} of {identities}: {found['moved']:,} moved, "
            f"{found['dropped'] - found['too_small']:,} dropped, {describe_open(found)}"
        )
        if found["too_small"]:
            sentence += (
                f", and {count_noun(found['too_small'], 'identity', 'identities')} with too few "
                "images dropped"
            )
        sentence += f"; outliers are more than {found['angle']:g} degrees from their centre"
        return sentence + separable(found)
