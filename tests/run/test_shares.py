"""One run shared by several processes with `--shard i/n`, and joined with `finish`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from faceprep import Request, SerialRunner, run_job
from faceprep.core import locks, storage
from faceprep.core.errors import OptionError, OutputError, ResumeError, SourceError
from faceprep.core.types import Share, Summary
from faceprep.jobs.convert import Convert
from faceprep.jobs.finish import Finish
from faceprep.synthetic import encode_face
from tests.command import faceprep
from tests.fakes import PAUSE, JoinedLines, Lines, SlowRec2Folder, results, tree, wait_for
from tests.real import ROOT, needs_embedder

SERIAL = SerialRunner()
_PROGRAM = """
import sys
from faceprep.core import registry
registry.COMMANDS["rec2folder"] = registry.Entry("tests.fakes:SlowRec2Folder", "", "SRC DST")
from faceprep.cli import main
sys.exit(main())
"""


def launch(*words: object, pause: float = 0.0) -> subprocess.Popen[str]:
    """Start a command line in a process of its own; rec2folder takes shards of five records."""
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *map(str, words), "--runner", "serial", "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT), PAUSE: str(pause)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, error = process.communicate(timeout=120)
    assert "Traceback" not in error
    return process.returncode, json.loads(out)


def test_four_processes_of_which_one_is_killed(rec_set: Path, tmp_path: Path) -> None:
    output, whole = tmp_path / "out", tmp_path / "whole"
    run_job(SlowRec2Folder(), Request((rec_set,), whole), SERIAL)
    words = ["rec2folder", rec_set, output]
    processes = [launch(*words, "--shard", f"{i}/4", pause=0.003) for i in (1, 2, 3, 4)]
    wait_for(output, 12, 0.01)
    processes[1].send_signal(signal.SIGKILL)
    processes[1].communicate()
    ended = [end(processes[i]) for i in (0, 2, 3)]
    assert [status for status, _ in ended] == [0, 0, 0]
    for finish in (["finish", output, "--dry-run"], ["finish", output]):
        status, told = end(launch(*finish))
        assert status == 1 and "cannot be joined yet: --shard 2/4 is not done" in told["error"]
    ended.append(end(launch(*words, "--shard", "2/4")))
    before = tree(output)
    status, told = end(launch("finish", output, "--dry-run"))
    assert status == 0 and told["inputs"] == sum(each["inputs"] for _, each in ended)
    assert tree(output) == before
    status, told = end(launch("finish", output))
    assert status == 0
    assert sum(each["inputs"] for _, each in ended) == told["inputs"] == told["done_before"]
    assert tree(output) == tree(whole), "the state too"
    for finish in (["finish", output, "--dry-run"], ["finish", output]):
        assert end(launch(*finish))[0] == 0, "once more"
    assert end(launch(*words, "--shard", "1/4"))[0] == 0
    assert results(output) == results(whole)


# Shares one after another


def share_out(request: Request, n: int, job: Lines | None = None, first: int = 1) -> list[Summary]:
    job = job or Lines()
    return [run_job(job, replace(request, share=Share(i, n)), SERIAL) for i in range(first, n + 1)]


def test_stages_that_need_the_other_processes_wait(request_: Request, tmp_path: Path) -> None:
    request = replace(request_, output=tmp_path / "lines.bin")
    whole = replace(request_, output=tmp_path / "whole" / "lines.bin")
    run_job(JoinedLines(), whole, SERIAL)
    state = tmp_path / ".faceprep" / "lines.bin" / "ledger"
    share_out(request, 2, JoinedLines())
    assert "copy-0000.jsonl" not in os.listdir(state)
    assert "copy-0004.jsonl" in os.listdir(state), "the last process found the stage complete"
    share_out(request, 2, JoinedLines())
    assert "copy-0000.jsonl" in os.listdir(state)
    job, joining = JoinedLines(), replace(request, joins=True)
    assert run_job(job, joining, SERIAL).ok == 12
    assert results(tmp_path)["lines.bin"] == results(whole.output.parent)["lines.bin"]


def test_joining_lists_the_ledger_as_often_for_many_shares_as_for_few(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    list_folder = storage.list_folder

    def note(path: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
        listed.append(os.path.basename(path))
        return list_folder(path)

    counts = []
    for n in (2, 12):
        request = replace(request_, output=tmp_path / str(n))
        share_out(request, n)
        listed.clear()
        with monkeypatch.context() as patch:
            patch.setattr(storage, "list_folder", note)
            assert run_job(Lines(), replace(request, joins=True), SERIAL).ok == 12
        counts.append(listed.count("ledger"))
    assert counts[0] == counts[1] > 0, "the ledger of a large run has as many files as shards"


def test_failures_of_a_share_and_of_the_whole(request_: Request) -> None:
    job = Lines(poison="bad")
    shares = share_out(request_, 3, job)
    assert [share.failed for share in shares] == [0, 1, 0]
    assert Path(shares[1].details["failures"]).read_text().count("\n") == 2
    assert not (request_.output / "failures.csv").exists()
    assert run_job(job, replace(request_, joins=True), SERIAL).failed == 1
    assert (request_.output / "failures.csv").read_text().count("\n") == 2


def test_more_processes_than_shards(request_: Request) -> None:
    assert [share.inputs for share in share_out(request_, 5)] == [4, 4, 4, 0, 0]
    assert run_job(Lines(), replace(request_, joins=True), SERIAL).ok == 12


def test_a_whole_run_may_take_over(request_: Request) -> None:
    share_out(request_, 4, first=3)
    summary = run_job(Lines(), request_, SERIAL)
    assert (summary.ok, summary.details["done_before"]) == (12, 4)


# Refusals


@pytest.mark.parametrize("share", [Share(0, 4), Share(5, 4)])
def test_numbers_out_of_range(share: Share, request_: Request) -> None:
    with pytest.raises(OptionError, match=r"--shard: expected 1/4 to 4/4, found [05]/4"):
        run_job(Lines(), replace(request_, share=share), SERIAL)
    assert not request_.output.exists()


def test_another_number_of_processes(request_: Request) -> None:
    run_job(Lines(), replace(request_, share=Share(1, 3)), SERIAL)
    with pytest.raises(ResumeError, match=r"expected --shard 2/3, found --shard 2/4"):
        run_job(Lines(), replace(request_, share=Share(2, 4)), SERIAL)


def test_other_options_and_versions(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(Lines(), replace(request_, share=Share(1, 3)), SERIAL)
    second = replace(request_, share=Share(2, 3))
    with pytest.raises(ResumeError, match=r"begun differently \(--suffix '\.txt' then, '\.md' now"):
        run_job(Lines(suffix=".md"), second, SERIAL)
    with pytest.raises(ResumeError, match="To start again, remove the output, then start all"):
        run_job(Lines(suffix=".md"), second, SERIAL)
    monkeypatch.setattr("faceprep.run.planning.__version__", "0.0.1")
    monkeypatch.setattr("faceprep.run.preflight.__version__", "0.0.1")
    with pytest.raises(ResumeError, match=r"begun by another version: expected faceprep .*0\.0\.1"):
        run_job(Lines(), second, SERIAL)
    with pytest.raises(ResumeError, match="begun by another version"):
        run_job(Lines(), replace(request_, joins=True), SERIAL)


def test_overwriting_is_for_a_whole_run(request_: Request) -> None:
    with pytest.raises(OptionError, match="--shard and --overwrite exclude each other"):
        run_job(Lines(), replace(request_, share=Share(1, 2), overwrite=True), SERIAL)


def test_one_share_twice_and_a_whole_run_beside_it(request_: Request) -> None:
    class Nested(Lines):
        """Starts others in the middle of its own run."""

        def warm_up(self) -> None:
            for request in (replace(request_, share=Share(1, 2)), request_):
                with pytest.raises(OutputError, match="another faceprep run is at work here"):
                    run_job(Lines(), request, SERIAL)

        def run(self, shard: Any, sink: Any) -> Any:
            self.warm_up()
            return super().run(shard, sink)

    run_job(Nested(), replace(request_, share=Share(1, 2)), SERIAL)


def test_finish_needs_a_run(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none", tmp_path / "no folder" / "none"):
        with pytest.raises(SourceError, match="no run to finish here"):
            Finish().resume(str(place))


@pytest.mark.parametrize("text", ["3", "a/b", "1/0", "-1/3", "1/2/3", ""])
def test_what_is_no_share(text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faceprep", "convert", "a", "b", "--shard", text],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr == f"faceprep: invalid --shard: expected I/N, such as 1/4, found {text!r}\n"


@pytest.mark.parametrize(
    "command",
    [
        "convert set out.tar",
        "folder2rec set out",
        "score set out.parquet",
        pytest.param("dedupe set out", marks=needs_embedder),
        "manifest set out.npz --seed 1",
    ],
)
def test_commands_with_relative_paths(command: str, tmp_path: Path) -> None:
    """Two processes and finish make the files of one process."""
    for n in range(6):
        path = tmp_path / "set" / f"{n % 2}" / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_face(n % 2, n))
    output = command.split()[2]
    assert faceprep(*command.split(), cwd=tmp_path).returncode == 0
    alone = results(tmp_path)
    for path in tmp_path.iterdir():
        if path.is_dir() and path.name != "set":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    for words in (f"{command} --shard 1/2", f"{command} --shard 2/2", f"finish {output}"):
        done = faceprep(*words.split(), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert results(tmp_path) == alone


def test_a_share_is_not_the_whole(rec_set: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tar"
    words = ("convert", rec_set, output, "--shards", 2)
    for _ in range(2):
        done = faceprep(*words, "--shard", "1/2")
    assert f"{output}: this part is already complete\n" in done.stderr
    last = f"part 1 of 2; when all parts are done, run faceprep finish {output}"
    assert done.stdout.splitlines()[-1] == last
    faceprep(*words, "--shard", "2/2")
    joined = faceprep("finish", output)
    assert "part" not in joined.stdout.splitlines()[-1]
    assert f"{output}: resuming: 2 of 2 shards done\n" in joined.stderr
    assert f"{output}: already complete\n" in faceprep("finish", output).stderr


# Repaired inputs


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six people with an image each."""
    for n in range(6):
        path = tmp_path / "set" / f"{n}" / "0.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_face(n, 0))
    return tmp_path / "set"


