"""make-bin: pairs that are all different, balanced in folds, the same for the same seed; or as
listed.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import OptionError, ResumeError, SourceError
from faceprep.core.random_order import draw_distinct
from faceprep.core.types import Request, Summary
from faceprep.jobs import make_bin
from faceprep.jobs.make_bin import MakeBin, PairNumbers
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.sets.pairs_bin.container import load_pairs
from faceprep.synthetic import encode_face
from tests.failures import read_failures
from tests.real import DATA, needs_data


def make(source: Path, output: Path, workers: int = 0, **options: Any) -> Summary:
    asked = {name: options.pop(name) for name in ("limit", "overwrite") if name in options}
    runner = ProcessRunner(workers) if workers else SerialRunner()
    return run_job(MakeBin(**options), Request((source,), output, **asked), runner)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5 people with 2 to 6 images: 35 pairs of one person, 155 of two. Every image has bytes of
    its own.
    """
    root = tmp_path_factory.mktemp("people")
    for identity in range(5):
        (root / f"p{identity}").mkdir()
        for image in range(identity + 2):
            suffix = ".png" if image % 2 else ".jpg"
            (root / f"p{identity}" / f"{image}{suffix}").write_bytes(
                encode_face(identity, image, suffix)
            )
    return root


def named_pairs(source: Path, output: Path) -> list[tuple[str, str, bool]]:
    """(first, second, same) by the images' names."""
    names = {
        path.read_bytes(): path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file()
    }
    pairs = load_pairs(output)
    images = [names[bytes(image)] for image in pairs.images]
    return list(zip(images[::2], images[1::2], pairs.same, strict=True))


def check_drawn(pairs: list[tuple[str, str, bool]]) -> None:
    n_half = len(pairs) // 20
    assert [same for _, _, same in pairs] == ([True] * n_half + [False] * n_half) * 10
    assert len({frozenset(pair[:2]) for pair in pairs}) == len(pairs)
    for first, second, same in pairs:
        assert first != second and (first.split("/")[0] == second.split("/")[0]) == same


# Drawn


@pytest.mark.parametrize("n_pairs", [20, 40, 60])
def test_drawn_pairs(people: Path, tmp_path: Path, n_pairs: int) -> None:
    summary = make(people, tmp_path / "a.bin", pairs=n_pairs, seed=1)
    assert (summary.inputs, summary.ok, summary.outputs) == (n_pairs, n_pairs, 1)
    pairs = named_pairs(people, tmp_path / "a.bin")
    assert len(pairs) == n_pairs
    check_drawn(pairs)


