"""rec2folder on MXNet's own files, sound and broken, and on labels and keys that are out to
hurt.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import subprocess
import sys
from pathlib import Path

import pytest

from faceprep.core.errors import SourceError
from faceprep.core.types import Request, Summary
from faceprep.jobs.rec2folder import Rec2Folder
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets.recordio import spans
from faceprep.sets.recordio.framing import frame, frame_image
from faceprep.synthetic import encode_face, write_insightface_rec
from faceprep.vision import codec
from tests.failures import read_failures
from tests.fakes import is_state
from tests.real import DATA, needs_data

JPEG = encode_face(1, 1)


def convert(source: Path, target: Path, scan: bool = False, limit: int | None = None) -> Summary:
    return run_job(Rec2Folder(scan=scan), Request((source,), target, limit=limit), SerialRunner())


def tree(root: Path) -> dict[str, str]:
    """Name -> sha256 of every image below `root`."""
    files = (path for path in root.rglob("*") if path.is_file() and not is_state(path.name))
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def write_rec(folder: Path, records: list[tuple[int, bytes]]) -> Path:
    """(key, record) pairs as train.rec and train.idx."""
    offset, lines = 0, []
    with (folder / "train.rec").open("wb") as rec:
        for key, record in records:
            lines.append(f"{key}\t{offset}\n")
            offset += rec.write(record)
    (folder / "train.idx").write_text("".join(lines))
    return folder


@needs_data
@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    "name",
    ["insightface", "im2rec", "label_arrays", "magic_in_payload", "png_and_padding", "sparse_keys"],
)
def test_every_image_of_mxnets_own_files(tmp_path: Path, name: str, scan: bool) -> None:
    summary = convert(DATA / "mxnet" / name, tmp_path / "out", scan)
    truth = json.loads((DATA / "mxnet" / name / "mxnet_reads.json").read_text())
    suffix = ".png" if name == "png_and_padding" else ".jpg"
    expected = {
        f"{int(each['label'][0])}/{each['key']}{suffix}": each["sha256"]
        for each in truth
        if each["bytes"]
    }
    assert tree(tmp_path / "out") == expected
    assert (summary.inputs, summary.ok, summary.failed) == (len(expected), len(expected), 0)


@needs_data
@pytest.mark.parametrize(
    ("name", "key", "status", "n_ok", "n_failed"),
    [
        ("bad_magic_at_record_4", "4", "bad_record", 59, 1),
        ("idx_past_the_end", "9999", "bad_record", 60, 1),
        ("jpeg_damaged_at_record_5", "5", "undecodable", 59, 1),
        ("label_count_past_the_record", "4", "bad_record", 59, 1),
        ("length_past_the_end", "4", "truncated", 59, 1),
        ("truncated", "36", "truncated", 36, 24),
    ],
)
def test_damage_costs_what_is_damaged(
    tmp_path: Path, name: str, key: str, status: str, n_ok: int, n_failed: int
) -> None:
    summary = convert(DATA / "mxnet" / "broken" / name, tmp_path / "out")
    assert (summary.ok, summary.failed) == (n_ok, n_failed)
    first = read_failures(tmp_path / "out")[0]
    assert (first["input"], first["status"]) == (key, status)
    assert f"record {key} at offset" in first["reason"]
    assert len(tree(tmp_path / "out")) == n_ok


@needs_data
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("empty_idx", "index is empty"),
        ("empty_rec", "file is empty"),
        ("idx_not_numbers", "line 1"),
    ],
)
def test_what_cannot_be_begun_leaves_nothing(tmp_path: Path, name: str, line: str) -> None:
    with pytest.raises(SourceError, match=line):
        convert(DATA / "mxnet" / "broken" / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_data
def test_without_an_index_nothing_is_lost(tmp_path: Path) -> None:
    assert convert(DATA / "mxnet" / "broken" / "no_idx", tmp_path / "out").ok == 60
    convert(DATA / "mxnet" / "im2rec", tmp_path / "sound")
    assert tree(tmp_path / "out") == tree(tmp_path / "sound")


def test_labels_never_leave_the_target(tmp_path: Path) -> None:
    labels = [float("nan"), float("inf"), -1.0, 1e30, 0.5, 3.0]
    write_rec(
        tmp_path, [(key, frame_image([label], JPEG, key)) for key, label in enumerate(labels)]
    )
    summary = convert(tmp_path / "train.rec", tmp_path / "out")
    assert summary.by_status == {"bad_label": 2, "ok": 4}
    assert sorted(tree(tmp_path / "out")) == [
        "-1/2.jpg",
        "0.5/4.jpg",
        "1000000015047466219876688855040/3.jpg",
        "3/5.jpg",
    ]


def test_the_identity_is_the_first_label_and_others_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_rec(
        tmp_path, [(0, frame_image([8.0, 9.0], b"", 0)), (1, frame_image([4.0, 1.0], JPEG, 1))]
    )
    with caplog.at_level(logging.WARNING, "faceprep"):
        convert(tmp_path, tmp_path / "out")
    assert sorted(tree(tmp_path / "out")) == ["4/1.jpg"]
    assert "images with 2 labels; a folder holds the first of them" in caplog.text


def test_a_list_label_with_an_image_at_key_0_is_no_header(tmp_path: Path) -> None:
    write_rec(tmp_path, [(0, frame_image([2.0, 5.0], JPEG, 0))])
    assert convert(tmp_path, tmp_path / "out").ok == 1


def test_payloads_that_are_no_image(tmp_path: Path) -> None:
    write_rec(
        tmp_path,
        [
            (1, frame_image([0], b"", 1)),
            (2, frame_image([0], b"text", 2)),
            (3, frame_image([0], JPEG, 3)),
            (4, frame(b"short")),
        ],
    )
    summary = convert(tmp_path, tmp_path / "out")
    assert summary.by_status == {"bad_record": 1, "ok": 1, "undecodable": 2}
    assert [row["input"] for row in read_failures(tmp_path / "out")] == ["1", "2", "4"]


def test_bad_records_anywhere_among_sound_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies beside what, in windows of a few records: files and failures are those of
    each record alone.
    """
    monkeypatch.setattr(spans, "_WINDOW", 12 * len(JPEG))
    png = codec.encode(codec.decode(JPEG), ".png")
    kinds = [
        ("{}/{}.jpg", lambda label: frame_image([label], JPEG, 1)),
        ("{}/{}.jpg", lambda label: frame_image([label, 1.0], JPEG, 1)),
        ("{}/{}.png", lambda label: frame_image([label], png, 1)),
        ("bad_label", lambda label: frame_image([float("nan")], JPEG, 1)),
        ("undecodable", lambda label: frame_image([label], b"text", 1)),
        ("bad_record", lambda label: frame(b"short")),
    ]
    chosen = random.Random(1).choices(kinds, weights=[40, 1, 3, 1, 1, 1], k=600)
    write_rec(tmp_path, [(key, make(key // 50)) for key, (_, make) in enumerate(chosen)])
    convert(tmp_path, tmp_path / "out")
    written = [name.format(key // 50, key) for key, (name, _) in enumerate(chosen) if "/" in name]
    assert sorted(tree(tmp_path / "out")) == sorted(written)
    assert [(row["input"], row["status"]) for row in read_failures(tmp_path / "out")] == [
        (str(key), name) for key, (name, _) in enumerate(chosen) if "/" not in name
    ]
    sound = [key for key, (name, _) in enumerate(chosen) if name == kinds[0][0]]
    assert all(
        (tmp_path / "out" / f"{key // 50}" / f"{key}.jpg").read_bytes() == JPEG for key in sound
    )


def test_the_header_may_lie_behind_the_images(tmp_path: Path) -> None:
    write_rec(
        tmp_path,
        [
            (1, frame_image([0], JPEG, 1)),
            (0, frame_image([2.0, 3.0], b"", 0)),
            (2, frame_image([1, 2], b"", 2)),
        ],
    )
    assert convert(tmp_path, tmp_path / "out").inputs == 1


def test_limit_counts_images(tmp_path: Path) -> None:
    write_insightface_rec(tmp_path, 3, 4)
    assert convert(tmp_path, tmp_path / "out", limit=5).ok == 5
    assert len(tree(tmp_path / "out")) == 5


def test_warnings_about_the_header(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_rec(
        tmp_path,
        [
            (0, frame_image([float(1 << 25), float(1 << 25)], b"", 0)),
            (1, frame_image([0], JPEG, 1)),
        ],
    )
    with caplog.at_level(logging.WARNING, "faceprep"):
        convert(tmp_path, tmp_path / "out")
    assert "not exact above 16,777,216" in caplog.text
    write_rec(tmp_path, [(0, frame_image([9.0, 9.0], b"", 0)), (1, frame_image([0], JPEG, 1))])
    with caplog.at_level(logging.WARNING, "faceprep"):
        convert(tmp_path, tmp_path / "other")
    assert "announces 8 images" in caplog.text


def test_the_source_is_not_touched(tmp_path: Path) -> None:
    write_insightface_rec(tmp_path / "set", 2, 3)
    before = {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (tmp_path / "set").iterdir()
    }
    convert(tmp_path / "set", tmp_path / "out")
    assert {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (tmp_path / "set").iterdir()
    } == before


def test_a_small_set_needs_no_numpy(rec_set: Path, tmp_path: Path) -> None:
    """Its import takes longer than the whole work on a few images."""
    words = ["-X", "importtime", "-m", "faceprep", "rec2folder", rec_set, tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, *words, "--runner", "serial"], capture_output=True, text=True, check=True
    )
    assert "click" in done.stderr and "numpy" not in done.stderr
