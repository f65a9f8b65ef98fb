"""extract-video does not import slow modules that it can do without."""

from __future__ import annotations

from pathlib import Path

from tests.command import imported


def test_slow_modules_are_not_imported(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from faceprep.synthetic.video import VideoStyle\n"
        "from tests.videos import extract, film\n"
        "video = film(Path('v.mp4'), 'r.rbr', VideoStyle(b_frames=2))\n"
        "assert extract(video, Path('out')).by_status['ok'] == 3"
    )
    assert imported(program, {"numpy.ma", "pyarrow.compute"}, tmp_path) == ("", [])