@contextmanager
def away(path: Path) -> Iterator[None]:
    """Refuse to open a file, or to list a folder."""
    real_open, real_scan = storage.open_regular, os.scandir

    def refuse(given: Any) -> None:
        if str(given) == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def open_regular(given: Any) -> int:
        refuse(given)
        return real_open(given)

    def scandir(given: Any = ".") -> Any:
        refuse(given)
        return real_scan(given)

    with (
        mock.patch.object(storage, "open_regular", open_regular),
        mock.patch("os.scandir", scandir),
    ):
        yield


def run_alone(images: Path, output: Path) -> dict[str, bytes | None]:
    """Return the output of a run without faults, and leave nothing there."""
    run_job(Convert(allow_loss=True, shards=2), Request((images,), output), SERIAL)
    found = results(output.parent)
    shutil.rmtree(output.parent)
    return found


@pytest.mark.parametrize("lost", ["4/0.jpg", "4"])
@pytest.mark.parametrize("is_finished", [False, True])
def test_what_could_not_be_read_is_tried_again(
    lost: str, is_finished: bool, images: Path, tmp_path: Path
) -> None:
    request = Request((images,), tmp_path / "place" / "out.tar")
    whole = run_alone(images, request.output)
    job, joining = Convert(allow_loss=True, shards=2), replace(request, joins=True)
    with away(images / lost):
        shares = [run_job(job, replace(request, share=Share(i, 2)), SERIAL) for i in (1, 2)]
        assert sum("unreadable" in str(share.as_json()) for share in shares) >= 1
        if is_finished:
            assert run_job(job, joining, SERIAL).failed == 1
    for i in (1, 2):
        assert run_job(job, replace(request, share=Share(i, 2)), SERIAL).failed == 0
    assert run_job(job, joining, SERIAL).ok == 6
    assert results(request.output.parent) == whole


def test_nothing_is_divided_anew_beside_another_process(images: Path, tmp_path: Path) -> None:
    request = Request((images,), tmp_path / "out.tar", share=Share(1, 2))
    job = Convert(allow_loss=True, shards=2)
    with away(images / "4"):
        run_job(job, request, SERIAL)
    other = tmp_path / ".faceprep" / "out.tar" / "shares" / Share(2, 2).folder
    other.mkdir()
    with locks.hold_all([other]), pytest.raises(OutputError, match="another faceprep run is at"):
        run_job(job, request, SERIAL)
    assert run_job(job, request, SERIAL).failed == 0
