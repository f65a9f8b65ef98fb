"""Examples at the end of each `--help`; the tests parse every one of them.

The file names are placeholders, which a reader replaces with their own.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "faceprep inspect train.rec",
        "faceprep extract-photos photos faces --select largest",
        "faceprep COMMAND --help",
    ),
    "inspect": ("faceprep inspect train.rec", "faceprep inspect photos --deep --json"),
    "convert": (
        "faceprep convert train.rec train.tar --shards 8",
        "faceprep convert folders train.parquet --seed 1",
    ),
    "rec2folder": ("faceprep rec2folder faces_emore folders", "faceprep rec2folder a.rec out -q"),
    "folder2rec": (
        "faceprep folder2rec folders set",
        "faceprep folder2rec folders dali --layout flat --seed 1",
    ),
    "manifest": (
        "faceprep manifest folders train.npz --seed 1 --val-fraction 0.05 --split-by identity",
        "faceprep manifest folders web/train.tar --seed 1 --shards 8",
        "faceprep manifest faces live.csv --seed 1 --label-rule live=0,spoof=1",
    ),
    "make-bin": (
        "faceprep make-bin folders val.bin --pairs 6000 --seed 1",
        "faceprep make-bin lfw lfw.bin --pairs-file pairs.txt",
    ),
    "bin2folder": ("faceprep bin2folder lfw.bin lfw", "faceprep bin2folder lfw.bin lfw --limit 20"),
    "reencode-bin": (
        "faceprep reencode-bin lfw.bin agedb_30.bin --out-dir bins --format png",
        "faceprep reencode-bin lfw.bin --in-place",
    ),
    "verify": (
        "faceprep verify lfw.bin agedb_30.bin --embedder r50.onnx",
        "faceprep verify folders --embedder dlib-resnet --embedder r50.onnx --scores pairs.csv",
    ),
    "extract-photos": (
        "faceprep extract-photos photos faces",
        "faceprep extract-photos photos faces --select largest --fallback mtcnn",
        "faceprep extract-photos phone camera faces --template arcface-224 --format jpg",
    ),
    "extract-video": (
        "faceprep extract-video clips frames --every 10",
        "faceprep extract-video clips people --by-track --all-faces --detect-every auto",
        "faceprep extract-video SiW/Train crops --frames pair:faces --template patch2.7-80",
    ),
    "align": (
        "faceprep align photos faces224 --faces faces/faces.parquet --template arcface-224",
        "faceprep align clips boxes --faces frames/faces.parquet --template box1.5-256",
    ),
    "score": (
        "faceprep score faces scores.parquet --faces faces/faces.parquet",
        "faceprep score faces scores.parquet --drop-below laplacian_variance=20",
    ),
    "embed": (
        "faceprep embed faces vectors.npz --unit",
        "faceprep embed clips vectors.npz --faces frames/faces.parquet --embedder dlib-resnet",
        "faceprep embed faces vectors.parquet --embedder r50.onnx --shards 4",
    ),
    "search": (
        "faceprep search probes gallery matches.csv --top 3",
        "faceprep search probes.npz gallery.npz matches.parquet --approximate",
    ),
    "merge-identities": (
        "faceprep merge-identities faces merged",
        "faceprep merge-identities faces merged --plan-only --second-opinion r50.onnx",
    ),
    "clean-identities": (
        "faceprep clean-identities merged clean",
        "faceprep clean-identities merged clean --min-images 3",
    ),
    "exclude-people": (
        "faceprep exclude-people train.rec lfw clean.rec",
        "faceprep exclude-people faces opted_out kept --plan-only",
    ),
    "dedupe": (
        "faceprep dedupe photos unique --embedder none",
        "faceprep dedupe train.rec unique.rec --against lfw.bin",
    ),
    "review": (
        "faceprep review merged/plan.jsonl",
        "faceprep review merged/plan.jsonl --static page",
    ),
    "apply": (
        "faceprep apply merged/plan.jsonl reviewed",
        "faceprep apply merged/undo.jsonl original --mode hardlink",
    ),
    "report": (
        "faceprep report faces",
        "faceprep report faces --scores scores.parquet --embeddings vectors.npz",
        "faceprep report faces merged --output both.html --card",
    ),
    "models": ("faceprep models", "faceprep models --json"),
    "convert-model": (
        "faceprep convert-model model-r100,0 r100.onnx",
        "faceprep convert-model r100-symbol.json r100.onnx",
        "faceprep convert-model net.tflite net.onnx",
    ),
    "finish": ("faceprep finish faces", "faceprep finish train.tar --json"),
    "doctor": ("faceprep doctor", "faceprep doctor /data --json"),
}
"""The examples of each command; those of the name "" are for all."""
