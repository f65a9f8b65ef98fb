"""Cases of the containers: .rec, .bin, folders and manifests."""

from __future__ import annotations

from collections.abc import Iterator

from tests.golden.steps import Case, case, plain

_REC = (
    "insightface",
    "im2rec",
    "label_arrays",
    "magic_in_payload",
    "png_and_padding",
    "sparse_keys",
)
_BROKEN_REC = (
    "bad_magic_at_record_4",
    "empty_idx",
    "empty_rec",
    "idx_not_numbers",
    "idx_past_the_end",
    "label_count_past_the_record",
    "length_past_the_end",
    "no_idx",
    "truncated",
)
_CASE_REC = (
    "catrec",
    "detection",
    "emore_lost_image",
    "if662_idx_of_other",
    "lab_naninf",
    "stale_first5",
)
_CUT_REC = ("mxnet/broken/jpeg_damaged_at_record_5", "cases/containers/cut_jpeg_inside")
_BINS = ("list_container", "numpy_column", "numpy_uint8", "py2_byte_strings", "py3_bytes")
_BROKEN_BINS = (
    "dict_instead",
    "empty",
    "not_a_pickle",
    "odd_number_of_images",
    "one_image_damaged",
    "runs_code",
    "runs_code_hidden",
    "truncated",
)
_SUFFIXES = (".npz", ".tfrecord", ".parquet", ".csv", ".lst", ".tar")
_BOMBS = "{data}/cases/hostile/npz"


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    yield from _rec_cases()
    yield from _folder_cases()
    yield from _bin_cases()
    yield from _manifest_cases()
    yield from _manifest_option_cases()
    yield from _hostile_cases()


def _rec_cases() -> Iterator[Case]:
    sources = {f"set-{name}": f"mxnet/{name}" for name in _REC}
    sources |= {f"broken-{name}": f"mxnet/broken/{name}" for name in _BROKEN_REC}
    sources |= {f"case-{name}": f"cases/containers/{name}" for name in _CASE_REC}
    sources |= {f"cut-{path.rpartition('/')[2]}": path for path in _CUT_REC}
    for name, path in sources.items():
        source = f"{{data}}/{path}"
        yield case(
            f"rec/{name}",
            f"rec2folder {source} out",
            f"rec2folder {source} scanned --scan",
            f"inspect {source}",
            f"inspect {source} --deep",
            f"inspect {source} --scan --limit 7",
        )
    source = "{data}/mxnet/insightface"
    yield case(
        "rec/options",
        f"rec2folder {source}/train.rec file",
        f"rec2folder {source} limited --limit 7",
        "rec2folder {data}/mxnet/broken/truncated few --max-failures 3",
        plain(f"rec2folder {source} shown --runner serial"),
        plain(f"rec2folder {source} quiet --runner serial --quiet"),
        plain(f"rec2folder {source} two --json --runner processes --workers 2"),
    )
    yield case(
        "rec/there-and-back",
        f"rec2folder {source} folders",
        "folder2rec folders again",
        "inspect again --deep",
        "embed again vectors.npz --embedder {made}/tiny.onnx",
    )


def _folder_cases() -> Iterator[Case]:
    for name in ("folders", "numbered", "names", "cut"):
        source = f"{{made}}/{name}"
        yield case(
            f"folder2rec/{name}",
            f"folder2rec {source} out",
            f"folder2rec {source} flat --layout flat --seed 7",
            f"folder2rec {source} limited --limit 5",
            f"folder2rec {source} two --runner processes --workers 2",
        )
        yield case(
            f"inspect/{name}",
            f"inspect {source}",
            f"inspect {source} --deep",
            f"inspect {source} --limit 4",
            plain(f"inspect {source}"),
        )
    stray = ("folder2rec {made}/stray out", "manifest {made}/stray set.npz --seed 1")
    others = ("inspect {made}/stray", "embed {made}/stray out.npz --embedder {made}/tiny.onnx")
    yield case("folder2rec/stray", *stray, *others)
    yield case("folder2rec/orl", "folder2rec {data}/orl out")
    yield case(
        "folder2rec/cut-photos", "folder2rec {data}/photos out", "inspect {data}/photos --deep"
    )
    yield case("inspect/phone", "inspect {data}/cases/photos/phone --deep")


