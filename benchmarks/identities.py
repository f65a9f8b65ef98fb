"""Compare merging and cleaning with other methods, on drawn towns and on AT&T's people.

    python benchmarks/identities.py                      drawn towns, ten seeds
    python benchmarks/identities.py --att CROPS          and AT&T's people, from extract-photos
    python benchmarks/identities.py --registration CROPS --truth registration_truth.json
    python benchmarks/identities.py --quick

A town has 2,000 identities (`faceprep.synthetic.town`), with look-alikes, chains, identities of two
people and of strays, with and without 60 blurry people. F is that of pairs of identities, by their
owners; to merge an identity of two people is wrong. The others get the mean likeness of all pairs
of identities, at the same threshold. Means over the seeds, with intervals of 95 %.

AT&T: equal error rate and accuracy of all pairs, identities that were cut in three and merged, and
images that were put into the wrong identity, two in five, and cleaned. The registration desk: equal
error rate and accuracy of all pairs by the truth, and merges of the folders, in which people signed
up twice. --only-crops leaves out the towns.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from figures import show_table
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering
from timing import describe_options

from faceprep.core.arrays import Doubles, Ints
from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import OptionError
from faceprep.core.types import ACCEPTED, DROP
from faceprep.identity.far_threshold import threshold_at
from faceprep.identity.linkage import MEAN
from faceprep.identity.merge import LikelyPairs, plan_merges
from faceprep.identity.metrics.verification import judge_pairs
from faceprep.identity.outliers import plan_cleaning
from faceprep.identity.similarity import find_maxima
from faceprep.identity.vectors import prepare
from faceprep.models.spec import EMBEDDER_SETTINGS, parse_spec
from faceprep.sets.folder import find_identities
from faceprep.steps.embed_crops import EmbedOptions
from faceprep.synthetic.town import MODEL, NOBODY, Town, TownRule, draw_town
from faceprep.vision.codec import decode

Labels = Ints
OVER = 0.7
"""The likeness of "any pair over"."""
_TURNS = 20


def ours(town: Town, likeness: Doubles) -> Labels:
    """Return the clusters of merge-identities."""
    return merge(town.embeddings)


def merge(embeddings: Embeddings) -> Labels:
    names = sorted(set(embeddings.identities))
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.arange(len(names))
    for decision in plan_merges(embeddings).decisions:
        if decision.verdict == ACCEPTED:
            labels[numbers[decision.subject]] = numbers[decision.into]
    return labels


def dbscan(town: Town, likeness: Doubles) -> Labels:
    model = DBSCAN(eps=1 - MODEL.merge_from, min_samples=2, metric="precomputed")
    return alone_apart(model.fit(np.clip(1 - likeness, 0, None)).labels_)


def hdbscan(town: Town, likeness: Doubles) -> Labels:
    model = HDBSCAN(min_cluster_size=2, metric="precomputed", copy=True)
    return alone_apart(model.fit(np.clip(1 - likeness, 0, None)).labels_)


def average(town: Town, likeness: Doubles) -> Labels:
    model = AgglomerativeClustering(
        None, metric="precomputed", linkage="average", distance_threshold=1 - MODEL.merge_from
    )
    return np.asarray(model.fit(np.clip(1 - likeness, 0, None)).labels_)


def chinese_whispers(town: Town, likeness: Doubles) -> Labels:
    """Give each identity the label with the greatest weight among its neighbours, in turns."""
    random = np.random.default_rng(0)
    labels = np.arange(len(likeness))
    neighbours = [np.flatnonzero(row >= MODEL.merge_from) for row in likeness]
    for _ in range(_TURNS):
        before = labels.copy()
        for node in random.permutation(len(labels)).tolist():
            near = neighbours[node][neighbours[node] != node]
            if len(near):
                labels[node] = np.bincount(labels[near], likeness[node, near]).argmax()
        if (labels == before).all():
            break
    return labels


def any_pair(town: Town, likeness: Doubles) -> Labels:
    """Join identities with any pair of images over the threshold."""
    pairs = find_maxima(prepare(town.embeddings), OVER)
    labels = np.arange(len(likeness))
    for one, other in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True):
        if labels[one] != labels[other]:
            labels[labels == labels[one]] = labels[other]
    return labels


METHODS: dict[str, Callable[[Town, Doubles], Labels]] = {
    "merge-identities": ours,
    "DBSCAN": dbscan,
    "HDBSCAN": hdbscan,
    "average linkage": average,
    "Chinese whispers": chinese_whispers,
    f"any pair over {OVER}": any_pair,
}


def alone_apart(labels: Ints) -> Labels:
    """Give noise a label each."""
    labels = np.array(labels, np.int64)
    alone = np.flatnonzero(labels < 0)
    labels[alone] = labels.max(initial=0) + 1 + np.arange(len(alone))
    return labels


def likeness_of(embeddings: Embeddings) -> Doubles:
    """Return the mean likeness (g, g) of all identities."""
    groups = LikelyPairs(embeddings, "single").groups
    means = groups.means(groups.totals)
    table = means @ means.T
    np.fill_diagonal(table, 1)
    return np.asarray(table)


def owners_of(town: Town) -> Ints:
    """Return owners with a number of its own for each identity of two people."""
    owners = town.owners.copy()
    mixed = np.flatnonzero(owners == NOBODY)
    owners[mixed] = owners.max() + 1 + np.arange(len(mixed))
    return owners


def f_score(found: Labels, truth: Ints) -> float:
    """Return the F of the pairs that are together."""
    n_both = n_pairs(found * (int(truth.max()) + 1) + truth)
    return 2 * n_both / max(n_pairs(found) + n_pairs(truth), 1)


def n_pairs(labels: Ints) -> int:
    counts = np.unique(labels, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def interval(values: list[float]) -> dict[str, float]:
    """Return the mean and half of its interval."""
    half = 1.96 * float(np.std(values, ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "±": half}


def towns(n: int, seeds: range) -> None:
    for ending, n_blurry in (("", 0), (", with blurry people", 60 * n // 2000)):
        scores: dict[str, list[float]] = {name: [] for name in METHODS}
        for seed in seeds:
            town = draw_town(TownRule(n, n_blurry=n_blurry), seed)
            likeness = likeness_of(town.embeddings)
            for name, method in METHODS.items():
                scores[name].append(f_score(method(town, likeness), owners_of(town)))
        note = f"{n:,} identities, {n_blurry} blurry people, {len(seeds)} seeds"
        rows = {name: interval(values) for name, values in scores.items()}
        show_table(f"F of merging{ending}", rows, note)
        ratios = rates(n, n_blurry, seeds)
        show_table(f"real rate of false accepts by --far{ending}", ratios, note)
    strays(n, seeds)


def rates(n: int, n_blurry: int, seeds: range) -> dict[str, dict[str, float]]:
    """Compare the real rates of false accepts with the stated ones."""
    ratios: dict[float, list[float]] = {}
    for seed in seeds:
        town = draw_town(TownRule(n, n_blurry=n_blurry), seed)
        owners = owners_of(town)
        pairs = LikelyPairs(town.embeddings, MEAN).find(0.0)
        impostors = pairs.likeness[owners[pairs.left] != owners[pairs.right]]
        total = len(owners) * (len(owners) - 1) // 2 - n_pairs(owners)
        for far in (1e-3, 1e-4, 1e-5, 1e-6):
            try:
                threshold = threshold_at(town.embeddings, far).threshold
            except OptionError:
                continue
            real = np.count_nonzero(impostors >= threshold) / total
            ratios.setdefault(far, []).append(real / far)
    return {
        f"--far {far:g}": {"lowest": min(found), "highest": max(found)}
        for far, found in ratios.items()
    }


def strays(n: int, seeds: range) -> None:
    """Count what becomes of images whose owner is in the set."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        rule = TownRule(n // 4, several=0, mixed=0, strays=0.3)
        town = draw_town(rule, seed)
        name_of = {int(owner): f"{number:05d}" for number, owner in enumerate(town.owners)}
        owners = [name_of[person] for person in town.people.tolist()]
        counts += judge_cleaning(town.embeddings, owners)
    show_table("cleaning", count_rows(counts), f"{n // 4:,} identities, {len(seeds)} seeds")


