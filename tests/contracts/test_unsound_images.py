"""Every command gives the same status and the same sentence to the same unsound image."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from faceprep import Align, ExtractPhotos, Request, SerialRunner, run_job
from faceprep.cli import main
from faceprep.core.job import Job
from faceprep.core.types import Decision, Outcome
from faceprep.jobs.bin2folder import Bin2Folder
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.embed.job import Embed
from faceprep.jobs.folder2rec import Folder2Rec
from faceprep.jobs.make_bin import MakeBin
from faceprep.jobs.manifest import Manifest
from faceprep.jobs.rec2folder import Rec2Folder
from faceprep.jobs.reencode_bin import ReencodeBin
from faceprep.jobs.report import Report
from faceprep.jobs.review import Review
from faceprep.jobs.score import Score
from faceprep.pages.review.thumbnails import Thumbnails
from faceprep.sets.recordio.framing import frame_image
from faceprep.synthetic import encode_face
from tests.failures import read_failures
from tests.flat_faces import Flat, flat_detectors, save
from tests.reviews import save_plan
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
Inspecting = Callable[..., list[str]]


def spoil(path: Path, name: str) -> None:
    """Make the unsound file; a link to a folder stands for a file that cannot be read."""
    path.unlink(missing_ok=True)
    data = UNSOUND[name][0]
    if data is not None:
        path.write_bytes(data)
    elif name == "gone.jpg":
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
    for name in UNSOUND:
        if name != "forbidden.jpg":
            spoil(source / "p0" / name, name)
    return source


@pytest.fixture
def inspect(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Run `inspect` on a damaged set, and return the damage that it names."""

    def damage_of(path: Path, *options: str) -> list[str]:
        monkeypatch.setattr("sys.argv", ["faceprep", "inspect", str(path), "--json", *options])
        assert main() == 3
        found: list[str] = json.loads(capsys.readouterr().out)["damage"]
        return found

    return damage_of


def run(job: Job, source: Path, output: Path) -> Told:
    """Return the reported outcome of each failed input; the output may be a folder or a file."""
    run_job(job, Request((source,), output), SerialRunner())
    found = read_failures(output) or read_failures(output / ".faceprep")
    return {row["input"]: (row["status"], row["reason"]) for row in found}


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


@pytest.mark.parametrize("deep", [[], ["--deep"]])
def test_inspect(folder: Path, inspect: Inspecting, deep: list[str]) -> None:
    assert set(inspect(folder, *deep)) == {
        f"p0/{name}: {sentence}"
        for name, (_, _, sentence) in UNSOUND.items()
        if name != "forbidden.jpg"
    }


@pytest.mark.parametrize("name", [name for name in UNSOUND if name != "forbidden.jpg"])
def test_make_bin(folder: Path, tmp_path: Path, name: str) -> None:
    """A listed pair is an input, and its reason begins with the image."""
    pairs = tmp_path / "pairs.txt"
    _, status, sentence = UNSOUND[name]
    spoil(folder / "p0" / name, name)
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
    _, status, sentence = UNSOUND[name]
    spoil(photo, name)
    told = run(Align(tmp_path / "first" / "faces.parquet"), tmp_path / "src", tmp_path / "out")
    assert list(told.values()) == [(status, f"ann/{photo.name}: {sentence}")]


# Pages with pictures


