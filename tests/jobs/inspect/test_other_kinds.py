"""inspect names the kind of anything, because one suffix can hold several."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import SourceError
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.jobs.inspect.job import Inspect
from faceprep.jobs.manifest import Manifest
from faceprep.jobs.score import Score
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.synthetic import encode_face, write_folder, write_video
from faceprep.synthetic.video import VideoStyle
from faceprep.tables.embeddings import Place, write_npz
from faceprep.tables.faces import table_of
from faceprep.tables.matches import Matches, join_matches, write_matches
from faceprep.tables.plan import write_plan
from faceprep.video.reader import VideoReader


def inspect(path: Path) -> dict[str, object]:
    return Inspect().look(path).as_json()


@pytest.mark.parametrize("suffix", [".tar", ".tfrecord", ".parquet", ".rec"])
def test_images_in_a_container_are_counted(suffix: str, rec_set: Path, tmp_path: Path) -> None:
    run_job(Convert(), Request((rec_set,), tmp_path / f"a{suffix}"), SerialRunner())
    found = inspect(tmp_path / f"a{suffix}")
    assert (found["images"], found["identities"], found["damaged"]) == (30, 6, 0)
    assert found["per_identity"] == {"min": 5, "median": 5, "max": 5}


def test_a_table_of_matches_without_a_column_is_one_line(tmp_path: Path) -> None:
    row = {"probe": "a", "rank": 1, "identity": "b", "similarity": 0.5, "image": "b/1.jpg"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "m.parquet")
    with pytest.raises(SourceError, match="not a table of matches: expected .* image, margin"):
        inspect(tmp_path / "m.parquet")


@pytest.mark.parametrize("suffix", [".tar", ".tfrecord", ".parquet"])
def test_one_file_of_several_stands_for_all(suffix: str, rec_set: Path, tmp_path: Path) -> None:
    run_job(Convert(shards=3), Request((rec_set,), tmp_path / f"a{suffix}"), SerialRunner())
    found = Inspect().look(tmp_path / f"a-00001-of-00003{suffix}")
    assert (found.images, found.details["files"]) == (30, 3)
    assert "\n  files           3\n" in str(found)


def test_a_rec_in_several_files(rec_set: Path, tmp_path: Path) -> None:
    run_job(Convert(shards=3), Request((rec_set,), tmp_path / "out" / "a.rec"), SerialRunner())
    found = inspect(tmp_path / "out")
    assert (found["kind"], found["images"], found["identities"]) == ("rec", 30, 6)
    assert (found["files"], found["damaged"]) == (3, 0)


def test_embeddings_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image_names,e0,e1\na.jpg,0.5,1\nb.jpg,1,0.5\n")
    found = inspect(path)
    assert (found["kind"], found["images"], found["damaged"]) == ("embeddings", 2, 0)
    assert found["fields"] == ["image_names"]


def test_a_zip_of_a_folder(face_folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in sorted(face_folder.rglob("*.jpg")):
            file.write(path, path.relative_to(face_folder.parent).as_posix())
        file.writestr(f"{face_folder.name}/0/cut.jpg", encode_face(1, 1)[:99])
    found = inspect(tmp_path / "a.zip")
    assert (found["kind"], found["images"], found["identities"]) == ("zip", 12, 4)
    assert found["damaged"] == 1


def test_one_suffix_holds_several_kinds(face_folder: Path, tmp_path: Path) -> None:
    serial = SerialRunner()
    run_job(Convert(), Request((face_folder,), tmp_path / "images.parquet"), serial)
    run_job(Manifest(seed=1), Request((face_folder,), tmp_path / "list.parquet"), serial)
    run_job(Score(), Request((face_folder,), tmp_path / "scores.parquet"), serial)
    kinds = [inspect(tmp_path / f"{name}.parquet")["kind"] for name in ("images", "list", "scores")]
    assert kinds == ["parquet-images", "parquet-list", "scores"]
    assert inspect(tmp_path / "scores.parquet")["identities"] == 4
    with (tmp_path / "vectors.npz").open("wb") as file:
        rows = np.eye(2, dtype=np.float32)
        write_npz(file, Embeddings(["a/1", "b/1"], ["a", "b"], rows, Model("m")), Place())
    found = inspect(tmp_path / "vectors.npz")
    assert (found["kind"], found["images"]) == ("embeddings", 2)


def test_embeddings_that_cannot_be_compared_are_damage(tmp_path: Path) -> None:
    rows = np.eye(4, 3, dtype=np.float32)
    rows[1, 1] = np.nan
    keys = ["a/1", "a/2", "a/3", "a/1"]
    with (tmp_path / "a.npz").open("wb") as file:
        write_npz(file, Embeddings(keys, ["a"] * 4, rows, Model()), Place())
    found = inspect(tmp_path / "a.npz")
    assert (found["images"], found["damaged"]) == (2, 2)
    assert found["damage"][0] == "a/2: its vector has values that are not finite"


def test_damage_that_images_share_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    write_folder(tmp_path / "set", 2, 3)
    run_job(Convert(), Request(tmp_path / "set", path), SerialRunner())
    table = pq.read_table(path)
    pq.write_table(table, path, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    found = Inspect().look(path)
    assert (found.damaged, len(found.damage)) == (6, 1)
    assert str(found).endswith("\n    5 more")


def test_a_plan_and_an_image(tmp_path: Path) -> None:
    with (tmp_path / "plan.jsonl").open("wb") as file:
        write_plan(file, {"command": "dedupe", "source": "somewhere"}, [])
    assert inspect(tmp_path / "plan.jsonl")["source"] == "somewhere"
    shown = str(Inspect().look(tmp_path / "plan.jsonl"))
    assert "images" not in shown, "a plan holds none"
    assert "  decisions       none\n" in shown
    (tmp_path / "a.jpg").write_bytes(encode_face(1, 1))
    found = inspect(tmp_path / "a.jpg")
    assert (found["kind"], found["images"]) == ("image", 1)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_search_counts_its_probes(tmp_path: Path, suffix: str) -> None:
    numbers = np.array([1, 2]), np.array([0.9, 0.5]), np.array([0.4, np.nan])
    found = Matches(["x", "x"], numbers[0], ["a", "b"], numbers[1], ["a/1", "b/1"], numbers[2])
    part, table = tmp_path / "part", tmp_path / f"out{suffix}"
    with part.open("wb") as file:
        write_matches(file, suffix, found)
    with table.open("wb") as file:
        join_matches([part], file, suffix)
    shown = inspect(table)
    assert (shown["kind"], shown["probes"], shown["rows"]) == ("matches", 1, 2)
    assert "images" not in str(Inspect().look(table))


def test_a_table_without_identities(tmp_path: Path) -> None:
    """The table of faces names none, so it has not zero of them."""
    pq.write_table(table_of([]), tmp_path / "faces.parquet")
    found = inspect(tmp_path / "faces.parquet")
    assert (found["kind"], found["images"], found["identities"]) == ("faces", 0, None)
    text = str(Inspect().look(tmp_path / "faces.parquet"))
    assert "faces           0\n" in text and "images " not in text, "a photo may have several"


@pytest.mark.parametrize("suffix", [".csv", ".lst", ".npz", ".parquet", ".txt"])
def test_the_images_of_a_list_are_read(face_folder: Path, tmp_path: Path, suffix: str) -> None:
    faces = tmp_path / "faces"
    shutil.copytree(face_folder, faces)
    job = Convert() if suffix != ".parquet" else Manifest(seed=1)
    run_job(job, Request((faces,), tmp_path / f"list{suffix}"), SerialRunner())
    whole = inspect(tmp_path / f"list{suffix}")
    assert (whole["images"], whole["identities"], whole["damaged"]) == (12, 4, 0)
    assert whole["formats"] == {".jpg": 12} and ("fields" in whole) == (suffix != ".txt")
    assert Inspect(limit=1).look(tmp_path / f"list{suffix}").images == 1
    first, second, third = sorted(faces.rglob("*.jpg"))[:3]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-99])  # its end mark is missing
    broken = bytearray(encode_face(0, 1, ".png"))
    broken[200:400] = bytes(200)  # its pixels cannot be decoded
    third.write_bytes(broken)
    found = Inspect().look(tmp_path / f"list{suffix}")
    assert (found.images, found.damaged, Inspect().exit_status(found)) == (10, 2, 3)
    assert {first.name, second.name} <= {Path(line.split(": ")[0]).name for line in found.damage}
    assert Inspect(deep=True).look(tmp_path / f"list{suffix}").damaged == 3


def test_lines_of_a_list_that_name_no_image_are_damage(face_folder: Path, tmp_path: Path) -> None:
    path = sorted(face_folder.rglob("*.jpg"))[0].relative_to(face_folder)
    (tmp_path / "a.lst").write_text(f"0\t1\t2\t{path}\n1\t1\t2\t{path}\n2\tnan\t2\tb.jpg\n")
    found = Inspect(relative_to=face_folder).look(tmp_path / "a.lst")
    assert (found.images, found.damaged, found.details["label_width"]) == (1, 2, 2)
    assert "repeated in the list" in found.damage[0] and "finite label" in found.damage[1]
    assert found.details["fields"] == ["label", "path"]


def test_a_damaged_list_is_described_up_to_its_damage(tmp_path: Path) -> None:
    (tmp_path / "a.lst").write_text("0\t1\ta.jpg\n1\tx\n")
    found = Inspect().look(tmp_path / "a.lst")
    assert (found.images, found.damaged) == (1, 1) and "line 2" in found.damage[0]


@pytest.mark.parametrize(
    ("name", "n_frames", "style", "seconds"),
    [
        ("a.mp4", 30, VideoStyle(), 1.0),
        ("a.mkv", 30, VideoStyle(fps=25), 1.2),
        ("a.avi", 45, VideoStyle(), 1.5),
        ("a.mov", 10, VideoStyle(fps=10, varies=True), 1.6),
        ("a.mp4", 1, VideoStyle(), None),
    ],
)
def test_a_video_lasts_until_its_last_frame_ends(
    name: str, n_frames: int, style: VideoStyle, seconds: float | None, tmp_path: Path
) -> None:
    """The length of the only frame of a video is not known."""
    write_video(tmp_path / name, n_frames, style=style)
    found = inspect(tmp_path / name)
    assert (found["frames"], found["seconds"]) == (n_frames, pytest.approx(seconds, abs=0.002))
    assert ("note" in found) == (seconds is None)


def test_only_deep_decodes_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, 30)
    in_container = "damage          none found in the container (--deep decodes the frames)"
    assert in_container in str(Inspect().look(path))
    assert str(Inspect(deep=True).look(path)).endswith("damage          none found")
    data = path.read_bytes()
    middle = data.index(b"mdat") + (data.index(b"moov") - data.index(b"mdat")) // 2
    path.write_bytes(data[:middle] + bytes(200) + data[middle + 200 :])
    assert Inspect().look(path).failed == 0
    steps: list[tuple[int, int]] = []
    found = Inspect(deep=True).look(path, lambda *step: steps.append(step))
    with VideoReader(path) as reader:
        numbers = [frame.number for frame in reader.frames()]
    assert found.damage == [reader.damage] and "could not be decoded" in reader.damage
    assert steps == [(number + 1, 30) for number in numbers]
    assert Inspect(deep=True, limit=2).look(path).failed == 0
