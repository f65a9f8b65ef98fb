"""Compare `verify` with the usual evaluation of a .bin, and time the metrics of scores alone.

python benchmarks/verify.py          6,000 pairs; 10 million scores; a search as large as IJB-C's
python benchmarks/verify.py --quick  600 pairs; 1 million scores; a quarter of the search

The field's way is written anew here: images decoded one after the other, every one embedded, with
its mirror image, also where it occurs in several pairs; the sum brought to length 1; scikit-learn's
KFold, and for each fold the best threshold of its roc_curve. (InsightFace tries distances in steps
of 0.01 instead: shown as well.)
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from figures import peak_mb, show_table
from sklearn.metrics import roc_curve
from sklearn.model_selection import KFold
from timing import side_by_side

from faceprep.identity.metrics.identification import judge_searches, search
from faceprep.identity.metrics.verification import judge_pairs
from faceprep.steps.embed_options import EmbedOptions
from faceprep.synthetic import draw_face


def faces(orl: Path | None) -> list[list[np.ndarray]]:
    """Return images of each person: grey photos of AT&T's set if it is given, and drawn ones
    otherwise.
    """
    if orl:
        people = [
            [cv2.imread(str(path)) for path in sorted(person.glob("*.pgm"))]
            for person in sorted(orl.iterdir())
        ]
        return [[cv2.resize(image, (112, 112)) for image in images] for images in people if images]
    return [[draw_face(person, image)[0] for image in range(10)] for person in range(20)]


def write_bin(path: Path, n_pairs: int, orl: Path | None) -> None:
    """Write ten folds, half of each with pairs of one person.

    There are about 0.64 different images for each place, as in the 7,701 of LFW.
    """
    chance, people = np.random.default_rng(0), faces(orl)
    drawn: dict[tuple[int, int], bytes] = {}

    def image(person: int) -> bytes:
        number = int(chance.integers(0, max(1, n_pairs * 125 // 60 // len(people))))
        if (person, number) not in drawn:
            photo = people[person][number % len(people[person])]
            turn = cv2.getRotationMatrix2D(
                (56, 56), chance.uniform(-8, 8), chance.uniform(0.9, 1.1)
            )
            moved = cv2.warpAffine(photo, turn, (112, 112)) * chance.uniform(0.8, 1.2)
            moved = np.clip(moved + chance.normal(0, 6, moved.shape), 0, 255).astype(np.uint8)
            drawn[person, number] = cv2.imencode(".jpg", moved)[1].tobytes()
        return drawn[person, number]

    images, same = [], []
    for pair in range(n_pairs):
        same.append(pair * 20 // n_pairs % 2 == 0)
        first = int(chance.integers(0, len(people)))
        second = first if same[-1] else (first + int(chance.integers(1, len(people)))) % len(people)
        images += [image(first), image(second)]
    path.write_bytes(pickle.dumps((images, same)))


def fields_accuracy(scores: np.ndarray, same: np.ndarray) -> float:
    accuracies = []
    for train, test in KFold(10, shuffle=False).split(scores):
        far, tar, thresholds = roc_curve(same[train], scores[train], drop_intermediate=False)
        n_same = np.count_nonzero(same[train])
        right = np.round(tar * n_same) + np.round((1 - far) * (len(train) - n_same))
        accuracies.append(np.mean((scores[test] >= thresholds[right.argmax()]) == same[test]))
    return float(np.mean(accuracies))


def grid_accuracy(scores: np.ndarray, same: np.ndarray) -> float:
    distances, grid, accuracies = 2 - 2 * scores, np.arange(0, 4, 0.01), []
    for train, test in KFold(10, shuffle=False).split(scores):
        right = [np.mean((distances[train] < step) == same[train]) for step in grid]
        accuracies.append(np.mean((distances[test] < grid[int(np.argmax(right))]) == same[test]))
    return float(np.mean(accuracies))


def fields_way(path: str) -> None:
    """Time it in its own process, like faceprep."""
    embed = EmbedOptions()
    with open(path, "rb") as file:
        images, same = pickle.load(file, encoding="bytes")
    fit = embed.fitter().fit
    pixels = [
        cv2.cvtColor(cv2.imdecode(np.frombuffer(each, np.uint8), 1), cv2.COLOR_BGR2RGB)
        for each in images
    ]
    vectors = 0
    for mirrored in (False, True):
        crops = [fit(each)[:, ::-1] if mirrored else fit(each) for each in pixels]
        batches = [np.stack(crops[start : start + 64]) for start in range(0, len(crops), 64)]
        vectors = vectors + np.concatenate([embed.embed_fitted(batch) for batch in batches])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores, truth = (unit[0::2] * unit[1::2]).sum(axis=1), np.array(same)
    print(
        json.dumps(
            {"accuracy": fields_accuracy(scores, truth), "grid": grid_accuracy(scores, truth)}
        )
    )


def run(command: list[str], told: dict[str, dict[str, float]], name: str) -> None:
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    told[name] = json.loads(done.stdout)


def commands(folder: Path, n_pairs: int, given: argparse.Namespace) -> None:
    path, told = folder / "pairs.bin", {}
    write_bin(path, n_pairs, given.orl)
    side_by_side(
        "a .bin, whole command",
        n_pairs,
        {
            "the field's way": partial(run, [__file__, "--fields-way", str(path)], told, "field"),
            "faceprep verify": partial(
                run, ["-m", "faceprep", "verify", str(path), "--json"], told, "ours"
            ),
        },
        given.repeats,
    )
    field, ours = told["field"], told["ours"]["results"][0]["accuracy"]
    rows = {
        "the field's way": {"accuracy": field["accuracy"]},
        "the same with distances in steps of 0.01": {"accuracy": field["grid"]},
        "faceprep verify": {"accuracy": ours},
    }
    show_table("accuracy of a .bin", rows)


def figures(n: int, repeats: int) -> None:
    chance = np.random.default_rng(1)
    same = chance.random(n) < 0.5
    scores = (chance.normal(0, 0.1, n) + same * 0.4).astype(np.float32)
    told: dict[str, float | None] = {}

    def judge(name: str, way: Callable[[], float | None]) -> None:
        told[name] = way()

    ways = {
        "scikit-learn: KFold, roc_curve": lambda: fields_accuracy(scores, same),
        "judge_pairs": lambda: judge_pairs(scores, same).accuracy,
    }
    side_by_side(
        "figures of scores",
        n,
        {name: partial(judge, name, way) for name, way in ways.items()},
        repeats,
    )
    show_table("accuracy of scores", {name: {"accuracy": each} for name, each in told.items()})


def plain_search(
    gallery: np.ndarray, probes: np.ndarray, people: np.ndarray
) -> tuple[float, float]:
    """Return rank 1 and TPIR at an FPIR of 1e-2."""
    likeness = probes @ gallery.T
    best = [np.argsort(row)[::-1][:20] for row in likeness]
    mated = people < len(gallery)
    hits = np.mean(
        [
            person == row[0]
            for row, person in zip(best, people, strict=True)
            if person < len(gallery)
        ]
    )
    limit = np.sort(likeness[~mated].max(axis=1))[::-1][np.count_nonzero(~mated) // 100]
    first = likeness[mated].max(axis=1)
    mates = likeness[mated, people[mated]]
    return float(hits), float(np.mean((mates == first) & (mates > limit)))


def searches(n_gallery: int, n_probes: int, repeats: int) -> None:
    chance = np.random.default_rng(2)
    centres = chance.normal(0, 1, (2 * n_gallery, 512)).astype(np.float32)
    people = chance.integers(0, 2 * n_gallery, n_probes)
    probes = centres[people] + chance.normal(0, 2.6, (n_probes, 512)).astype(np.float32)
    gallery = centres[:n_gallery] + chance.normal(0, 2.6, (n_gallery, 512)).astype(np.float32)
    gallery, probes = (
        each / np.linalg.norm(each, axis=1, keepdims=True) for each in (gallery, probes)
    )

    told: dict[str, tuple[float, float]] = {}

    def plain() -> None:
        told["plain"] = plain_search(gallery, probes, people)

    def ours() -> None:
        found = judge_searches(search(gallery, np.arange(n_gallery), probes, people), n_gallery)
        told["search"] = found.rank["1"], found.tpir_at_fpir["1e-2"]

    ways = {"a plain loop with argsort": plain, "search": ours}
    side_by_side(f"searches in a gallery of {n_gallery:,}", n_probes, ways, repeats)
    rows = {name: {"rank 1": rank, "TPIR": tpir} for name, (rank, tpir) in told.items()}
    show_table("accuracy of searches", rows, "TPIR at an FPIR of 0.01")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--orl", type=Path, help="AT&T's photos; drawn faces without them")
    options.add_argument(
        "--fields-way", metavar="BIN", help="what the first part runs beside faceprep"
    )
    given = options.parse_args()
    if given.fields_way:
        fields_way(given.fields_way)
        return
    share = 10 if given.quick else 1
    with tempfile.TemporaryDirectory() as folder:
        commands(Path(folder), 6000 // share, given)
    figures(10_000_000 // share, given.repeats)
    searches(3531 // (4 if given.quick else 1), 19593 // (4 if given.quick else 1), given.repeats)
    show_table("memory", {"this process": {"MB": peak_mb()}})


if __name__ == "__main__":
    main()
