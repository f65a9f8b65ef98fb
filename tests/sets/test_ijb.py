"""IJB-B and IJB-C: what the lists say, and lines that cannot be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.errors import SourceError
from faceprep.sets.ijb import is_ijb, load_ijb
from tests.ijb_set import N_PEOPLE, Face, write_ijb


@pytest.fixture(scope="module")
def ijbc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Face]]:
    root = tmp_path_factory.mktemp("ijbc")
    return root, write_ijb(root)


@pytest.fixture
def lists(ijbc: tuple[Path, list[Face]], tmp_path: Path) -> Path:
    """The lists alone, to be broken."""
    shutil.copytree(ijbc[0] / "meta", tmp_path / "set" / "meta")
    return tmp_path / "set"


def test_reads_what_was_written(ijbc: tuple[Path, list[Face]]) -> None:
    root, faces = ijbc
    data = load_ijb(root)
    assert (data.name, data.images) == ("IJB-C", root / "loose_crop")
    assert data.files == [face.file for face in faces]
    assert data.templates.tolist() == [face.template for face in faces]
    assert data.media.tolist() == [face.medium for face in faces]
    np.testing.assert_allclose(data.landmarks, [face.landmarks for face in faces], atol=1e-3)
    np.testing.assert_allclose(data.scores, [face.score for face in faces], atol=1e-5)
    person_of = {face.template: face.person for face in faces}
    assert data.pairs is not None and data.probes is not None
    same = [
        person_of[a] == person_of[b]
        for a, b in zip(data.pairs.first, data.pairs.second, strict=True)
    ]
    assert data.pairs.same.tolist() == same and 0 < sum(same) < len(same)
    assert [gallery.name for gallery in data.galleries] == ["G1", "G2"]
    for subjects in (*data.galleries, data.probes):
        assert [
            person_of[template] for template in subjects.templates.tolist()
        ] == subjects.subjects.tolist()
        assert (np.diff(subjects.templates) > 0).all()
    assert sum(len(gallery.templates) for gallery in data.galleries) == N_PEOPLE


def test_ijbb_and_its_names_of_galleries(tmp_path: Path) -> None:
    write_ijb(tmp_path, "ijbb", ("S1", "S2"))
    data = load_ijb(tmp_path)
    assert (data.name, [gallery.name for gallery in data.galleries]) == ("IJB-B", ["S1", "S2"])


def test_one_half_of_the_protocol_is_enough(lists: Path) -> None:
    for name in ("1N_gallery_G1.csv", "1N_gallery_G2.csv", "1N_probe_mixed.csv"):
        (lists / "meta" / f"ijbc_{name}").rename(lists / name)
    data = load_ijb(lists)
    assert data.pairs is not None and (data.galleries, data.probes) == ([], None)
    for path in lists.glob("1N_*"):
        path.rename(lists / "meta" / f"ijbc_{path.name}")
    (lists / "meta" / "ijbc_template_pair_label.txt").unlink()
    data = load_ijb(lists)
    assert data.pairs is None and len(data.galleries) == 2
    for path in (lists / "meta").glob("*_1N_*"):
        path.unlink()
    with pytest.raises(
        SourceError,
        match="meta: neither pairs nor galleries: expected ijbc_template_pair_label.txt",
    ):
        load_ijb(lists)


def test_windows_line_ends_and_blanks_at_the_end(lists: Path) -> None:
    before = load_ijb(lists)
    for path in (lists / "meta").iterdir():
        end = b"\r\n" if path.suffix == ".csv" else b" \r\n"
        path.write_bytes(path.read_bytes().replace(b"\n", end) + b"\r\n")
    after = load_ijb(lists)
    assert after.files == before.files and after.landmarks.tobytes() == before.landmarks.tobytes()
    assert after.pairs is not None and before.pairs is not None
    assert after.pairs.second.tolist() == before.pairs.second.tolist()
    assert after.galleries[1].subjects.tolist() == before.galleries[1].subjects.tolist()


def test_what_is_ijb(lists: Path, tmp_path: Path) -> None:
    assert is_ijb(lists)
    assert not is_ijb(tmp_path) and not is_ijb(tmp_path / "none")
    with pytest.raises(
        SourceError, match="not one set: expected one …_face_tid_mid.txt, found none"
    ):
        load_ijb(tmp_path)
    shutil.copy(lists / "meta" / "ijbc_face_tid_mid.txt", lists / "meta" / "ijbb_face_tid_mid.txt")
    with pytest.raises(SourceError, match="found ijbb, ijbc"):
        load_ijb(lists)


BROKEN = [
    ("face_tid_mid.txt", 3, "3.jpg 3", "line 3: expected 3 columns, found 2"),
    ("face_tid_mid.txt", 3, "3.jpg  3 7", "line 3: expected 3 columns, found 4"),
    ("face_tid_mid.txt", 4, "", "line 4: expected 3 columns, found none"),
    (
        "face_tid_mid.txt",
        3,
        "3.jpg three 7",
        "line 3: expected a number for template, found 'three'",
    ),
    (
        "face_tid_mid.txt",
        3,
        "4.jpg 3 7",
        "5pts_score.txt: bad line at line 3: expected '4.jpg' as in …_face_tid_mid",
    ),
    (
        "name_5pts_score.txt",
        2,
        "2.jpg 1 2 3 4 5 6 7 8 9 0.5",
        "line 2: expected 12 columns, found 11",
    ),
    (
        "name_5pts_score.txt",
        2,
        "2.jpg 1 2 3 4 5 6 7 8 9 x 0.5",
        "line 2: expected a number for y5, found 'x'",
    ),
    (
        "name_5pts_score.txt",
        2,
        "2.jpg 1 2 3 4 5 6 7 8 9 9 -1",
        "line 2: expected a score of 0 or more, found -1",
    ),
    (
        "name_5pts_score.txt",
        2,
        "2.jpg 1 2 3 4 5 6 7 8 9 9 nan",
        "line 2: expected a score of 0 or more, found nan",
    ),
    ("template_pair_label.txt", 5, "3 4 2", "line 5: expected 1 or 0 for the pair, found 2"),
    (
        "template_pair_label.txt",
        5,
        "3 9999 1",
        "line 5: expected a template of …_face_tid_mid.txt, found 9999",
    ),
    (
        "template_pair_label.txt",
        5,
        "1 3 1",
        "line 5: expected a template of …_face_tid_mid.txt, found 1",
    ),
    ("template_pair_label.txt", 5, "3 4", "line 5: expected 3 columns, found 2"),
    (
        "template_pair_label.txt",
        5,
        f"3 {1 << 63} 1",
        "line 5: expected a number for second, found '9223372036854775808'",
    ),
    ("face_tid_mid.txt", 3, "\udcff.jpg 3 7", "line 3: expected UTF-8 for name"),
    (
        "1N_gallery_G1.csv",
        1,
        "3,0,x",
        "line 1: expected a header that begins with TEMPLATE_ID,SUBJECT_ID, found 3,0",
    ),
    ("1N_gallery_G1.csv", 3, "3", "line 3: expected 3 columns, found 1"),
    ("1N_gallery_G1.csv", 3, "3_1,0,y", "line 3: expected a number for template, found '3_1'"),
    ("1N_gallery_G1.csv", 3, "3\r,y,z", "line 3: expected a line of a CSV file, found new-line"),
    ("1N_gallery_G1.csv", 3, "3," + 200_000 * "1", "found field larger than field limit"),
    ("1N_gallery_G1.csv", 3, "3,x,y", "line 3: expected a number for subject, found 'x'"),
    (
        "1N_gallery_G1.csv",
        3,
        "3,5,y",
        "line 3: expected subject 0, as before for template 3, found 5",
    ),
    (
        "1N_probe_mixed.csv",
        3,
        "77777,5,y",
        "line 3: expected a template of …_face_tid_mid.txt, found 77777",
    ),
]


@pytest.mark.parametrize(("name", "line", "text", "told"), BROKEN)
def test_lines_that_cannot_be_read(lists: Path, name: str, line: int, text: str, told: str) -> None:
    path = lists / "meta" / f"ijbc_{name}"
    lines = path.read_text().split("\n")
    lines[line - 1] = text
    path.write_text("\n".join(lines), errors="surrogateescape")
    with pytest.raises(SourceError) as caught:
        load_ijb(lists)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_lists_of_other_lengths_and_lists_that_are_missing(lists: Path) -> None:
    points = lists / "meta" / "ijbc_name_5pts_score.txt"
    text = points.read_text()
    points.write_text("\n".join(text.split("\n")[:5]))
    with pytest.raises(
        SourceError, match="line 6: expected '6.jpg' as in …_face_tid_mid.txt, found no more lines"
    ):
        load_ijb(lists)
    points.write_text("")
    with pytest.raises(SourceError, match=r"5pts_score.txt: an empty list"):
        load_ijb(lists)
    points.unlink()
    with pytest.raises(SourceError, match=r"ijbc_name_5pts_score.txt"):
        load_ijb(lists)
    points.write_text(text)
    (lists / "meta" / "ijbc_1N_probe_mixed.csv").unlink()
    with pytest.raises(SourceError, match=r"ijbc_1N_probe_mixed.csv"):
        load_ijb(lists)


def test_a_gallery_that_is_only_a_header(lists: Path) -> None:
    path = lists / "meta" / "ijbc_1N_gallery_G1.csv"
    path.write_text(path.read_text().partition("\n")[0] + "\n")
    with pytest.raises(SourceError, match="G1.csv: an empty list: found only a header"):
        load_ijb(lists)
