"""manifest: class numbers that stay, groups that are not split, and drawn shares."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from faceprep.cli.summary import describe_preview
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.types import Request
from faceprep.jobs.manifest import Manifest
from faceprep.run.preview import preview_job
from faceprep.sets import class_map
from tests.manifests import failures, make, rows, run


def people(root: Path) -> Path:
    """live and spoof videos of six people, two videos each."""
    names = [
        f"{kind}/{person}/{person}-{video}/{i}.jpg"
        for kind in ("live", "spoof")
        for person in range(6)
        for video in range(2)
        for i in range(3)
    ]
    return make(root, *names)


def person_of(name: str) -> str:
    return name.rsplit("/", 3)[1]


def test_groups_stay_on_one_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = people(tmp_path / "in")
    options = {"label_rule": "live=0,spoof=1", "val_fraction": 0.3}
    run(source, tmp_path / "g" / "a.csv", group_by=r"re:^(?:live|spoof)/(\d+)/", **options)
    train, val = (rows(tmp_path / "g" / name) for name in ("a.csv", "a_val.csv"))
    assert len(train) + len(val) == 72
    assert not {person_of(row[0]) for row in train} & {person_of(row[0]) for row in val}
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        few = options | {"val_fraction": 0.2}
        run(source, tmp_path / "f" / "a.csv", group_by=r"re:^(?:live|spoof)/(\d+)/", **few)
    (record,) = caplog.records
    assert record.getMessage() == (
        "the validation set has 12 images, not 14: the images of one group stay together"
    )
    for split_by in ("identity", "image"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            run(source, tmp_path / split_by / "a.csv", split_by=split_by, **options)
        (record,) = caplog.records
        assert record.getMessage() == (
            f"--split-by {split_by} does not keep people together: the images of a person can be "
            "in both sets. See --group-by"
        )


@pytest.mark.parametrize("seed", range(4))
def test_a_class_that_one_set_lacks_is_named(
    seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One person of four has all spoofs."""
    names = [f"live/{person}/{i}.jpg" for person in range(4) for i in range(3)]
    source = make(tmp_path / "in", *names, *(f"spoof/0/{i}.jpg" for i in range(3)))
    options = {"label_rule": "live=0,spoof=1", "group_by": r"re:^(?:live|spoof)/(\d+)/"}
    with caplog.at_level(logging.WARNING):
        run(source, tmp_path / "out" / "a.csv", seed=seed, val_fraction=0.5, **options)
    train = {row[0].split("/")[-3] for row in rows(tmp_path / "out" / "a.csv")}
    lacking = "validation" if "spoof" in train else "training"
    (record,) = (each for each in caplog.records if "no images" in each.getMessage())
    assert record.getMessage() == (
        f"the {lacking} set has no images of 1 class, such as 'spoof'. "
        "If the class has several groups, try another --seed or --val-fraction"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"min_images": 3},
        {"max_images": 2},
        {"identities": 2},
        {"val_fraction": 0.5},
        {"val_fraction": 0.5, "min_images": 3, "max_images": 3},
    ],
    ids=str,
)
def test_a_dry_run_states_what_the_run_writes(options: dict[str, Any], tmp_path: Path) -> None:
    names = [f"{name}/{i}.jpg" for n, name in enumerate("abcd", 2) for i in range(n)]
    source, output = make(tmp_path / "in", *names), tmp_path / "out" / "a.csv"
    output.parent.mkdir()
    preview = preview_job(Manifest(seed=1, **options), Request(source, output))
    summary = run(source, output, **options)
    left_out = preview.details.get("left_out", {})
    assert preview.inputs == summary.inputs == 14
    assert left_out == {name: n for name, n in summary.by_status.items() if name != "ok"}
    assert preview.details["planned_files"] == summary.outputs
    said, n = describe_preview(preview), summary.ok
    assert said.startswith(f"dry run: {n} of 14 images in " if n < 14 else "dry run: 14 images in ")
    assert ("\nleft out: " in said) == (n < 14)


