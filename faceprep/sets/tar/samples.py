"""Samples of a tar file: consecutive members that share a key, and the images in them.

The key of a member ends at the first dot of its base name; the rest is its extension. A sample with
one image has one entry. In a sample with several images, each has an entry of its own that is named
by its whole name without the suffix: b.1.jpg and b.2.jpg are b.1 and b.2, and a.jpg and a.png are a
and a.png.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from faceprep.core.storage import ByteSource
from faceprep.sets.members import SkippedFiles, read_path
from faceprep.sets.tar.contents import read_label, read_labels
from faceprep.sets.tar.names import (
    LABELS,
    LARGEST_CLASS,
    class_name,
    fold_label,
    is_image,
    split_name,
)
from faceprep.sets.tar.plain_samples import LEAST, PlainSamples, find_plain_samples
from faceprep.sets.tar.scan import Bodiless, Members
from faceprep.sets.webdataset import path_of

_MOST_MEMBERS = 4096
"""Members of one sample at most; a longer run of one key continues as another sample."""
_MOST_SHARING = 64
_NO_KEY = "\0"
_JSON = "json"
_MOST_JSON = 1 << 20
NO_BYTES = 1
"""The `number` of an entry without bytes whose image is a link or a special file."""

Member = tuple[str, int, int, int]
"""Name, where it begins, where its content begins, size."""


class Entry(NamedTuple):
    """An image: its key, its identity, and the bytes [start, stop) that hold its sample.

    `number` counts the images among these bytes.
    """

    key: str
    identity: str
    start: int
    stop: int
    number: int = 0


def read_key(raw: str) -> str:
    """Return the key of an image: a path without the escapes of its name. Raises SourceError.

    >>> read_key("./a/b%2Ec"), read_key("a/%2e%2e")
    ('a/b.c', 'a/%2e%2e')
    """
    folder, slash, name = raw.rpartition("/")
    plain = path_of(name)
    if not {"/", "\0"} & set(plain) and plain not in ("", ".", ".."):
        name = plain
    return read_path(folder + slash + name)


class Entries:
    """Columns of entries: keys, identities, where the samples begin and end, image numbers."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.identities: list[str] = []
        self.starts, self.stops, self.numbers = array("q"), array("q"), array("q")

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, entry: Entry) -> None:
        """Add one entry."""
        self.keys.append(entry.key)
        self.identities.append(entry.identity)
        self.starts.append(entry.start)
        self.stops.append(entry.stop)
        self.numbers.append(entry.number)

    def add_plain(self, samples: PlainSamples) -> None:
        """Add an entry for each of several samples."""
        self.keys += samples.keys
        self.identities += samples.identities
        self.starts.frombytes(samples.starts.tobytes())
        self.stops.frombytes(samples.stops.tobytes())
        self.numbers.frombytes(bytes(8 * len(samples.keys)))


