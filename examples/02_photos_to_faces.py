"""Extract aligned faces from photos, and read the table that says where each comes from.

    python examples/02_photos_to_faces.py path/to/photos path/to/faces

Without arguments, it takes a photo of six people that comes with the package insightface.
"""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from faceprep import ExtractPhotos, ProcessRunner, Request, read_faces, run_job


def main(arguments: list[str]) -> None:
    if arguments:
        source, target = map(Path, arguments)
    else:
        source = Path(find_spec("insightface").origin).parent / "data" / "images" / "t1.jpg"
        target = Path(tempfile.mkdtemp(prefix="faceprep-example-")) / "faces"

    job = ExtractPhotos(select="all", template="arcface-112")
    summary = run_job(job, Request((source,), target), ProcessRunner(2))
    print(f"{summary.ok} of {summary.inputs} photos have faces, {summary.failed} failed")

    faces = list(read_faces(target / "faces.parquet"))
    for face in faces:
        print(
            f"  {face.output}: score {face.score:.2f}, roll {face.roll:.0f}°, yaw "
            f"{face.yaw:.0f}°, from {face.source}"
        )
    print(f"{len(faces)} faces in {target}")


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:]) if len(sys.argv) in (1, 3) else sys.exit(__doc__)
