"""`bin2folder`: convert a verification .bin to images and a table of pairs, bytes untouched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from faceprep.core import storage
from faceprep.core.io.image_bytes import check_image_bytes
from faceprep.core.io.image_header import ImageHeader
from faceprep.core.job import Job
from faceprep.core.shards import cut_evenly
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.sets.pairs_bin import container as pairs_bin

_SHARD = 1024
_PLACES, _ROWS = "places", ".csv"
_COLUMNS = b"pair,first,second,same\n"


@dataclass(frozen=True)
class Bin2Folder(Job):
    """Convert a verification .bin to images and pairs.csv, bytes untouched.

    DST gets images/PAIR_0.jpg and images/PAIR_1.jpg (or the suffix of the actual format), numbered
    from 0, and pairs.csv with the columns pair, first, second, same (1 or 0). To convert back, use
    `make-bin DST OUT --pairs-file DST/pairs.csv`. A pair with a damaged image is left out and named
    in failures.csv.
    """

    command: ClassVar[str] = "bin2folder"

    def may_write_to_store(self, output: Path) -> bool:
        return True

    def plan(self, request: Request, scratch: Path) -> Work:
        source = request.sources[0]
        pairs = pairs_bin.find_pairs(source)[: request.limit]
        pairs_bin.save_places(scratch / _PLACES, pairs)
        shards = cut_evenly(len(pairs), _SHARD, source)
        n_bytes = int(pairs["images"][:, :, 1].sum())
        fingerprint = storage.fingerprint_of(source)
        return Work(
            [Stage("write", shards)],
            fingerprint,
            unit="pair",
            n_files=2 * len(pairs) + 1,
            n_bytes=n_bytes,
        )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        rows = sink.open_part(_ROWS)
        places = pairs_bin.load_places(sink.scratch / _PLACES, shard.start, shard.stop)
        with storage.ByteSource(shard.source) as file:
            for number, place in enumerate(places, shard.start):
                images = pairs_bin.read_images(file, place)
                checked = list(map(check_image_bytes, images, pairs_bin.name_images(place, number)))
                failed = [each for each in checked if isinstance(each, Outcome)]
                if failed:
                    yield pairs_bin.leave_out(f"pair {number}", failed)
                    continue
                headers = [each for each in checked if isinstance(each, ImageHeader)]
                names = [
                    f"images/{number:06d}_{i}{header.suffix}" for i, header in enumerate(headers)
                ]
                for name, image in zip(names, images, strict=True):
                    sink.write(name, image)
                rows.write(f"{number},{names[0]},{names[1]},{place['same']}\n".encode())
                yield Outcome(f"pair {number}")

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        with sink.open("pairs.csv") as table:
            table.write(_COLUMNS)
            for shard in work.stages[0].shards:
                storage.append_file(sink.part_path(shard.id, _ROWS), table)
