"""Crop known faces again: larger, or with more around them. No detector runs again.

    python examples/04_crop_again.py path/to/photos path/to/faces path/to/crops

`path/to/faces` is the output of extract-photos or extract-video. Without arguments, the example
takes a photo of six people that comes with the package insightface.
"""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from faceprep import Align, ExtractPhotos, ProcessRunner, Request, run_job


def main(arguments: list[str]) -> None:
    if arguments:
        source, found, target = map(Path, arguments)
    else:
        source = Path(find_spec("insightface").origin).parent / "data" / "images" / "t1.jpg"
        work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
        found, target = work / "faces", work / "crops"
        run_job(ExtractPhotos(select="all"), Request((source,), found), ProcessRunner(1))

    for template in ("arcface-224", "box1.5-256"):
        job = Align(faces=found / "faces.parquet", template=template)
        summary = run_job(job, Request((source,), target / template), ProcessRunner(2))
        print(f"{summary.ok} of {summary.inputs} faces as {template} in {summary.output}")


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:]) if len(sys.argv) in (1, 4) else sys.exit(__doc__)
