"""Measure how well an embedder separates people: on pairs, and in searches among many.

    python examples/06_verify.py path/to/lfw.bin path/to/identities

Without arguments, it uses drawn faces: pairs made from a folder, and the folder itself.
"""

import sys
import tempfile
from pathlib import Path

from faceprep import MakeBin, Request, SerialRunner, Verify, run_job
from faceprep.synthetic import write_folder


def main(arguments: list[str]) -> None:
    if arguments:
        paths = list(map(Path, arguments))
    else:
        root = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
        write_folder(root / "people", n_identities=12, n_images=4)
        run_job(
            MakeBin(pairs=60, seed=1),
            Request((root / "people",), root / "drawn.bin"),
            SerialRunner(),
        )
        paths = [root / "drawn.bin", root / "people"]

    found = Verify(embedder="dlib-resnet", gallery=1, seed=1).look(paths)
    for result in found.results:
        if "pairs" in result:
            print(f"{result['name']}: {result['accuracy']:.1%} of {result['pairs']} pairs right")
            print(f"  one person: a similarity of {result['threshold']:.3f} or more")
        else:
            share = f"{result['rank']['1']:.1%} of {result['probes']} probes"
            print(f"{result['name']}: {share} found first among {result['gallery']}")


if __name__ == "__main__":
    main(sys.argv[1:])