def count_rows(counts: Counter[str]) -> dict[str, dict[str, int]]:
    return {name: {"images": n} for name, n in sorted(counts.items())}


def judge_cleaning(embeddings: Embeddings, owners: list[str]) -> Counter[str]:
    truth = dict(zip(embeddings.keys, owners, strict=True))
    counts: Counter[str] = Counter()
    for decision in plan_cleaning(embeddings):
        action = decision.action
        if action != DROP:
            action += " right" if decision.into == truth[decision.subject] else " wrong"
        counts[f"{action}, {decision.verdict}"] += 1
    return counts


# AT&T


class Crops:
    """Crops in folders of identities, their vectors, and figures of all pairs."""

    def __init__(self, folder: Path, embedder: EmbedOptions, groups: list[list[str]]) -> None:
        person = {name: str(number) for number, names in enumerate(groups) for name in names}
        each_image = [
            (each.name, f"{folder}/{each.name}/{image}")
            for each in find_identities(folder)
            for image in each.images
        ]
        self.names = [name for name, _ in each_image]
        self.people = np.array([person.get(name, name) for name in self.names])
        self.paths = [path for _, path in each_image]
        self.vectors = embedder.embed([decode(Path(path).read_bytes()) for path in self.paths])
        self.model, self.title = (
            embedder.model(),
            Path(parse_spec(embedder.embedder, EMBEDDER_SETTINGS).model).name,
        )

    def show_pairs(self, title: str) -> None:
        """Show the accuracy of all pairs."""
        unit = self.vectors / np.linalg.norm(self.vectors, axis=1, keepdims=True)
        left, right = np.triu_indices(len(unit), 1)
        scores = (unit @ unit.T)[left, right].astype(float)
        same = self.people[left] == self.people[right]
        judged = judge_pairs(scores, same, n_folds=10)
        row = {"images": len(unit), "pairs": len(same), "of one person": int(same.sum())}
        row |= {"equal error rate": judged.eer, "10-fold accuracy": judged.accuracy}
        show_table(f"pairs of {title}, {self.title}", {"all pairs": row})

    def show_merges(self, title: str, names: list[str], people: np.ndarray) -> None:
        """Merge the images under `names`, and show how many merges are right."""
        found = merge(Embeddings(self.paths, names, self.vectors, self.model))
        person_of = dict(zip(names, people.tolist(), strict=True))
        owners = [person_of[name] for name in sorted(person_of)]
        pairs = [(at, int(into)) for at, into in enumerate(found) if at != into]
        wrong = sum(owners[at] != owners[into] for at, into in pairs)
        row = {"wanted": len(owners) - len(set(owners)), "merged": len(pairs), "wrong": wrong}
        show_table(f"{title}, {self.title}", {"merge-identities": row})


