"""`manifest`: write the list or the shards that a trainer reads."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar, NamedTuple

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.job import Job
from faceprep.core.names import CLASSES_CSV
from faceprep.core.options import Values, option
from faceprep.core.paths import full_path, real_path
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.sets import class_map
from faceprep.sets import split as selection
from faceprep.sets.containers import index_set
from faceprep.sets.label_rules import GROUP_BY, LABEL_RULE, parse_rule
from faceprep.sets.listing import Listing, find_twins, list_set, refuse_names
from faceprep.sets.losses import find_lost_contents, warn_of_losses
from faceprep.sets.manifests import embedding_join as embedding_rows
from faceprep.sets.manifests import partition as manifest_cuts
from faceprep.sets.manifests.embedding_join import EmbeddingTable
from faceprep.sets.manifests.layout import EMBEDDINGS, Block, Layout, Part
from faceprep.sets.manifests.name_prefix import find_prefix
from faceprep.sets.manifests.partition import Cutter
from faceprep.sets.manifests.soundness import (
    CHECK,
    check_images,
    count_lost,
    cut_checks,
    load_kept,
    refuse_unusable,
    warn_of_empty,
    write_soundly,
)
from faceprep.sets.manifests.writers import FORMATS, Format, format_of
from faceprep.sets.map_owner import may_write_map, write_map
from faceprep.sets.split import Selection, Split
from faceprep.steps.list_options import NamingOptions

log = logging.getLogger("faceprep")


class _Labelled(NamedTuple):
    """The label of each image and the label names; `fixed` if they are class numbers already."""

    labels: Ints
    names: Sequence[str]
    fixed: bool


@dataclass(frozen=True)
class Manifest(NamingOptions, Job):
    """Write a list or shards of images for a trainer.

    SRC is any set. OUT lists its images, shuffled: .npz (as Keras_insightface reads it), .csv, .lst
    (im2rec) or .parquet. Or OUT holds the images: .tar (WebDataset), and .tfrecord or .parquet with
    --with-images. NAME_classes.csv beside OUT lists the classes, and the validation share goes to
    NAME_val.SUFFIX. Files that cannot be used are left out and named in failures.csv.

    Details:

    A .tfrecord with --embeddings alone lists images for distillation. Classes are numbered 0 to C-1
    in the order of their names, as numbers if all are numbers; --classes keeps the numbers of an
    earlier NAME_classes.csv. With --shards the files are called NAME-00000-of-00008.SUFFIX. A file
    that is missing, empty or not a regular file is left out.
    """

    command: ClassVar[str] = "manifest"
    has_file_output: ClassVar[bool] = True

    seed: int | None = option(
        None, "Seed the shuffle and the split.", required=True, values=Values("S")
    )
    shards: int = option(1, "Divide the output into this many files.", values=Values(least=1))
    val_fraction: float = option(
        0.0,
        "Put this share of the images, or of the identities, into NAME_val.SUFFIX.",
        values=Values("SHARE", least=0, below=1),
    )
    split_by: str = option(
        "image",
        "Split by image (some of each identity) or by identity (all images of some).",
        choices=("image", "identity"),
    )
    label_rule: str | None = option(
        None,
        "Take the class from the path of an image below SRC instead of its folder: "
        "live=0,spoof=1 (names of folders), or re:REGEX with one group.",
        values=Values("RULE"),
    )
    group_by: str | None = option(
        None,
        "Keep images of one group on one side of the split; a rule as for --label-rule, such as "
        "re:REGEX with the person as its one group. Without --label-rule, --split-by identity "
        "keeps identities together as well.",
        values=Values("RULE"),
    )
    classes: Path | None = option(
        None,
        "Keep the class numbers of this class map; images of other classes are named as failures.",
        values=Values("FILE"),
    )
    min_images: int = option(
        1, "Leave out identities with fewer images than this.", values=Values(least=1)
    )
    max_images: int | None = option(
        None, "Draw at most this many images of each class.", values=Values(least=1)
    )
    identities: int | None = option(None, "Draw this many classes.", values=Values(least=1))
    embeddings: Path | None = option(
        None,
        "Join the embeddings of this file (.npz or .parquet of embed, or a manifest with them) by "
        "image name; an image without an embedding is named as a failure, and vice versa.",
        values=Values("FILE"),
    )
    with_images: bool = option(
        False, "Write the images themselves (.tfrecord or .parquet; .tar always has them)."
    )
    check: bool = option(
        False,
        "Open every image first, and leave out and name files that are not images or are cut off.",
    )

    def __post_init__(self) -> None:
        if self.seed is None:
            raise OptionError("the images are shuffled", remedy="Give a --seed.")
        super().__post_init__()
        for rule, name in ((self.label_rule, LABEL_RULE), (self.group_by, GROUP_BY)):
            if rule is not None:
                parse_rule(rule, name)

    # Before

    def plan(self, request: Request, scratch: Path) -> Work:
        source, output = request.sources[0], request.output
        form = self._format(output)
        with_images = self._holds_images(output)
        with index_set(source, scratch, relative_to=self.relative_to) as images:
            listing = list_set(images, request.limit)
            prefix = find_prefix(images, form, with_images, self.relative_to)
            faults = list(images.faults()) if request.limit is None else []
            refuse_unusable(images, listing)
            kind = f"a {output.suffix.lower()} manifest"
            warn_of_losses(images.path, kind, find_lost_contents(images))
            sizes, fingerprint = images.file_sizes, images.index.fingerprint
            n_image_bytes = images.count_bytes(len(listing))
        refuse_names(listing, form.forbidden)
        labelled = self._label(listing)
        table, rows = self._join(listing, prefix, source)
        chosen = self._select(listing, labelled, source)
        is_heavy, is_whole = with_images or bool(table), with_images or form.part_is_file
        set_path, class_of = images.path, chosen.class_of
        cutter = Cutter(scratch, set_path, listing, class_of, prefix, rows, is_heavy, is_whole)
        manifest_cuts.cut(cutter, output, chosen, self.shards)
        cutter.add_refused()
        cutter.add_outcomes("faults", faults)
        if table and rows is not None and request.limit is None:
            cutter.add_outcomes("vectors", embedding_rows.find_spare(table, rows))
        checks = cut_checks(scratch, set_path, chosen) if self.check else {}
        drops = self.check and not labelled.fixed
        layout = replace(self._lay_out(cutter, chosen, table, checks, request), drops_classes=drops)
        _save(scratch, layout, table, chosen)
        stages = [Stage("write", cutter.shards)]
        if checks:
            stages.insert(0, Stage(CHECK, [*chain.from_iterable(checks.values())]))
        files = [*layout.files]
        if may_write_map(output, chosen.names, may_drop=drops):
            files.append(layout.class_map)
        n_bytes, n_part_bytes = _count_bytes(listing, layout, sizes, n_image_bytes)
        left_out = Counter(refused.status for refused in listing.refused.values())
        for file in filter(None, (self.embeddings, self.classes)):
            fingerprint += f", {storage.fingerprint_of(file)}"
        return Work(
            stages,
            fingerprint,
            files=files,
            n_files=len(files),
            n_bytes=n_bytes,
            n_part_bytes=n_part_bytes,
            left_out=left_out,
        )

    def _select(self, listing: Listing, labelled: _Labelled, source: Path) -> Selection:
        """Choose the images of the manifest, and divide them into training and validation."""
        split = Split(self.val_fraction, self._groups(listing))
        self._leave_out(listing, labelled.labels)
        if len(listing.refused) == len(listing):
            raise _nothing_left(source, listing)
        chosen = selection.select(listing, *labelled, self.seed or 0, split)
        self._warn_of_small_split(chosen)
        if self.label_rule and split.groups is not None:
            chosen.warn_of_missing_classes()
        return chosen

    def _holds_images(self, output: Path) -> bool:
        return self.with_images or format_of(output).write is None

    def _format(self, output: Path) -> Format:
        form = format_of(output)
        suffix = output.suffix.lower()
        written = output.with_name(class_map.name_for(output))
        if self.classes and real_path(self.classes) == real_path(written):
            raise OptionError(
                "--classes is the class map that this run writes",
                found=written.name,
                remedy="Give OUT another name, or rename the map.",
            )
        if self.with_images and not form.write_images:
            raise OptionError(
                f"--with-images: a {suffix} manifest holds no images",
                expected="a .tfrecord, .parquet or .tar",
            )
        if self.embeddings and not form.embeddings:
            raise OptionError(
                f"--embeddings: a {suffix} manifest holds none",
                expected="a .npz, .tfrecord, .parquet or .tar",
            )
        if suffix == ".tfrecord" and not (self.with_images or self.embeddings):
            raise OptionError(
                "no trainer reads a .tfrecord of names and classes alone",
                expected="--with-images or --embeddings",
                remedy="For a list, write a .npz, .parquet, .csv or .lst.",
            )
        return form

    def _label(self, listing: Listing) -> _Labelled:
        names: Sequence[str]
        if not self.label_rule:
            labels, names = selection.label_by_identity(listing)
            fixed = False
        else:
            rule = parse_rule(self.label_rule)
            labels, names = selection.label_by_rule(listing, rule)
            fixed = bool(rule.classes)
        if self.classes is None:
            return _Labelled(labels, names, fixed)
        labels, names = selection.keep_known(listing, labels, names, class_map.load(self.classes))
        return _Labelled(labels, names, True)

    def _groups(self, listing: Listing) -> Ints | None:
        """Return the group of each image, where whole groups go to one side of the split."""
        if self.group_by is not None:
            groups, _ = selection.label_by_rule(listing, parse_rule(self.group_by, GROUP_BY))
            if self.split_by == "identity" and not self.label_rule:
                return selection.join_groups(groups, listing.identity_of)
            return groups
        if self.label_rule and self.val_fraction:
            log.warning(
                "--split-by %s does not keep people together: the images of a person can be in "
                "both sets. See --group-by",
                self.split_by,
            )
        return listing.identity_of if self.split_by == "identity" else None

    def _join(
        self, listing: Listing, prefix: str, source: Path
    ) -> tuple[EmbeddingTable | None, Ints | None]:
        """Return the embeddings and the row of each image; images without one are refused."""
        if not self.embeddings or not len(listing):
            return None, None
        table = embedding_rows.load_table(self.embeddings)
        starts = (prefix, "", f"{source}/", full_path(source) + "/")
        spellings = [partial(listing.prefixed_paths, start) for start in starts]
        rows = embedding_rows.match(table, spellings)
        embedding_rows.refuse_without_vector(table, rows, listing)
        return table, rows

    def _leave_out(self, listing: Listing, labels: Ints) -> None:
        """Leave out small identities, then what is not drawn."""
        n_identities, n_images = selection.leave_out_few(listing, self.min_images)
        if n_identities:
            log.info(
                "left out %s (%s) with fewer than %s",
                count_noun(n_identities, "identity", "identities"),
                count_noun(n_images, "image"),
                count_noun(self.min_images, "image"),
            )
        if self.max_images or self.identities:
            n_classes = selection.count_labels(listing, labels)
            if 0 < n_classes < (self.identities or 0):
                found = count_noun(n_classes, "class", "classes")
                log.warning("--identities %s: only %s can be drawn", f"{self.identities:,}", found)
            n = selection.draw(listing, labels, self.seed or 0, self.max_images, self.identities)
            if n:
                log.info("%s not drawn", count_noun(n, "image is", "images are"))

    def _lay_out(
        self,
        cutter: Cutter,
        chosen: Selection,
        table: EmbeddingTable | None,
        checks: Mapping[str, Sequence[Shard]],
        request: Request,
    ) -> Layout:
        source, output = request.sources[0], request.output
        with_images = self._holds_images(output)
        return Layout(
            source=full_path(source),
            prefix=cutter.prefix,
            suffix=output.suffix.lower(),
            with_images=with_images,
            n_classes=len(chosen.names),
            width=cutter.width,
            dim=table.dim if table else 0,
            dtype=table.dtype if table else "",
            twins=find_twins(cutter.listing) if with_images else [],
            files=cutter.files,
            class_map=class_map.name_for(output),
            checks={split: [shard.id for shard in shards] for split, shards in checks.items()},
        )

    def _warn_of_small_split(self, chosen: Selection) -> None:
        n = chosen.train.size + chosen.val.size
        wanted = round(self.val_fraction * n)
        if self.split_by == "image" and chosen.val.size < wanted:
            reason = "one image of each class stays in the training set"
            if self.group_by:
                reason = "the images of one group stay together"
            n_images = count_noun(chosen.val.size, "image")
            log.warning("the validation set has %s, not %s: %s", n_images, f"{wanted:,}", reason)

    # During and after

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if shard.stage == manifest_cuts.REFUSED:
            return iter(shard.payload)
        if shard.stage == CHECK:
            return check_images(shard, sink)
        layout = Layout.load(sink.scratch)
        part = Part(layout, shard, Block.load(sink.scratch, shard.id), sink)
        write = FORMATS[layout.suffix].writer(layout.with_images)
        if not layout.may_lose:
            return write(part)
        return write_soundly(part, layout.checks.get(part.file.split, []), write)

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Join files that were written in several parts, and write the class map."""
        layout = Layout.load(sink.scratch)
        rows, lost = class_map.load(sink.scratch / CLASSES_CSV), count_lost(layout, sink)
        join = FORMATS[layout.suffix].joiner(layout.with_images)
        for name, plan in layout.files.items():
            if not plan.has_one_part:
                with sink.open(name) as file:
                    join(sink, layout, name, file)
        kept = load_kept(layout, sink)
        warn_of_empty(rows, kept, lost)
        names = [row.name for row in kept]
        counts = [row.images - lost[row.number] for row in kept]
        write_map(sink, request.output, names, counts, work.files)


