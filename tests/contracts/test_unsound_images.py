"""Every command gives the same status and the same sentence to the same unsound image."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import pytest

from faceprep import Align, ExtractPhotos, Request, SerialRunner, run_job
from faceprep.cli import main
from faceprep.core.job import Job
from faceprep.jobs.bin2folder import Bin2Folder
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.embed.job import Embed
from faceprep.jobs.folder2rec import Folder2Rec
from faceprep.jobs.make_bin import MakeBin
from faceprep.jobs.manifest import Manifest
from faceprep.jobs.rec2folder import Rec2Folder
from faceprep.jobs.reencode_bin import ReencodeBin
from faceprep.jobs.score import Score
from faceprep.sets.recordio.records import frame_image
from faceprep.synthetic import encode_face
from tests.flat_faces import Flat, flat_detectors, save
from tests.tiny_models import save_onnx

__all__ = ["flat_detectors"]
JPEG, PNG = encode_face(0, 0, ".jpg"), encode_face(0, 0, ".png")
UNSOUND = {
    "empty.jpg": (b"", "undecodable", "no bytes at all"),
    "text.jpg": (
        b"some text",
        "undecodable",
        "not an image: it begins with 73 6f 6d 65 20 74 65 78",
    ),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "undecodable", "JPEG without its end marker"),
    "cut.png": (PNG[: len(PNG) // 2], "undecodable", "PNG without its IEND chunk"),
    "gone.jpg": (None, "unreadable", "cannot read: No such file or directory. Check the path."),
    "forbidden.jpg": (None, "unreadable", "cannot read: Is a directory. Name a file."),
}
IN_BYTES = {name: row for name, row in UNSOUND.items() if row[0] is not None}
Told = dict[str, tuple[str, str]]


def spoil(path: Path, data: bytes | None) -> None:
    """Make the unsound file; a link to a folder stands for a file that cannot be read."""
    path.unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)
    elif path.stem == "gone":
        path.symlink_to("nowhere")
    else:
        path.symlink_to(path.parent)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people, one of whom has one image of each unsound kind as well."""
    source = tmp_path / "set"
    for identity in (0, 1):
        (source / f"p{identity}").mkdir(parents=True)
        for image in range(2):
            name = f"p{identity}/sound{image}.jpg"
            (source / name).write_bytes(encode_face(identity, image, ".jpg"))
    for name, (data, _, _) in UNSOUND.items():
        if name != "forbidden.jpg":
            spoil(source / "p0" / name, data)
    return source


def failures(path: Path) -> dict[str, tuple[str, str]]:
    with path.open(newline="") as file:
        return {row["input"]: (row["status"], row["reason"]) for row in csv.DictReader(file)}


def run(job: Job, source: Path, output: Path) -> Told:
    """Return the reported outcome of each failed input; the output may be a folder or a file."""
    run_job(job, Request((source,), output), SerialRunner())
    inside = output / "failures.csv"
    shared = output / ".faceprep" / "failures.csv"
    beside = output.parent / ".faceprep" / output.name / "failures.csv"
    return failures(next(path for path in (inside, shared, beside) if path.exists()))


def expect_files(told: Told) -> None:
    wanted = {
        f"p0/{name}": (status, f"p0/{name}: {sentence}")
        for name, (_, status, sentence) in UNSOUND.items()
        if name != "forbidden.jpg"
    }
    assert told == wanted


# Commands that read files


def test_folder2rec(folder: Path, tmp_path: Path) -> None:
    expect_files(run(Folder2Rec(), folder, tmp_path / "rec"))


@pytest.mark.parametrize("name", ["a.tar", "a.tfrecord"])
def test_manifest(folder: Path, tmp_path: Path, name: str) -> None:
    job = Manifest(seed=1, with_images=name == "a.tfrecord")
    expect_files(run(job, folder, tmp_path / name))


def test_score(folder: Path, tmp_path: Path) -> None:
    expect_files(run(Score(), folder, tmp_path / "scores.parquet"))


def test_embed(folder: Path, tmp_path: Path) -> None:
    net = str(save_onnx(tmp_path / "net.onnx"))
    expect_files(run(Embed(embedder=net, device="cpu"), folder, tmp_path / "e.npz"))


