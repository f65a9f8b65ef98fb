"""Choose triplets (anchor, positive, negative) from embeddings, with the hardest negatives.

    python examples/17_triplets.py crops triplets.csv

The negative is the image of another person that is most similar to the anchor, but less similar
than the positive (semi-hard). Without one, the row is left out. Needs 'faceprep[embed]'. Without
arguments, it draws a small set.
"""

import csv
import sys
import tempfile
from pathlib import Path

import numpy as np

from faceprep import Embed, ProcessRunner, Request, load_embeddings, run_job
from faceprep.synthetic import write_folder

if __name__ == "__main__":  # workers import this file: keep the work behind this line
    len(sys.argv) in (1, 3) or sys.exit(__doc__)
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source, target = map(Path, sys.argv[1:] or (work / "folders", work / "triplets.csv"))
    if not sys.argv[1:]:
        write_folder(source, n_identities=6, n_images=4)
    run_job(Embed(), Request((source,), work / "faces.npz"), ProcessRunner(1))
    found = load_embeddings(work / "faces.npz")
    unit = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
    people, rng, rows = np.array(found.identities), np.random.default_rng(1), []
    for anchor, person in enumerate(people):
        likeness, same = unit @ unit[anchor], np.flatnonzero(people == person)
        positive = rng.choice(same[same != anchor]) if len(same) > 1 else anchor
        is_negative = (people != person) & (likeness < likeness[positive])
        if positive != anchor and is_negative.any():
            negative = np.where(is_negative, likeness, -np.inf).argmax()
            rows.append([found.keys[row] for row in (anchor, positive, negative)])
    with target.open("w", newline="") as file:
        csv.writer(file).writerows([("anchor", "positive", "negative"), *rows])
    print(f"{len(rows)} triplets of {len(people)} images, the first {rows[0]}")
