"""Merge people who have two names: first a plan with its evidence, then the merged set.

    python examples/05_merge_identities.py path/to/identities path/to/merged

Without arguments, it makes twelve folders of six people from a photo that insightface brings.
"""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from faceprep import Apply, ExtractPhotos, MergeIdentities, ProcessRunner, Request, run_job
from faceprep.core import storage
from faceprep.tables.plan import read_plan
from faceprep.vision.codec import decode, encode


def sign_up_twice(work: Path) -> Path:
    photo = Path(find_spec("insightface").origin).parent / "data" / "images" / "t1.jpg"
    run_job(ExtractPhotos(select="all"), Request((photo,), work / "crops"), ProcessRunner(1))
    for number, crop in enumerate(sorted((work / "crops").glob("*.png"))):
        for name, darker in ((number, 1), (number + 6, 2)):
            image = decode(crop.read_bytes()) // darker
            storage.write_file(work / f"people/{name}/1.png", encode(image, ".png"))
    return work / "people"


def main(arguments: list[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source, target = map(Path, arguments) if arguments else (sign_up_twice(work), work / "merged")
    run_job(MergeIdentities(plan_only=True), Request((source,), work / "plan"), ProcessRunner(2))
    for decision in read_plan(work / "plan" / "plan.jsonl")[1]:
        print(f"{decision.verdict}: {decision.subject} into {decision.into}, {decision.reason}")
    summary = run_job(Apply(), Request((work / "plan" / "plan.jsonl",), target), ProcessRunner(2))
    print(f"{summary.ok} images of {sum(1 for folder in target.glob('[!.]*/'))} people in {target}")


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:])
