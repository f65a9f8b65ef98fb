"""`exclude-people`: remove everyone from a set who appears in another."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core import storage
from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import RefusedByData, SourceError
from faceprep.core.io.columns import find_missing
from faceprep.core.options import Values, option
from faceprep.core.paths import are_same, exists
from faceprep.core.slow_step import log_progress
from faceprep.core.text import count_noun
from faceprep.core.types import (
    ACCEPTED,
    UNDECIDED,
    Decision,
    Outcome,
    Request,
    Shard,
    Sink,
    Stage,
    Work,
)
from faceprep.identity.evidence import NameOther
from faceprep.identity.exclusion import measure_sameness, plan_exclusion
from faceprep.identity.linkage import Bounds
from faceprep.identity.vectors import DECIMALS
from faceprep.steps.earlier_plan import describe_open, open_verdicts
from faceprep.steps.embed_options import EMBED_OPTIONS
from faceprep.steps.embedded_sets import (
    EMBED,
    Side,
    close_sides,
    embed_shards,
    embed_side,
    open_side,
    plan_side,
    refuse_other_length,
    refuse_other_model,
    separate_unnamed,
)
from faceprep.steps.judged_source import About
from faceprep.steps.plan_identities import (
    Judgement,
    PlanningOptions,
    refuse_unknown_model,
    separable,
)
from faceprep.steps.stated_template import refuse_other_template
from faceprep.tables.embeddings import is_embeddings, load_origin, load_place

_OTHER, _SIDE = "other", "other-side.json"
_UNIT = "other image"
_MOST_ALIKE = 0.5


@dataclass(frozen=True)
class ExcludePeople(PlanningOptions):
    """Remove everyone from a set who appears in another, whatever the folders are called.

    SRC and OTHER are sets of crops, or files that embed made from them. OTHER holds the people to
    leave out: a test set such as LFW, or people who opted out. DST gets the set without them,
    plan.jsonl with the evidence for each drop, and undo.jsonl, a plan that reverses it. Doubtful
    drops are undecided in the plan and are not carried out: accept them there, then use `apply`.

    Details:

    DST/plan.jsonl lists the identities and images to drop, each with the person of OTHER and the
    pairs of images that support it most and least. An identity is dropped as a whole if its images
    agree, and otherwise image by image. An image of OTHER that does not match the rest of its
    identity counts as a person of its own, so OTHER may be one folder of many people. If it matches
    only an image of SRC that does not match its identity either, the drop is undecided. A set is
    refused if most of its identities look like one person, unless --threshold is given.
    `report DST` lists who is in both sets. Images that cannot be compared are named in
    failures.csv.
    """

    command: ClassVar[str] = "exclude-people"

    threshold: float | None = option(
        None,
        "Drop people with at least this similarity (the cosine, or 1 - distance²/2). Those "
        "slightly below it, by up to the gap of the embedder's two thresholds, are undecided.",
        values=Values(least=-1, most=1, default="the embedder's"),
    )

    # Before

    def plan(self, request: Request, scratch: Path) -> Work:
        source, second = request.sources
        if are_same(source, second) or are_same(_home_of(source), second):
            raise _same_set(second)
        other = plan_side(second, _OTHER, scratch, self.relative_to, _UNIT)
        work = super().plan(request, scratch)
        if not other.is_file:
            refuse_other_template(self, second)
            if is_embeddings(source):
                self.announce()
        refuse_other_model(
            (str(source), self._model_of(source)), (str(second), other.model_of(self))
        )
        about = json.dumps(asdict(other)).encode()
        storage.write_file(scratch / _SIDE, about, durable=False)
        return replace(
            work,
            stages=[Stage(EMBED, embed_shards(other)), *work.stages],
            fingerprint=f"{work.fingerprint}; {other.state_of(self)}",
        )

    def used_on_embeddings(self, request: Request) -> Collection[str]:
        """Return all options where the images of OTHER are embedded."""
        if is_embeddings(request.sources[1]):
            return ()
        return EMBED_OPTIONS

    def _model_of(self, source: Path) -> str:
        if is_embeddings(source):
            return load_origin(source).fingerprint
        return self.model().fingerprint

    # During

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if isinstance(shard.payload, Side):
            yield from embed_side(self, shard, sink)
            return
        yield from super().run(shard, sink)

    def name_left_out(self, sink: Sink) -> Iterator[Outcome]:
        yield from open_side(self, _load_other(sink), sink).loaded.left_out

    def judge(self, embeddings: Embeddings, about: About, sink: Sink) -> Judgement:
        other = _load_other(sink)
        others = open_side(self, other, sink).loaded.embeddings
        refuse_other_length(other.path, embeddings, others)
        if are_same(*map(_home_of, (about.source, other.path))) and not any(
            find_missing(embeddings.keys, others.keys)
        ):
            raise _same_set(other.path)
        ours = separate_unnamed(embeddings)
        return self._judge_both(ours, others, partial(_name_other, _root_of(other)))

    def _judge_both(self, embeddings: Embeddings, others: Embeddings, name: NameOther) -> Judgement:
        model = embeddings.model
        bounds, origin = Bounds.of(model, self.threshold), "--threshold"
        if self.threshold is None:
            refuse_unknown_model(model, "--threshold")
            origin = model.origin
            for which, each in (("SRC", embeddings), ("OTHER", others)):
                _refuse_sameness(which, each, bounds.merge_from)
        progress = log_progress("comparing with the other set")
        verdict_of = open_verdicts(self.verdicts)
        found = plan_exclusion(embeddings, others, bounds, name, progress, verdict_of)
        return found.decisions, {
            "identities": found.n_identities,
            "other_identities": found.n_others,
            "in_both": found.n_shared,
            "threshold": bounds.merge_from,
            "undecided_from": round(bounds.undecided_from, DECIMALS),
            "threshold_origin": origin,
        }

    # After

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        close_sides()
        super().finish(work, request, sink)

    def count(self, decisions: Sequence[Decision]) -> dict[str, int]:
        judged = [each for each in decisions if "person" in each.evidence]
        accepted = [each for each in judged if each.verdict == ACCEPTED]
        n_images = sum(each.evidence["images"][0] for each in accepted)
        whole = [each for each in accepted if each.subject != each.evidence["for"][0]]
        return {
            "dropped_identities": len(whole),
            "dropped_images": n_images,
            "undecided": sum(each.verdict == UNDECIDED for each in judged),
        }

    def sentence(self, found: Mapping[str, Any]) -> str:
        """State how many people are in both sets, and what is dropped."""
        if "identities" not in found:
            return "nothing to compare: no image has a vector"
        others = count_noun(found["other_identities"], "identity", "identities")
        whole = count_noun(found["dropped_identities"], "identity", "identities")
        images = count_noun(found["dropped_images"], "image")
        sentence = (
            f"found {found['in_both']:,} of {others} of the other set in this one: "
            f"{images} dropped, {whole} as a whole; {describe_open(found)}; "
            f"matched at a similarity of {found['threshold']:.6g} or more"
        )
        return sentence + separable(found)


def _home_of(path: str | Path) -> str | Path:
    """Return the set that embeddings were made from, if it is there, or else the path itself."""
    if is_embeddings(path) and (root := load_place(path).root) and exists(root):
        return root
    return path


def _same_set(path: str | Path) -> SourceError:
    return SourceError(
        "SRC and OTHER are the same set: nobody would be left",
        path=path,
        remedy="Name the set of the people to leave out as OTHER.",
    )


def _refuse_sameness(which: str, embeddings: Embeddings, least: float) -> None:
    """Raise RefusedByData if most identities look like one person: all would be dropped."""
    share = measure_sameness(embeddings, least)
    if share > _MOST_ALIKE:
        raise RefusedByData(
            f"most identities of {which} look like one person: these are not aligned faces, or "
            "not crops of the template that --crops states",
            expected=f"less than {_MOST_ALIKE:.0%} of their pairs at {least:.6g} or more",
            found=f"{share:.0%}",
            remedy="Cut the faces with extract-photos, or give --threshold.",
        )


def _load_other(sink: Sink) -> Side:
    return Side(**json.loads(storage.read_bytes(sink.scratch / _SIDE)))


def _root_of(other: Side) -> str:
    """Return where the images of the other set lie; empty where its embeddings do not say."""
    if other.is_file:
        return load_place(other.path).root
    return other.path


def _name_other(root: str, key: str) -> str:
    """Return the name of an image of the other set, as a path that `review` can show."""
    if not root:
        return key
    return f"{root}/{key}"
