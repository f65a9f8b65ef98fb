"""Measure the basis of an embedder's thresholds: similarities of pairs, angles to centres.

    python benchmarks/thresholds.py CROPS [--embedder dlib-resnet] [--truth groups.json]

CROPS is what extract-photos made. `--truth` is a JSON file with lists of identities that are one
person, under `same_person`. Both metrics are shown, whichever is the embedder's own: the cosine,
and 1 - distance² / 2.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from figures import show_table

from faceprep.core.arrays import Doubles
from faceprep.identity.cores import robust_centre
from faceprep.identity.metrics.verification import judge_pairs
from faceprep.sets.folder import find_identities
from faceprep.steps.embed_options import EmbedOptions
from faceprep.vision.codec import decode


def describe_pairs(
    name: str, table: Doubles, people: npt.NDArray[np.str_], at: list[float]
) -> None:
    """Describe the upper triangle of a `table` of similarities."""
    left, right = np.triu_indices(len(table), 1)
    scores, same = table[left, right], people[left] == people[right]
    eer = judge_pairs(scores, same, n_folds=0).eer
    note = (
        f"{same.sum():,} pairs of one person, {(~same).sum():,} of different people; "
        f"equal error rate {eer:.2%}"
    )
    rows = {
        "lowest, one person": {"similarity": scores[same].min()},
        "highest, different people": {"similarity": scores[~same].max()},
    }
    for least in at:
        shares = {
            "pairs of one person": (scores[same] >= least).mean(),
            "pairs of different people": (scores[~same] >= least).mean(),
        }
        rows[f"at least {least:g}"] = {"similarity": least} | shares
    show_table(name, rows, note)


def describe_angles(title: str, unit: Doubles, people: npt.NDArray[np.str_], limit: float) -> None:
    """Show the degrees from each image to the robust centre of its own person, and of others."""
    names = np.unique(people)
    centres = np.stack([robust_centre(unit[people == name], limit, True) for name in names])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip(unit @ centres.T, -1, 1)))
    own = people[:, None] == names[None]
    low, few, middle = np.quantile(angles[~own], [0.01, 0.05, 0.5])
    ours = {"median": np.median(angles[own]), "highest": angles[own].max()}
    others = {"median": middle, "1st percentile": low, "5th percentile": few}
    show_table(title, {"to its own centre": ours, "to other centres": others}, "degrees")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("crops", type=Path)
    options.add_argument("--embedder", default="dlib-resnet")
    options.add_argument("--truth", type=Path)
    given = options.parse_args()
    identities = find_identities(given.crops)
    groups = json.loads(given.truth.read_text())["same_person"] if given.truth else []
    person = {name: group[0] for group in groups for name in group}
    files = [
        (person.get(each.name, each.name), f"{each.name}/{image}")
        for each in identities
        for image in each.images
    ]
    people = np.array([name for name, _ in files])
    embed = EmbedOptions(embedder=given.embedder)
    rows = embed.embed([decode((given.crops / path).read_bytes()) for _, path in files]).astype(
        np.float64
    )
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit, model = rows / lengths, embed.model()
    title = f"{given.crops.name}, {len(rows)} images of {len(set(people))} people"
    describe_pairs(
        f"{title}, cosine",
        unit @ unit.T,
        people,
        [model.undecided_from, model.threshold, model.merge_from],
    )
    describe_pairs(
        f"{title}, 1 - distance² / 2",
        1 + rows @ rows.T - (lengths**2 + lengths.T**2) / 2,
        people,
        [1 - 0.6**2 / 2],
    )
    describe_angles(f"{title}, angles", unit, people, model.outlier_angle)


if __name__ == "__main__":
    main()
