"""Cases of wrong usage, of second starts and of help."""

from __future__ import annotations

from collections.abc import Iterator

from tests.golden.steps import Case, case, edit, plain

COMMANDS = [
    "inspect",
    "models",
    "doctor",
    "report",
    "rec2folder",
    "folder2rec",
    "reencode-bin",
    "bin2folder",
    "make-bin",
    "score",
    "extract-photos",
    "extract-video",
    "align",
    "embed",
    "verify",
    "merge-identities",
    "clean-identities",
    "dedupe",
    "apply",
    "manifest",
    "review",
]
_ONE_PATH = ("inspect", "report", "review", "verify")
_TWO_PATHS = [
    "rec2folder",
    "folder2rec",
    "bin2folder",
    "score",
    "extract-photos",
    "extract-video",
    "embed",
    "merge-identities",
    "clean-identities",
    "dedupe",
    "apply",
]
_WRONG = {
    "manifest": (
        "manifest {made}/folders out.npz",
        "manifest {made}/folders out.txt --seed 1",
        "manifest {made}/folders out --seed 1",
        "manifest {made}/folders out.npz --seed 1 --shards 0",
        "manifest {made}/folders out.npz --seed 1 --shards 1000",
        "manifest {made}/folders out.npz --seed 1 --val-fraction 2",
        "manifest {made}/folders out.npz --seed 1 --val-fraction -0.1",
        "manifest {made}/folders out.npz --seed 1 --split-by identity",
        "manifest {made}/folders out.npz --seed 1 --split-by people",
        "manifest {made}/folders out.npz --seed 1 --label-rule nonsense",
        "manifest {made}/folders out.npz --seed 1 --label-rule live=0,spoof=2",
        "manifest {made}/folders out.npz --seed 1 --min-images 100",
        "manifest {made}/folders out.npz --seed 1 --embeddings {made}/paths.txt",
        "manifest {made}/folders out.npz --seed 1 --relative-to {data}/orl",
        "manifest {data}/orl/README out.npz --seed 1",
        "manifest {made}/missing out.npz --seed 1",
    ),
    "containers": (
        "folder2rec {made}/folders out --layout flat",
        "folder2rec {made}/folders out --layout other",
        "folder2rec {made}/names/nobody out",
        "rec2folder {made}/folders out",
        "rec2folder {data}/bins/py3_bytes.bin out",
        "bin2folder {data}/mxnet/insightface/train.rec out",
        "reencode-bin {data}/bins/py3_bytes.bin",
        "reencode-bin {data}/bins/py3_bytes.bin --out-dir out --in-place",
        "reencode-bin {data}/bins/py3_bytes.bin --out-dir out --quality 0",
        "reencode-bin {data}/bins/py3_bytes.bin --out-dir out --format gif",
        "make-bin {made}/folders out.bin",
        "make-bin {made}/folders out.bin --pairs 30 --seed 1",
        "make-bin {made}/folders out.bin --pairs 20",
        "make-bin {made}/folders out.bin --pairs 100000 --seed 1",
        "make-bin {made}/folders out.bin --pairs 20 --seed 1 --pairs-file {made}/paths.txt",
        "make-bin {made}/missing out.bin --pairs 20 --seed 1",
        "inspect {made}/paths.txt",
        "inspect {made}/folders --limit 0",
    ),
    "faces": (
        "extract-photos {data}/photos/groups out --detector nothing",
        "extract-photos {data}/photos/groups out --detector {made}/tiny.onnx",
        "extract-photos {data}/photos/groups out --detector insightface:nothing",
        "extract-photos {data}/photos/groups out --template nonsense",
        "extract-photos {data}/photos/groups out --select best",
        "extract-photos {data}/photos/groups out --min-score 7",
        "extract-photos {data}/photos/groups out --det-size 3",
        "extract-photos {data}/photos/groups out --fallback nothing",
        "extract-photos {data}/photos/groups out --device cuda:7",
        "extract-photos {data}/photos/groups out --require-gpu",
        "extract-photos {data}/bins out",
        "extract-video {data}/photos/groups out",
        "extract-video {made}/videos out --every 0",
        "extract-video {made}/videos out --frames some",
        "extract-video {made}/videos out --every 2 --frames pair",
        "extract-video {made}/videos out --start 5 --end 2",
        "extract-video {made}/videos out --format gif",
        "align {data}/photos/groups out",
        "align {data}/photos/groups out --faces {made}/paths.txt",
        "score {made}/folders out.csv",
        "score {made}/folders out.parquet --drop-below nonsense=3",
        "score {made}/folders out.parquet --drop-below brightness",
    ),
    "people": (
        "embed {made}/folders out.npz --embedder nothing",
        "embed {made}/folders out.npz --embedder {made}/missing.onnx",
        "embed {made}/folders out.txt",
        "embed {made}/folders out.npz --shards 2",
        "embed {made}/folders out.npz --mean 1,2",
        "embed {made}/folders out.npz --mean 127.5",
        "embed {made}/folders out.npz --embedder {made}/tiny.onnx --size 64",
        "embed {made}/folders out.npz --crops nonsense",
        "merge-identities {made}/folders out --threshold 3",
        "merge-identities {made}/folders out --threshold 0.9 --far 0.1",
        "merge-identities {made}/folders out --far 1e-9",
        "merge-identities {made}/folders out --linkage other",
        "clean-identities {made}/folders out --angle 400",
        "clean-identities {made}/folders out --min-images -1",
        "dedupe {made}/copies out --against {made}/missing",
        "dedupe {made}/copies out --mode move",
        "verify {made}/folders --embedder {made}/tiny.onnx --gallery 0",
        "verify {made}/paths.txt",
        "apply {made}/paths.txt out",
        "report {made}/paths.txt",
        "review {made}/paths.txt --static out",
    ),
    "every-run": (
        "rec2folder {data}/mxnet/insightface out --nonsense",
        "rec2folder {data}/mxnet/insightface",
        "rec2folder {data}/mxnet/insightface out third",
        "rec2folder {data}/mxnet/insightface out --limit 0",
        "rec2folder {data}/mxnet/insightface out --max-failures -1",
        "rec2folder {data}/mxnet/insightface out --quiet --verbose",
        "rec2folder {data}/mxnet/insightface /proc/out",
        "rec2folder {data}/mxnet/insightface {made}/paths.txt",
    ),
}


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    yield from _help_cases()
    yield from _missing_cases()
    for name, lines in _WRONG.items():
        for number, words in enumerate(lines):
            yield case(f"wrong/{name}-{number:02}", words)
    yield from _second_start_cases()


