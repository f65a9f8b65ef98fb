"""Output of the command line: text, stream and exit status."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faceprep.cli import main
from faceprep.core import registry
from faceprep.core.registry import Entry
from tests.command import FACEPREP, faceprep
from tests.fakes import PAUSE, results, tree, write_lines
from tests.terminal import RUN, SLOW, on_a_terminal


@pytest.fixture
def damaged_set(rec_set: Path, tmp_path: Path) -> Path:
    """Records 1, 3, 5, 7 and 9 of thirty hold no images."""
    root = shutil.copytree(rec_set, tmp_path / "damaged")
    offsets = [int(line.split("\t")[1]) for line in (root / "train.idx").read_text().splitlines()]
    with open(root / "train.rec", "r+b") as file:
        for key in (1, 3, 5, 7, 9):
            file.seek(offsets[key] + 8 + 24)  # behind the record's header and the image's
            file.write(b"text")
    return root


def test_done(rec_set: Path, tmp_path: Path) -> None:
    done = faceprep("rec2folder", rec_set, tmp_path / "out", "--workers", 2)
    assert (done.returncode, done.stderr) == (0, ""), "no bar where stderr is no terminal"
    assert re.fullmatch(
        r"30 of 30 images ok, 30 files in .*out \(00:00:\d\d\.\d, [\d,]+ a second\)\n", done.stdout
    )


def test_files_of_an_output_that_is_no_folder(rec_set: Path, tmp_path: Path) -> None:
    """They are named after it, or lie beside it."""
    faceprep("rec2folder", rec_set, tmp_path / "out")
    done = faceprep("manifest", tmp_path / "out", tmp_path / "a.tar", "--seed", 1, "--shards", 3)
    assert re.match(r"30 of 30 images ok, 4 files for .*a\.tar \(", done.stdout), done.stdout
    assert len(list(tmp_path.glob("a-*.tar"))) == 3 and (tmp_path / "a_classes.csv").exists()


def test_json_is_one_object_and_nothing_else(rec_set: Path, tmp_path: Path) -> None:
    done = faceprep("rec2folder", rec_set, tmp_path / "out", "--json", "--workers", 1)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    told = json.loads(done.stdout)
    assert told.pop("seconds") > 0
    assert told == {
        "command": "rec2folder",
        "unit": "img",
        "inputs": 30,
        "ok": 30,
        "failed": 0,
        "by_status": {"ok": 30},
        "others": {},
        "outputs": 30,
        "output": str(tmp_path / "out"),
        "failures": str(tmp_path / "out/failures.csv"),
        "done_before": 0,
    }


def test_some_failed(damaged_set: Path, tmp_path: Path) -> None:
    done = faceprep("rec2folder", damaged_set, tmp_path / "out", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["by_status"] == {"ok": 25, "undecodable": 5}
    lines = done.stderr.splitlines()
    assert [line[:33] for line in lines[:3]] == [
        f"faceprep: undecodable: record {i} a" for i in (1, 3, 5)
    ]
    assert lines[3:] == [f"faceprep: 2 more in {tmp_path / 'out/failures.csv'}"]
    again = faceprep("rec2folder", damaged_set, tmp_path / "out")
    assert again.returncode == 3
    assert re.fullmatch(
        r"25 of 30 images ok, 25 files in .*out \(00:00:\d\d\.\d\)", again.stdout.splitlines()[0]
    )
    assert again.stdout.splitlines()[1] == "the others: 5 undecodable"
    assert again.stderr.splitlines() == [f"faceprep: {tmp_path / 'out'}: already complete", *lines]


def test_few_failures_are_all_named(damaged_set: Path, tmp_path: Path) -> None:
    done = faceprep("rec2folder", damaged_set, tmp_path / "out", "--limit", 4)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 3
    assert done.stderr.splitlines()[2] == f"faceprep: named in {tmp_path / 'out/failures.csv'}"


def test_could_not_be_done(damaged_set: Path, tmp_path: Path) -> None:
    over = faceprep("rec2folder", damaged_set, tmp_path / "out", "--max-failures", 4)
    assert (over.returncode, over.stdout, over.stderr.count("\n")) == (1, "", 1)
    assert "5 inputs failed, --max-failures allows 4" in over.stderr
    missing = faceprep("rec2folder", tmp_path / "none", tmp_path / "other")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert (
        missing.stderr
        == f"faceprep: {tmp_path / 'none'}: no such file or folder. Check the path.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-command"], "No such command 'no-such-command'"),
        ([], "faceprep [OPTIONS] COMMAND"),
        (["rec2folder"], "Usage: "),
        (["rec2folder", "a"], "Missing argument 'DST'"),
        (["rec2folder", "a", "b", "--no-such-option"], "No such option '--no-such-option'.\n"),
        (["rec2folder", "a", "b", "--overwite"], "'--overwite'. Did you mean --overwrite"),
        (["convert", "a", "b", "--Relative_to", "c"], "Did you mean --relative-to?\n"),
        (["rec2folder", "", "b"], "'SRC': expected a path, found an empty string."),
        (["rec2folder", "~no-such-user/a", "b"], "'SRC': no home folder for '~no-such-user/a'."),
        (["rec2folder", "a", "b", "--workers", "0"], "--workers: expected 1 or more, found 0"),
        (["rec2folder", "a", "b", "--limit", "x"], "'x' is not a valid integer"),
        (["rec2folder", "a", "b", "--limit", "--quiet"], "'--limit' requires an argument, found"),
        (["extract-photos", "a", "--fallback", "--turns", "0", "b"], "argument, found '--turns'."),
        (["extract-photos", "a", "b", "--fallback", "--turns=0"], "argument, found '--turns=0'."),
        (["extract-photos", "a", "b", "--fallback", "--no-refine"], "argument, found '--no-refine"),
        (["verify", "a", "--embedder", "b", "--embedder", "-q"], "an argument, found '-q'."),
        (
            ["rec2folder", "a", "b", "--runner", "x"],
            "'x' is not one of 'serial', 'processes', 'ray'",
        ),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["faceprep", *arguments])
    assert main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("Usage: ") <= 1


def test_option_that_cannot_be_meant(
    face_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["folder2rec", str(face_folder), str(tmp_path / "out"), "--layout", "flat"]
    monkeypatch.setattr(sys, "argv", ["faceprep", *arguments])
    assert main() == 2
    assert (
        capsys.readouterr().err == "faceprep: --layout flat shuffles the images. Give a --seed.\n"
    )


def test_help_and_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["--help"], ["-h"], ["--version"], ["rec2folder", "--help"]):
        monkeypatch.setattr(sys, "argv", ["faceprep", *arguments])
        assert main() == 0
        assert capsys.readouterr().err == ""


def test_bug_is_not_hidden(rec_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is not a FaceprepError keeps its traceback."""

    def plan(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("faceprep.jobs.rec2folder.Rec2Folder.plan", plan)
    monkeypatch.setattr(
        sys, "argv", ["faceprep", "rec2folder", str(rec_set), str(tmp_path / "out")]
    )
    with pytest.raises(ZeroDivisionError):
        main()
    assert not (tmp_path / "out").exists()


def test_job_with_a_poisoned_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_lines(tmp_path / "lines.txt")
    monkeypatch.setitem(registry.COMMANDS, "lines", Entry("tests.fakes:Lines", "", "SRC DST"))
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "faceprep",
            "lines",
            str(source),
            str(tmp_path / "out"),
            "--poison",
            "kill",
            "--workers",
            "2",
        ],
    )
    assert main() == 3
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1] == "the others: 4 crashed"
    assert (
        printed.err.splitlines()[0]
        == f"faceprep: crashed: {source} [4:8]: the worker was killed by SIGKILL"
    )


