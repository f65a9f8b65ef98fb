"""Compare the quality of merging with other methods on planted noise, and time a large set.

    python benchmarks/merge.py [--quick] [--identities 8574] [--images 580000]

Vectors are made up: people are directions in 128 of 512 dimensions, images spread around them by
different amounts. One person in ten is under two to four names. Planted on top: folders in which a
share of the images is other people's (the noise of the table, in every fourth folder), folders with
images of two people half and half, single images half way between two people, pairs of people who
look alike, and near duplicates.

Beside ours, on the same vectors: a loop that merges on any pair over 0.7, in the order of names;
FAISS range search with union of what is over the threshold; scikit-learn's DBSCAN on images. Pairs
of folders are judged by the person whose the folder is (one with two people, or with a face half
way, is nobody's: to merge it is wrong), pairs of images by who is on them. Cleaned first, a folder
with two people may become one person's: to merge it then is counted as wrong all the same.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
from figures import peak_mb, show_table
from sklearn.cluster import DBSCAN
from timing import describe_options

from faceprep.core.arrays import Ints
from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.types import ACCEPTED
from faceprep.identity.identity_sums import gather_groups
from faceprep.identity.merge import plan_merges
from faceprep.identity.outliers import plan_cleaning
from faceprep.identity.similarity import find_mean_pairs
from faceprep.identity.vectors import prepare

DIM, RANK = 512, 128
MODEL = Model("made up", merge_from=0.5, undecided_from=0.3)


class Folder(NamedTuple):
    """Whose images it has, one entry an image; `owner` is -1 where it is nobody's. `bridge`:
    halves of two people.
    """

    owner: int
    who: Ints
    bridge: tuple[int, int] | None = None


class Planted(NamedTuple):
    embeddings: Embeddings
    folder: Ints
    owner: Ints
    """Of each folder; those of nobody have numbers of their own."""
    who: Ints
    """Of each image."""


def plant(n_people: int, per_folder: int, noise: float, path: Path, seed: int = 0) -> Planted:
    random = np.random.default_rng(seed)
    centres = np.zeros((n_people, DIM), np.float32)
    centres[:, :RANK] = random.standard_normal((n_people, RANK))
    alike = random.permutation(n_people)[: n_people // 50 * 2].reshape(-1, 2)
    centres[alike[:, 1]] = 0.45 * centres[alike[:, 0]] + np.sqrt(1 - 0.45**2) * centres[alike[:, 1]]
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    folders = fill(n_people, per_folder, noise, random)
    order = random.permutation(len(folders))
    folders = [folders[at] for at in order]
    who = np.concatenate([folder.who for folder in folders])
    folder_of = np.repeat(np.arange(len(folders)), [len(folder.who) for folder in folders])
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (len(who), DIM))
    draw(rows, centres, folders, random)
    owner = np.array(
        [n_people + at if folder.owner < 0 else folder.owner for at, folder in enumerate(folders)]
    )
    keys = [f"{folder:06d}/{at:07d}.jpg" for at, folder in enumerate(folder_of.tolist())]
    names = [f"{folder:06d}" for folder in folder_of.tolist()]
    return Planted(
        Embeddings(keys, names, np.load(path, mmap_mode="r"), MODEL), folder_of, owner, who
    )


def fill(n_people: int, per_folder: int, noise: float, random: np.random.Generator) -> list[Folder]:
    folders = []
    for person in range(n_people):
        for _ in range(int(random.integers(2, 5)) if random.random() < 0.1 else 1):
            who = np.full(max(int(random.poisson(per_folder)), 2), person)
            if random.random() < 0.25:
                flipped = random.random(len(who)) < noise
                who[flipped] = random.integers(0, n_people, int(flipped.sum()))
            folders.append(Folder(person, who))
    for _ in range(n_people // 50):
        a, b = random.choice(n_people, 2, replace=False).tolist()
        folders.append(Folder(-1, np.repeat([a, b], max(per_folder // 2, 1))))
        a, b = random.choice(n_people, 2, replace=False).tolist()
        folders.append(Folder(-1, np.array([n_people + len(folders)]), (a, b)))
    return folders


def draw(
    rows: npt.NDArray[np.float32],
    centres: npt.NDArray[np.float32],
    folders: list[Folder],
    random: np.random.Generator,
) -> None:
    at = 0
    for folder in folders:
        stop = at + len(folder.who)
        if folder.bridge:
            a, b = folder.bridge
            rows[at] = centres[a] + centres[b] + 0.01 * random.standard_normal(DIM, np.float32)
        else:
            near = random.uniform(0.65, 0.92, (stop - at, 1)).astype(np.float32)
            aside = random.standard_normal((stop - at, DIM), np.float32) / np.float32(np.sqrt(DIM))
            rows[at:stop] = near * centres[folder.who] + np.sqrt(1 - near**2) * aside
            for copy in np.flatnonzero(random.random(stop - at - 1) < 0.05):
                rows[at + copy + 1] = rows[at + copy] + 0.002 * aside[copy]
                folder.who[copy + 1] = folder.who[copy]
        at = stop


# What is compared. Each gives a cluster for every image.


def ours(planted: Planted) -> Ints:
    return numbered(merged(planted.embeddings, list(planted.embeddings.identities)))


def merged(embeddings: Embeddings, names: list[str]) -> list[str]:
    into = {d.subject: d.into for d in plan_merges(embeddings).decisions if d.verdict == ACCEPTED}
    return [into.get(name, name) for name in names]


def cleaned_first(planted: Planted) -> Ints:
    """Leave dropped images as identities of their own."""
    given = planted.embeddings
    decisions = {d.subject: d for d in plan_cleaning(given) if d.verdict == ACCEPTED}
    names = [
        (decisions[key].into or f"dropped {key}") if key in decisions else name
        for key, name in zip(given.keys, given.identities, strict=True)
    ]
    kept = [at for at, name in enumerate(names) if not name.startswith("dropped ")]
    left = Embeddings(
        [given.keys[at] for at in kept],
        [names[at] for at in kept],
        given.vectors[kept],
        given.model,
    )
    for at, name in zip(kept, merged(left, list(left.identities)), strict=True):
        names[at] = name
    return numbered(names)


def numbered(names: list[str]) -> Ints:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def unit(planted: Planted) -> npt.NDArray[np.float32]:
    rows = np.array(planted.embeddings.vectors)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def any_pair_in_order(planted: Planted, over: float = 0.7) -> Ints:
    """Merge each folder, in the order of names, with every other one that has any pair above
    the threshold.
    """
    rows, folder = unit(planted), planted.folder
    into = np.arange(len(planted.owner))
    for number in range(len(into)):
        own = rows[folder == number]
        hits = np.unique(folder[(rows @ own.T > over).any(axis=1)])
        into[hits] = into[number]
    return into[folder]


def range_and_union(planted: Planted, over: float = 0.5) -> Ints:
    """Join images above the threshold, and folders that share such images."""
    rows = unit(planted)
    index = faiss.IndexFlatIP(DIM)
    index.add(rows)
    parent = np.arange(len(planted.owner))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    for start in range(0, len(rows), 1024):
        limits, _, found = index.range_search(rows[start : start + 1024], over)
        left = np.repeat(planted.folder[start : start + 1024], np.diff(limits).astype(int))
        for a, b in np.unique(np.stack([left, planted.folder[found]]), axis=1).T.tolist():
            parent[root(a)] = root(b)
    return np.array([root(at) for at in range(len(parent))])[planted.folder]


def dbscan(planted: Planted, over: float = 0.5) -> Ints:
    """Cluster images by density. An image in no cluster stays alone."""
    labels = (
        DBSCAN(eps=1 - over, min_samples=3, metric="cosine", n_jobs=-1).fit(unit(planted)).labels_
    )
    alone = np.flatnonzero(labels < 0)
    labels[alone] = labels.max() + 1 + np.arange(len(alone))
    return labels.astype(np.int64)


PEERS: dict[str, Callable[[Planted], Ints]] = {
    "ours: merge-identities": ours,
    "ours: clean-identities first": cleaned_first,
    "any pair over 0.7, in order": any_pair_in_order,
    "FAISS range 0.5 + union": range_and_union,
    "DBSCAN, cosine 0.5": dbscan,
}


def n_pairs(labels: npt.NDArray[np.int64]) -> int:
    counts = np.unique(labels, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def judged(found: Ints, truth: Ints) -> tuple[float, float, float]:
    """Return pairwise precision, recall and F."""
    both = n_pairs(found * (truth.max() + 1) + truth)
    precision, recall = both / max(n_pairs(found), 1), both / max(n_pairs(truth), 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def of_folders(found: Ints, planted: Planted) -> Ints:
    """Return the cluster that holds most images of each folder.

    Methods that split folders are evaluated by these.
    """
    most: dict[int, Counter[int]] = defaultdict(Counter)
    for folder, cluster in zip(planted.folder.tolist(), found.tolist(), strict=True):
        most[folder][cluster] += 1
    return np.array([most[at].most_common(1)[0][0] for at in range(len(planted.owner))])


def quality(n_people: int, per_folder: int, levels: list[float], folder: Path) -> None:
    heads = [f"{kind} {figure}" for kind in ("folders", "images") for figure in ("P", "R", "F")]
    note = f"{n_people:,} people, {per_folder} images a folder; precision, recall, F of pairs"
    for level in levels:
        rows = {}
        planted = plant(n_people, per_folder, level, folder / "quality.npy", seed=int(100 * level))
        for name, method in PEERS.items():
            started = time.perf_counter()
            found = method(planted)
            seconds = time.perf_counter() - started
            folders = judged(of_folders(found, planted), planted.owner)
            images = judged(found, planted.who)
            figures = dict(zip(heads, folders + images, strict=True))
            rows[name] = {"seconds": seconds} | figures
        show_table(f"quality, {level:.0%} wrong images", rows, note)


def large(n_identities: int, n_images: int, folder: Path) -> None:
    """Show the seconds of each stage."""
    per_folder = n_images // n_identities
    planted = plant(round(n_identities / 1.24), per_folder, 0.1, folder / "large.npy")
    embeddings = planted.embeddings
    started = time.perf_counter()
    vectors = prepare(embeddings)
    groups = gather_groups(vectors)
    read = time.perf_counter()
    find_mean_pairs(groups, MODEL.undecided_from)
    compared = time.perf_counter()
    merges = plan_merges(embeddings)
    whole = time.perf_counter() - compared
    reading, comparing = read - started, compared - read
    rest = max(whole - reading - comparing, 0.0)
    rows = {
        "checked and summed": {"seconds": reading},
        "identities compared": {"seconds": comparing},
        "joined, with evidence": {"seconds": rest},
        "the whole plan": {"seconds": whole, "decisions": len(merges.decisions)},
    }
    rows["the whole plan"] |= {"MB at the peak, mapped pages too": peak_mb()}
    note = f"{len(planted.owner):,} identities, {len(embeddings):,} images of {DIM} numbers"
    show_table("large", rows, f"{note}, memory-mapped, once")


def main() -> None:
    parser = describe_options(__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for a look")
    parser.add_argument("--identities", type=int, default=8574)
    parser.add_argument("--images", type=int, default=580_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.quick:
            quality(200, 12, [0.01, 0.2, 0.4], folder)
            large(1000, 30_000, folder)
        else:
            quality(1000, 20, [0.01, 0.1, 0.3], folder)
            large(args.identities, args.images, folder)


if __name__ == "__main__":
    main()
