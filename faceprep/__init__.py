"""faceprep: a face dataset from whatever it comes in to what a trainer reads.

errors, options, registry   what can go wrong; how options are declared; names -> things
wording                     numbers with their nouns
installed                   which packages are there, and what they lack, without loading one
types, faces, embeddings    the nouns and the Protocols
storage, staging, locks     the only place that touches the disk; all files of a shard or none; one run at a time
shuffle                     seeded orders that never change
ahead, cores                work done ahead in threads, in order and within bounds; this process's share of the cores
image_header, opencv        what encoded bytes say of themselves before they are decoded; OpenCV, loaded when needed
synthetic, synthetic_video  draw faces; write tiny sets and videos for tests, examples and docs
formats/                    bytes <-> nouns, one file a format
vision/                     pixels -> pixels or numbers
models/                     pixels -> faces or vectors: detectors and embedders
identity/                   vectors -> decisions: which images and identities are one person, which are copies
verification/               likeness -> accuracy, EER, TAR at FAR; rank-k, TPIR at FPIR
extraction                  faces out of decoded images: what photos, frames and tables have in common
deduplication               which images are copies of which: bytes to signatures to a plan
embedding                   crops to vectors, shard by shard: what the commands that embed have in common
crop_sources                where crops to embed come from: folders, manifests, .bin, .rec, photos with known faces
judging/                    test sets and an embedder -> results: bins, folders, IJB
destinations                where a plan sends every image
application                 plans carried out: what the commands that place images have in common
identity_plans              identity sets judged by their embeddings, planned and placed in one run
original_crops              the boxes of .face files, cut out of frames
report/                     ledger + tables -> numbers, plots, HTML
jobs/                       one file a command: the sentence that joins the layers
review/                     a page to decide on a plan
run/                        carries a job out: shards, resume, ledger, workers
cli/                        the Click skin

>>> import faceprep
>>> faceprep.Rec2Folder.command
'rec2folder'
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Align": "faceprep.jobs.align",
    "Apply": "faceprep.jobs.apply",
    "Bin2Folder": "faceprep.jobs.bin2folder",
    "Doctor": "faceprep.jobs.doctor",
    "CleanIdentities": "faceprep.jobs.clean_identities",
    "Dedupe": "faceprep.jobs.dedupe",
    "Embed": "faceprep.jobs.embed",
    "FaceprepError": "faceprep.errors",
    "ExtractPhotos": "faceprep.jobs.extract_photos",
    "ExtractVideo": "faceprep.jobs.extract_video",
    "Faces": "faceprep.faces",
    "Folder2Rec": "faceprep.jobs.folder2rec",
    "Inspect": "faceprep.jobs.inspect",
    "MakeBin": "faceprep.jobs.make_bin",
    "Manifest": "faceprep.jobs.manifest",
    "Models": "faceprep.jobs.models",
    "MergeIdentities": "faceprep.jobs.merge_identities",
    "Outcome": "faceprep.types",
    "PairSet": "faceprep.types",
    "ProcessRunner": "faceprep.run.processes",
    "Rec2Folder": "faceprep.jobs.rec2folder",
    "Review": "faceprep.review.review",
    "ReencodeBin": "faceprep.jobs.reencode_bin",
    "Report": "faceprep.jobs.report",
    "Request": "faceprep.types",
    "Score": "faceprep.jobs.score",
    "SerialRunner": "faceprep.run.serial",
    "Summary": "faceprep.types",
    "Verify": "faceprep.jobs.verify",
    "run_job": "faceprep.run.engine",
}
__all__ = sorted(_PUBLIC)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Public names are loaded when they are first used (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'faceprep' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