def test_a_dry_run_knows_the_bytes_of_a_rec_in_a_folder(rec_set: Path, tmp_path: Path) -> None:
    job, output = Manifest(seed=1), tmp_path / "train.tar"
    sources = (rec_set, rec_set / "train.rec")
    in_folder, itself = (preview_job(job, Request(each, output)).details for each in sources)
    assert in_folder["planned_bytes"] == itself["planned_bytes"]
    assert in_folder["planned_bytes"] < 2 * (rec_set / "train.rec").stat().st_size


def test_classes_keep_their_numbers(tmp_path: Path) -> None:
    big = make(tmp_path / "big", "a/1.jpg", "b/1.jpg", "c/1.jpg")
    run(big, tmp_path / "out" / "train.csv")
    small = make(tmp_path / "small", "b/2.jpg", "c/2.jpg", "d/2.jpg")
    numbers = tmp_path / "out" / "train_classes.csv"
    summary = run(small, tmp_path / "out" / "test.csv", classes=numbers)
    assert (summary.ok, summary.failed) == (2, 1)
    assert failures(tmp_path / "out" / "test.csv") == {"d/2.jpg": "unknown_class"}
    found = {row[0].rsplit("/", 2)[1]: row[1] for row in rows(tmp_path / "out" / "test.csv")}
    assert found == {"b": 1, "c": 2}
    written = class_map.load(tmp_path / "out" / "test_classes.csv")
    assert written == [(0, "a", 0), (1, "b", 1), (2, "c", 1)]
    assert class_map.load(numbers) == [(0, "a", 1), (1, "b", 1), (2, "c", 1)]


def test_class_maps_that_cannot_be_kept(tmp_path: Path) -> None:
    source = make(tmp_path / "in", "a/1.jpg")
    (tmp_path / "gaps.csv").write_text("class,name,images\n0,a,1\n2,b,1\n")
    with pytest.raises(OptionError, match="not numbered from 0 without gaps"):
        run(source, tmp_path / "out" / "a.csv", classes=tmp_path / "gaps.csv")
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "a_classes.csv").write_text("class,name,images\n0,a,1\n")
    with pytest.raises(OptionError, match="is the class map that this run writes"):
        run(source, tmp_path / "out" / "a.csv", classes=tmp_path / "out" / "a_classes.csv")


def test_images_and_identities_are_drawn(tmp_path: Path) -> None:
    source = make(tmp_path / "in", *(f"{name}/{i}.jpg" for name in "abcd" for i in range(5)))
    drawn = {}
    for seed in (1, 2):
        output = tmp_path / str(seed) / "a.csv"
        summary = run(source, output, seed=seed, max_images=2, identities=3)
        assert (summary.ok, summary.failed) == (6, 0)
        assert summary.by_status == {"not_drawn": 14, "ok": 6}
        drawn[seed] = sorted(row[0] for row in rows(output))
        assert set(Counter(row[1] for row in rows(output)).items()) == {(0, 2), (1, 2), (2, 2)}
    assert drawn[1] != drawn[2]
    for options in ({"max_images": 0}, {"identities": 0}):
        with pytest.raises(OptionError, match="expected 1 or more"):
            run(source, tmp_path / "bad.csv", **options)


def test_more_identities_than_there_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = make(tmp_path / "in", "a/1.jpg", "b/1.jpg")
    run(source, tmp_path / "two.csv", identities=2)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert run(source, tmp_path / "all.csv", identities=1000).ok == 2
    assert "--identities 1,000: only 2 classes can be drawn" in caplog.text
    caplog.clear()
    with pytest.raises(SourceError, match="none of 2 images can be used"):
        run(source, tmp_path / "none.csv", identities=3, min_images=2)
    assert "--identities" not in caplog.text


