"""extract-video does not import slow modules that it can do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.real import ROOT


def test_slow_modules_are_not_imported(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from faceprep.synthetic.video import VideoStyle\n"
        "from tests.videos import extract, film\n"
        "video = film(Path('v.mp4'), 'r.rbr', VideoStyle(b_frames=2))\n"
        "assert extract(video, Path('out')).by_status['ok'] == 3\n"
        "print(sorted({'numpy.ma', 'pyarrow.compute'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
