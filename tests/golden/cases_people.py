"""Cases of plans: merge, clean, dedupe, apply and undo."""

from __future__ import annotations

from collections.abc import Iterator

from tests.golden.steps import Case, case, edit

_DOUBLES = "{made}/doubles"
_TINY = "--embedder {made}/tiny.onnx"


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    yield from _merge_cases()
    yield from _clean_cases()
    yield from _dedupe_cases()
    yield from _apply_cases()


def _merge_cases() -> Iterator[Case]:
    yield case("merge/default", f"merge-identities {_DOUBLES} out", weight=3)
    for linkage in ("mean", "complete", "centroid", "single"):
        words = f"merge-identities {_DOUBLES} out {_TINY} --threshold 0.99 --linkage {linkage}"
        yield case(f"merge/linkage-{linkage}", words)
    yield case(
        "merge/options",
        f"merge-identities {_DOUBLES} planned --plan-only --threshold 0.95",
        f"merge-identities {_DOUBLES} hard --mode hardlink --threshold 0.95",
        f"merge-identities {_DOUBLES} soft --mode symlink --threshold 0.95",
        f"merge-identities {_DOUBLES} far --far 0.01",
        f"merge-identities {_DOUBLES} second --second-opinion {{made}}/tiny.onnx --flip",
        f"merge-identities {_DOUBLES} limited --limit 9",
        weight=5,
    )
    yield case(
        "merge/embeddings",
        f"embed {_DOUBLES} vectors.npz",
        "merge-identities vectors.npz npz",
        f"embed {_DOUBLES} vectors.parquet",
        "merge-identities vectors.parquet parquet --approximate",
        "clean-identities vectors.npz clean",
        weight=4,
    )
    yield case("merge/cut", f"merge-identities {{made}}/cut out {_TINY} --threshold 0.9")


def _clean_cases() -> Iterator[Case]:
    yield case(
        "clean/options",
        f"clean-identities {_DOUBLES} out",
        f"clean-identities {_DOUBLES} angle --angle 15",
        f"clean-identities {_DOUBLES} few --min-images 5",
        f"clean-identities {_DOUBLES} planned --plan-only --angle 18",
        weight=4,
    )
    yield case("clean/cut", f"clean-identities {{made}}/cut out {_TINY} --angle 30")


def _dedupe_cases() -> Iterator[Case]:
    yield case(
        "dedupe/options",
        "dedupe {made}/copies out",
        "dedupe {made}/copies none --embedder none",
        "dedupe {made}/copies exact --exact-only",
        "dedupe {made}/copies planned --plan-only",
        "dedupe {made}/folders against --embedder none --against {made}/lfw",
        "dedupe {made}/copies bin --embedder none --against {data}/bins/py3_bytes.bin",
        "dedupe {made}/copies rec --exact-only --against {data}/mxnet/insightface",
        "dedupe {made}/names names --embedder none",
        weight=4,
    )
    yield case("dedupe/cut", "dedupe {made}/cut out --embedder none")


def _apply_cases() -> Iterator[Case]:
    yield case(
        "apply/merge-and-undo",
        f"merge-identities {_DOUBLES} merged --threshold 0.96",
        edit("accept", "merged/plan.jsonl"),
        "apply merged/plan.jsonl applied",
        "apply merged/plan.jsonl linked --mode symlink",
        "apply applied/undo.jsonl undone",
        "apply merged/undo.jsonl undone_too",
        edit("refuse_first", "merged/plan.jsonl"),
        "apply merged/plan.jsonl refused",
        weight=4,
    )
    yield case(
        "apply/clean-and-undo",
        f"clean-identities {_DOUBLES} clean --angle 15",
        edit("accept", "clean/plan.jsonl"),
        "apply clean/plan.jsonl applied",
        "apply clean/undo.jsonl undone",
        weight=3,
    )
    yield case(
        "apply/dedupe-and-undo",
        "dedupe {made}/copies deduped --embedder none",
        "apply deduped/undo.jsonl undone",
        edit("accept", "deduped/plan.jsonl"),
        "apply deduped/plan.jsonl applied",
    )
    yield case(
        "apply/faces",
        "extract-photos {data}/photos/registration crops",
        "merge-identities crops merged",
        "apply merged/undo.jsonl undone",
        "clean-identities merged clean",
        weight=4,
    )
    yield case(
        "apply/changed-source",
        f"merge-identities source merged {_TINY} --threshold 0.99 --plan-only",
        edit("remove", "source/p0/0.png"),
        "apply merged/plan.jsonl out",
        copies=[("source", _DOUBLES)],
    )
