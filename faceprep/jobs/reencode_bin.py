"""`reencode-bin`: convert verification .bin files of any origin to Python 3, order and labels
kept.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from faceprep.core import storage
from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.core.io.image_bytes import check_image_bytes, undecodable
from faceprep.core.job import Job
from faceprep.core.options import Values, option
from faceprep.core.shards import cut_evenly
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.sets.pairs_bin import container as pairs_bin
from faceprep.vision import codec
from faceprep.vision.load_image import load_image_bytes

log = logging.getLogger("faceprep")
_SHARD = 256
_MAX_PIXELS = 1 << 26
_PLACES, _REFUSED = "places", "refused"


@dataclass(frozen=True)
class ReencodeBin(Job):
    """Re-encode verification .bin files of any origin as Python 3 .bin files.

    Order and labels are kept. Nothing in a source is executed, whatever its pickle asks for. Every
    image is decoded and encoded again. A pair with an image that cannot be decoded is left out, and
    a source that cannot be read is skipped if there are others; both are named in failures.csv,
    with pairs and images numbered from 0. With --in-place each original is kept as NAME.bak, and a
    later run starts from it.
    """

    command: ClassVar[str] = "reencode-bin"

    out_dir: Path | None = option(
        None, "Write the new files to this folder, under their names.", values=Values("DIR")
    )
    in_place: bool = option(
        False, "Replace the files in place, and keep the originals as NAME.bak."
    )
    format: str = option(
        "jpg", "Encode images in this format; png is lossless.", choices=("jpg", "png")
    )
    quality: int = option(95, "Set the JPEG quality.", values=Values(least=1, most=100))
    keep: bool = option(
        False,
        "Keep the bytes of images that already have the format; they are decoded all the same.",
    )

    def __post_init__(self) -> None:
        if (self.out_dir is None) != self.in_place:
            raise OptionError(
                "invalid place of the output", expected="either --out-dir DIR or --in-place"
            )
        super().__post_init__()

    def writes_in_place(self, request: Request) -> bool:
        """Return whether the bins are replaced where they lie."""
        return self.in_place

    def state_of(self, request: Request) -> str:
        """Return the name of the run's state, which is that of a single or in-place file."""
        if self.in_place or len(request.sources) == 1:
            return request.sources[0].name
        return ""

    def output_of(self, sources: Sequence[Path]) -> Path:
        """Return the output, which an option names and not an argument."""
        if self.out_dir is not None:
            return self.out_dir
        if len({os.path.realpath(source.parent) for source in sources}) > 1:
            raise OptionError(
                "--in-place takes the files of one folder at a time",
                expected="sources in one folder",
            )
        return sources[0].parent

    def plan(self, request: Request, scratch: Path) -> Work:
        _refuse_twins(request)
        is_only = len(request.sources) == 1
        shards: list[Shard] = []
        n_bytes, left = 0, request.limit
        for number, source in enumerate(request.sources):
            n_pairs, n_source_bytes = self._survey_source(source, scratch, is_only)
            if left is not None:
                n_pairs = min(n_pairs, left)
                left -= n_pairs
            shards += cut_evenly(n_pairs, _SHARD, source, id_format=f"{number:04d}-{{n:06d}}")
            n_bytes += n_source_bytes
        files: list[str] = []
        if not self.in_place:
            names = [Path(path).name for path in dict.fromkeys(shard.source for shard in shards)]
            files = [name for name in names if (scratch / _PLACES / name).exists()]
        return Work(
            [Stage("encode", shards)],
            " ".join(self._fingerprint(source) for source in request.sources),
            unit="pair",
            files=files,
            n_bytes=2 * n_bytes,
        )

    def _survey_source(self, source: Path, scratch: Path, is_only: bool) -> tuple[int, int]:
        """Return (inputs, image bytes) of a source; an unreadable one is one input."""
        try:
            pairs = pairs_bin.find_pairs(self._original(source))
        except SourceError as error:
            if is_only:
                raise
            storage.write_file(scratch / _REFUSED / source.name, str(error).encode(), durable=False)
            return 1, 0
        pairs_bin.save_places(scratch / _PLACES / source.name, pairs)
        return len(pairs), int(pairs["images"][:, :, 1].sum())

    def _original(self, source: Path) -> Path:
        """Return the file that an in-place run reads: the kept original, if an earlier start kept
        it.

        Raises OutputError when NAME.bak exists but cannot be the original of NAME.
        """
        kept = _kept(source)
        if not self.in_place or not kept.exists():
            return source
        if pairs_bin.is_own(source) or storage.read_bytes(source) == storage.read_bytes(kept):
            return kept
        raise OutputError(
            "exists, and is not the original of " + source.name,
            path=kept,
            remedy="Move it elsewhere.",
        )

    def _fingerprint(self, source: Path) -> str:
        original = self._original(source)
        return source.name + storage.fingerprint_of(original).removeprefix(original.name)

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        source = Path(shard.source)
        refused = sink.scratch / _REFUSED / source.name
        if refused.exists():
            yield Outcome(source.name, "bad_bin", storage.read_bytes(refused).decode(), "file")
            return
        part = pairs_bin.PairPart(sink)
        places = pairs_bin.load_places(
            sink.scratch / _PLACES / source.name, shard.start, shard.stop
        )
        with storage.ByteSource(self._original(source)) as file:
            for number, place in enumerate(places, shard.start):
                key = f"{source.name} pair {number}"
                images = pairs_bin.read_images(file, place)
                encoded = list(map(self._encode, images, pairs_bin.name_images(place, number)))
                failed = [each for each in encoded if isinstance(each, Outcome)]
                if failed:
                    yield pairs_bin.leave_out(key, failed)
                    continue
                part.add([each for each in encoded if isinstance(each, bytes)], bool(place["same"]))
                yield Outcome(key)

    def _encode(self, data: bytes, name: str) -> bytes | Outcome:
        """Encode an image again, or return the outcome of the image `name`."""
        header = check_image_bytes(data, name)
        if isinstance(header, Outcome):
            return header
        height, width = header.size or (1, 1)
        if height * width > _MAX_PIXELS:
            found = f"{height:,} × {width:,}"
            return undecodable(name, f"expected at most {_MAX_PIXELS:,} pixels, found {found}")
        pixels = load_image_bytes(data, name)
        if isinstance(pixels, Outcome):
            return pixels
        suffix = f".{self.format}"
        if self.keep and header.suffix == suffix:
            return data
        return codec.encode(pixels, suffix, self.quality)

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        for path, group in groupby(work.stages[0].shards, key=lambda shard: shard.source):
            shards, source = list(group), Path(path)
            if not (sink.scratch / _PLACES / source.name).exists():
                continue
            ids = [shard.id for shard in shards]
            n_pairs, n_kept = sum(map(len, shards)), pairs_bin.count_parts(sink, ids)
            if n_kept < n_pairs:
                log.warning(
                    "%s: %s of %s pairs are left out; each is named in failures.csv",
                    source.name,
                    n_pairs - n_kept,
                    n_pairs,
                )
            if n_kept:
                if self.in_place:
                    storage.keep_copy(source, _kept(source))
                    log.info("%s: the original is kept as %s", source, _kept(source).name)
                with sink.open(source.name) as file:
                    pairs_bin.join_parts(file, sink, ids)


def _kept(source: Path) -> Path:
    return source.with_name(source.name + ".bak")


def _refuse_twins(request: Request) -> None:
    """Refuse sources that would become one file. Raises OutputError."""
    names = Counter(source.name for source in request.sources)
    name, n = names.most_common(1)[0]
    if n > 1:
        raise OutputError(
            f"two sources have the name {name!r}", path=request.output, remedy="Take one at a time."
        )
