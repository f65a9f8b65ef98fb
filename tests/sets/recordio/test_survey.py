"""Nothing of a .rec is lost without a report, and every command reports the same."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.types import Outcome, Request
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.embed.job import Embed
from faceprep.jobs.inspect.job import Inspect
from faceprep.jobs.rec2folder import Rec2Folder
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets.containers import index_set
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.coverage import Unindexed
from faceprep.sets.recordio.entries import read_in_file_order
from faceprep.sets.recordio.framing import frame_image
from faceprep.sets.recordio.index import RecPaths
from faceprep.sets.recordio.records import MAGIC_BYTES
from faceprep.sets.recordio.survey import survey_entries, survey_index
from faceprep.synthetic import encode_face, write_folder, write_insightface_rec
from tests.real import DATA, needs_data
from tests.tiny_models import save_onnx

CASES = DATA / "cases" / "containers"
JPEG = encode_face(1, 1)
Report = tuple[int, int, list[str]]
"""Sound images, failures, and what the failures name."""


def by_rec2folder(source: Path, scratch: Path) -> Report:
    summary = run_job(Rec2Folder(), Request((source,), scratch / "out"), SerialRunner())
    return summary.ok, summary.failed, reasons(scratch / "out" / "failures.csv")


def by_embed(source: Path, scratch: Path) -> Report:
    job = Embed(embedder=str(save_onnx(scratch / "net.onnx")), device="cpu")
    output = scratch / "out" / "set.npz"
    summary = run_job(job, Request((source,), output), SerialRunner())
    return summary.ok, summary.failed, reasons(Path(summary.details["failures"]))


def by_inspect(source: Path, scratch: Path) -> Report:
    found = Inspect().look(source)
    assert Inspect().exit_status(found) == (3 if found.failed else 0)
    return found.images, found.failed, [*found.damage, *found.contradictions]


def by_set(source: Path, scratch: Path) -> Report:
    with index_set(source, scratch) as found:
        read = list(found.read(range(len(found))))
        failed = [each for each in read if isinstance(each, Outcome)] + found.faults()
    return len(read) - len(failed) + len(found.faults()), len(failed), [e.reason for e in failed]


def by_dedupe(source: Path, scratch: Path) -> Report:
    write_folder(scratch / "own", 1, 1)
    job = Dedupe(against=(source,), exact_only=True, plan_only=True)
    summary = run_job(job, Request((scratch / "own",), scratch / "out"), SerialRunner())
    found = reasons(scratch / "out" / "failures.csv")
    return -1, summary.failed, found


def reasons(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row["reason"] for row in csv.DictReader(file)]


WAYS = [by_rec2folder, by_embed, by_inspect, by_set, by_dedupe]
Way = Callable[[Path, Path], Report]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@needs_data
@pytest.mark.parametrize(
    ("case", "n_ok", "named"),
    [
        ("emore_lost_image", 5, ["no bytes at all"]),
        ("stale_first5", 5, ["[20148, 48372)"]),
        ("catrec", 12, ["[48372, 96860)"]),
        ("cut_jpeg_inside", 5, ["JPEG without its end marker"]),
        ("detection", 6, []),
    ],
)
def test_what_is_lost_is_named_by_every_command(
    way: Way, tmp_path: Path, case: str, n_ok: int, named: list[str]
) -> None:
    found, n_failed, lines = way(CASES / case, tmp_path)
    if way in (by_set, by_dedupe):  # the one does not look at the bytes, the other names numbers
        named = [name for name in named if name.startswith("[")]
        lines = [line for line in lines if "bytes [" in line]
    else:
        assert n_failed == len(named)
    if way not in (by_set, by_dedupe):
        assert found == n_ok
    assert len(lines) == len(named)
    for name, line in zip(named, lines, strict=True):
        assert name in line
        assert "bytes [" not in line or "--scan" in line


@needs_data
def test_a_lost_image_is_one_of_six_for_a_set(tmp_path: Path) -> None:
    assert by_set(CASES / "emore_lost_image", tmp_path)[:2] == (5, 1)
    (tmp_path / "dedupe").mkdir()
    assert by_dedupe(CASES / "emore_lost_image", tmp_path / "dedupe")[1] == 1


@needs_data
def test_an_index_of_another_set_is_one_sentence_before_anything_is_written(
    way: Way, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="index belongs to another file.*--scan"):
        way(CASES / "if662_idx_of_other", tmp_path)
    assert not (tmp_path / "out").exists()


def test_the_index_itself_means_its_rec(way: Way, tmp_path: Path, rec_set: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    found = way(rec_set / "train.idx", tmp_path / "one")
    assert found == way(rec_set / "train.rec", tmp_path / "two")
    assert found[:2] in ((30, 0), (-1, 0))


def test_a_header_alone_is_an_error(way: Way, tmp_path: Path) -> None:
    for labels in ([1.0, 1.0], [7.0, 9.0]):
        (tmp_path / "a.rec").write_bytes(frame_image(labels, b"", 0))
        (tmp_path / "a.idx").write_text("0\t0\n")
        with pytest.raises(SourceError, match=r"a\.rec: no image in this set"):
            way(tmp_path / "a.rec", tmp_path)
        assert not (tmp_path / "out").exists()


def test_the_sound_set_has_nothing_to_report(way: Way, tmp_path: Path, rec_set: Path) -> None:
    assert way(rec_set, tmp_path)[1:] == (0, [])


@pytest.mark.parametrize(
    ("tail", "named"), [(frame_image([0], JPEG, 9), True), (b"\0" * 4, True), (b"", False)]
)
def test_bytes_after_the_last_record(tmp_path: Path, tail: bytes, named: bool) -> None:
    write_insightface_rec(tmp_path, 2, 2)
    size = (tmp_path / "train.rec").stat().st_size
    with (tmp_path / "train.rec").open("ab") as file:
        file.write(tail)
    faults = survey(tmp_path).faults
    assert [fault.key for fault in faults] == [f"bytes [{size}, {size + len(tail)})"] * named
    assert all(fault.is_failure and fault.unit for fault in faults)


def survey(folder: Path):  # type: ignore[no-untyped-def]
    paths = rec_index.find_rec(folder)
    rec_index.write_index(paths, folder / "copy")
    found = survey_index(paths, folder / "copy")
    mapped = np.memmap(folder / "copy", "<i8", "r").reshape(-1, 2)
    assert found == survey_entries(paths, mapped)  # as a large index is surveyed
    return found


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(1, 5), st.integers(1, 5), st.booleans(), st.data(), st.randoms(use_true_random=True)
)
def test_whatever_the_index_leaves_out_at_the_end_is_named(
    tmp_path: Path,
    n_identities: int,
    n_images: int,
    shuffled: bool,
    data: st.DataObject,
    random,  # type: ignore[no-untyped-def]
) -> None:
    write_insightface_rec(tmp_path, n_identities, n_images)
    lines = (tmp_path / "train.idx").read_text().splitlines(keepends=True)
    n = data.draw(st.integers(2, len(lines)))
    kept = lines[:n]
    size = (tmp_path / "train.rec").stat().st_size
    start = int(lines[n].split()[1]) if n < len(lines) else size
    if shuffled:
        random.shuffle(kept)
    (tmp_path / "train.idx").write_text("".join(kept))
    assert [fault.key for fault in survey(tmp_path).faults] == [f"bytes [{start}, {size})"] * (
        n < len(lines)
    )


def test_a_file_that_is_cut_off_has_named_records_and_no_bytes_left_over(tmp_path: Path) -> None:
    write_insightface_rec(tmp_path, 3, 3)
    data = (tmp_path / "train.rec").read_bytes()
    for n_bytes in (len(data) // 2, len(data) // 9):
        (tmp_path / "train.rec").write_bytes(data[:n_bytes])
        assert survey(tmp_path).faults == ()


def test_inspect_compares_the_header_with_what_it_finds(tmp_path: Path) -> None:
    write_insightface_rec(tmp_path, 3, 4)
    data = (tmp_path / "train.rec").read_bytes()
    for labels, line in (
        ([14.0, 17.0], "announces 13 images, the set has 12"),
        ([13.0, 17.0], "announces 4 identity records, the set has 3"),
    ):
        (tmp_path / "train.rec").write_bytes(frame_image(labels, b"", 0) + data[40:])
        found = Inspect().look(tmp_path)
        assert Inspect().exit_status(found) == 3 and (found.images, found.damaged) == (12, 0)
        assert any(line in each for each in found.as_json()["contradictions"])
        assert line in str(found)


@needs_data
def test_inspect_names_labels_that_are_no_identity() -> None:
    found = Inspect().look(CASES / "lab_naninf")
    assert (found.images, found.identities, found.damaged) == (4, 3, 2)
    assert [line.rpartition(" ")[2] for line in found.damage] == ["nan", "inf"]
    found = Inspect().look(CASES / "detection")
    assert (found.images, found.identities, found.failed) == (6, None, 0)
    assert found.as_json()["label_width"] == [7] and found.details["layout"] == "detection"
    assert "a header of 2 numbers, 5 per object" in str(found)
    found = Inspect().look(DATA / "mxnet" / "label_arrays")
    assert found.details["layout"] == "insightface" and found.identities


RECORDS = [
    frame_image([float(key // 2)], b"1234" + MAGIC_BYTES + JPEG if key == 4 else JPEG, key)
    for key in range(7)
]
"""Records without a header; one is in two parts, and not an image."""
STARTS = [sum(map(len, RECORDS[:n])) for n in range(len(RECORDS) + 1)]


def write_lines(folder: Path, keys: Iterable[int]) -> None:
    """Write all records, and the lines of the index of these keys."""
    (folder / "a.rec").write_bytes(b"".join(RECORDS))
    (folder / "a.idx").write_text("".join(f"{key}\t{STARTS[key]}\n" for key in keys))


def ranges_without(keys: Collection[int]) -> list[list[int]]:
    """Return the byte ranges of the records with other keys."""
    found: list[list[int]] = []
    for key in sorted(set(range(len(RECORDS))).difference(keys)):
        if found and found[-1][1] == STARTS[key]:
            found[-1][1] = STARTS[key + 1]
        else:
            found.append([STARTS[key], STARTS[key + 1]])
    return found


def ranges_named(report: Report) -> list[list[int]]:
    text = "".join(line for line in report[2] if "--scan" in line)
    return sorted([int(start), int(stop)] for start, stop in re.findall(r"\[(\d+), (\d+)\)", text))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([by_set, by_inspect, by_rec2folder]),
    st.lists(st.integers(0, len(RECORDS) - 1), min_size=1, unique=True) | st.just([6, 4, 2, 0]),
    st.booleans(),
)
def test_records_without_a_line_in_the_index_are_named_wherever_they_are(
    tmp_path: Path, way: Way, keys: list[int], ordered: bool
) -> None:
    with TemporaryDirectory(dir=tmp_path) as folder:
        write_lines(Path(folder), sorted(keys) if ordered else keys)
        report = way(Path(folder) / "a.rec", Path(folder))
    assert ranges_named(report) == ranges_without(keys)


def test_many_ranges_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    paths = RecPaths(tmp_path / "a.rec", tmp_path / "a.idx")
    left_out = Unindexed(paths)
    assert left_out.faults() == []
    for start in range(0, 5000, 1000):
        left_out.add(start, start + 250)
    (fault,) = left_out.faults()
    assert fault.key == "bytes [0, 250) [1000, 1250) [2000, 2250) …"
    assert "(1,250 bytes in 5 ranges) of a.rec are missing from a.idx" in fault.reason


def test_two_keys_of_one_record_are_an_error(way: Way, tmp_path: Path) -> None:
    write_lines(tmp_path, range(7))
    with (tmp_path / "a.idx").open("a") as file:
        file.write(f"99\t{STARTS[2]}\n")
    with pytest.raises(SourceError, match=rf"a\.idx: 1 offset repeated.* {STARTS[2]}: .*--scan"):
        way(tmp_path / "a.rec", tmp_path)
    assert not (tmp_path / "out").exists()


@given(st.permutations(range(7)) | st.just(list(range(7))), st.integers(1, 8))
def test_entries_come_with_the_next_offset_of_the_whole_index(
    tmp_path_factory: pytest.TempPathFactory, keys: list[int], n_at_once: int
) -> None:
    folder = tmp_path_factory.mktemp("following")
    write_lines(folder, range(6, -1, -1))
    survey(folder)  # leaves what an index in another order had
    write_lines(folder, keys)
    survey(folder)
    found = [
        read_in_file_order(folder / "copy", start, min(start + n_at_once, 7))
        for start in range(0, 7, n_at_once)
    ]
    rows = sorted(row for entries in found for row in zip(*entries, strict=True))
    assert rows == [(key, STARTS[key], STARTS[min(key + 1, 6)]) for key in range(7)]


DETECTION = [[2.0, 5.0, float(key), 0.1, 0.1, 0.9, 0.9] for key in range(1, 5)]


@pytest.mark.parametrize(
    ("labels", "header", "line"),
    [
        (DETECTION, [], "the labels are those of a detection set"),
        ([[0.0]] * 4, [11.0, 11.0], "the header announces 10 images, the set has 4"),
    ],
)
def test_every_command_warns_once_of_a_set_that_is_not_what_it_seems(
    way: Way,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    labels: list[list[float]],
    header: list[float],
    line: str,
) -> None:
    records = [frame_image(header, b"", 0)] * bool(header)
    records += [frame_image(each, JPEG, key) for key, each in enumerate(labels, 1)]
    (tmp_path / "a.rec").write_bytes(b"".join(records))
    report = way(tmp_path / "a.rec", tmp_path)
    n_warned = sum(line in message for message in caplog.messages)
    if way is by_inspect:  # it names both in its result
        assert n_warned == 0 and (report[1] > 0) == bool(header)
    else:
        assert n_warned == 1
