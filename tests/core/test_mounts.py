"""Mounts whose locks other machines do not see."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep.core.mounts import find_lone_locks
from faceprep.jobs.doctor import Doctor

LIST = r"""22 27 0:21 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /nfs rw,relatime shared:3 - nfs server:/a rw,vers=3,nolock,local_lock=all
31 22 0:41 / /nfs/sound rw - nfs4 server:/b rw,vers=4.2,local_lock=none
32 22 0:42 / /a\040b rw - lustre mgs:/c rw,localflock
33 22 0:43 / /lustre rw - lustre mgs:/c rw,flock
34 22 0:44 / /local rw - ext4 /dev/sdb rw,nolock
35 22 0:45 / /twice rw - nfs server:/d rw,nolock
36 22 0:46 / /twice rw - nfs4 server:/d rw
a line of another kind
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/nfs", "nfs, nolock"),
        ("/nfs/x/not there", "nfs, nolock"),
        ("/nfs/sound/x", ""),
        ("/nfs2", ""),
        ("/a b/c", "lustre, localflock"),
        ("/lustre/x", ""),
        ("/local", ""),
        ("/twice", ""),
    ],
)
def test_locks_of_one_machine(path: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(LIST)
    assert find_lone_locks(path, str(tmp_path / "mountinfo")) == found


def test_a_system_without_a_list(tmp_path: Path) -> None:
    assert find_lone_locks("/", str(tmp_path / "not there")) == ""


def test_doctor_reports_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Doctor().look(tmp_path).lone_locks == {}
    monkeypatch.setattr("faceprep.jobs.doctor.find_lone_locks", lambda _: "nfs, nolock")
    found = Doctor().look(tmp_path)
    assert f"seen on one machine only at {tmp_path} (nfs, nolock): with several" in str(found)
    assert found.as_json()["locks_of_one_machine"][str(tmp_path)] == "nfs, nolock"
