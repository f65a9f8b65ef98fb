"""Merge people who have two names: first a plan with its evidence, then the merged set.

    python examples/05_merge_identities.py path/to/identities path/to/merged

Without arguments, it makes twelve folders of six people from a photo that insightface brings.
"""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import cv2

from faceprep import Apply, ExtractPhotos, MergeIdentities, Request, read_plan, run_job


def sign_up_twice(work: Path) -> Path:
    photo = Path(find_spec("insightface").origin).parent / "data" / "images" / "t1.jpg"
    run_job(ExtractPhotos(select="all"), Request((photo,), work / "crops"))
    for number, crop in enumerate(sorted((work / "crops").glob("*.png"))):
        for name, darker in ((number, 1), (number + 6, 2)):
            (work / f"people/{name}").mkdir(parents=True)
            cv2.imwrite(str(work / f"people/{name}/1.png"), cv2.imread(str(crop)) // darker)
    return work / "people"


def main(arguments: list[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source, target = map(Path, arguments) if arguments else (sign_up_twice(work), work / "merged")
    run_job(MergeIdentities(plan_only=True), Request((source,), work / "plan"))
    for decision in read_plan(work / "plan" / "plan.jsonl").decisions:
        print(f"{decision.verdict}: {decision.subject} into {decision.into}, {decision.reason}")
    summary = run_job(Apply(), Request((work / "plan" / "plan.jsonl",), target))
    print(f"{summary.ok} images of {sum(1 for folder in target.glob('[!.]*/'))} people in {target}")


if __name__ == "__main__":
    main(sys.argv[1:]) if len(sys.argv) in (1, 3) else sys.exit(__doc__)
