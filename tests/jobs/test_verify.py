"""verify: several sets, broken ones among them; what is printed, with which status."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from faceprep.cli import main
from faceprep.jobs.verify.job import Verify
from tests.embedders import drawn_bin, drawn_embedders, verify
from tests.ijb_set import Face, ijbc

__all__ = ["drawn_bin", "drawn_embedders", "ijbc"]
pytestmark = pytest.mark.usefixtures("drawn_embedders")


def test_what_people_read(drawn_bin: Path, ijbc: tuple[Path, list[Face]]) -> None:
    steps: list[tuple[int, int]] = []
    shown = str(
        Verify(embedder="colours").look(
            [drawn_bin, ijbc[0]], lambda done, total: steps.append((done, total))
        )
    ).splitlines()
    assert shown[0].split() == [
        "set",
        "pairs",
        "accuracy",
        "threshold",
        "EER",
        "TAR",
        "at",
        "FAR",
        "best",
        "on",
        "all",
        "pairs",
    ]
    assert shown[1].startswith("drawn ") and " ± " in shown[1] and " at 1e-1 " in shown[1]
    assert shown[2].startswith("IJB-C 1:1 ") and shown[3] == ""
    assert shown[4].startswith("set ") and shown[7].startswith("IJB-C 1:N ")
    assert len({len(line) for line in shown[:3]}) == len({len(line) for line in shown[4:]}) == 1
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_the_command(
    drawn_bin: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(
            sys, "argv", ["faceprep", "verify", *map(str, words), "--embedder", "colours"]
        )
        return main(), *capsys.readouterr()

    status, out, err = run(drawn_bin, drawn_bin.parent / "drawn.bin", "--json", "--no-flip")
    assert (status, err.count("\n"), out.count("\n")) == (0, 1, 1)
    assert err.startswith("faceprep: colours runs on CPU")
    told = json.loads(out)
    assert (len(told["results"]), told["flip"]) == (2, False)
    (tmp_path / "broken.bin").write_bytes(b"broken")
    status, out, err = run(tmp_path / "broken.bin", drawn_bin)
    assert (
        status == 3 and out.startswith("set ") and err.count("broken.bin: not a sound pickle") == 1
    )
    assert run(tmp_path / "broken.bin")[0] == 1
    status, out, err = run(tmp_path / "zzz.bin")
    assert (status, out) == (1, "")
    assert err.endswith(
        f"\nfaceprep: {tmp_path / 'zzz.bin'}: no such file or folder. Check the path.\n"
    )
    assert run(drawn_bin, "--gallery", 0)[0] == 2
    assert not list(tmp_path.glob("**/.faceprep"))


def test_nothing_is_changed(drawn_bin: Path) -> None:
    before = drawn_bin.stat().st_mtime_ns, sorted(drawn_bin.parent.iterdir())
    verify(drawn_bin)
    assert (drawn_bin.stat().st_mtime_ns, sorted(drawn_bin.parent.iterdir())) == before
