"""Every command that reads a set gives the same for every container as for the folder.

A new container needs a line in `MAKERS`, and a new command one in `COMMANDS` or in `OTHERS`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core import registry
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.types import CarryOut, Request, Shard, ShardReport, ShardWork
from faceprep.jobs.align import Align
from faceprep.jobs.apply import Apply
from faceprep.jobs.clean_identities import CleanIdentities
from faceprep.jobs.convert import Convert
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.embed.job import Embed
from faceprep.jobs.exclude_people import ExcludePeople
from faceprep.jobs.folder2rec import Folder2Rec
from faceprep.jobs.inspect.job import Inspect
from faceprep.jobs.make_bin import MakeBin
from faceprep.jobs.manifest import Manifest
from faceprep.jobs.merge_identities import MergeIdentities
from faceprep.jobs.report import Report
from faceprep.jobs.review import Review
from faceprep.jobs.score import Score
from faceprep.jobs.search import Search
from faceprep.jobs.verify.job import Verify
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets import webdataset
from faceprep.sets.pairs_bin.container import load_pairs
from faceprep.synthetic import encode_face
from faceprep.tables.embeddings import load_embeddings
from faceprep.tables.faces import FaceRow, FacesWriter
from faceprep.tables.matches import read_matches
from faceprep.tables.plan import read_plan
from tests.bins import write_bin
from tests.color_people import color_embedders
from tests.jobs.test_any_set import images_of, run
from tests.listed import write_csv, write_lst, write_npz, write_parquet

__all__ = ["color_embedders"]  # a fixture
N_PEOPLE, N_EACH = 3, 4
NAMES = [f"{person}/{person * N_EACH + i}" for person in range(N_PEOPLE) for i in range(N_EACH)]


# The containers


def _convert(folder: Path, path: Path) -> None:
    run(Convert(), folder, path)


def _zip(folder: Path, path: Path) -> None:
    shutil.make_archive(str(path.with_suffix("")), "zip", folder)


def _list(write: Callable[..., None]) -> Callable[[Path, Path], None]:
    def make(folder: Path, path: Path) -> None:
        shutil.copytree(folder, path.parent, dirs_exist_ok=True)
        names = [f"{name}.jpg" for name in NAMES]
        write(path, names, [int(name.partition("/")[0]) for name in names])

    return make


def _write_txt(path: Path, names: list[str], classes: list[int]) -> None:
    lines = [f"{name} {number}\n" for name, number in zip(names, classes, strict=True)]
    path.write_text("".join(lines))


MAKERS: Mapping[str, tuple[str, Callable[[Path, Path], None]]] = {
    "rec": ("in.rec", _convert),
    "webdataset": ("in.tar", _convert),
    "tfrecord": ("in.tfrecord", _convert),
    "parquet-images": ("in.parquet", _convert),
    "zip": ("in.zip", _zip),
    "npz-list": ("in.npz", _list(write_npz)),
    "csv-list": ("in.csv", _list(write_csv)),
    "parquet-list": ("in.parquet", _list(write_parquet)),
    "lst": ("in.lst", _list(write_lst)),
    "txt-list": ("in.txt", _list(_write_txt)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people with numbers as names; the last has a copy of an image."""
    root = tmp_path_factory.mktemp("folder") / "in"
    for name in NAMES:
        person, number = map(int, name.split("/"))
        path = root / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_face(person, min(number, len(NAMES) - 2)))
    return root


