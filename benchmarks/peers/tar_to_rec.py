"""How people turn WebDataset shards into a .rec: tarfile, and MXNet's writer. Needs mxnet.

Prints the seconds of the loop. A key is IDENTITY/NUMBER; its number becomes the key of the record.
InsightFace's header and identity records stand around the images, as in its own sets.
"""

from __future__ import annotations

import sys
import tarfile
import time


def main(target: str, n_images: int, n_identities: int, shards: list[str]) -> None:
    """Write the samples of all shards, keys 1 to `n_images`, to TARGET.rec and TARGET.idx."""
    import mxnet

    started = time.perf_counter()
    writer = mxnet.recordio.MXIndexedRecordIO(f"{target}.idx", f"{target}.rec", "w")

    def write(key: int, flag: int, label: object, image: bytes) -> None:
        header = mxnet.recordio.IRHeader(flag, label, key, 0)
        writer.write_idx(key, mxnet.recordio.pack(header, image))

    write(0, 2, [n_images + 1, n_images + 1 + n_identities], b"")
    ranges: dict[float, list[int]] = {}
    for shard in shards:
        with tarfile.open(shard) as archive:
            sample = {}
            for member in archive:
                key, _, extension = member.name.rpartition(".")
                sample[extension] = archive.extractfile(member).read()
                archive.members = []
                if len(sample) == 2:
                    label, number = float(sample["cls"]), int(key.rpartition("/")[2])
                    write(number, 0, label, sample["jpg"])
                    ranges.setdefault(label, [number, 0])[1] = number + 1
                    sample = {}
    for key, label in enumerate(sorted(ranges), n_images + 1):
        write(key, 2, ranges[label], b"")
    writer.close()
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
