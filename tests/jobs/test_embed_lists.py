"""embed: lists of images. Their names, classes and folders, repeated names and those outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceprep.core.errors import SourceError
from faceprep.core.types import Request
from faceprep.jobs.manifest import Manifest
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.tables.embeddings import load_embeddings, load_place
from tests.embedding import NAMES, are_wanted, by_name, crops, net, run

__all__ = ["crops", "net"]


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".lst", ".parquet"])
@pytest.mark.parametrize("relative", [False, True])
def test_a_manifest(crops: Path, tmp_path: Path, net: str, suffix: str, relative: bool) -> None:
    base = crops.parent if relative else None
    manifest = tmp_path / f"set{suffix}"
    run_job(Manifest(seed=1, relative_to=base), Request((crops,), manifest), SerialRunner())
    run(manifest, tmp_path / "out.npz", net, relative_to=base)
    found = load_embeddings(tmp_path / "out.npz")
    prefix = f"{crops.name}/" if relative else ""
    assert are_wanted({key.removeprefix(prefix): vector for key, vector in by_name(found).items()})
    assert load_place(tmp_path / "out.npz").root == str(crops.parent if relative else crops)
    assert set(zip(found.identities, (key.split("/")[-2] for key in found.keys), strict=True)) == {
        (name, name) for name in ("9", "10", "b")
    }


def test_a_list_without_classes_has_the_identities_of_its_folders(
    crops: Path, tmp_path: Path, net: str
) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{crops / name}\n" for name in NAMES))
    run(tmp_path / "a.txt", tmp_path / "out.npz", net)
    found = load_embeddings(tmp_path / "out.npz")
    assert found.identities == [name.split("/")[0] for name in NAMES]


def test_the_class_minus_one_of_a_list_is_no_identity(
    crops: Path, tmp_path: Path, net: str
) -> None:
    lines = (f"{crops / name} {number // 4 - 1}\n" for number, name in enumerate(NAMES))
    (tmp_path / "a.txt").write_text("".join(lines))
    run(tmp_path / "a.txt", tmp_path / "out.npz", net)
    assert load_embeddings(tmp_path / "out.npz").identities == [*"....00001111"]


def test_a_line_that_a_manifest_repeats_is_named(crops: Path, tmp_path: Path, net: str) -> None:
    paths = [str(crops / name) for name in (*NAMES[:5], NAMES[1], NAMES[1])]
    (tmp_path / "a.txt").write_text("".join(f"{path} 3\n" for path in paths))
    summary = run(tmp_path / "a.txt", tmp_path / "out.npz", net)
    assert summary.by_status == {"ok": 5, "repeated": 2}
    assert load_embeddings(tmp_path / "out.npz").keys == NAMES[:5]


def test_a_name_that_leads_outside_of_the_list_is_refused(
    crops: Path, tmp_path: Path, net: str
) -> None:
    """As in every command: absolute names and --relative-to say that they may lead anywhere."""
    inside, outside = tmp_path / "lists" / "a.png", next(crops.rglob("*.png"))
    inside.parent.mkdir()
    inside.write_bytes(outside.read_bytes())
    manifest, away = inside.with_name("m.txt"), os.path.relpath(outside, inside.parent)
    manifest.write_text(f"a.png\n{away}\n{outside}\n")
    summary = run(manifest, tmp_path / "out.npz", net)
    assert summary.by_status == {"ok": 1, "outside": 2}
    assert list(load_embeddings(tmp_path / "out.npz").keys) == ["a.png"]
    manifest.write_text(f"{away}\n")
    with pytest.raises(SourceError, match=r"m\.txt: all its names lead outside its folder"):
        run(manifest, tmp_path / "none.npz", net)
    manifest.write_text(f"{outside}\n")
    assert run(manifest, tmp_path / "all.npz", net).by_status == {"ok": 1}
