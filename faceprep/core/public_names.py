"""Names that `import faceprep` offers, and the module of each."""

from __future__ import annotations

from faceprep.core.registry import COMMANDS, RUNNERS

OTHER_NAMES = {
    "Decision": "faceprep.core.types:Decision",
    "Detector": "faceprep.core.faces:Detector",
    "Embedder": "faceprep.core.embeddings:Embedder",
    "Embeddings": "faceprep.core.embeddings:Embeddings",
    "FaceRow": "faceprep.tables.faces:FaceRow",
    "FaceprepError": "faceprep.core.errors:FaceprepError",
    "Faces": "faceprep.core.faces:Faces",
    "FrameRow": "faceprep.tables.frames:FrameRow",
    "Job": "faceprep.core.job:Job",
    "Judgement": "faceprep.identity.metrics.verification:Judgement",
    "Model": "faceprep.core.embeddings:Model",
    "Outcome": "faceprep.core.types:Outcome",
    "PairSet": "faceprep.core.types:PairSet",
    "Plan": "faceprep.tables.plan:Plan",
    "Request": "faceprep.core.types:Request",
    "Scorer": "faceprep.core.scores:Scorer",
    "Summary": "faceprep.core.types:Summary",
    "decode": "faceprep.vision.codec:decode",
    "judge_pairs": "faceprep.identity.metrics.verification:judge_pairs",
    "load_embeddings": "faceprep.tables.embeddings:load_embeddings",
    "load_pairs": "faceprep.sets.pairs_bin.container:load_pairs",
    "read_faces": "faceprep.tables.faces:read_faces",
    "read_frames": "faceprep.tables.frames:read_frames",
    "read_plan": "faceprep.tables.plan:read_plan",
    "run_job": "faceprep.run.engine:run_job",
}
"""Public names that are neither a command nor a runner."""


def public_names() -> dict[str, str]:
    """Return all public names with their targets: commands, runners and `OTHER_NAMES`."""
    targets = [entry.target for entry in (*COMMANDS.values(), *RUNNERS.values())]
    return {target.partition(":")[2]: target for target in targets} | OTHER_NAMES