class SampleGrouper:
    """Groups members into samples and collects an entry for each image.

    `n_together` members or more are looked at together, with the same result.
    """

    def __init__(self, source: ByteSource, skipped: SkippedFiles, n_together: int = LEAST) -> None:
        self._source, self._skipped, self._n_together = source, skipped, n_together
        self.entries = Entries()
        """Entries that are complete; the caller replaces them."""
        self.n_dropped_names = 0
        """Images whose names begin with __NAME__, which webdataset itself does not read."""
        self.n_several = 0
        """Samples with several images."""
        self.has_others = False
        """Whether a sample has files that are neither images nor labels."""
        self.max_labels = 1
        self._prefix = _NO_KEY
        self._members: dict[str, Member] = {}

    def add(self, members: Members) -> None:
        """Add the members that follow those before."""
        plain = None
        if len(members.starts) >= self._n_together:
            plain = find_plain_samples(members)
        if plain is None:
            self._add_each(members)
            return
        self._add_each(members.part(0, plain.first))
        self.finish()
        self._note_extensions(plain.extensions)
        if _JSON in plain.extensions:
            self._note_json(members.part(plain.first, plain.last))
        self.entries.add_plain(plain)
        self._add_each(members.part(plain.last, len(members.starts)))

    def add_bodiless(self, member: Bodiless) -> None:
        """Enter an image that is a link or a special file: it has a name and no bytes."""
        self._enter(split_name(member.name)[0], {}, member.start, member.start, NO_BYTES)

    def _note_extensions(self, extensions: Iterable[str]) -> None:
        others = (name for name in extensions if name not in LABELS and not is_image(name))
        self.has_others = self.has_others or any(others)

    def _note_json(self, members: Members) -> None:
        """Note the labels in the .json files among members whose contents are in memory."""
        for i, name in enumerate(members.names):
            if name.endswith(f".{_JSON}"):
                start = int(members.contents[i]) - members.base
                self._note_labels(bytes(members.block[start : start + int(members.sizes[i])]))

    def _note_labels(self, text: bytes) -> None:
        labels, extra = read_labels({_JSON: text})
        self.max_labels = max(self.max_labels, len(labels))
        self.has_others = self.has_others or bool(extra)

    def _add_each(self, members: Members) -> None:
        """Add members one by one, whatever they are."""
        prefix, sample = self._prefix, self._members
        columns = (members.starts, members.contents, members.sizes)
        for member in zip(members.names, *(part.tolist() for part in columns), strict=True):
            name = member[0]
            if name.startswith(prefix):
                extension = fold_label(name[len(prefix) :])
                is_new = extension and extension not in sample and "/" not in extension
                if is_new and len(sample) < _MOST_MEMBERS:
                    sample[extension] = member
                    continue
            self.finish()
            key, extension = split_name(name)
            if not extension:
                self._skipped.add("without a name or an extension", name)
                prefix = self._prefix
                continue
            self._prefix = prefix = key + "."
            self._members = sample = {fold_label(extension): member}

    def finish(self) -> None:
        """Complete the sample that was begun."""
        sample, self._members = self._members, {}
        if not sample:
            return
        raw = self._prefix[:-1]
        self._prefix = _NO_KEY
        images = [extension for extension in sample if is_image(extension)]
        if not images:
            for member in sample.values():
                self._skipped.add("not part of a sample with an image", member[0])
            return
        self._note_extensions(sample)
        if _JSON in sample:
            _, _, content, size = sample[_JSON]
            self._note_labels(self._source.read_at(content, min(size, _MOST_JSON)))
        if len(images) == 1:
            members = list(sample.values())
            self._enter(raw, sample, members[0][1], _end(members[-1]))
        else:
            self._split(raw, sample, images)
        folder, slash, _ = raw.partition("/")
        if slash and raw.startswith("__") and folder.endswith("__"):
            self.n_dropped_names += len(images)

    def _enter(
        self, raw: str, sample: Mapping[str, Member], start: int, stop: int, number: int = 0
    ) -> None:
        key = raw
        if "%" in raw or "//" in raw or "/." in raw or raw[0] in "/.":
            key = read_key(raw)
        identity = key.rpartition("/")[0]
        if not identity:
            identity = self._read_class(sample)
            if identity:
                key = f"{identity}/{key}"
        self.entries.add(Entry(key, identity, start, stop, number))

    def _read_class(self, sample: Mapping[str, Member]) -> str:
        """Read the class of a sample as text; empty for none, or one that cannot name a folder."""
        if "cls" in sample:
            _, _, content, size = sample["cls"]
            return class_name(self._source.read_at(content, size)) if size <= LARGEST_CLASS else ""
        if _JSON in sample:
            _, _, content, size = sample[_JSON]
            return read_label(self._source.read_at(content, min(size, _MOST_JSON)))
        return ""

    def _split(self, raw: str, sample: Mapping[str, Member], images: list[str]) -> None:
        """Make an entry for each image of a sample that has several."""
        self.n_several += 1
        shared: dict[str, Member] = {}
        if len(images) <= _MOST_SHARING:
            shared = {e: m for e, m in sample.items() if "." not in e and not is_image(e)}
        used: set[str] = set()
        for image, name in zip(images, _name_images(raw, images), strict=True):
            stem = _stem(image)
            own = {e: m for e, m in sample.items() if e == image or _belongs(e, stem)}
            members = shared | own
            used |= members.keys()
            start = min(member[1] for member in members.values())
            stop = max(_end(member) for member in members.values())
            inside = [e for e in images if start <= sample[e][1] < stop]
            by_suffix = {e.rpartition(".")[2]: m for e, m in members.items()}
            self._enter(name, by_suffix, start, stop, inside.index(image))
        for extension in sample.keys() - used:
            self._skipped.add("beside several images of one key", sample[extension][0])


def _name_images(raw: str, images: list[str]) -> list[str]:
    """Return a key for each image of a sample `raw`: with its stem, or its suffix where that is
    taken.
    """
    names: list[str] = []
    taken: set[str] = set()
    for image in images:
        stem = _stem(image)
        names.append(f"{raw}.{image}" if stem in taken else raw + stem)
        taken.add(stem)
    return names


def _stem(extension: str) -> str:
    """Return the part of an extension before its suffix, which is empty or `.NAME`."""
    return f".{extension}".rpartition(".")[0]


def _belongs(extension: str, stem: str) -> bool:
    """Return whether a file that is not an image has this stem, which is empty or `.NAME`."""
    return _stem(extension) == stem and not is_image(extension)


def _end(member: Member) -> int:
    _, _, content, size = member
    return content + size
