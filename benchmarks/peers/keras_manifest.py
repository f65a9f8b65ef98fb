"""The way Keras_insightface lists a folder of identities: glob, permutation, class by folder, one
.npz.
"""

import glob
import os
import sys

import numpy as np


def main(source, target):
    folders = [os.path.basename(path) for path in glob.glob(os.path.join(source, "*"))]
    numeric = all(name.isnumeric() for name in folders)
    classes = {
        name: number for number, name in enumerate(sorted(folders, key=int if numeric else None))
    }
    names = glob.glob(os.path.join(source, "*", "*.jpg")) + glob.glob(
        os.path.join(source, "*", "*.png")
    )
    names = np.random.permutation(names).tolist()
    labels = [classes[os.path.basename(os.path.dirname(name))] for name in names]
    np.savez_compressed(target, image_names=names, image_classes=labels)


if __name__ == "__main__":
    main(*sys.argv[1:])
