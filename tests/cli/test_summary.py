"""The summary on the terminal counts each unit by itself."""

from __future__ import annotations

from typing import Any

import pytest

from faceprep.cli.summary import describe_summary
from faceprep.core.types import Summary
from faceprep.jobs.embed.job import Embed
from faceprep.jobs.extract_video.job import ExtractVideo

RUN: dict[str, Any] = {"seconds": 2.0, "output": "out", "details": {"done_before": 0}}


def test_frames_videos_and_rows_are_not_mixed() -> None:
    others = {".face row": {"repaired": 6}, "video": {"cut_off": 1, "no_face_in_video": 1}}
    by_status = {"cut_off": 1, "no_face": 20, "no_face_in_video": 1, "ok": 195, "repaired": 6}
    summary = Summary(
        "extract-video", "frame", 215, 195, 2, by_status, others=others, outputs=384, **RUN
    )
    assert describe_summary(summary, ExtractVideo()).splitlines() == [
        "195 of 215 frames ok, 384 files in out (00:00:02.0, 108 a second)",
        "the others: 20 no_face",
        ".face rows: 6 repaired",
        "videos: 1 cut_off, 1 no_face_in_video",
    ]


@pytest.mark.parametrize(("n", "words"), [(1, "1 of 1 image ok"), (1200, "1,200 of 1,200 images")])
def test_images_are_called_images(n: int, words: str) -> None:
    summary = Summary("embed", "img", n, n, 0, {"ok": n}, outputs=1, **RUN)
    assert describe_summary(summary, Embed()).startswith(words)
