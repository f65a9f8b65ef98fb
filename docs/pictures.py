"""The pictures of the README, made by the tool itself from drawn faces: python docs/pictures.py

Needs Chromium and the package playwright, as the tests do.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from faceprep.synthetic import write_folder

FACEPREP = [sys.executable, "-m", "faceprep"]
SIZE = {"width": 1280, "height": 800}


def main() -> None:
    """docs/review.png, docs/report.png"""
    root, docs = Path(tempfile.gettempdir()) / "sets", Path(__file__).parent
    root.mkdir()  # its path is in the picture
    write_folder(root / "set", n_identities=12, n_images=6)
    merge = [
        *FACEPREP,
        "merge-identities",
        root / "set",
        root / "merged",
        "--threshold",
        "0.975",
        "--quiet",
    ]
    subprocess.run(merge, check=True)
    subprocess.run([*FACEPREP, "report", root / "merged", "--quiet"], check=True)
    review = [*FACEPREP, "review", root / "merged" / "plan.jsonl", "--no-browser"]
    server = subprocess.Popen(review, stdout=subprocess.PIPE, text=True)
    address = re.search(r"http://\S+", server.stdout.readline() if server.stdout else "")
    with (
        sync_playwright() as play,
        play.chromium.launch(executable_path=shutil.which("chromium")) as browser,
    ):
        page = browser.new_page(viewport=SIZE)
        page.goto(address[0] if address else "")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=docs / "review.png")
        page.goto((root / "merged" / "report.html").as_uri())
        similarity = page.locator("details", has=page.get_by_role("heading", name="Similarity"))
        similarity.locator("summary").click()
        similarity.screenshot(path=docs / "report.png")
    server.send_signal(signal.SIGINT)
    server.wait()


if __name__ == "__main__":
    main()
