"""Embeddings of made-up people: a direction each, and images that spread around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from faceprep.core.embeddings import Embeddings, Model
from faceprep.identity.similarity import Pairs, Search, all_pairs, factors_of_images, ordered
from faceprep.identity.vectors import Vectors

DIM = 64
MODEL = Model("people", threshold=0.4, merge_from=0.5, undecided_from=0.3)


def person(seed: int, dim: int = DIM) -> np.ndarray:
    """(dim,) of length 1."""
    direction = np.random.default_rng(seed).normal(size=dim)
    return direction / np.linalg.norm(direction)


def photos(of: np.ndarray, n: int, seed: int, within: float = 0.7) -> np.ndarray:
    """(n, dim) float32: two of them are alike by about `within`; lengths differ."""
    random = np.random.default_rng([n, seed])
    noise = random.normal(size=(n, len(of)))
    noise -= (noise @ of)[:, None] * of
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    rows = np.sqrt(within) * of + np.sqrt(1 - within) * noise
    return (rows * random.uniform(5, 30, (n, 1))).astype(np.float32)


def folders(rows: Mapping[str, np.ndarray], model: Model = MODEL) -> Embeddings:
    """One identity an entry, its images `NAME/0.png`, `NAME/1.png` …"""
    keys = [f"{name}/{at}.png" for name, images in rows.items() for at in range(len(images))]
    names = [name for name, images in rows.items() for _ in range(len(images))]
    return Embeddings(keys, names, np.concatenate(list(rows.values())).astype(np.float32), model)


def shuffled(embeddings: Embeddings, seed: int) -> Embeddings:
    order = np.random.default_rng(seed).permutation(len(embeddings))
    return taken(embeddings, order.tolist())


def taken(embeddings: Embeddings, rows: Sequence[int]) -> Embeddings:
    keys, names = [embeddings.keys[i] for i in rows], [embeddings.identities[i] for i in rows]
    return Embeddings(keys, names, embeddings.vectors[np.array(rows, int)], embeddings.model)


def town(n_people: int, n_folders: int, seed: int, within: float = 0.7) -> Embeddings:
    """Every person in up to `n_folders` folders, of one to six images."""
    random = np.random.default_rng(seed)
    rows = {}
    for who in range(n_people):
        for folder in range(random.integers(1, n_folders + 1)):
            n = int(random.integers(1, 7))
            rows[f"p{who:03d}_{folder}"] = photos(
                person(1000 * seed + who), n, int(random.integers(1 << 30)), within
            )
    return folders(rows)


def find_pairs(vectors: Vectors, least: float, search: Search = all_pairs) -> Pairs:
    """Find all pairs of images with a likeness of `least` or more."""
    found = []
    for i, j in search(factors_of_images(vectors), least):
        likeness = vectors.likeness(i, j)
        enough = likeness >= least
        found.append((i[enough], j[enough], likeness[enough]))
    return ordered(found)
