"""Plans changes of identities from embeddings, for merge-identities and clean-identities.

    embed   shards of images -> vectors                 (not where SRC is a file of embeddings)
    draft   all vectors -> decisions                    (one shard)
    second  images of the identities decided upon -> vectors of another model  (second opinion)
    decide  the draft, the second opinion -> the plan, and where every image goes    (one shard)
    place   images to their places                      (not where there is only to be a plan)

Images without a vector, damaged ones mostly, are dropped by a decision of their own, with the
reason. failures.csv names them as well, and the undo plan restores them.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from faceprep.core import storage
from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import FaceprepError, OptionError, RefusedByData
from faceprep.core.job import Job
from faceprep.core.names import identity_of
from faceprep.core.options import option
from faceprep.core.paths import full_path
from faceprep.core.shards import cut_evenly, whole_stage
from faceprep.core.text import count_noun
from faceprep.core.types import ACCEPTED, DROP, Decision, Outcome, Request, Shard, Sink, Stage, Work
from faceprep.core.urls import url_of
from faceprep.identity.distributions import measure
from faceprep.identity.sound_vectors import DUPLICATE_NAME
from faceprep.sets.containers import faults_after, open_set
from faceprep.sets.listing import list_images
from faceprep.steps import crop_check
from faceprep.steps.earlier_plan import (
    VerdictOptions,
    carry_verdicts,
    count_refused,
    keep_reviewed,
    mark_undecided,
    state_of_verdicts,
    warn_of_renamed,
)
from faceprep.steps.embed_crops import embed_loads, listed_loads, load_parts
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.embedded_sets import Loaded, check_embeddings
from faceprep.steps.judged_source import About, find_unembedded, look_at_source
from faceprep.steps.list_options import ListOptions
from faceprep.steps.listed_set import ListedSet, load_listed
from faceprep.steps.place_images import (
    DECIDE,
    PLACE,
    PLAN_PART,
    PlacedSize,
    PlacingOptions,
    choose_target,
    finish_plan,
    output_files,
    place_planned,
    place_shards,
    plan_header,
    plan_path,
    size_placed,
    write_decided,
)
from faceprep.steps.stated_template import refuse_other_template
from faceprep.tables.embeddings import load_embeddings
from faceprep.tables.embeddings_parquet import files_of
from faceprep.tables.plan import LIKENESS, PLAN, UNDO, digest_of, read_plan, write_plan

Judgement = tuple[list[Decision], dict[str, Any]]
_SHARD = 256
_EMBED, _SECOND, _DRAFT = "embed", "second", "draft"
_FAILED, _WANTED = ".failed", ".wanted"
_LIKENESS_PART = ".likeness"
_EMBED_ONCE = (
    "To try several thresholds on the same vectors, run faceprep embed SRC FILE.npz, and name "
    "FILE.npz instead of SRC."
)


class SecondOpinion(NamedTuple):
    """The embedder of a second opinion, and its effect on the decisions."""

    options: EmbedOptions
    judge: Callable[[Embeddings, Sequence[Decision]], list[Decision]]


@dataclass(frozen=True)
class PlanningOptions(EmbedOptions, PlacingOptions, ListOptions, VerdictOptions, Job):
    """The shared options and stages; a subclass names its `command` and judges."""

    plan_only: bool = option(False, "Write the plan only; edit it, then use apply.")

    # What a job says of itself

    command: ClassVar[str]

    @abstractmethod
    def judge(self, embeddings: Embeddings, about: About, sink: Sink) -> Judgement:
        """Return the decisions on the source, and the figures for the summary.

        `sink` has the parts of the stages before. Raises FaceprepError.
        """

    def name_left_out(self, sink: Sink) -> Iterator[Outcome]:
        """Yield an outcome for each image of another set that cannot be compared."""
        return iter(())

    @abstractmethod
    def count(self, decisions: Sequence[Decision]) -> dict[str, int]:
        """Count the decisions by kind."""

    @abstractmethod
    def sentence(self, found: Mapping[str, Any]) -> str:
        """Return `details` as a sentence."""

    def overrides_check(self) -> bool:
        """Return whether images that are not crops of the template are judged anyway."""
        return self.crops is not None

    def used_on_embeddings(self, request: Request) -> Collection[str]:
        """Return the options of the embedder that have an effect although SRC is embeddings."""
        return ()

    def check_likeness(self, embeddings: Embeddings, likeness: Mapping[str, Any]) -> None:
        """Refuse embeddings by the likeness of their images, which `measure` found.

        Raises FaceprepError.
        """

    def second(self) -> SecondOpinion | None:
        """Return the second opinion, or None without one."""
        return None

    def warm_up(self) -> None:
        """Open the embedder; a missing one is reported only when there are images to embed."""
        with suppress(FaceprepError):
            super().warm_up()

    # Before

    def plan(self, request: Request, scratch: Path) -> Work:
        keep_reviewed(plan_path(request.output), request.overwrite, self.verdicts)
        about, listed = look_at_source(request, scratch, self.relative_to)
        stages = []
        if about.embeddings:
            self.refuse_unused(Path(about.embeddings), self.used_on_embeddings(request))
        elif listed is not None:
            about = self._check_images(about, listed, scratch)
            stages.append(Stage(_EMBED, _cut(_EMBED, about)))
        stages += self._second_stages(about, request.sources[0])
        placing = self._cut_placing(request.output, about, listed)
        stages.append(Stage(DECIDE, [whole_stage(DECIDE, about.source, payload=(about, placing))]))
        names = [PLAN, LIKENESS]
        if placing:
            stages.append(Stage(PLACE, placing))
            names.append(UNDO)
        size = PlacedSize()
        if placing and listed is not None:
            size = size_placed(request.output, self.mode, about.n_images, listed.n_bytes)
        return Work(
            stages,
            f"{about.fingerprint}, {self._state(about, request)}",
            files=output_files(request.output, names),
            **size._asdict(),
        )

    def examine(self, question: crop_check.ImageQuestion) -> crop_check.ImageAnswer | None:
        return crop_check.examine_image(self, question)

    def _check_images(self, about: About, listed: ListedSet, scratch: Path) -> About:
        """Open the embedder, and check that the images are crops it can take."""
        refuse_other_template(self, Path(listed.path))
        self.announce()
        mismatch = crop_check.refuse_other_images(
            self.examine, self.source_template, listed, scratch, self.overrides_check()
        )
        return about._replace(mismatch=mismatch)

    def _second_stages(self, about: About, source: Path) -> list[Stage]:
        """Return the stages of a second opinion; none without one."""
        second = self.second()
        if second is None:
            return []
        if not about.has_images:
            found = f"none for {url_of(source)}"
            raise OptionError("a second opinion needs the images", found=found)
        second.options.announce()
        draft = whole_stage(_DRAFT, about.source, payload=about)
        return [Stage(_DRAFT, [draft]), Stage(_SECOND, _cut(_SECOND, about))]

    def _cut_placing(self, output: Path, about: About, listed: ListedSet | None) -> list[Shard]:
        """Return the shards that place the images; none where only a plan is written."""
        if listed is None or self.plan_only:
            return []
        return place_shards(about.source, choose_target(output, self.mode, listed, about.n_images))

    def _state(self, about: About, request: Request) -> str:
        """Return the fingerprint of what else the decisions depend on."""
        verdicts = state_of_verdicts(self.verdicts, self.command)
        if about.embeddings:
            return storage.fingerprint_of(*files_of(request.sources[0])) + verdicts
        return self.model().fingerprint + verdicts

    # During

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if shard.stage == _EMBED:
            yield from self._embed(shard, sink)
        elif shard.stage == _SECOND and (second := self.second()):
            self._embed_again(shard, second.options, sink)
        elif shard.stage == _DRAFT:
            self._draft(shard.payload, sink)
        elif shard.stage == DECIDE:
            about, placing = shard.payload
            yield from self._decide(about, placing, sink)
        else:
            placed = place_planned(shard, sink)
            yield from (outcome for outcome in placed if outcome.is_failure)

    def _embed(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        failed = {}
        places = range(shard.start, shard.stop)
        for outcome in embed_loads(self, listed_loads(self, sink.scratch, places), sink):
            if outcome.is_failure:
                failed[outcome.key] = f"{outcome.status}: {outcome.reason}"
            yield outcome
        with open_set(sink.scratch) as images:
            yield from faults_after(images, shard.stop)
        with sink.open_part(_FAILED) as file:
            file.write(json.dumps(failed).encode())

    def _embed_again(self, shard: Shard, options: EmbedOptions, sink: Sink) -> None:
        """Embed the identities in the draft again; images that fail are not counted twice."""
        wanted = set(json.loads(storage.read_bytes(sink.part_path(_DRAFT, _WANTED))))
        listing = load_listed(sink.scratch).listing
        places = [
            place
            for place in range(shard.start, shard.stop)
            if identity_of(listing.path(place)) in wanted
        ]
        deque(embed_loads(options, listed_loads(options, sink.scratch, places), sink), maxlen=0)

    def _draft(self, about: About, sink: Sink) -> None:
        decisions, header = self._judge(self._load(about, sink).embeddings, about, sink)
        with sink.open_part(PLAN_PART) as file:
            write_plan(file, header, decisions)
        with sink.open_part(_WANTED) as file:
            file.write(
                json.dumps(
                    sorted({name for decision in decisions for name in decision[1:3]})
                ).encode()
            )

    def _judge(self, embeddings: Embeddings, about: About, sink: Sink) -> Judgement:
        """Return the decisions and the header line of the plan; write the likeness as a part."""
        header: dict[str, Any] = {
            "model": embeddings.model.fingerprint,
            "summary": {"images": len(embeddings)},
        }
        likeness = measure(embeddings) if len(embeddings) else {}
        with sink.open_part(_LIKENESS_PART) as file:
            file.write(json.dumps(likeness).encode() + b"\n")
        if not likeness:
            return [], header
        try:
            self.check_likeness(embeddings, likeness)
            decisions, figures = self.judge(embeddings, about, sink)
        except RefusedByData as error:
            if not about.embeddings:
                error.add_remedy(_EMBED_ONCE)
            raise
        header["summary"] |= figures | {"separable": likeness["separable"]}
        return decisions, header

    def _load(self, about: About, sink: Sink) -> Loaded:
        if about.embeddings:
            return check_embeddings(load_embeddings(about.embeddings))
        return Loaded(load_parts(sink, _ids(_EMBED, about), self.model()), ())

    def _decide(self, about: About, placing: Sequence[Shard], sink: Sink) -> Iterator[Outcome]:
        yield from self.name_left_out(sink)
        loaded = self._load(about, sink)
        if second := self.second():
            drafted, found = read_plan(sink.part_path(_DRAFT, PLAN_PART))
            header, before = {name: drafted[name] for name in ("model", "summary")}, list(found)
            decisions = second.judge(
                load_parts(sink, _ids(_SECOND, about), second.options.model()), before
            )
            header["summary"] |= {
                "unconfirmed": sum(map(is_accepted, before)) - sum(map(is_accepted, decisions))
            }
        else:
            decisions, header = self._judge(loaded.embeddings, about, sink)
        decisions = mark_undecided(crop_check.hold_all(about, decisions))
        identities = set(loaded.embeddings.identities)
        decisions = carry_verdicts(decisions, self.verdicts, identities)
        warn_of_renamed(self.verdicts, identities)
        header["summary"] |= self.count(decisions) | count_refused(decisions)
        listing = load_listed(sink.scratch).listing if about.has_images else list_images([])
        if about.embeddings:
            faults = [*loaded.left_out, *find_unembedded(listing, loaded)]
            yield from faults
            yield from map(Outcome, loaded.embeddings.keys)
            left_out = {each.key: each.reason for each in faults if each.status != DUPLICATE_NAME}
        else:
            pages = [
                json.loads(storage.read_bytes(sink.part_path(id, _FAILED)))
                for id in _ids(_EMBED, about)
            ]
            left_out = {path: reason for page in pages for path, reason in page.items()}
        decisions += [Decision(DROP, path, reason=left_out[path]) for path in sorted(left_out)]
        options = _plain(self, not about.embeddings)
        judged = plan_header(self.command, Path(about.source), about.fingerprint, options) | header
        if about.has_images:
            write_decided(sink, judged, decisions, left_out, placing)
        else:
            del judged["fingerprint"]
            with sink.open_part(PLAN_PART) as file:
                write_plan(file, judged | {"digest": digest_of(decisions)}, decisions)

    # After

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Write the plan and the undo plan."""
        *_, last = work.stages
        shards = last.shards if last.name == PLACE else []
        finish_plan(shards, sink, self.command, request.output)
        judged = _DRAFT if self.second() else DECIDE
        with sink.open(plan_path(request.output, LIKENESS).name) as file:
            storage.append_file(sink.part_path(judged, _LIKENESS_PART), file)

    def details(self, output: Path) -> Mapping[str, Any]:
        """Return the plan's summary for the summary of the run."""
        judged, _ = read_plan(plan_path(output))
        likeness = json.loads(storage.read_bytes(plan_path(output, LIKENESS)))
        likeness.pop("histogram", None)
        return {"likeness": likeness, **judged.get("summary", {})}


