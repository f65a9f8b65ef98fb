"""The loops everybody pastes, run by real MXNet in its own environment; prints the seconds of
the loop itself.
"""

import os
import sys
import time


def rec2folder(source, target):
    import mxnet as mx

    started = time.perf_counter()
    records = mx.recordio.MXIndexedRecordIO(f"{source}/train.idx", f"{source}/train.rec", "r")
    header, _ = mx.recordio.unpack(records.read_idx(0))
    for key in range(1, int(header.label[0])):
        header, image = mx.recordio.unpack(records.read_idx(key))
        label = header.label if isinstance(header.label, float) else header.label[0]
        folder = os.path.join(target, str(int(label)))
        if not os.path.exists(folder):
            os.makedirs(folder)
        with open(os.path.join(folder, f"{key}.jpg"), "wb") as file:
            file.write(image)
    return time.perf_counter() - started


def folder2rec(source, target):
    import mxnet as mx

    started = time.perf_counter()
    os.makedirs(target, exist_ok=True)
    records = mx.recordio.MXIndexedRecordIO(f"{target}/train.idx", f"{target}/train.rec", "w")
    key = 1
    for label, identity in enumerate(sorted(name for name in os.listdir(source) if name.isdigit())):
        for name in sorted(os.listdir(os.path.join(source, identity))):
            with open(os.path.join(source, identity, name), "rb") as file:
                image = file.read()
            header = mx.recordio.IRHeader(0, float(label), key, 0)
            records.write_idx(key, mx.recordio.pack(header, image))
            key += 1
    records.close()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(
        {"rec2folder": rec2folder, "folder2rec": folder2rec}[sys.argv[1]](sys.argv[2], sys.argv[3])
    )
