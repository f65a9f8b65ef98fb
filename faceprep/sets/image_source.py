"""Encoded images of a folder, a verification .bin or a .rec, read by number.

lay_out   what is in the set, noted where workers find it
read      the images [start, stop), each with a name for people
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import read_image_bytes
from faceprep.core.shards import even_bounds
from faceprep.core.types import Buffer, Outcome
from faceprep.sets.folder import find_identities
from faceprep.sets.listing import Listing, list_images
from faceprep.sets.pairs_bin import container as pairs_bin
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.entries import read_entries
from faceprep.sets.recordio.metadata import Metadata
from faceprep.sets.recordio.records import Damage, ImageRecord, RecordFile
from faceprep.sets.recordio.survey import survey_index

CUT = 512
"""Images that are read at a time: `read` takes pieces that begin at multiples of it."""
FOLDER, _BIN, _REC = "folder", ".bin", ".rec"


class NamedImage(NamedTuple):
    """The bytes of an image, or the reason why it has none; `number` is its position in the set."""

    number: int
    name: str
    data: Buffer | Damage


class ImageSet(NamedTuple):
    """A set that was laid out under `name`, with `n` images; `fingerprint` identifies its state.

    `metadata` says which records of a .rec are not images; `faults` are outcomes of the file.
    """

    path: str
    kind: str
    name: str
    n: int
    fingerprint: str
    metadata: Metadata = Metadata()
    faults: tuple[Outcome, ...] = ()


def lay_out(path: Path, scratch: Path, name: str) -> ImageSet:
    """Write down the images of the folder, .bin or .rec (or folder with one) at `path`.

    Raises SourceError.
    """
    if path.suffix.lower() == ".bin" and not path.is_dir():
        places = pairs_bin.find_pairs(path)
        pairs_bin.save_places(scratch / name, places)
        return ImageSet(str(path), _BIN, name, 2 * len(places), storage.fingerprint_of(path))
    if path.suffix.lower() in (_REC, ".idx") or (path.is_dir() and _holds_rec(path)):
        rec = rec_index.find_rec(path)
        n = rec_index.write_index(rec, scratch / name)
        found = survey_index(rec, scratch / name)
        state = rec.fingerprint
        return ImageSet(str(rec.rec), _REC, name, n, state, found.metadata, found.faults)
    if not path.is_dir():
        expected = "a folder of images, a verification .bin, or a .rec"
        raise SourceError("no set of images", path=path, expected=expected)
    listing = list_images(find_identities(path))
    digest = hashlib.sha256()
    for position in range(len(listing)):
        image = listing.path(position)
        digest.update(
            f"{image}\0{storage.size_of(f'{path}/{image}')}\n".encode("utf-8", "surrogateescape")
        )
    lay_out_listing(listing, scratch, name)
    return ImageSet(
        str(path), FOLDER, name, len(listing), f"{len(listing):,} images {digest.hexdigest()[:16]}"
    )


def _holds_rec(folder: Path) -> bool:
    return any(name.endswith(_REC) for name in storage.list_folder(folder)[1])


def lay_out_listing(listing: Listing, scratch: Path, name: str) -> None:
    """Write down the images of a folder that is already listed."""
    for start, stop in even_bounds(len(listing), CUT):
        paths = [listing.path(position) for position in range(start, stop)]
        storage.write_file(_cut(scratch, name, start), json.dumps(paths).encode(), durable=False)


def load_names(scratch: Path, name: str, start: int) -> list[str]:
    """Load the paths of the piece that begins at `start` of a folder that was laid out."""
    names: list[str] = json.loads(storage.read_bytes(_cut(scratch, name, start)))
    return names


def _cut(scratch: Path, name: str, start: int) -> Path:
    return scratch / f"{name}-{start:09d}"


def read(images: ImageSet, scratch: Path, start: int, stop: int) -> Iterator[NamedImage]:
    """Yield the images [start, stop) in storage order.

    The metadata records of a .rec are left out.
    """
    if images.kind == _BIN:
        return _read_bin(images, scratch, start, stop)
    return (_read_rec if images.kind == _REC else read_folder)(images, scratch, start, stop)


def read_folder(images: ImageSet, scratch: Path, start: int, stop: int) -> Iterator[NamedImage]:
    """Yield the images [start, stop) of a folder."""
    for number, name in enumerate(load_names(scratch, images.name, start)[: stop - start], start):
        data = read_image_bytes(f"{images.path}/{name}", name)
        if isinstance(data, Outcome):
            yield NamedImage(number, name, Damage(data.status, data.reason))
        else:
            yield NamedImage(number, name, data)


def _read_bin(images: ImageSet, scratch: Path, start: int, stop: int) -> Iterator[NamedImage]:
    places = pairs_bin.load_places(scratch / images.name, start // 2, (stop + 1) // 2)
    with storage.ByteSource(images.path) as file:
        for pair, place in enumerate(places, start // 2):
            for side, data in enumerate(pairs_bin.read_images(file, place)):
                yield NamedImage(2 * pair + side, f"pair {pair}, image {side}", data)


def _read_rec(images: ImageSet, scratch: Path, start: int, stop: int) -> Iterator[NamedImage]:
    entries = read_entries(scratch / images.name, start, stop)
    placed = sorted(zip(entries[1::2], entries[0::2], range(start, stop), strict=True))
    with RecordFile(images.path) as file:
        records = file.read_images([offset for offset, _, _ in placed])
        for (offset, key, number), record in zip(placed, records, strict=True):
            name = f"record {key}" if key >= 0 else f"record at offset {offset}"
            if isinstance(record, ImageRecord):
                if not images.metadata.describes(key, record):
                    yield NamedImage(number, name, record.image)
            else:
                yield NamedImage(number, name, record)