def is_accepted(decision: Decision) -> bool:
    """Return whether a decision is carried out as it stands."""
    return decision.verdict == ACCEPTED


def separable(found: Mapping[str, Any]) -> str:
    """Describe how many identities the images separate; empty if none has two images."""
    n, most = found["separable"], found["likeness"]["identities_of_two"]
    identities = count_noun(most, "identity", "identities")
    if most:
        return (
            f"; in SRC, {n:,} of {identities} with two or more images had all of them closer to "
            "each other than to any other identity"
        )
    return ""


def refuse_unknown_model(model: Model, needed: str) -> None:
    """Raise RefusedByData for embeddings without a model, because thresholds depend on it."""
    if not model.fingerprint:
        raise RefusedByData("these embeddings do not say what model made them", expected=needed)


def _cut(stage: str, about: About) -> list[Shard]:
    return cut_evenly(
        about.n_images, _SHARD, about.source, stage=stage, id_format="{stage}-{n:06d}"
    )


def _ids(stage: str, about: About) -> list[str]:
    """Return the ids of the shards that embed the images."""
    return [shard.id for shard in _cut(stage, about)]


def _plain(job: PlanningOptions, embeds: bool) -> dict[str, Any]:
    """Return the options that are set, for the header of the plan.

    Those about the machine are left out, and those of an embedder that was not needed.
    """
    silent = {"device", "require_gpu", "download", "relative_to", "verdicts"}
    if not embeds:
        silent |= {"embedder", "mean", "std", "size", "color"}
    options = {
        name: value
        for name, value in asdict(job).items()
        if name not in silent and value not in (None, False)
    }
    if job.verdicts:
        options["verdicts"] = full_path(job.verdicts)
    return options | job.list_options()
