"""Names that `import faceprep` offers, and the module of each."""

from __future__ import annotations

from faceprep.core.registry import COMMANDS, RUNNERS

OTHER_NAMES = {
    "Detector": "faceprep.core.faces:Detector",
    "Embedder": "faceprep.core.embeddings:Embedder",
    "Embeddings": "faceprep.core.embeddings:Embeddings",
    "FaceprepError": "faceprep.core.errors:FaceprepError",
    "Faces": "faceprep.core.faces:Faces",
    "Job": "faceprep.core.job:Job",
    "Model": "faceprep.core.embeddings:Model",
    "Outcome": "faceprep.core.types:Outcome",
    "PairSet": "faceprep.core.types:PairSet",
    "Request": "faceprep.core.types:Request",
    "Scorer": "faceprep.core.scores:Scorer",
    "Summary": "faceprep.core.types:Summary",
    "decode": "faceprep.vision.codec:decode",
    "judge_pairs": "faceprep.identity.metrics.verification:judge_pairs",
    "load_embeddings": "faceprep.tables.embeddings:load_embeddings",
    "load_pairs": "faceprep.sets.pairs_bin.container:load_pairs",
    "run_job": "faceprep.run.engine:run_job",
}
"""Public names that are neither a command nor a runner."""


def public_names() -> dict[str, str]:
    """Return all public names with their targets: commands, runners and `OTHER_NAMES`."""
    targets = [entry.target for entry in (*COMMANDS.values(), *RUNNERS.values())]
    return {target.partition(":")[2]: target for target in targets} | OTHER_NAMES
