"""Cases that find, cut, measure and compare faces."""

from __future__ import annotations

from collections.abc import Iterator

from tests.golden.steps import Case, case, edit, plain

_SELECTS = ("only", "largest", "score", "center", "all")
_PHOTOS = "{data}/photos"
_CLIP = "{data}/video/short_hamilton_clip.mp4"
_TINY = "--embedder {made}/tiny.onnx"


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    yield from _photo_cases()
    yield from _video_cases()
    yield from _crop_cases()
    yield from _embed_cases()
    yield from _verify_cases()
    yield from _page_cases()


def _photo_cases() -> Iterator[Case]:
    for select in _SELECTS:
        words = f"extract-photos {_PHOTOS}/groups out --select {select}"
        yield case(f"photos/select-{select}", words, weight=2)
    for detector in ("retinaface", "mtcnn", "centerface"):
        yield case(
            f"photos/detector-{detector}",
            f"extract-photos {_PHOTOS}/groups groups --detector {detector} --select all",
            f"extract-photos {_PHOTOS}/registration people --detector {detector}",
            weight=3,
        )
    yield case("photos/registration", f"extract-photos {_PHOTOS}/registration out", weight=2)
    yield case("photos/odd", f"extract-photos {_PHOTOS}/odd out --fallback mtcnn", weight=2)
    yield case("photos/phone", "extract-photos {data}/cases/photos/phone out", weight=2)
    yield case(
        "photos/options",
        f"extract-photos {_PHOTOS}/groups small --small-faces --select all",
        f"extract-photos {_PHOTOS}/groups sized --det-size 320 --min-score 0.95 --select all",
        f"extract-photos {_PHOTOS}/groups wide --template box1.5-256 --select largest",
        f"extract-photos {_PHOTOS}/groups big --template arcface-224 --select score",
        f"extract-photos {_PHOTOS}/groups/couple.jpg one --select all",
        f"extract-photos {_PHOTOS}/registration limited --limit 3",
        f"extract-photos {_PHOTOS}/registration two --runner processes --workers 2",
        weight=4,
    )
    yield case("photos/cut", "extract-photos {made}/cut out --min-score 0.5", weight=2)
    yield case("photos/crops", "extract-photos {data}/orl/s1 out --min-score 0.5", weight=2)


def _video_cases() -> Iterator[Case]:
    yield case("video/siw", "extract-video {data}/siw_like out", weight=5)
    yield case(
        "video/siw-origin",
        "extract-video {data}/siw_like out --face-fill origin --margin 1.3 --every 4",
        weight=4,
    )
    yield case("video/every", f"extract-video {_CLIP} out --every 25", weight=3)
    for choice in ("uniform:5", "pair", "keyframes", "every:60"):
        name = choice.replace(":", "-")
        yield case(f"video/frames-{name}", f"extract-video {_CLIP} out --frames {choice}", weight=3)
    yield case(
        "video/options",
        f"extract-video {_CLIP} all --frames uniform:4 --all-faces",
        f"extract-video {_CLIP} jpg --frames uniform:3 --format jpg --quality 80",
        f"extract-video {_CLIP} part --start 2 --end 3 --every 10",
        f"extract-video {_CLIP} mtcnn --frames uniform:3 --detector mtcnn",
        f"extract-video {_CLIP} center --frames uniform:3 --detector centerface",
        f"extract-video {_CLIP} wide --frames uniform:3 --template box1.5-256 --small-faces",
        weight=5,
    )
    yield case("video/all-frames", f"extract-video {_CLIP} out", weight=9)
    for name in ("x265_default_cut.mkv", "trim_end.mp4", "off-0.6.mp4", "h264_avi_to_mp4.mp4"):
        yield case(
            f"video/{name}", f"extract-video {{data}}/cases/video/{name} out --every 6", weight=4
        )
    for name in ("hlg.mov", "sar2.mp4", "upside.mp4", "two_people"):
        yield case(
            f"video/{name}", f"extract-video {{data}}/cases/video/{name} out --every 4", weight=4
        )
    yield case("video/made", "extract-video {made}/videos out --every 3", weight=3)
    yield case(
        "video/several",
        f"extract-video {_CLIP} {{made}}/videos out --frames uniform:3",
        "extract-video {data}/cases/hostile/face_file hostile --every 3",
        f"extract-video {_CLIP} {{made}}/videos two --frames uniform:3 --runner processes "
        "--workers 2",
        weight=4,
    )


def _crop_cases() -> Iterator[Case]:
    yield case(
        "align/photos",
        f"extract-photos {_PHOTOS}/groups crops --select all",
        f"align {_PHOTOS}/groups large --faces crops/faces.parquet --template arcface-224",
        f"align {_PHOTOS}/groups jpg --faces crops/faces.parquet --format jpg --quality 85",
        f"align {_PHOTOS}/registration missing --faces crops/faces.parquet",
        weight=3,
    )
    yield case(
        "align/video",
        f"extract-video {_CLIP} crops --frames uniform:6",
        f"align {_CLIP} box --faces crops/faces.parquet --template box1.5-256",
        weight=3,
    )
    yield case(
        "score/crops",
        "score {made}/folders table.parquet --drop-below laplacian_variance=600",
        "score {made}/numbered two.parquet --drop-below brightness=90 --drop-below contrast=0.4",
        "apply table.plan.jsonl kept",
        "score {made}/names names.parquet",
    )
    yield case("score/cut", "score {made}/cut table.parquet")
    yield case(
        "score/faces",
        f"extract-photos {_PHOTOS}/registration crops",
        "score crops table.parquet --faces crops/faces.parquet --drop-below yaw=-10",
        "report crops --scores table.parquet --output page.html",
        weight=3,
    )