def att(crops: Path, embedder: EmbedOptions) -> None:
    """Evaluate AT&T's people: pairs, identities cut in three, and images in wrong identities."""
    set_ = Crops(crops, embedder, [])
    set_.show_pairs("AT&T")
    split = [f"{name}_{at % 3}" for at, name in enumerate(set_.names)]
    set_.show_merges("AT&T cut in three", split, set_.people)
    random, names = np.random.default_rng(0), np.unique(set_.people)
    is_moved = random.random(len(set_.people)) < 0.4
    moved = np.where(is_moved, random.choice(names, len(set_.people)), set_.people)
    keys = [f"{name}/{i}" for i, name in enumerate(moved)]
    mixed = Embeddings(keys, moved.tolist(), set_.vectors, set_.model)
    counts = judge_cleaning(mixed, set_.people.tolist())
    title = f"AT&T, two in five in the wrong identity, {set_.title}"
    show_table(title, count_rows(counts))


def registration(crops: Path, truth: Path, embedder: EmbedOptions) -> None:
    """Evaluate the pairs and merges of registration folders.

    The truth lists the IDs of each person.
    """
    set_ = Crops(crops, embedder, json.loads(truth.read_text())["same_person"])
    set_.show_pairs("registration")
    set_.show_merges("registration", set_.names, set_.people)


def main() -> None:
    """Show the tables."""
    parser = describe_options(__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for a look")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--att", type=Path, help="AT&T's people as crops")
    parser.add_argument("--registration", type=Path, help="the registration desk's crops")
    parser.add_argument("--truth", type=Path, help="registration_truth.json")
    parser.add_argument("--only-crops", action="store_true", help="leave out the towns")
    parser.add_argument("--embedder", default="dlib-resnet")
    asked = parser.parse_args()
    n, seeds = 2000, range(asked.seeds)
    if asked.quick:
        n, seeds = 400, range(2)
    if not asked.only_crops:
        towns(n, seeds)
    options = EmbedOptions(asked.embedder)
    if asked.registration and asked.truth:
        registration(asked.registration, asked.truth, options)
    if asked.att:
        att(asked.att, options)


if __name__ == "__main__":
    main()
