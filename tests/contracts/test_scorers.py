"""The contract of every scorer in the registry: a rule, on a small network in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.core.arrays import Pixels
from faceprep.core.errors import FaceprepError, OptionError, SourceError
from faceprep.core.registry import SCORERS
from faceprep.core.scores import Scorer
from faceprep.models.scorers.scorer import ScorerSpec, load_rule, open_scorer
from tests.tiny_models import random_crops, save_heads

ARGUMENTS = {"softmax": "softmax/1", "column": "column/2"}
"""Name in the registry -> `read=`, for rules that take an argument."""
OUTPUTS = {"leaf": {"Identity": 8, "Identity_1": 8}}
"""Name in the registry -> the outputs of its network, for rules that need several."""


@pytest.fixture(params=SCORERS, scope="module")
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    kind: str = request.param
    path = tmp_path_factory.mktemp(kind) / "net.onnx"
    save_heads(path, OUTPUTS.get(kind, {"logits": 5}))
    return f"{path}:mean=127.5,std=128,read={ARGUMENTS.get(kind, kind)}"


@pytest.fixture(scope="module")
def scorer(spec: str) -> Scorer:
    return open_scorer(ScorerSpec(spec, "cpu", threads=1))


@pytest.fixture(scope="module")
def crops(scorer: Scorer) -> Pixels:
    assert scorer.size[0] == scorer.size[1]
    return random_crops(5, scorer.size[0])


def test_scores_are_one_float_a_crop(scorer: Scorer, crops: Pixels) -> None:
    scores = scorer.score(crops)
    assert scores.shape == (5,) and scores.dtype == np.float32 and np.isfinite(scores).all()
    assert len(np.unique(scores)) == 5, "other crops, other scores"
    none = scorer.score(crops[:0])
    assert none.shape == (0,) and none.dtype == np.float32


def test_a_score_does_not_depend_on_its_batch(scorer: Scorer, crops: Pixels) -> None:
    whole = scorer.score(crops)
    assert np.array_equal(scorer.score(crops[::-1])[::-1], whole)
    parts = [scorer.score(crops[:1]), scorer.score(crops[1:])]
    assert np.array_equal(np.concatenate(parts), whole)


def test_the_crops_are_not_altered(scorer: Scorer, crops: Pixels) -> None:
    before = crops.copy()
    scorer.score(crops)
    assert (crops == before).all()


def test_it_says_what_it_is(spec: str, scorer: Scorer) -> None:
    assert scorer.provider == "CPU" and "\n" not in scorer.fingerprint
    again = open_scorer.__wrapped__(ScorerSpec(spec, "cpu", threads=2))
    assert again.fingerprint == scorer.fingerprint
    other = open_scorer.__wrapped__(ScorerSpec(spec.replace("std=128", "std=1"), "cpu"))
    assert other.fingerprint != scorer.fingerprint


@pytest.mark.parametrize("kind", SCORERS)
def test_other_arguments_are_refused(kind: str) -> None:
    for text in (f"{kind}/x", f"{kind}/-1", f"{kind}/1/2"):
        with pytest.raises(OptionError, match="model spec: expected "):
            load_rule(text)


@pytest.mark.parametrize("kind", SCORERS)
def test_networks_that_do_not_fit_are_one_line(kind: str, tmp_path: Path) -> None:
    save_heads(tmp_path / "net.onnx", {"a": 1, "b": 2, "c": 3})
    read = ARGUMENTS.get(kind, kind)
    with pytest.raises(SourceError, match="net.onnx: ") as caught:
        open_scorer.__wrapped__(ScorerSpec(f"{tmp_path / 'net.onnx'}:read={read}", "cpu"))
    assert all(f"{name} (n, " in str(caught.value) for name in "abc")
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    for name in ("bad.onnx", "none.onnx"):
        with pytest.raises(FaceprepError, match=name) as caught:
            open_scorer.__wrapped__(ScorerSpec(f"{tmp_path / name}:read={read}", "cpu"))
        assert "\n" not in str(caught.value)
