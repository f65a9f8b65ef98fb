"""`merge-identities`: find identities that are the same person and merge them."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import MissingExtra, OptionError
from faceprep.core.options import Values, option
from faceprep.core.slow_step import log_progress
from faceprep.core.text import count_noun
from faceprep.core.types import ACCEPTED, UNDECIDED, Decision, Request, Sink, Work
from faceprep.identity.far_threshold import threshold_at
from faceprep.identity.guards import refuse_one_cluster, refuse_one_person
from faceprep.identity.linkage import CENTROID, LINKAGES, Bounds
from faceprep.identity.merge import plan_merges, second_opinion
from faceprep.identity.vectors import DECIMALS
from faceprep.steps.earlier_plan import describe_open
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.judged_source import About
from faceprep.steps.model_names import EMBEDDERS
from faceprep.steps.plan_identities import (
    Judgement,
    PlanningOptions,
    SecondOpinion,
    refuse_unknown_model,
    separable,
)
from faceprep.steps.resolve_plan import connect_merged
from faceprep.steps.shared_frames import hold_shared_frames

log = logging.getLogger("faceprep")
_SHARED_OPTIONS = ("device", "require_gpu", "download", "flip", "crops")
"""The options of the embedder that count for a second opinion too."""


@dataclass(frozen=True)
class MergeIdentities(PlanningOptions):
    """Merge identities of the same person.

    SRC is any set of crops, or the embeddings that embed wrote for one. DST gets the merged set,
    plan.jsonl with the evidence for each merge, and undo.jsonl, a plan that reverses it. Doubtful
    pairs are undecided in the plan and are not merged: accept them there, then use `apply`. Images
    that cannot be read are named in failures.csv and left out.

    Details:

    DST/plan.jsonl lists the identities to merge, each with the pair of images that supports it most
    and the pair that contradicts it most. DST/IDENTITY/IMAGE is named after the identity with
    the most images. Two identities with faces in the same photo or frame, according to
    SRC/faces.parquet, are undecided too, because they are likely two people. Images that cannot be
    read are dropped in the plan.
    """

    command: ClassVar[str] = "merge-identities"

    threshold: float | None = option(
        None,
        "Merge two identities with at least this similarity (the cosine, or 1 - distance²/2). "
        "Pairs slightly below it, by up to the gap of the embedder's two thresholds, are "
        "undecided.",
        values=Values(least=-1, most=1, default="the embedder's"),
    )
    far: float | None = option(
        None,
        "Choose the threshold for this false accept rate, such as 1e-4, over the pairs of "
        "identities of different people in SRC, compared by --linkage.",
        values=Values("RATE", above=0, below=1),
    )
    linkage: str = option(
        "mean",
        "Compare two identities by their least similar pair of images (complete), the mean of all "
        "pairs (mean), their centres (centroid), or their most similar pair (single, which chains "
        "through look-alikes).",
        choices=LINKAGES,
    )
    approximate: bool = option(
        False, "Search for candidates with FAISS beyond 20,000 identities, and measure its recall."
    )
    second_opinion: str | None = option(
        None,
        "Check each merge with this second embedder, given like --embedder; merges that it "
        "contradicts are undecided.",
        values=EMBEDDERS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.far is not None and self.threshold is not None:
            raise OptionError("--far and --threshold both set the threshold", remedy="Choose one.")
        self.second()

    def plan(self, request: Request, scratch: Path) -> Work:
        if self.approximate and importlib.util.find_spec("faiss") is None:
            raise MissingExtra("--approximate needs FAISS", remedy="pip install 'faceprep[embed]'")
        if self.linkage == CENTROID and self.threshold is None:
            log.warning(
                "--linkage centroid: centres are more similar than images, which the default "
                "threshold is for: too many identities may be merged; find a --threshold for "
                "centres"
            )
        return super().plan(request, scratch)

    def check_likeness(self, embeddings: Embeddings, likeness: Mapping[str, Any]) -> None:
        """Refuse a model or a threshold at which most identities are one person."""
        if self.far is None:
            refuse_one_person(likeness, self._bounds(embeddings)[0].merge_from)

    def overrides_check(self) -> bool:
        """Return whether --crops or --threshold is given."""
        return super().overrides_check() or self.threshold is not None

    def judge(self, embeddings: Embeddings, about: About, sink: Sink) -> Judgement:
        bounds, figures = self._bounds(embeddings)
        progress = log_progress("comparing identities")
        merges = plan_merges(embeddings, self.linkage, bounds, progress, self.approximate)
        refuse_one_cluster(merges.decisions, merges.n_identities, bounds.merge_from)
        found = {
            "identities": merges.n_identities,
            "conflicts": merges.n_conflicts,
            "crowded": merges.n_crowded,
            "threshold": bounds.merge_from,
            "undecided_from": round(bounds.undecided_from, DECIMALS),
            **figures,
        }
        if self.approximate:
            found["recall"] = merges.recall
        return hold_shared_frames(merges.decisions, about.source), found

    def count(self, decisions: Sequence[Decision]) -> dict[str, int]:
        merges: dict[str, list[str]] = {}
        for decision in decisions:
            if decision.verdict == ACCEPTED:
                merges.setdefault(decision.subject, []).append(decision.into)
        n_merged = sum(len(names) - 1 for names in connect_merged(merges))
        n_undecided = sum(decision.verdict == UNDECIDED for decision in decisions)
        return {"merged": n_merged, "undecided": n_undecided}

    def sentence(self, found: Mapping[str, Any]) -> str:
        """State how many people there are, and by which rule."""
        if "identities" not in found:
            return "nothing to compare: no image has a vector"
        n, merged = found["identities"], found["merged"]
        n_people = "1 person" if n - merged == 1 else f"{n - merged:,} people"
        identities = count_noun(n, "identity", "identities")
        sentence = (
            f"{identities} {'is' if n == 1 else 'are'} {n_people}: {merged:,} merged, "
            f"{describe_open(found)}"
        )
        if found["conflicts"]:
            sentence += (
                f", {found['conflicts']:,} held back by matches that do not match each other"
            )
        if found.get("crowded"):
            sentence += f", {found['crowded']:,} held back among identities that are all alike"
        if found.get("unconfirmed"):
            sentence += f", {found['unconfirmed']:,} not confirmed by the second opinion"
        sentence += f"; matched at a similarity of {found['threshold']:.6g} or more"
        if self.far is not None:
            sentence += f" ({found['threshold_origin']})"
        if self.approximate:
            sentence += (
                f"; the approximate search found {100 * found['recall']:.6g} % of a sample of "
                "the candidates"
            )
        if merged or found["undecided"]:
            return (
                sentence  # identities of one person are similar, which says nothing about the model
            )
        return sentence + separable(found)

    def _bounds(self, embeddings: Embeddings) -> tuple[Bounds, dict[str, Any]]:
        """Return the thresholds, and the origin of the first for the summary."""
        model = embeddings.model
        if self.far is not None:
            return self._bounds_at(self.far, embeddings)
        if self.threshold is None:
            refuse_unknown_model(model, "--threshold or --far")
        origin = model.origin if self.threshold is None else "--threshold"
        return Bounds.of(model, self.threshold), {"threshold_origin": origin}

    def _bounds_at(self, far: float, embeddings: Embeddings) -> tuple[Bounds, dict[str, Any]]:
        """Return the thresholds at a rate of false accepts, with the rates that they give."""
        progress = log_progress("comparing identities")
        found = threshold_at(embeddings, far, self.linkage, progress=progress)
        origin = (
            f"--far {far:g}: {found.high:.2g} if all undecided pairs are two people, "
            f"{found.low:.2g} if all are one, from {found.n_pairs:,} pairs of identities"
        )
        rates = {"low": found.low, "high": found.high, "pairs": found.n_pairs}
        bounds = Bounds.of(embeddings.model, found.threshold)
        return bounds, {"threshold_origin": origin, "far": rates}

    def used_on_embeddings(self, request: Request) -> Collection[str]:
        """Return the options that the second opinion shares."""
        return _SHARED_OPTIONS if self.second_opinion else ()

    def second(self) -> SecondOpinion | None:
        if self.second_opinion is None:
            return None
        options = EmbedOptions(
            self.second_opinion,
            self.device,
            self.require_gpu,
            self.download,
            flip=self.flip,
            crops=self.source_template,
        )
        return SecondOpinion(options, _judge_again)


def _judge_again(embeddings: Embeddings, decisions: Sequence[Decision]) -> list[Decision]:
    """Judge the draft with the second embedder; identities without its vectors become undecided."""
    known = set(embeddings.identities)
    drafted = [decision for decision in decisions if known.issuperset(decision[1:3])]
    others = [_unheard(decision) for decision in decisions if not known.issuperset(decision[1:3])]
    if drafted:
        return second_opinion(embeddings, drafted) + others
    return others


def _unheard(decision: Decision) -> Decision:
    return decision._replace(
        verdict=UNDECIDED, reason=f"{decision.reason}; the second embedder has no vector for it"
    )
