"""Drawn faces, sets and videos for tests, examples and docs."""

from faceprep.synthetic.images import draw_face, encode_face, write_folder, write_insightface_rec
from faceprep.synthetic.video import write_siw_like, write_video

__all__ = [
    "draw_face",
    "encode_face",
    "write_folder",
    "write_insightface_rec",
    "write_siw_like",
    "write_video",
]