def _help_cases() -> Iterator[Case]:
    for command in COMMANDS:
        yield case(f"help/{command}", plain(f"{command} --help"))
    yield case(
        "help/top",
        plain("--help"),
        plain("-h"),
        plain("--version"),
        plain("nonsense"),
        plain("--nonsense"),
        plain("rec2folder {data}/mxnet/insightface out --workers 0"),
        plain("rec2folder {data}/mxnet/insightface out --runner nonsense"),
    )


def _missing_cases() -> Iterator[Case]:
    lines = [f"{command} {{made}}/missing" for command in _ONE_PATH]
    lines += [f"{command} {{made}}/missing out" for command in _TWO_PATHS]
    lines += ["reencode-bin {made}/missing.bin --out-dir out"]
    lines += ["align {data}/photos/groups out --faces {made}/missing.parquet"]
    for number, words in enumerate(lines):
        yield case(f"wrong/missing-{number:02}-{words.split()[0]}", words)


def _second_start_cases() -> Iterator[Case]:
    runs = {
        "rec2folder": ("rec2folder {data}/mxnet/insightface out", "--scan"),
        "truncated": ("rec2folder {data}/mxnet/broken/truncated out", "--limit 5"),
        "folder2rec": ("folder2rec {made}/folders out", "--layout flat --seed 1"),
        "manifest": ("manifest {made}/folders out.npz --seed 1", "--shards 2"),
        "make-bin": ("make-bin {made}/folders out.bin --pairs 20 --seed 1", "--limit 5"),
        "embed": ("embed {made}/numbered out.npz --embedder {made}/tiny.onnx", "--flip"),
        "photos": ("extract-photos {data}/photos/groups out --select all", "--min-score 0.9"),
        "dedupe": ("dedupe {made}/copies out --embedder none", "--exact-only"),
    }
    for name, (words, option) in runs.items():
        yield case(
            f"again/{name}", words, words, f"{words} {option}", f"{words} {option} --overwrite"
        )
    own = [("source", "{made}/folders")]
    yield case("again/into-source", "folder2rec source source", copies=own)
    yield case("again/below-source", "folder2rec source source/anna/out", copies=own)
    words = "rec2folder {data}/mxnet/insightface out"
    yield case(
        "again/foreign-files", edit("write_note", "out/note.txt"), words, f"{words} --overwrite"
    )
    yield case(
        "again/foreign-later", words, edit("write_note", "out/note.txt"), f"{words} --overwrite"
    )
    yield case("again/missing-file", words, edit("remove", "out/3"), words)
    yield case("again/moved", words, edit("move", "out moved"), words, "rec2folder moved again")
    yield case(
        "again/changed-input",
        "folder2rec source out",
        edit("remove", "source/anna/0.jpg"),
        "folder2rec source out",
        "folder2rec source out --overwrite",
        copies=[("source", "{made}/folders")],
    )
    damaged = "rec2folder {data}/mxnet/broken/truncated out"
    yield case("again/max-failures", f"{damaged} --max-failures 2", f"{damaged} --max-failures 100")
    yield case(
        "again/other-command",
        words,
        "folder2rec {made}/folders out",
        "folder2rec {made}/folders out --overwrite",
    )
