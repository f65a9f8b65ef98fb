"""Tests that every way to multiply finds the same entries."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from faceprep.identity import matmul, similarity
from faceprep.identity.matmul import (
    CpuProducts,
    SessionProducts,
    build_product_graph,
    multiply,
    open_products,
)
from faceprep.identity.merge import plan_merges
from tests.people import town


def session() -> SessionProducts:
    """Open the graph that runs on a GPU on the CPU."""
    graph, providers = build_product_graph(), ["CPUExecutionProvider"]
    return SessionProducts(onnxruntime.InferenceSession(graph, providers=providers))


@pytest.mark.parametrize("floor", [-2.0, 0.02, 0.25, 2.0])
def test_a_session_finds_what_the_cpu_finds(floor: float) -> None:
    random = np.random.default_rng(1)
    left, right = (random.normal(size=(n, 64)).astype("f4") / 8 for n in (200, 150))
    i, j = CpuProducts(30_000).above(left, right, np.float32(floor))
    other = session().above(left, right, np.float32(floor))
    assert np.array_equal(other[0], i) and np.array_equal(other[1], j)
    assert np.array_equal(np.stack([i, j]), np.stack(np.nonzero(left @ right.T >= floor)))


def test_a_plan_is_the_same_from_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = town(40, 3, seed=5, within=0.55)
    plan = plan_merges(embeddings)
    monkeypatch.setattr(similarity, "open_products", lambda operations, size: session())
    assert plan_merges(embeddings) == plan


def test_small_and_large_products() -> None:
    random = np.random.default_rng(2)
    for n, m in ((3, 5), (90, 92), (200, 10)):
        left, right = (random.normal(size=(rows, 40)).astype("f4") for rows in (n, m))
        assert multiply(left, right) == pytest.approx(left @ right.T, abs=1e-4)
        assert multiply(left, right, np.empty(n * m, np.float32)) == pytest.approx(
            left @ right.T, abs=1e-4
        )


def test_without_a_gpu_the_cpu_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul._gpu_session.cache_clear()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert isinstance(open_products(1e15, 100), CpuProducts)
    matmul._gpu_session.cache_clear()