def test_groups_and_identities_stay_on_one_side(tmp_path: Path) -> None:
    """Sessions that several people share, and people with several sessions."""
    sessions = {"ann": "12", "bob": "2", "cid": "3", "dan": "34", "eve": "5", "fay": "6"}
    names = [f"{who}/{day}-{i}.jpg" for who, days in sessions.items() for day in days for i in "ab"]
    source = make(tmp_path / "in", *names)
    for seed in range(8):
        out = tmp_path / str(seed) / "a.csv"
        options = {"val_fraction": 0.4, "group_by": r"re:/(\d)-", "split_by": "identity"}
        run(source, out, seed=seed, **options)
        sides = [{Path(row[0]).parent.name for row in rows(out)}]
        sides.append({Path(row[0]).parent.name for row in rows(out.with_name("a_val.csv"))})
        assert all(sides) and not sides[0] & sides[1]
        for friends in ({"ann", "bob"}, {"cid", "dan"}):
            assert friends <= sides[0] or friends <= sides[1]


def test_with_a_label_rule_groups_alone_stay_on_one_side(tmp_path: Path) -> None:
    """The folders are classes, of which both sets need images."""
    names = [
        f"{kind}/{who}-{i}.jpg" for kind in ("live", "spoof") for who in "123456" for i in "ab"
    ]
    source, out = make(tmp_path / "in", *names), tmp_path / "a.csv"
    rules = {"label_rule": "live=0,spoof=1", "group_by": r"re:/(\d)-"}
    run(source, out, val_fraction=0.3, split_by="identity", **rules)
    sides = [{Path(row[0]).name[0] for row in rows(path)} for path in (out, tmp_path / "a_val.csv")]
    assert all(sides) and not sides[0] & sides[1]


ONE_EACH = ("a/1.jpg", "b/1.jpg")
LONELY = ("a/1.jpg", "a/2.jpg")


@pytest.mark.parametrize(
    ("names", "options", "why"),
    [
        (ONE_EACH, {"val_fraction": 0.5}, "every class has one image only"),
        (LONELY, {"val_fraction": 0.5, "split_by": "identity"}, "1 group cannot be split"),
        (LONELY, {"val_fraction": 0.01, "split_by": "identity"}, "1 group cannot be split"),
        (LONELY, {"val_fraction": 0.5, "group_by": "re:^(a)/"}, "1 group cannot be split"),
        ((*ONE_EACH, "b/2.jpg"), {"val_fraction": 0.2, "max_images": 1}, "one image only"),
        (
            (*ONE_EACH, "b/2.jpg"),
            {"val_fraction": 0.5, "split_by": "identity", "identities": 1},
            "1 group cannot be split",
        ),
        (
            (*ONE_EACH, "b/2.jpg"),
            {"val_fraction": 0.5, "split_by": "identity", "min_images": 2},
            "1 group cannot be split",
        ),
    ],
)
def test_an_empty_validation_set_is_an_error(
    tmp_path: Path, names: tuple[str, ...], options: dict[str, Any], why: str
) -> None:
    source = make(tmp_path / "in", *names)
    for suffix in (".csv", ".tar"):
        with pytest.raises(SourceError, match=why):
            run(source, tmp_path / "out" / f"a{suffix}", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options", [{}, {"split_by": "identity"}, {"group_by": "re:^([^/]*)/"}, {"identities": 2}]
)
@pytest.mark.parametrize("fraction", [1e-9, 0.01, 0.2, 0.6])
def test_a_small_share_is_at_least_one(
    tmp_path: Path, options: dict[str, Any], fraction: float
) -> None:
    source = make(tmp_path / "in", *(f"{name}/{i}.jpg" for name in "abc" for i in range(4)))
    run(source, tmp_path / "out" / "a.csv", val_fraction=fraction, **options)
    assert rows(tmp_path / "out" / "a.csv") and rows(tmp_path / "out" / "a_val.csv")
