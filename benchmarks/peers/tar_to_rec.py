"""How people turn WebDataset shards into a .rec: tarfile, and MXNet's writer. Needs mxnet.

Prints the seconds of the loop. A key is IDENTITY/NUMBER; its number becomes the key of the record.
"""

from __future__ import annotations

import sys
import tarfile
import time


def main(target: str, *shards: str) -> None:
    """Write the samples of all shards to TARGET.rec and TARGET.idx."""
    import mxnet

    started = time.perf_counter()
    writer = mxnet.recordio.MXIndexedRecordIO(f"{target}.idx", f"{target}.rec", "w")
    for shard in shards:
        with tarfile.open(shard) as archive:
            sample = {}
            for member in archive:
                key, _, extension = member.name.rpartition(".")
                sample[extension] = archive.extractfile(member).read()
                archive.members = []
                if len(sample) == 2:
                    label, number = float(sample["cls"]), int(key.rpartition("/")[2])
                    header = mxnet.recordio.IRHeader(0, label, number, 0)
                    writer.write_idx(number, mxnet.recordio.pack(header, sample["jpg"]))
                    sample = {}
    writer.close()
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