def _save(scratch: Path, layout: Layout, table: EmbeddingTable | None, chosen: Selection) -> None:
    """Write what the shards need: the layout, the embeddings, and the class map."""
    layout.save(scratch)
    if table:
        embedding_rows.lay_out(table, scratch / EMBEDDINGS)
    text = class_map.encode(chosen.names, chosen.class_counts().tolist())
    storage.write_file(scratch / CLASSES_CSV, text, durable=False)


def _nothing_left(source: Path, listing: Listing) -> SourceError:
    if not len(listing):
        return SourceError(
            "no images in this folder", path=source, expected="SRC/IDENTITY/IMAGE.jpg (or .png …)"
        )
    first = listing.refused[min(listing.refused)]
    return SourceError(
        f"none of {count_noun(len(listing), 'image')} can be used; the first failure is "
        f"{first.reason}",
        path=source,
    )


def _count_bytes(
    listing: Listing, layout: Layout, sizes: Ints | None, n_image_bytes: int
) -> tuple[int, int]:
    """Estimate the bytes of the output and of its parts, from the `sizes` of all image files or of
    images that have `n_image_bytes` together.
    """
    taken = listing.accepted()
    n = int(taken.sum())
    n_bytes = n * (4 * layout.width + 64 + 8 * layout.dim)
    if not layout.with_images:
        return n_bytes, 0
    if sizes is not None:
        n_image_bytes = int(sizes[: len(listing)][taken].sum())
    else:
        n_image_bytes = n_image_bytes * n // len(listing)
    has_parts = not all(plan.has_one_part for plan in layout.files.values())
    return n_bytes + n_image_bytes, n_image_bytes * has_parts