def _bin_cases() -> Iterator[Case]:
    sources = {f"sound-{name}": f"{{data}}/bins/{name}.bin" for name in _BINS}
    sources |= {f"broken-{name}": f"{{data}}/bins/broken/{name}.bin" for name in _BROKEN_BINS}
    for name, source in sources.items():
        yield case(
            f"bin/{name}",
            f"inspect {source} --deep",
            f"bin2folder {source} pairs",
            f"reencode-bin {source} --out-dir jpg --quality 90",
            f"reencode-bin {source} --out-dir png --format png",
            f"reencode-bin {source} --out-dir kept --keep",
        )
    files = [f"{name}.bin" for name in ("py3_bytes", "numpy_uint8")]
    yield case(
        "bin/in-place",
        f"reencode-bin {' '.join(files)} --in-place",
        f"reencode-bin {' '.join(files)} --in-place",
        f"reencode-bin {' '.join(files)} --in-place --format png",
        f"reencode-bin {' '.join(files)} --in-place --format png --overwrite",
        copies=[(name, f"{{data}}/bins/{name}") for name in files],
    )
    yield case(
        "bin/several",
        "reencode-bin {data}/bins/py3_bytes.bin {data}/bins/broken/truncated.bin --out-dir out",
        "reencode-bin {data}/bins/py3_bytes.bin {data}/bins/py3_bytes.bin --out-dir twice",
        "reencode-bin {data}/bins/py3_bytes.bin --out-dir few --limit 5",
    )
    yield case(
        "bin/there-and-back",
        "bin2folder {data}/bins/py3_bytes.bin pairs",
        "make-bin pairs again.bin --pairs-file pairs/pairs.csv",
        "inspect again.bin --deep",
    )
    yield case(
        "make-bin/drawn",
        "make-bin {made}/folders out.bin --pairs 40 --seed 3",
        "make-bin {made}/numbered numbered.bin --pairs 20 --seed 3",
        "make-bin {data}/orl orl.bin --pairs 100 --seed 5",
        "make-bin {made}/names names.bin --pairs 20 --seed 5",
        "inspect out.bin",
    )
    yield case("make-bin/cut", "make-bin {made}/cut out.bin --pairs 20 --seed 3")
    yield case(
        "make-bin/listed",
        "make-bin {made}/lfw lfw.bin --pairs-file {made}/lfw_pairs.txt",
        "make-bin {made}/folders paths.bin --pairs-file {made}/paths.txt",
        "make-bin {made}/folders missing.bin --pairs-file {made}/paths_missing.txt",
        "make-bin {made}/folders bad.bin --pairs-file {made}/paths_bad.txt",
    )


def _manifest_cases() -> Iterator[Case]:
    for suffix in _SUFFIXES:
        name = suffix[1:]
        for source in ("folders", "numbered", "names", "cut"):
            yield case(
                f"manifest/{source}-{name}",
                f"manifest {{made}}/{source} set{suffix} --seed 1",
                f"inspect set{suffix}",
            )
        yield case(
            f"manifest/parts-{name}",
            f"manifest {{made}}/folders shards/set{suffix} --seed 2 --shards 3",
            f"manifest {{made}}/folders val/set{suffix} --seed 2 --val-fraction 0.25",
            f"manifest {{made}}/folders people/set{suffix} --seed 2 --val-fraction 0.25 "
            "--split-by identity --shards 2",
            f"inspect shards/set-00001-of-00003{suffix}",
        )
        yield case(
            f"manifest/label-rule-{name}",
            f"manifest {{made}}/live_spoof words/set{suffix} --seed 3 --label-rule live=0,spoof=1",
            f"manifest {{made}}/live_spoof regex/set{suffix} --seed 3 --label-rule "
            "re:^[^/]*/(live|spoof)/",
            f"manifest {{made}}/live_spoof train/set{suffix} --seed 3 --label-rule Train=0",
        )


def _manifest_option_cases() -> Iterator[Case]:
    for suffix in _SUFFIXES:
        yield case(
            f"manifest/options-{suffix[1:]}",
            f"manifest {{made}}/numbered few/set{suffix} --seed 4 --min-images 3",
            f"manifest {{made}}/numbered relative/set{suffix} --seed 4 --relative-to {{made}}",
            f"manifest {{made}}/folders images/set{suffix} --seed 4 --with-images",
            f"manifest {{made}}/folders limited/set{suffix} --seed 4 --limit 9",
        )
        yield case(
            f"manifest/embeddings-{suffix[1:]}",
            "embed {made}/folders vectors.npz --embedder {made}/tiny.onnx",
            f"manifest {{made}}/folders joined/set{suffix} --seed 5 --embeddings vectors.npz",
            "embed {made}/numbered others.npz --embedder {made}/tiny.onnx --relative-to {made}",
            f"manifest {{made}}/folders none/set{suffix} --seed 5 --embeddings others.npz",
        )
    yield case(
        "manifest/with-images-shards",
        "manifest {made}/folders set.tfrecord --seed 6 --with-images --shards 4 --val-fraction 0.1",
        "manifest {data}/orl orl/set.tar --seed 6 --shards 2",
        "manifest {made}/folders two/set.npz --seed 6 --runner processes --workers 2",
    )
    yield case("manifest/cut-photos", "manifest {data}/photos set.tar --seed 1")


def _hostile_cases() -> Iterator[Case]:
    names = ("0d-identities", "deep2-image_classes", "shapebool-image_names")
    names += ("shapehuge-embeddings", "shapehuge-model", "u0-image_names")
    yield case("hostile/npz", *(f"inspect {_BOMBS}/{name}.npz" for name in names))
    yield case("hostile/npz-merge", *(f"merge-identities {_BOMBS}/{n}.npz {n}" for n in names[:4]))
    yield case(
        "hostile/files",
        "inspect {data}/cases/hostile/big.lst",
        "inspect {data}/cases/hostile/pax.tar",
        "inspect {data}/cases/hostile/tb.tar",
        "inspect {data}/cases/hostile/png_chunk_bomb",
        "apply {data}/cases/hostile/review_nan/plan.jsonl out",
    )
    yield case("hostile/cut-png", "manifest {data}/cases/hostile/png_chunk_bomb set.tar --seed 1")