@pytest.fixture(autouse=True)
def sources_are_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop at a shard whose source is not there, as every node of a Ray cluster does."""

    def run_shards(work: ShardWork, shards: Iterable[Shard]) -> Generator[ShardReport, None, None]:
        for shard in shards:
            assert Path(shard.source).exists(), shard
            yield work.run(shard)

    @contextmanager
    def start(runner: SerialRunner, work: ShardWork) -> Iterator[CarryOut]:
        yield partial(run_shards, work)

    monkeypatch.setattr(SerialRunner, "start", start)


@pytest.fixture(scope="module", params=MAKERS)
def container(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    name, make = MAKERS[request.param]
    path = tmp_path_factory.mktemp(request.param) / "set" / name
    path.parent.mkdir()
    make(folder, path)
    return path


# The commands: what each makes of a set, without the names that the container may not hold


def _inspect(source: Path, to: Path) -> Any:
    found = Inspect().look(source).as_json()
    return {name: found[name] for name in ("images", "identities", "damaged")}


def _convert_back(source: Path, to: Path) -> Any:
    run(Convert(allow_loss=source.suffix == ".bin"), source, to / "out")
    return images_of(to / "out", to / "index")


def _manifest(source: Path, to: Path) -> Any:
    run(Manifest(seed=3, with_images=True), source, to / "out.tfrecord")
    return images_of(to / "out.tfrecord", to / "index")


def _make_bin(source: Path, to: Path) -> Any:
    run(MakeBin(pairs=20, seed=1), source, to / "out.bin")
    return _pairs(to / "out.bin")


def _make_listed_bin(source: Path, to: Path) -> Any:
    pairs = to / "pairs.txt"
    pairs.write_text(f"{NAMES[0]}.jpg {NAMES[3]} 1\n{NAMES[1]} {NAMES[8]}.jpg 0\n")
    run(MakeBin(pairs_file=pairs), source, to / "out.bin")
    return _pairs(to / "out.bin")


def _pairs(path: Path) -> Any:
    found = load_pairs(path)
    return list(map(bytes, found.images)), list(found.same)


def _score(source: Path, to: Path) -> Any:
    import pyarrow.parquet as pq

    run(Score(), source, to / "out.parquet")
    return pq.read_table(to / "out.parquet").drop_columns(["path"]).to_pylist()


def _embed(source: Path, to: Path) -> Any:
    run(Embed(embedder="colors"), source, to / "out.npz")
    found = load_embeddings(to / "out.npz")
    return list(found.identities), np.asarray(found.vectors).tolist()


def _verify(source: Path, to: Path) -> Any:
    found = Verify(embedder="colors", gallery=2, seed=4).look([source])
    return [result | {"name": "", "path": ""} for result in found.results]


def _search(source: Path, to: Path) -> Any:
    request = Request((source, source), to / "out.csv")
    run_job(Search(embedder="colors", top=3), request, SerialRunner())
    rows = list(read_matches(to / "out.csv"))
    assert [row.probe for row in rows if row.rank == 1] == [
        row.image for row in rows if row.rank == 1
    ]
    return [(row.rank, row.identity, row.similarity, row.margin) for row in rows]


def _exclude(source: Path, to: Path) -> Any:
    run(Convert(allow_loss=True), source, to / "other.tar")
    job = ExcludePeople(embedder="colors", threshold=0.5)
    run_job(job, Request((source, to / "other.tar"), to / "out"), SerialRunner())
    decisions = read_plan(to / "out" / "plan.jsonl")[1]
    return [(each.action, each.score, each.verdict, each.evidence["pairs"]) for each in decisions]


def _folder2rec(source: Path, to: Path) -> Any:
    run(Folder2Rec(), source, to / "out")
    names = ("train.rec", "train.idx", "train.lst", "property", "classes.csv")
    return {name: (to / "out" / name).read_bytes() for name in names}


def _align(source: Path, to: Path) -> Any:
    table = to / "faces.parquet"
    points = [(35, 45), (75, 45), (55, 65), (40, 85), (70, 85)]
    with table.open("wb") as file, FacesWriter(file) as writer:
        for name in NAMES:
            given = (f"{name}.jpg", (112, 112), [9, 9, 99, 99], points, 0.9, [0] * 6, "d", "t")
            writer.add(FaceRow(name, *given, f"{name}.png"))
    run(Align(table, template="arcface-224"), source, to / "out")
    return {name: (to / "out" / f"{name}.png").read_bytes() for name in NAMES}


def _dedupe(source: Path, to: Path) -> Any:
    run(Dedupe(exact_only=True), source, to / "out")
    return _planned(to / "out", to)


def _merge(source: Path, to: Path) -> Any:
    run(MergeIdentities(embedder="colors"), source, to / "out")
    return _planned(to / "out", to)


def _clean(source: Path, to: Path) -> Any:
    run(CleanIdentities(embedder="colors", min_images=4), source, to / "out")
    return _planned(to / "out", to)


def _planned(output: Path, to: Path) -> Any:
    decisions = [(each.action, each.score) for each in read_plan(output / "plan.jsonl")[1]]
    return decisions, images_of(output, to / "index")


def _apply(source: Path, to: Path) -> Any:
    run(Dedupe(exact_only=True, plan_only=True), source, to / "planned")
    run(Apply(), to / "planned" / "plan.jsonl", to / "out.tar")
    run(Apply(), to / "out.undo.jsonl", to / "back")
    return images_of(to / "out.tar", to / "a"), images_of(to / "back", to / "b")


def _review(source: Path, to: Path) -> Any:
    run(Dedupe(exact_only=True, plan_only=True), source, to / "planned")
    plan = to / "planned" / "plan.jsonl"
    Review(static=to / "page").serve(plan, lambda address: None)
    return sorted(path.read_bytes() for path in (to / "page" / "thumbnails").rglob("*.jpg"))


def _report(source: Path, to: Path) -> Any:
    run(Score(), source, to / "out.parquet")
    found = Report(output=to / "page.html").look(to / "out.parquet")
    numbers = {section.name: section.numbers for section in found.sections}
    pictures = found.path.read_text().count("data:image/jpeg")
    return numbers["identities"], numbers["crops"], pictures > 0


COMMANDS: Mapping[str, tuple[Callable[[Path, Path], Any], ...]] = {
    "inspect": (_inspect,),
    "convert": (_convert_back,),
    "manifest": (_manifest,),
    "make-bin": (_make_bin, _make_listed_bin),
    "score": (_score,),
    "embed": (_embed,),
    "verify": (_verify,),
    "search": (_search,),
    "exclude-people": (_exclude,),
    "folder2rec": (_folder2rec,),
    "align": (_align,),
    "dedupe": (_dedupe,),
    "merge-identities": (_merge,),
    "clean-identities": (_clean,),
    "apply": (_apply,),
    "review": (_review,),
    "report": (_report,),
}
OTHERS = {
    "models",
    "convert-model",
    "doctor",
    "finish",
    "rec2folder",
    "reencode-bin",
    "bin2folder",
} | {"extract-photos", "extract-video"}
"""Commands that read one kind of file, or none."""
WAYS = [way for ways in COMMANDS.values() for way in ways]
_WANTED: dict[Callable[[Path, Path], Any], Any] = {}


@pytest.mark.usefixtures("color_embedders")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.removeprefix("_"))
def test_the_result_is_that_of_the_folder(
    way: Callable[[Path, Path], Any], container: Path, folder: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    if way not in _WANTED:
        _WANTED[way] = way(folder, tmp_path / "a")
    assert way(container, tmp_path / "b") == _WANTED[way]


def test_each_container_and_command_is_tried() -> None:
    assert set(MAKERS) == set(registry.CONTAINERS) - {"folder", "bin"}
    assert set(COMMANDS) | OTHERS == set(registry.COMMANDS)


@pytest.mark.usefixtures("color_embedders")
def test_a_damaged_image_is_named_with_its_place(tmp_path: Path) -> None:
    """A key alone does not lead to the bytes in a file of a million images."""
    member = webdataset.sample_bytes("0/1", b"no image", ".jpg", 0)
    sound = webdataset.sample_bytes("0/0", encode_face(0, 0), ".jpg", 0)
    (tmp_path / "in.tar").write_bytes(sound + member + webdataset.END)
    for number, job in enumerate((Embed(embedder="colors"), Score())):
        output = tmp_path / ("out.npz", "out.parquet")[number]
        assert run(job, tmp_path / "in.tar", output).failed == 1
        (failures,) = (tmp_path / ".faceprep" / output.name).rglob("failures.csv")
        assert (
            f"0/1,undecodable,in.tar at offset {len(sound)}: not an image" in failures.read_text()
        )


@pytest.mark.usefixtures("color_embedders")
@pytest.mark.parametrize("kind", ["folder", "list"])
@pytest.mark.parametrize(
    ("command", "options", "name"),
    [
        (Convert, {}, "out.tar"),
        (Embed, {"embedder": "colors"}, "out.npz"),
        (Score, {}, "out.parquet"),
        (Folder2Rec, {}, "out"),
        (Dedupe, {"exact_only": True}, "out.tar"),
        (Manifest, {"seed": 1}, "out.tar"),
    ],
)
def test_a_pipe_is_not_waited_for(
    kind: str, command: Callable[..., Any], options: dict[str, Any], name: str, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    (source / "0").mkdir(parents=True)
    (source / "0" / "0.jpg").write_bytes(encode_face(0, 0))
    os.mkfifo(source / "0" / "1.jpg")
    if kind == "list":
        source = source / "list.txt"
        source.write_text("0/0.jpg 0\n0/1.jpg 0\n")
    output = tmp_path / "made" / name
    summary = run(command(**options), source, output)
    assert (summary.ok, summary.failed) == (1, 1)
    (failures,) = (tmp_path / "made").rglob("failures.csv")
    assert "not a regular file" in failures.read_text()


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
def test_only_the_files_of_a_folder_can_be_linked(
    mode: str, container: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=f"--mode {mode}: only files can be linked"):
        run(Dedupe(exact_only=True, mode=mode), container, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# A set without identities

WITHOUT = {
    _manifest: "none of 12 images can be used; .* has no identity",
    _make_bin: "not enough different pairs",
    _make_listed_bin: "none of the pairs was found",
    _verify: "too few pairs for 10 folds",
    _folder2rec: "none of 12 images can be packed: .* found 0_0: outside of any identity folder",
    _align: "is about other images",
}
"""What a command that needs identities or names says of a set that has none."""


@pytest.mark.usefixtures("color_embedders")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.removeprefix("_"))
def test_a_set_without_identities(way: Callable[[Path, Path], Any], tmp_path: Path) -> None:
    source = write_bin(tmp_path / "in.bin", [encode_face(i % 3, i) for i in range(12)])
    if way not in WITHOUT:
        way(source, tmp_path)
        return
    with pytest.raises(SourceError, match=WITHOUT[way]) as caught:
        way(source, tmp_path)
    assert len(str(caught.value).splitlines()) == 1
