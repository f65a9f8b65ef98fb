"""The commands that are disturbed: one small case for each that writes."""

from __future__ import annotations

from dataclasses import dataclass

RUNNERS = ("serial", "processes", "ray")
SCENES = ("new", "begun", "done")
"""What is there when a command starts: nothing, a run that was killed, or one that is complete."""


@dataclass(frozen=True)
class Case:
    """A command line below the work folder, and the inputs that it needs there."""

    argv: str
    inputs: tuple[str, ...]
    is_run: bool = True
    """It takes --runner."""
    writes: bool = True
    repeats: bool = True
    """A start after a complete one does the same again."""
    scenes: tuple[str, ...] = SCENES
    """The scenes in which it can start."""
    slow: int = 0
    """Points in a full enumeration of a case that takes too long; 0 for all."""

    def command(self, runner: str) -> list[str]:
        """Split into arguments, with the options that all cases share."""
        options = ["--json", "--quiet"]
        if self.is_run:
            options += ["--runner", runner, "--workers", "2"]
        return [*self.argv.split(), *options]


_FOLDER, _VECTORS = ("in/folder",), ("in/folder", "in/vectors.npz")
_PLAN = ("in/copies", "in/plan")


def _manifest(suffix: str, options: str = "") -> Case:
    return Case(f"manifest in/folder out/t{suffix} --seed 1 {options}", _FOLDER)


CASES = {
    "rec2folder": Case("rec2folder in/set out/d", ("in/set",)),
    "rec2folder-overwrite": Case("rec2folder in/set out/d --overwrite", ("in/set", "old folder")),
    "folder2rec": Case("folder2rec in/folder out/d", _FOLDER),
    "folder2rec-flat": Case("folder2rec in/folder out/d --layout flat --seed 1", _FOLDER),
    "convert-tar": Case("convert in/folder out/t.tar --shards 2", _FOLDER),
    "convert-rec-tar": Case("convert in/set out/t.tar --shards 2", ("in/set",)),
    "convert-rec": Case("convert in/set out/t.rec --seed 1", ("in/set",)),
    "convert-tfrecord": Case("convert in/set out/t.tfrecord", ("in/set",)),
    "convert-parquet": Case("convert in/set out/t.parquet", ("in/set",)),
    "convert-folder": Case("convert in/set out/d", ("in/set",)),
    "convert-bin": Case("convert in/pairs.bin out/t.bin --seed 1 --shards 2", ("in/pairs.bin",)),
    "convert-npz": Case("convert in/folder out/t.npz --shards 2", _FOLDER),
    "convert-csv": Case("convert in/folder out/t.csv --seed 1", _FOLDER),
    "convert-lst": Case("convert in/folder out/t.lst", _FOLDER),
    "convert-txt": Case("convert in/folder out/t.txt --relative-to in --shards 2", _FOLDER),
    "convert-rec-shards": Case("convert in/set out/t.rec --shards 2", ("in/set",)),
    "convert-parquet-seed": Case("convert in/set out/t.parquet --seed 1 --shards 2", ("in/set",)),
    "dedupe-tar": Case("dedupe in/copies out/t.tar --exact-only", ("in/copies",)),
    "apply-parquet": Case("apply in/plan/plan.jsonl out/t.parquet", _PLAN),
    "bin2folder": Case("bin2folder in/pairs.bin out/d", ("in/pairs.bin",)),
    "make-bin": Case(
        "make-bin in/folder out/p.bin --pairs-file in/pairs.txt", ("in/folder", "in/pairs.txt")
    ),
    "reencode-bin": Case("reencode-bin in/pairs.bin --out-dir out", ("in/pairs.bin",)),
    "reencode-bin-in-place": Case(
        "reencode-bin in/pairs.bin --in-place --format png", ("in/pairs.bin",)
    ),
    "extract-photos": Case("extract-photos in/photos out/d", ("in/photos",)),
    "extract-photos-many": Case("extract-photos in/many out/d", ("in/many",), slow=300),
    "extract-video": Case("extract-video in/clips out/d --every 3", ("in/clips",)),
    "align": Case(
        "align in/photos out/d --faces in/crops/faces.parquet", ("in/photos", "in/crops")
    ),
    "score": Case("score in/folder out/s.parquet --drop-below laplacian_variance=1e9", _FOLDER),
    "dedupe": Case("dedupe in/copies out/d --exact-only", ("in/copies",)),
    "embed": Case("embed in/folder out/e.npz", _FOLDER),
    "embed-shards": Case("embed in/folder out/e.parquet --shards 2", _FOLDER),
    "merge-identities": Case("merge-identities in/vectors.npz out/d --threshold 0.5", _VECTORS),
    "clean-identities": Case("clean-identities in/vectors.npz out/d --min-images 2", _VECTORS),
    "apply": Case("apply in/plan/plan.jsonl out/d", _PLAN),
    "apply-hardlink": Case("apply in/plan/plan.jsonl out/d --mode hardlink", _PLAN),
    "apply-symlink": Case("apply in/plan/plan.jsonl out/d --mode symlink", _PLAN),
    "manifest-npz": _manifest(".npz"),
    "manifest-tfrecord": _manifest(".tfrecord", "--with-images --shards 2"),
    "manifest-parquet": _manifest(".parquet"),
    "manifest-csv": _manifest(".csv", "--val-fraction 0.25"),
    "manifest-lst": _manifest(".lst"),
    "manifest-check": _manifest(".npz", "--check"),
    "manifest-images": _manifest(".parquet", "--with-images --shards 2"),
    "manifest-tar": _manifest(".tar"),
    "manifest-overwrite": Case(
        "manifest in/folder out/t.npz --seed 1 --overwrite", ("in/folder", "old manifest")
    ),
    "report": Case("report in/crops --output out/report.html", ("in/crops",), is_run=False),
    "report-inside": Case("report in/crops", ("in/crops",), is_run=False),
    "review-static": Case(
        "review in/plan/plan.jsonl --static out/page",
        _PLAN,
        is_run=False,
        repeats=False,
        scenes=SCENES[:2],  # it writes over no page
    ),
    "review-import": Case(
        "review in/plan/plan.jsonl --import in/verdicts.jsonl",
        (*_PLAN, "in/verdicts.jsonl"),
        is_run=False,
        repeats=False,
    ),
    "verify": Case("verify in/folder", _FOLDER, is_run=False),  # an index below TMPDIR
}
