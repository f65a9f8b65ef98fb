"""Extract the aligned face of each frame of a video, with its number and time.

    python examples/03_video_to_faces.py path/to/videos path/to/faces

Without arguments, it makes a video of a face in a photo that comes with insightface.
"""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from faceprep import ExtractVideo, ProcessRunner, Request, decode, read_faces, run_job
from faceprep.synthetic import write_video


def make_video(folder: Path) -> Path:
    path = Path(find_spec("insightface").origin).parent / "data" / "images" / "t1.jpg"
    face = decode(path.read_bytes())[230:440, 430:610]
    write_video(folder / "videos" / "face.mp4", n_frames=30, size=(360, 640), face=face)
    return folder / "videos"


def main(arguments: list[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source, target = map(Path, arguments) if arguments else (make_video(work), work / "faces")

    summary = run_job(ExtractVideo(frames="every:3"), Request((source,), target), ProcessRunner(2))
    print(f"{summary.ok} of {summary.inputs} frames have faces, {summary.failed} failed")
    for face in read_faces(target / "faces.parquet"):
        print(f"  {face.output}: {face.time_s:.2f} s, score {face.score:.2f}")


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:]) if len(sys.argv) in (1, 3) else sys.exit(__doc__)
