"""manifest: whose class map is whose, and who may write it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from unittest import mock

import pytest

from faceprep.core.errors import FaceprepError, OutputError, SourceError
from faceprep.core.types import Outcome
from faceprep.sets import class_map
from faceprep.sets.manifests import writers
from faceprep.sets.manifests.layout import Part
from tests.fakes import break_file
from tests.manifests import failures, files, make, rows, run

PREPARED = "class,name,images\n0,a,0\n1,b,0\n2,c,0\n"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make(tmp_path / "set", "a/1.jpg", "a/2.jpg", "b/1.jpg")


def test_several_manifests_share_a_map_made_beforehand(source: Path, out: Path) -> None:
    prepared = make(out, "people.csv", data=PREPARED.encode()) / "people.csv"
    make(source, "d/1.jpg")
    for name in ("train.csv", "test.npz"):
        summary = run(source, out / name, classes=prepared)
        assert (summary.ok, failures(out / name)) == (3, {"d/1.jpg": "unknown_class"})
        assert {label for _, label in rows(out / name)} == {0, 1}
        run(source, out / name, classes=prepared, overwrite=True)
    assert prepared.read_text() == PREPARED
    for name in ("train", "test"):
        counted = class_map.load(out / f"{name}_classes.csv")
        assert counted == [(0, "a", 2), (1, "b", 1), (2, "c", 0)]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_map_of_a_person_is_never_replaced(source: Path, out: Path, overwrite: bool) -> None:
    own = make(out, "t_classes.csv", data=PREPARED.encode()) / "t_classes.csv"
    with pytest.raises(OutputError, match=r"t_classes.csv: exists already, with other classes"):
        run(source, out / "t.csv", overwrite=overwrite)
    assert own.read_text() == PREPARED
    assert set(files(out)) == {"t_classes.csv"}
    make(source, "c/1.jpg")
    run(source, out / "t.csv", overwrite=overwrite)
    assert own.read_text() == PREPARED, "the same classes are shared, and the counts stay"


def test_a_map_that_the_disk_does_not_give_is_not_called_another(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make(out, "t_classes.csv", data=PREPARED.encode()) / "t_classes.csv"
    break_file(monkeypatch, own)
    with pytest.raises(SourceError, match=r"t_classes\.csv: cannot open: Input/output error"):
        run(source, out / "t.csv")


def test_a_map_that_a_person_put_in_place_of_ours_stays(source: Path, out: Path) -> None:
    run(source, out / "t.csv")
    (out / "t_classes.csv").write_text(PREPARED)
    with pytest.raises(OutputError, match="with other classes"):
        run(source, out / "t.csv", overwrite=True, min_images=2)
    assert (out / "t_classes.csv").read_text() == PREPARED


def test_counts_are_refreshed_by_the_run_that_wrote_them(source: Path, out: Path) -> None:
    run(source, out / "t.csv")
    make(source, "b/2.jpg")
    for name in ("t.csv", "t.csv"):
        run(source, out / name, overwrite=True)
        assert class_map.load(out / "t_classes.csv") == [(0, "a", 2), (1, "b", 2)]
    make(source, "c/1.jpg")
    run(source, out / "t.csv", overwrite=True)
    assert [row.name for row in class_map.load(out / "t_classes.csv")] == ["a", "b", "c"]


def test_a_map_of_another_run_is_never_replaced(source: Path, out: Path) -> None:
    run(source, out / "t.csv")
    run(source, out / "t.lst")
    before = (out / "t_classes.csv").read_bytes()
    for name in ("t.csv", "t.lst", "t.npz"):
        with pytest.raises(OutputError, match="with other classes"):
            run(source, out / name, overwrite=True, min_images=2)
    make(source, "a/3.jpg")
    run(source, out / "t.lst", overwrite=True)
    assert (out / "t_classes.csv").read_bytes() == before, "its counts are those of t.csv"
    run(source, out / "t.csv", overwrite=True)
    assert class_map.load(out / "t_classes.csv") == [(0, "a", 3), (1, "b", 1)]


def test_two_runs_at_once_have_a_map_each(source: Path, out: Path) -> None:
    ends: dict[str, object] = {}
    together = Barrier(2)

    def write(part: Part) -> Iterator[Outcome]:
        together.wait(20)
        return writers.FORMATS[".lst"].writer(False)(part)

    def start(name: str, least: int) -> None:
        ends[name] = run(source, out / name, min_images=least).ok

    form = replace(writers.FORMATS[".csv"], write=write)
    with mock.patch.dict(writers.FORMATS, {".csv": form}):
        runs = [Thread(target=start, args=row) for row in (("big.csv", 1), ("small.csv", 2))]
        for each in runs:
            each.start()
        for each in runs:
            each.join()
    assert ends == {"big.csv": 3, "small.csv": 2}
    names = {stem: class_map.load(out / f"{stem}_classes.csv") for stem in ("big", "small")}
    assert names == {"big": [(0, "a", 2), (1, "b", 1)], "small": [(0, "a", 2)]}


@pytest.mark.parametrize("least", [1, 2])
def test_of_two_runs_that_end_at_once_the_first_keeps_its_map(
    least: int, source: Path, out: Path
) -> None:
    """The other run makes the map after this one has found none, and before it ends."""
    encode, ends = class_map.encode, list[int]()

    def end_second(*args: Any) -> bytes:
        if ends == [0]:
            ends[0] = -1
            ends[0] = run(source, out / "t.lst", min_images=least).ok
        return encode(*args)

    def write(part: Part) -> Iterator[Outcome]:
        ends.append(0)
        return form.writer(False)(part)

    form = writers.FORMATS[".csv"]
    with (
        mock.patch.dict(writers.FORMATS, {".csv": replace(form, write=write)}),
        mock.patch.object(class_map, "encode", end_second),
    ):
        if least == 1:
            assert run(source, out / "t.csv").ok == 3
        else:
            with pytest.raises(OutputError, match=r"t_classes.csv: exists already, with other"):
                run(source, out / "t.csv")
    assert ends == [4 - least]
    names = [(0, "a", 2), (1, "b", 1)]
    assert class_map.load(out / "t_classes.csv") == names[: 3 - least]


def test_of_two_runs_at_once_for_one_map_the_second_is_refused(source: Path, out: Path) -> None:
    """Both find no map when they begin; the one that ends first keeps its own."""
    form = writers.FORMATS[".csv"]

    def write(part: Part) -> Iterator[Outcome]:
        run(source, out / "t.lst", min_images=2)
        return form.writer(False)(part)

    with (
        mock.patch.dict(writers.FORMATS, {".csv": replace(form, write=write)}),
        pytest.raises(FaceprepError, match=r"t_classes.csv: exists already"),
    ):
        run(source, out / "t.csv")
    assert class_map.load(out / "t_classes.csv") == [(0, "a", 2)]
    assert len(rows(out / "t.lst")) == 2