def test_the_seed_decides_and_nothing_else(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(people, tmp_path / "a.bin", pairs=40, seed=1)
    make(people, tmp_path / "c.bin", pairs=40, seed=2)
    monkeypatch.setattr(make_bin, "_SHARD", 7)
    make(people, tmp_path / "b.bin", pairs=40, seed=1, workers=2)
    made = [(tmp_path / f"{name}.bin").read_bytes() for name in "abc"]
    assert made[0] == made[1] != made[2]


def test_more_pairs_begin_with_the_same(people: Path, tmp_path: Path) -> None:
    make(people, tmp_path / "a.bin", pairs=20, seed=1)
    make(people, tmp_path / "b.bin", pairs=60, seed=1)
    assert set(named_pairs(people, tmp_path / "a.bin")) < set(
        named_pairs(people, tmp_path / "b.bin")
    )


def test_every_pair_is_as_likely_as_any_other(people: Path, tmp_path: Path) -> None:
    drawn: Counter[tuple[str, str, bool]] = Counter()
    for seed in range(60):
        make(people, tmp_path / f"{seed}.bin", pairs=20, seed=seed)
        drawn.update(named_pairs(people, tmp_path / f"{seed}.bin"))
    of_one, of_two = ([n for pair, n in drawn.items() if pair[2] == same] for same in (True, False))
    assert len(of_one) == 35 and len(of_two) > 140, "600 draws meet nearly all of 35 and of 155"
    assert max(of_one) < 40 and min(of_one) > 4, "17 each, give or take"


def test_not_enough_pairs_are_refused_with_the_arithmetic(people: Path, tmp_path: Path) -> None:
    for source, problem in (
        (
            people,
            r"not enough different pairs of one person: expected 40, half of --pairs 80, found "
            r"35, the sum of "
            r"n × \(n - 1\) / 2 over the identities' n images. Take at most --pairs 60.",
        ),
        (people / "p1", "expected 40, half of --pairs 80, found 0, .* More images are needed."),
    ):
        with pytest.raises(SourceError, match=problem):
            make(source, tmp_path / "a.bin", pairs=80, seed=1)
    assert list(tmp_path.iterdir()) == []


def test_not_enough_pairs_of_two_people(tmp_path: Path) -> None:
    for name in [f"a/{i}.jpg" for i in range(12)] + ["b/0.jpg"]:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encode_face(1, 1))
    with pytest.raises(
        SourceError, match=r"pairs of two people: expected 20, .* found 12, .* at most --pairs 20\."
    ):
        make(tmp_path / "in", tmp_path / "a.bin", pairs=40, seed=1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pairs": 20},
        {"pairs": 30, "seed": 1},
        {"pairs": 0, "seed": 1},
        {"pairs": -20, "seed": 1},
        {"pairs": 20, "seed": 1, "pairs_file": Path("a")},
    ],
)
def test_wrong_usage(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        MakeBin(**options)


@pytest.mark.parametrize("damage", [b"", b"hello", encode_face(1, 1)[:900]])
def test_damaged_images_are_named_and_other_pairs_drawn(
    people: Path, tmp_path: Path, damage: bytes
) -> None:
    source = tmp_path / "in"
    for path in people.rglob("*.*"):
        (source / path.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(path, source / path.parent.name / path.name)
    for name in ("p4/0.jpg", "p0/1.png"):
        (source / name).unlink()
        (source / name).write_bytes(damage)
    for workers in (0, 2):
        summary = make(source, tmp_path / f"{workers}.bin", pairs=40, seed=1, workers=workers)
        assert summary.by_status == {"ok": 40, "undecodable": 2}
    assert (tmp_path / "0.bin").read_bytes() == (tmp_path / "2.bin").read_bytes()
    pairs = named_pairs(source, tmp_path / "0.bin")
    check_drawn(pairs)
    assert not {"p4/0.jpg", "p0/1.png"} & {name for pair in pairs for name in pair[:2]}
    failed = sorted(row["input"] for row in read_failures(tmp_path / "0.bin"))
    assert failed == ["p0/1.png", "p4/0.jpg"]
    with pytest.raises(SourceError, match=r"found 29; 2 images are damaged, such as p[04]/"):
        make(source, tmp_path / "b.bin", pairs=60, seed=1)


def test_images_outside_the_identities_are_passed_over(
    people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for folder in people.iterdir():
        (source / folder.name).symlink_to(folder)
    (source / "x.jpg").write_bytes(b"no matter")
    make(source, tmp_path / "a.bin", pairs=40, seed=1)
    make(people, tmp_path / "b.bin", pairs=40, seed=1)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert "images outside identity folders are skipped" in caplog.text


@needs_data
def test_other_formats_become_png(tmp_path: Path) -> None:
    make(DATA / "orl", tmp_path / "a.bin", pairs=20, seed=3)
    images = load_pairs(tmp_path / "a.bin").images
    assert all(bytes(image).startswith(b"\x89PNG") for image in images)
    known = {cv2.imread(str(path)).tobytes() for path in (DATA / "orl").rglob("*.pgm")}
    assert {cv2.imdecode(np.frombuffer(image, np.uint8), 1).tobytes() for image in images} <= known


def test_limit_and_changed_images(people: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    for path in people.rglob("*.*"):
        (source / path.parent.name).mkdir(parents=True, exist_ok=True)
        (source / path.parent.name / path.name).write_bytes(path.read_bytes())
    assert make(source, tmp_path / "a.bin", pairs=60, seed=1, limit=7).inputs == 7
    assert len(load_pairs(tmp_path / "a.bin")) == 7
    first = named_pairs(source, tmp_path / "a.bin")[0][0]
    (source / first).write_bytes(encode_face(50, 50))
    with pytest.raises(ResumeError, match="the input has changed"):
        make(source, tmp_path / "a.bin", pairs=60, seed=1, limit=7)


# Listed


def test_a_list_of_lfw(tmp_path: Path) -> None:
    source = tmp_path / "lfw"
    for name, count in (("Ann", 3), ("Bob", 2)):
        (source / name).mkdir(parents=True)
        for i in range(1, count + 1):
            (source / name / f"{name}_{i:04d}.jpg").write_bytes(encode_face(count, i))
    (tmp_path / "pairs.txt").write_text(
        "1\t2\nAnn\t1\t3\nBob\t1\t2\nAnn\t2\tBob\t2\nBob\t1\tAnn\t3\n"
    )
    assert make(source, tmp_path / "a.bin", pairs_file=tmp_path / "pairs.txt").ok == 4
    assert named_pairs(source, tmp_path / "a.bin") == [
        ("Ann/Ann_0001.jpg", "Ann/Ann_0003.jpg", True),
        ("Bob/Bob_0001.jpg", "Bob/Bob_0002.jpg", True),
        ("Ann/Ann_0002.jpg", "Bob/Bob_0002.jpg", False),
        ("Bob/Bob_0001.jpg", "Ann/Ann_0003.jpg", False),
    ]


def test_a_listed_pair_that_cannot_be_made_is_named(people: Path, tmp_path: Path) -> None:
    (people / "p0" / "broken.jpg").write_bytes(b"hello")
    lines = [
        "p0/0 p0/1 1",
        "p0/0 p9/1 0",
        "p0/broken.jpg p0/1 1",
        "p1/7.jpg p0/0.jpg 0",
        "p0/0 p1/0 0",
    ]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    try:
        summary = make(people, tmp_path / "a.bin", pairs_file=tmp_path / "pairs.txt")
    finally:
        (people / "p0" / "broken.jpg").unlink()
    assert summary.by_status == {"missing": 2, "ok": 2, "undecodable": 1}
    assert named_pairs(people, tmp_path / "a.bin") == [
        ("p0/0.jpg", "p0/1.png", True),
        ("p0/0.jpg", "p1/0.jpg", False),
    ]
    failed = read_failures(tmp_path / "a.bin")
    named = {row["input"]: (row["status"], row["reason"]) for row in failed}
    assert list(named) == ["pairs.txt line 2", "pairs.txt line 3", "pairs.txt line 4"]
    assert (
        named["pairs.txt line 2"][0] == "missing"
        and str(people / "p9" / "1") in named["pairs.txt line 2"][1]
    )
    assert (
        "p0/broken.jpg: not an image: it begins with 68 65 6c 6c 6f" in named["pairs.txt line 3"][1]
    )


def test_a_list_of_other_images_is_refused(people: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("a/1 a/2 1\na/1 b/2 0\n")
    with pytest.raises(SourceError, match="none of the pairs was found"):
        make(people, tmp_path / "a.bin", pairs_file=tmp_path / "pairs.txt")
    assert not (tmp_path / "a.bin").exists()


def test_a_list_without_one_sound_pair_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.jpg").write_bytes(b"hello")
    (tmp_path / "pairs.txt").write_text("a b 1\n")
    with pytest.raises(SourceError, match="no pair could be made"):
        make(tmp_path / "in", tmp_path / "a.bin", pairs_file=tmp_path / "pairs.txt")
    assert not (tmp_path / "a.bin").exists()


def test_a_list_that_changed_is_another_run(people: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("p0/0 p0/1 1\n")
    make(people, tmp_path / "a.bin", pairs_file=tmp_path / "pairs.txt")
    (tmp_path / "pairs.txt").write_text("p0/0 p0/1 0\n")
    with pytest.raises(ResumeError):
        make(people, tmp_path / "a.bin", pairs_file=tmp_path / "pairs.txt")


# The numbers of pairs


@given(st.lists(st.integers(0, 6), max_size=6))
def test_numbers_cover_every_pair_once(counts: list[int]) -> None:
    owner = [identity for identity, n in enumerate(counts) for _ in range(n)]
    every = {True: set(), False: set()}  # type: dict[bool, set[tuple[int, int]]]
    for pair in combinations(range(len(owner)), 2):
        every[owner[pair[0]] == owner[pair[1]]].add(pair)
    numbers = PairNumbers(counts)
    assert (numbers.n_same, numbers.n_different) == (len(every[True]), len(every[False]))
    assert {numbers.same(i) for i in range(numbers.n_same)} == every[True]
    assert {numbers.different(i) for i in range(numbers.n_different)} == every[False]


@pytest.mark.parametrize("n", [0, 1, 1000, (1 << 20) + 1])
def test_no_number_is_drawn_twice(n: int) -> None:
    drawn = list(islice(draw_distinct(n, 7), 100_000))
    assert len(set(drawn)) == len(drawn) == min(n, 100_000)
    assert drawn == list(islice(draw_distinct(n, 7), 100_000))
    assert all(0 <= number < n for number in drawn)


def test_numbers_of_a_set_of_5_8_million_images() -> None:
    numbers = PairNumbers([68] * 85_742)
    for total, pair_of, same in (
        (numbers.n_same, numbers.same, True),
        (numbers.n_different, numbers.different, False),
    ):
        pairs = [
            pair_of(number) for _, number in zip(range(3000), draw_distinct(total, 1), strict=False)
        ]
        assert len(set(pairs)) == 3000
        assert all(
            (first // 68 == second // 68) == same and first < second < 68 * 85_742
            for first, second in pairs
        )
