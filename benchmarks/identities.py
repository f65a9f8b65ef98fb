"""Identities beside other methods: merged and cleaned, on drawn towns and on AT&T's people.

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
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
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


def show(name: str, values: Iterable[float]) -> dict[str, float]:
    """Print the mean and its interval."""
    found = np.array(list(values))
    half = 1.96 * float(found.std(ddof=1)) / np.sqrt(len(found)) if len(found) > 1 else 0.0
    print(f"  {name:24s}{found.mean():.3f} ± {half:.3f}", flush=True)
    return {"mean": round(float(found.mean()), 4), "half": round(float(half), 4)}


def towns(n: int, seeds: range) -> dict[str, object]:
    results: dict[str, object] = {}
    for n_blurry in (0, 60 * n // 2000):
        print(f"\nF of merging, {n:,} identities, {n_blurry} blurry people, {len(seeds)} seeds")
        scores: dict[str, list[float]] = {name: [] for name in METHODS}
        for seed in seeds:
            town = draw_town(TownRule(n, n_blurry=n_blurry), seed)
            likeness = likeness_of(town.embeddings)
            for name, method in METHODS.items():
                scores[name].append(f_score(method(town, likeness), owners_of(town)))
        results[f"F, {n_blurry} blurry"] = {
            name: show(name, values) for name, values in scores.items()
        }
        results[f"far, {n_blurry} blurry"] = rates(n, n_blurry, seeds)
    results["cleaning"] = strays(n, seeds)
    return results


def rates(n: int, n_blurry: int, seeds: range) -> dict[str, object]:
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
    for far, found in ratios.items():
        print(f"  --far {far:g}: real rate {min(found):.2f} to {max(found):.2f} times as high")
    return {f"{far:g}": [min(found), max(found)] for far, found in ratios.items()}


def strays(n: int, seeds: range) -> dict[str, int]:
    """Count what becomes of images whose owner is in the set."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        rule = TownRule(n // 4, several=0, mixed=0, strays=0.3)
        town = draw_town(rule, seed)
        name_of = {int(owner): f"{number:05d}" for number, owner in enumerate(town.owners)}
        owners = [name_of[person] for person in town.people.tolist()]
        counts += judge_cleaning(town.embeddings, owners)
    print(f"\ncleaning {n // 4:,} identities with strays, {len(seeds)} seeds: {dict(counts)}")
    return dict(counts)


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


def att(crops: Path, embedder: EmbedOptions) -> dict[str, object]:
    paths = [
        (each.name, f"{crops}/{each.name}/{image}")
        for each in find_identities(crops)
        for image in each.images
    ]
    people = np.array([name for name, _ in paths])
    vectors = embedder.embed([decode(Path(path).read_bytes()) for _, path in paths])
    model = embedder.model()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    left, right = np.triu_indices(len(unit), 1)
    scores, same = (unit @ unit.T)[left, right].astype(float), people[left] == people[right]
    judged = judge_pairs(scores, same, n_folds=10)
    print(f"\nAT&T, {len(paths)} crops, {embedder.embedder}: EER {judged.eer:.2%}")
    print(f"  accuracy {judged.accuracy:.2%}; thresholds of {model.fingerprint or 'the default'}")
    random = np.random.default_rng(0)
    split = [f"{name}_{at % 3}" for at, name in enumerate(people.tolist())]
    pieces = Embeddings([f"{n}/{i}" for i, n in enumerate(split)], split, vectors, model)
    owners = np.array([name.partition("_")[0] for name in sorted(set(split))])
    found = merge(pieces)
    pairs = [(int(at), int(into)) for at, into in enumerate(found) if at != into]
    wrong = sum(owners[a] != owners[b] for a, b in pairs)
    print(f"  cut in three: {len(pairs)} of 40 merges, {wrong} of them wrong")
    names = np.unique(people)
    moved = np.where(random.random(len(people)) < 0.4, random.choice(names, len(people)), people)
    mixed = Embeddings([f"{n}/{i}" for i, n in enumerate(moved)], moved.tolist(), vectors, model)
    counts = judge_cleaning(mixed, people.tolist())
    print(f"  two in five in the wrong identity: {dict(counts)}")
    merges = {"found": len(pairs), "wrong": int(wrong)}
    return {"eer": judged.eer, "accuracy": judged.accuracy, "merges": merges, "clean": counts}


def registration(crops: Path, truth: Path, embedder: EmbedOptions) -> dict[str, object]:
    """Judge the pairs and merges of a folder of sign-ups by the lists of IDs of one person each."""
    person_of = {
        name: number
        for number, names in enumerate(json.loads(truth.read_text())["same_person"])
        for name in names
    }
    paths = [
        (each.name, f"{crops}/{each.name}/{image}")
        for each in find_identities(crops)
        for image in each.images
    ]
    names = [name for name, _ in paths]
    people = np.array([person_of.get(name, name) for name in names], dtype=object).astype(str)
    vectors = embedder.embed([decode(Path(path).read_bytes()) for _, path in paths])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    left, right = np.triu_indices(len(unit), 1)
    scores, same = (unit @ unit.T)[left, right].astype(float), people[left] == people[right]
    judged = judge_pairs(scores, same, n_folds=10)
    found = merge(Embeddings([path for _, path in paths], names, vectors, embedder.model()))
    folders = sorted(set(names))
    owners = np.array([person_of.get(name, name) for name in folders], dtype=object).astype(str)
    pairs = [(at, int(into)) for at, into in enumerate(found) if at != into]
    wrong = sum(owners[a] != owners[b] for a, b in pairs)
    wanted = len(folders) - len(set(owners))
    print(f"\nregistration, {len(paths)} crops, {embedder.embedder}: EER {judged.eer:.2%}")
    print(f"  accuracy {judged.accuracy:.2%} of {len(same)} pairs, {same.sum()} of one person")
    print(f"  {len(pairs)} of {wanted} merges, {wrong} of them wrong")
    merges = {"found": len(pairs), "wanted": wanted, "wrong": int(wrong)}
    return {"eer": judged.eer, "accuracy": judged.accuracy, "merges": merges}


def main() -> None:
    """Print the tables, and write the results as JSON."""
    parser = describe_options(__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for a look")
    parser.add_argument("--att", type=Path, help="AT&T's people as crops")
    parser.add_argument("--registration", type=Path, help="the registration desk's crops")
    parser.add_argument("--truth", type=Path, help="registration_truth.json")
    parser.add_argument("--only-crops", action="store_true", help="leave out the towns")
    parser.add_argument("--embedder", default="dlib-resnet")
    parser.add_argument("--mean", help="of a model file, as embed has it")
    parser.add_argument("--std", help="of a model file, as embed has it")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    asked = parser.parse_args()
    n, seeds = 2000, range(10)
    if asked.quick:
        n, seeds = 400, range(2)
    results = {} if asked.only_crops else towns(n, seeds)
    options = EmbedOptions(asked.embedder, mean=asked.mean, std=asked.std)
    if asked.registration and asked.truth:
        name = f"registration, {asked.embedder}"
        results[name] = registration(asked.registration, asked.truth, options)
    if asked.att:
        results[f"AT&T, {asked.embedder}"] = att(asked.att, options)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
