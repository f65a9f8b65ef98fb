"""How people turn a .rec into WebDataset shards: MXNet's reader in a loop, and ShardWriter.

Needs mxnet and webdataset. Prints the seconds of the loop.
"""

from __future__ import annotations

import sys
import time


def main(source: str, pattern: str, n_per_shard: int) -> None:
    """Write every image of SOURCE.rec and SOURCE.idx to shards."""
    import mxnet
    import webdataset

    started = time.perf_counter()
    reader = mxnet.recordio.MXIndexedRecordIO(f"{source}.idx", f"{source}.rec", "r")
    first = mxnet.recordio.unpack(reader.read_idx(0))[0]
    n = int(first.label[0])
    with webdataset.ShardWriter(pattern, maxcount=n_per_shard, maxsize=1 << 40, verbose=0) as sink:
        for key in range(1, n):
            header, image = mxnet.recordio.unpack(reader.read_idx(key))
            label = int(header.label if header.flag == 0 else header.label[0])
            sink.write({"__key__": f"{label}/{key}", "jpg": image, "cls": label})
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
