"""Convert an InsightFace training set to image folders, and inspect them.

    python examples/01_rec_to_folder.py path/to/train.rec path/to/folders

Without arguments, it draws a small set first. You can stop it: started again, it resumes.
"""

import sys
import tempfile
from pathlib import Path

from faceprep import Inspect, ProcessRunner, Rec2Folder, Request, run_job
from faceprep.synthetic import write_insightface_rec


def main(arguments: list[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source, target = map(Path, arguments) if arguments else (work / "set", work / "folders")
    if not arguments:
        write_insightface_rec(source, n_identities=10, n_images=6)

    summary = run_job(Rec2Folder(), Request((source,), target), ProcessRunner(2))
    print(f"{summary.ok} of {summary.inputs} images in {summary.output}, {summary.failed} failed")
    for status, n in summary.by_status.items():
        print(f"  {status}: {n}")

    print(Inspect(limit=1000).look(target))


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:]) if len(sys.argv) in (1, 3) else sys.exit(__doc__)