@pytest.mark.parametrize("name", UNSOUND)
def test_report(
    tmp_path: Path, flat_detectors: None, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A crop that cannot be shown is named."""
    save(tmp_path / "src" / "ann" / "photo.png", Flat(40, 50))
    out = tmp_path / "out"
    run_job(ExtractPhotos(detector="flat"), Request((tmp_path / "src",), out), SerialRunner())
    (crop,) = (out / "ann").iterdir()
    spoil(crop, name)
    Report().look(out)
    sentence = f"ann/{crop.name}: {UNSOUND[name][2]}"
    assert caplog.messages == [f"{out / 'report.html'}: images are left out: {sentence}"]


@pytest.mark.parametrize("name", UNSOUND)
def test_review(folder: Path, tmp_path: Path, name: str) -> None:
    _, status, sentence = UNSOUND[name]
    spoil(folder / "p0" / name, name)
    loaded = Thumbnails(tmp_path / "kept").load(str(folder / "p0" / name))
    assert loaded == Outcome(name, status, f"{name}: {sentence}")


def test_review_without_a_server(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The page has a gap in place of each unsound image, and a warning names and counts them."""
    plan = save_plan(tmp_path / "plan.jsonl", folder, [Decision("merge", "p0", "p1", 0.7)])
    reviewed = Review(static=tmp_path / "page").serve(plan, lambda address: None)
    assert reviewed.page == f"{tmp_path / 'page' / 'index.html'} (4 pictures)"
    (warning,) = [message for message in caplog.messages if "left out" in message]
    assert warning.startswith(f"{tmp_path / 'page'}: images are left out: p0/gone.jpg: ")
    assert warning.endswith("; and 2 more")


# Commands that read containers


def write_rec(folder: Path) -> Path:
    """Write a .rec of the unsound images, a sound one and one with padding."""
    lines, data = [], b""
    records = [row[0] for row in IN_BYTES.values()] + [JPEG, JPEG + b"\0" * 40]
    for key, image in enumerate(records, 1):
        lines.append(f"{key}\t{len(data)}\n")
        data += frame_image([float(key)], image or b"", key)
    (folder / "train.rec").write_bytes(data)
    (folder / "train.idx").write_text("".join(lines))
    return folder / "train.rec"


def write_bin(path: Path) -> Path:
    """Write a .bin of one sound pair, and one pair for each unsound image, which is its first."""
    images = [JPEG, JPEG]
    for data, _, _ in IN_BYTES.values():
        images += [data or b"", JPEG]
    path.write_bytes(pickle.dumps((images, [True] * (len(images) // 2))))
    return path


def test_rec2folder(tmp_path: Path) -> None:
    told = run(Rec2Folder(), write_rec(tmp_path), tmp_path / "out")
    for key, (_, status, sentence) in enumerate(IN_BYTES.values(), 1):
        found, reason = told.pop(str(key))
        assert found == status and reason.endswith(f": {sentence}")
    assert not told, "padding after the end marker is harmless"


@pytest.mark.parametrize("is_reencoded", [False, True])
def test_bins(tmp_path: Path, is_reencoded: bool) -> None:
    job: Job = ReencodeBin(out_dir=tmp_path / "out") if is_reencoded else Bin2Folder()
    told = run(job, write_bin(tmp_path / "a.bin"), tmp_path / "out")
    wanted = enumerate(IN_BYTES.values(), 1)
    for (found, reason), (pair, (_, status, sentence)) in zip(told.values(), wanted, strict=True):
        image = rf"image {2 * pair} \(the first of pair {pair}\) at byte \d+"
        assert found == status
        assert re.fullmatch(f"{image}: {re.escape(sentence)}; the pair is left out", reason)


@pytest.mark.parametrize("deep", [[], ["--deep"]])
def test_inspect_bin(tmp_path: Path, inspect: Inspecting, deep: list[str]) -> None:
    assert inspect(write_bin(tmp_path / "a.bin"), *deep) == [
        f"image {2 * pair} of pair {pair}: {sentence}"
        for pair, (_, _, sentence) in enumerate(IN_BYTES.values(), 1)
    ]


@pytest.mark.parametrize("deep", [[], ["--deep"]])
def test_inspect_rec(tmp_path: Path, inspect: Inspecting, deep: list[str]) -> None:
    damage = inspect(write_rec(tmp_path), *deep)
    wanted = enumerate(IN_BYTES.values(), 1)
    for line, (key, (_, _, sentence)) in zip(damage, wanted, strict=True):
        assert re.fullmatch(rf"record {key} at offset \d+: {re.escape(sentence)}", line)