def _embed_cases() -> Iterator[Case]:
    yield case(
        "embed/dlib",
        "embed {made}/folders vectors.npz",
        "embed {made}/folders vectors.parquet --shards 2 --flip",
        "inspect vectors.npz",
        "inspect vectors-00000-of-00002.parquet",
        weight=3,
    )
    yield case("embed/orl", "embed {data}/orl vectors.npz --fp16", weight=3)
    yield case(
        "embed/tiny",
        f"embed {{made}}/numbered plain.npz {_TINY}",
        f"embed {{made}}/numbered scaled.npz {_TINY} --mean 127.5 --std 128 --color bgr --flip",
        f"embed {{made}}/numbered plain.parquet {_TINY} --fp16",
        f"embed {{made}}/numbered relative.npz {_TINY} --relative-to {{made}}",
        f"embed {{made}}/names names.npz {_TINY}",
        f"embed {{data}}/bins/py3_bytes.bin bin.npz {_TINY}",
        f"embed {{data}}/mxnet/insightface rec.npz {_TINY}",
        f"embed {{data}}/mxnet/im2rec/train.rec im2rec.npz {_TINY}",
        f"embed {{made}}/numbered limited.npz {_TINY} --limit 4",
        f"embed {{made}}/numbered two.npz {_TINY} --runner processes --workers 2",
    )
    yield case("embed/cut", f"embed {{made}}/cut vectors.npz {_TINY}")
    for suffix in ("npz", "csv", "lst", "parquet"):
        yield case(
            f"embed/manifest-{suffix}",
            f"manifest {{made}}/folders set.{suffix} --seed 1",
            f"embed set.{suffix} vectors.npz {_TINY}",
        )
    yield case(
        "embed/photos",
        f"extract-photos {_PHOTOS}/registration crops",
        f"embed {_PHOTOS}/registration vectors.npz --faces crops/faces.parquet",
        weight=3,
    )
    model = "{data}/cases/models/mfn_nhwc2.onnx --mean 127.5 --std 128"
    yield case(
        "embed/mobilefacenet", f"embed {{made}}/numbered out.npz --embedder {model}", weight=3
    )
    for name in ("rescaling_mul_add", "sub_div"):
        path = f"{{data}}/cases/models/{name}.onnx"
        yield case(f"embed/model-{name}", f"embed {{made}}/numbered out.npz --embedder {path}")
    tflite = "{data}/models/MobileFaceNet.tflite --mean 127.5 --std 128"
    yield case("embed/tflite", f"embed {{made}}/numbered out.npz --embedder {tflite}", weight=8)


def _verify_cases() -> Iterator[Case]:
    yield case(
        "verify/bins",
        "verify {data}/bins/py3_bytes.bin {data}/bins/numpy_uint8.bin",
        "verify {data}/bins/py3_bytes.bin --no-flip",
        "verify {data}/bins/broken/one_image_damaged.bin",
        "verify {data}/bins/broken/truncated.bin",
        plain("verify {data}/bins/py3_bytes.bin"),
        weight=3,
    )
    yield case(
        "verify/sets",
        f"verify {{made}}/folders {_TINY} --gallery 2 --seed 4",
        f"verify {{made}}/ijb {_TINY} --no-score-weights",
        f"verify {{made}}/ijb {_TINY}",
        "verify {data}/orl",
        weight=3,
    )


def _page_cases() -> Iterator[Case]:
    yield case(
        "report/sets",
        "rec2folder {data}/mxnet/insightface folders",
        "report folders",
        "report folders --output folders.html",
        f"embed {{made}}/doubles vectors.npz {_TINY}",
        "report vectors.npz",
        "merge-identities {made}/doubles merged",
        "report merged",
        "report merged/plan.jsonl --output plan.html",
        "report {made}/doubles --embeddings vectors.npz --output doubles.html",
        weight=6,
    )
    yield case(
        "report/video",
        f"extract-video {_CLIP} frames --frames uniform:6",
        "report frames",
        weight=4,
    )
    yield case(
        "review/static",
        "merge-identities {made}/doubles merged --threshold 0.97",
        "review merged/plan.jsonl --static pages",
        edit("save_verdicts", "merged/plan.jsonl verdicts.jsonl"),
        "review merged/plan.jsonl --import verdicts.jsonl",
        "apply merged/plan.jsonl applied",
        weight=4,
    )
    yield case("review/nan", "review {data}/cases/hostile/review_nan/plan.jsonl --static out")
    yield case("about/models", "models", plain("models"))
    yield case("about/doctor", "doctor", "doctor nowhere")