def test_names_that_are_no_text(rec_set: Path, tmp_path: Path) -> None:
    output = os.fsencode(tmp_path) + b"/\xff"
    command, environment = (
        [*FACEPREP, "rec2folder", rec_set, output],
        os.environ | {"LC_ALL": "C.UTF-8"},
    )
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xff" in done.stdout
    again = subprocess.run(
        [*FACEPREP, "rec2folder", rec_set, output, "--json"], capture_output=True, check=False
    )
    assert json.loads(again.stdout)["output"].endswith("\udcff")


def test_nobody_reads_what_it_prints(rec_set: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*FACEPREP, "rec2folder", rec_set, tmp_path / "out"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(results(tmp_path / "out")) == 36


def test_bar_on_a_terminal(rec_set: Path, tmp_path: Path) -> None:
    """Images, rate and time left, on stderr alone."""
    arguments = ["rec2folder", rec_set, tmp_path / "out", "--workers", "1", "--json"]
    status, stdout, shown = on_a_terminal(SLOW + RUN, arguments, {PAUSE: "0.005"})
    assert status == 0
    assert json.loads(stdout)["ok"] == 30
    assert "write:" in shown
    assert re.search(r"\d+/36 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+img/s", shown), shown
    assert "failed=0" in shown


def test_entry_point_and_module_are_the_same(rec_set: Path, tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "faceprep"
    if not script.exists():
        pytest.skip("not installed")
    for i, command in enumerate(([str(script)], FACEPREP)):
        output = tmp_path / str(i)
        subprocess.run(
            [*command, "rec2folder", rec_set, output, "--workers", "2"],
            check=True,
            capture_output=True,
        )
    assert tree(tmp_path / "0") == tree(tmp_path / "1")


def test_inspect_says_damage_with_its_status(damaged_set: Path, rec_set: Path) -> None:
    sound, damaged = (
        faceprep("inspect", rec_set, "--json"),
        faceprep("inspect", damaged_set, "--json"),
    )
    assert (sound.returncode, damaged.returncode) == (0, 3)
    assert (sound.stderr, damaged.stderr) == ("", "")
    assert json.loads(sound.stdout)["images"] == json.loads(damaged.stdout)["images"] + 5 == 30
    assert len(json.loads(damaged.stdout)["damage"]) == 5
    assert "record 1 at offset" in faceprep("inspect", damaged_set).stdout


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mergeidentities", " Did you mean merge-identities or clean-identities?"),
        ("merge", " Did you mean merge-identities?"),
        ("extract_photos", " Did you mean extract-photos or extract-video?"),
        ("extract", " Did you mean extract-photos or extract-video?"),
        ("zzz", ""),
    ],
)
def test_misspelt_command(name: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["faceprep", name, "a"])
        assert main() == 2
    assert capsys.readouterr().err.endswith(f"Error: No such command '{name}'.{meant}\n")
