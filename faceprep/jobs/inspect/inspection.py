"""The findings of `inspect`, as text and as JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from faceprep.core.io.image_bytes import check_image_bytes
from faceprep.core.io.image_header import ImageHeader
from faceprep.core.text import count_noun, join_lines
from faceprep.core.types import OK, Buffer, Outcome
from faceprep.vision.load_image import load_image_bytes

_N_NAMED = 20
_SHALLOW = {
    True: " by header and end (--deep decodes the images)",
    False: " in the container (--deep decodes the frames)",
}
"""What was looked at where nothing was decoded, by whether it was images."""


@dataclass
class Inspection:
    """The findings.

    `images` and `identities` count sound ones; `damage` names the first few of `damaged`, and
    `contradictions` are numbers in the file that disagree. Text leaves out the images of a file
    that holds none, such as a plan: `has_images` is False.
    """

    path: str
    kind: str
    images: int = 0
    identities: int | None = None
    image_sizes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    damage: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)
    has_images: bool = True
    is_deep: bool = True
    """Whether all images, or all frames of a video, were decoded."""

    @property
    def failed(self) -> int:
        return self.damaged + len(self.contradictions)

    def add_image(self, where: str, data: Buffer, deep: bool) -> bool:
        """Count one encoded image or name its damage; return whether it is sound."""
        header = _check(data, where, deep)
        if isinstance(header, Outcome):
            self.add_damage(header.reason)
            return False
        self.images += 1
        self.is_deep = self.is_deep and deep
        self.formats[header.suffix] += 1
        if header.size:
            self.image_sizes["{}x{}".format(*header.size)] += 1
        return True

    def remove_image(self, line: str) -> None:
        """Name the damage of an image that was counted, whose bytes are sound."""
        self.images -= 1
        self.add_damage(line)

    def add_damage(self, line: str) -> None:
        """Count damage, and name it once: all images of a page of a Parquet file have the same."""
        self.damaged += 1
        if len(self.damage) < _N_NAMED and line not in self.damage:
            self.damage.append(line)

    def as_json(self) -> dict[str, Any]:
        counts = {OK: self.images, "damaged": self.damaged}
        return {
            "command": "inspect",
            "unit": "img",
            "inputs": self.images + self.damaged,
            "ok": self.images,
            "failed": self.failed,
            "by_status": {name: n for name, n in counts.items() if n},
            "path": self.path,
            "kind": self.kind,
            "images": self.images,
            "identities": self.identities,
            "image_sizes": dict(self.image_sizes.most_common()),
            "formats": dict(self.formats.most_common()),
            "damaged": self.damaged,
            "damage": self.damage,
            "contradictions": self.contradictions,
        } | self.details

    def __str__(self) -> str:
        if self.identities is None:
            of = ""
        else:
            of = f" of {count_noun(self.identities, 'identity', 'identities')}"
        lines = [f"{self.path}: {self.kind}"]
        if self.has_images:
            lines.append(f"  {'images':16s}{self.images:,}{of}")
        for name, counts in (("sizes (h x w)", self.image_sizes), ("formats", self.formats)):
            if counts:
                common = ", ".join(f"{what} {n:,}" for what, n in counts.most_common(5))
                more = " …" if len(counts) > 5 else ""
                lines.append(f"  {name:16s}{common}{more}")
        lines += [
            f"  {name.replace('_', ' '):16s}{_shown(value)}" for name, value in self.details.items()
        ]
        n_damaged = f"{self.damaged:,}" if self.damaged else "none found"
        if not (self.damaged or self.is_deep):
            n_damaged += _SHALLOW[self.has_images]
        lines.append(f"  {'damage':16s}{n_damaged}")
        lines += [f"    {line}" for line in self.damage]
        if self.damaged > len(self.damage):
            lines.append(f"    {self.damaged - len(self.damage):,} more")
        lines += [f"  {'contradiction':16s}{line}" for line in self.contradictions]
        return join_lines(lines)


def _check(data: Buffer, where: str, deep: bool) -> ImageHeader | Outcome:
    header = check_image_bytes(data, where)
    if isinstance(header, Outcome) or not deep:
        return header
    pixels = load_image_bytes(data, where)
    if isinstance(pixels, Outcome):
        return pixels
    return header


def spread(counts: list[int]) -> dict[str, float] | None:
    """Return the smallest, median and largest number of images per identity."""
    if counts:
        return {"min": min(counts), "median": statistics.median(counts), "max": max(counts)}
    return None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        parts = [f"{name.replace('_', ' ')} {_shown(each)}" for name, each in value.items()]
        return ", ".join(parts) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int | float):
        return f"{value:,}"
    return str(value)