@pytest.mark.parametrize("exact_only", [False, True])
def test_dedupe(folder: Path, tmp_path: Path, exact_only: bool) -> None:
    told = run(Dedupe(exact_only=exact_only), folder, tmp_path / "out")
    expect_files({key: row for key, row in told.items() if "sound" not in key})


def test_extract_photos(folder: Path, tmp_path: Path, flat_detectors: None) -> None:
    expect_files(run(ExtractPhotos(detector="flat"), folder, tmp_path / "out"))


def test_inspect(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for deep in ([], ["--deep"]):
        monkeypatch.setattr("sys.argv", ["faceprep", "inspect", str(folder), "--json", *deep])
        assert main() == 3
        assert set(json.loads(capsys.readouterr().out)["damage"]) == {
            f"p0/{name}: {sentence}"
            for name, (_, _, sentence) in UNSOUND.items()
            if name != "forbidden.jpg"
        }


@pytest.mark.parametrize("name", [name for name in UNSOUND if name != "forbidden.jpg"])
def test_make_bin(folder: Path, tmp_path: Path, name: str) -> None:
    """A listed pair is an input, and its reason begins with the image."""
    pairs = tmp_path / "pairs.txt"
    data, status, sentence = UNSOUND[name]
    spoil(folder / "p0" / name, data)
    pairs.write_text(f"p0/{name} p0/sound0.jpg 1\np1/sound0.jpg p1/sound1.jpg 1\n")
    told = run(MakeBin(pairs_file=pairs), folder, tmp_path / "a.bin")
    ((found, reason),) = told.values()
    assert (found, reason) == (status, f"p0/{name}: {sentence}; the pair is left out")


@pytest.mark.parametrize("name", UNSOUND)
def test_align(tmp_path: Path, flat_detectors: None, name: str) -> None:
    photo = tmp_path / "src" / "ann" / name.replace(".jpg", ".png")
    save(photo, Flat(40, 50))
    save(tmp_path / "src" / "ann" / "sound.png", Flat(40, 50))
    run_job(
        ExtractPhotos(detector="flat"),
        Request((tmp_path / "src",), tmp_path / "first"),
        SerialRunner(),
    )
    data, status, sentence = UNSOUND[name]
    spoil(photo, data)
    told = run(Align(tmp_path / "first" / "faces.parquet"), tmp_path / "src", tmp_path / "out")
    assert list(told.values()) == [(status, f"ann/{photo.name}: {sentence}")]


# Commands that read containers


def test_rec2folder(tmp_path: Path) -> None:
    lines, data = [], b""
    records = [row[0] for row in IN_BYTES.values()] + [JPEG, JPEG + b"\0" * 40]
    for key, image in enumerate(records, 1):
        lines.append(f"{key}\t{len(data)}\n")
        data += frame_image([float(key)], image or b"", key)
    (tmp_path / "train.rec").write_bytes(data)
    (tmp_path / "train.idx").write_text("".join(lines))
    told = run(Rec2Folder(), tmp_path / "train.rec", tmp_path / "out")
    for key, (_, status, sentence) in enumerate(IN_BYTES.values(), 1):
        found, reason = told.pop(str(key))
        assert found == status and reason.endswith(f": {sentence}")
    assert not told, "padding after the end marker is harmless"


@pytest.mark.parametrize("is_reencoded", [False, True])
def test_bins(tmp_path: Path, is_reencoded: bool) -> None:
    images = [JPEG, JPEG]
    for data, _, _ in IN_BYTES.values():
        images += [data or b"", JPEG]
    job: Job = ReencodeBin(out_dir=tmp_path / "out") if is_reencoded else Bin2Folder()
    source = tmp_path / "a.bin"
    source.write_bytes(pickle.dumps((images, [True] * (len(images) // 2))))
    told = run(job, source, tmp_path / "out")
    assert len(told) == len(IN_BYTES)
    for (found, reason), (_, status, sentence) in zip(
        told.values(), IN_BYTES.values(), strict=True
    ):
        assert found == status and sentence in reason
