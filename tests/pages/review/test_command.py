"""The command: the address, the end, two servers, a folder of files and what was decided there."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from faceprep.cli import main
from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.core.types import Decision
from faceprep.jobs.review import Review
from faceprep.pages.review.server import _open_browser
from faceprep.tables.plan import read_plan
from faceprep.tables.verdicts import Verdict, format_verdicts, journal_of
from faceprep.vision.codec import decode
from tests.command import faceprep
from tests.reviews import A, R, U, merge, running, save_plan, saved, small_plan, verdicts


def ask(address: str, path: str, body: object = None) -> tuple[int, bytes]:
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.netloc, timeout=30)
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection.request(
        "GET" if body is None else "POST", place.path + path, body and json.dumps(body), headers
    )
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def refuse(address: str, number: int) -> tuple[int, bytes]:
    return ask(address, "decide", {"verdict": R, "decisions": [[number, 0]]})


def no_page(address: str) -> None:
    raise AssertionError(f"a page was served at {address}")


def test_served_until_it_is_stopped(plan: Path) -> None:
    with running(plan) as server:
        status, page = ask(server.address, "")
        assert status == 200 and b"faceprep review" in page
        assert ask(server.address, "image/1/for/0")[1].startswith(b"\xff\xd8\xff")
        assert ask(server.address.replace(urlsplit(server.address).path, "/"), "")[0] == 403
        assert refuse(server.address, 1)[0] == 200
        assert saved(plan)[1] == R
        status, stdout, stderr = server.stop()
    carried_out = f"apply the plan: faceprep apply {plan} {plan.parent}-reviewed"
    ready, last = stderr.splitlines()
    assert (status, last) == (0, f"faceprep: {carried_out}")
    assert ready.endswith("Ctrl-C stops the server")
    assert stdout == f"1 decision changed in {plan}: 3 accepted, 1 refused, 3 undecided\n"
    assert verdicts(plan) == [A, R, U, U, A, U, A]
    assert os.listdir(plan.parent / ".faceprep" / plan.name / "thumbnails") == ["young"]
    assert sorted(os.listdir(plan.parent)) == [".faceprep", plan.name]


def test_only_this_machine_is_served(plan: Path) -> None:
    with running(plan) as server:
        port = urlsplit(server.address).port
        own = socket.gethostbyname(socket.gethostname())
        if own.startswith("127."):
            own = "127.0.0.2"
        with pytest.raises(OSError), socket.create_connection((own, port), timeout=5):
            pass


def test_half_open_connections_do_not_keep_the_page_away(plan: Path) -> None:
    with running(plan) as server, ExitStack() as held:
        port = urlsplit(server.address).port
        for _ in range(500):
            half = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            half.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert ask(server.address, "")[0] == 200
        held.close()
        server.stop()


def test_the_token_is_no_argument_of_the_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    _open_browser("http://127.0.0.1:5/s3cret/", tmp_path)
    assert "s3cret" not in opened[0]
    assert (
        "url=http://127.0.0.1:5/s3cret/" in Path(url2pathname(urlsplit(opened[0]).path)).read_text()
    )


def test_plan_is_written_while_it_runs(plan: Path) -> None:
    from tests.fakes import wait_until

    with running(plan) as server:
        refuse(server.address, 1)
        wait_until(lambda: not journal_of(plan).exists())
        assert verdicts(plan)[1] == R
        assert refuse(server.address, 2)[0] == 200


def test_killed_and_started_again(plan: Path) -> None:
    with running(plan) as server:
        for number in (1, 2):
            assert refuse(server.address, number)[0] == 200
        server.kill()
    assert saved(plan)[1:3] == [R, R]
    with running(plan) as server:
        assert verdicts(plan)[1:3] == [R, R]
        assert json.loads(ask(server.address, "decision/1")[1])["verdict"] == "r"


def test_two_servers(plan: Path) -> None:
    with running(plan) as server:
        other = faceprep("review", plan, "--no-browser")
        assert (other.returncode, other.stdout) == (1, "")
        assert (
            other.stderr.startswith("faceprep: ")
            and "another faceprep run is at work here" in other.stderr
        )
        assert ask(server.address, "")[0] == 200


def test_port(plan: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = faceprep("review", plan, "--no-browser", "--port", port)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert (
        refused.stderr
        == f"faceprep: 127.0.0.1: cannot listen on port {port}: Address already in use\n"
    )
    with running(plan, "--port", port) as server:
        assert urlsplit(server.address).port == port
    with pytest.raises(OptionError, match="--port: expected 0 to 65535, found 65536"):
        Review(port=65536)


def test_each_server_has_its_own_address(plan: Path) -> None:
    found = []
    for _ in range(2):
        with running(plan) as server:
            found.append(urlsplit(server.address).path)
            assert server.stop()[0] == 0
    assert found[0] != found[1]


def test_plan_changed_by_hand_while_it_is_served(plan: Path) -> None:
    with running(plan) as server:
        refuse(server.address, 1)
        by_hand = plan.read_bytes().replace(
            b'"person-3", "into": "person-1"', b'"person-3", "into": "person-2"'
        )
        plan.write_bytes(by_hand)
        assert refuse(server.address, 2)[0] == 409
        status, stdout, stderr = server.stop()
    assert (status, stdout) == (1, "")
    assert "changed by somebody else" in stderr.splitlines()[-1] and "Traceback" not in stderr
    assert plan.read_bytes() == by_hand
    with running(plan):
        assert verdicts(plan)[1] == R


def test_json(
    plan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "none").write_text("")
    monkeypatch.setattr(
        sys, "argv", ["faceprep", "review", str(plan), "--json", "--import", str(tmp_path / "none")]
    )
    assert main() == 0
    expected = {"command": "review", "plan": str(plan), "decided": 0, A: 3, R: 0, U: 4}
    printed = json.loads(capsys.readouterr().out)
    assert {name: printed[name] for name in expected} == expected


def test_without_the_extra(
    plan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "waitress.server", None)
    monkeypatch.setattr(sys, "argv", ["faceprep", "review", str(plan)])
    assert main() == 1
    assert "pip install 'faceprep[review]'" in capsys.readouterr().err


def test_no_plan(tmp_path: Path) -> None:
    done = faceprep("review", tmp_path / "none.jsonl")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "no such file" in done.stderr


def test_apply_waits_for_the_verdicts(plan: Path, tmp_path: Path) -> None:
    """A plan that lacks what somebody has decided is not carried out; once it is there, it is."""
    save_plan(
        plan,
        tmp_path / "faces",
        [Decision("drop", "person-3"), Decision("merge", "person-2", "person-1")],
    )
    with running(plan) as server:
        refuse(server.address, 0)
        server.kill()
    refused = faceprep("apply", plan, tmp_path / "clean", "--workers", 1)
    assert (
        refused.returncode == 1
        and "there are verdicts that are not in the plan yet" in refused.stderr
    )
    assert not (tmp_path / "clean").exists()
    with running(plan) as server:
        assert server.stop()[0] == 0
    assert faceprep("apply", plan, tmp_path / "clean", "--workers", 1).returncode == 0
    found = {
        name: len(os.listdir(tmp_path / "clean" / name))
        for name in ("person-0", "person-1", "person-3")
    }
    assert found == {"person-0": 8, "person-1": 5 + 3, "person-3": 3}


# A folder of files


def read_script(path: Path) -> Any:
    return json.loads(path.read_text().partition(" = ")[2].removesuffix(";\n"))


def test_static(plan: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "faceprep")
    before = plan.read_bytes()
    Review(static=tmp_path / "page").serve(plan, no_page)
    assert caplog.messages[-1].endswith(f"faceprep review {plan} --import plan.verdicts.jsonl")
    assert plan.read_bytes() == before
    brief, page = (
        read_script(tmp_path / "page/data.js"),
        read_script(tmp_path / "page/pages/0000.js"),
    )
    assert (brief["mode"], brief["verdict"], len(page)) == ("static", "auuuaua", 7)
    sources = {
        image["src"]
        for decision in page
        for strip in decision["strips"].values()
        for image in strip["images"]
    }
    assert len(sources) == 8 + 5 + 3 + 3, "each picture once"
    for source in sources:
        assert decode((tmp_path / "page" / source).read_bytes()).shape == (112, 112, 3)
    linked = set(re.findall(r'(?:src|href)="([^"]+)"', (tmp_path / "page/index.html").read_text()))
    assert linked <= set(os.listdir(tmp_path / "page"))


def test_static_of_a_plan_in_a_read_only_folder(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the refusals are those of a stand-in."""
    may_write = os.access

    def refuse(folder: Path) -> None:
        raise OutputError("cannot make the folder: Permission denied", path=folder)

    monkeypatch.setattr(
        os, "access", lambda path, mode: path != plan.parent and may_write(path, mode)
    )
    monkeypatch.setattr("faceprep.pages.review.session.lock", refuse)
    Review(static=tmp_path / "page").serve(plan, no_page)
    assert (tmp_path / "page/index.html").is_file()
    (tmp_path / "saved.jsonl").write_bytes(b"")
    for options in ({}, {"import_": tmp_path / "saved.jsonl"}):
        with pytest.raises(OutputError, match="Permission denied"):
            Review(**options).serve(plan, no_page)
    journal_of(plan).write_bytes(b"")
    with pytest.raises(OutputError, match="Permission denied"):
        Review(static=tmp_path / "other").serve(plan, no_page)


def test_static_by_pages_of_200(tmp_path: Path) -> None:
    source = small_plan(tmp_path).parent.parent / "faces"
    plan = save_plan(tmp_path / "many.jsonl", source, [merge(1, 0, i / 450) for i in range(450)])
    Review(static=tmp_path / "page").serve(plan, no_page)
    assert [len(read_script(tmp_path / f"page/pages/000{number}.js")) for number in range(3)] == [
        200,
        200,
        50,
    ]
    assert len(os.listdir(tmp_path / "page/pages")) == 3


def test_static_leaves_alone_what_is_there(plan: Path, tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page/mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        Review(static=tmp_path / "page").serve(plan, no_page)
    assert os.listdir(tmp_path / "page") == ["mine.txt"]


def test_static_shows_nothing_from_outside(plan: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes((tmp_path / "faces/person-0/0.jpg").read_bytes())
    save_plan(
        plan,
        tmp_path / "faces",
        [Decision("drop", "../secret.jpg"), Decision("drop", "person-0/0.txt")],
    )
    Review(static=tmp_path / "page").serve(plan, no_page)
    page = read_script(tmp_path / "page/pages/0000.js")
    assert page[0]["strips"]["lead"]["images"][0]["src"] == ""
    assert sum(len(files) for _, _, files in os.walk(tmp_path / "page/thumbnails")) == 8, (
        "those of person-0"
    )


# Verdicts from elsewhere


def test_import(plan: Path, tmp_path: Path) -> None:
    judged, decisions = read_plan(plan)
    keys = [decision[:3] for decision in decisions]
    found = [Verdict(1, *keys[1], R, U), Verdict(0, *keys[0], A, U), Verdict(99, *keys[2], A, U)]
    (tmp_path / "saved.jsonl").write_bytes(format_verdicts(found))
    reviewed = Review(import_=tmp_path / "saved.jsonl").serve(plan, no_page)
    assert str(reviewed).startswith("2 decisions changed in ")
    assert verdicts(plan) == [A, R, A, U, A, U, A]
    assert read_plan(plan)[0] == judged
    again = Review(import_=tmp_path / "saved.jsonl").serve(plan, no_page)
    assert again.decided == 0


def test_import_of_a_file_without_its_last_line_break(plan: Path, tmp_path: Path) -> None:
    """An editor or a person may have taken it away."""
    key = next(read_plan(plan)[1])[:3]
    (tmp_path / "saved.jsonl").write_bytes(format_verdicts([Verdict(0, *key, R, U)]).rstrip())
    Review(import_=tmp_path / "saved.jsonl").serve(plan, no_page)
    assert verdicts(plan)[0] == R


def test_import_overrules_and_says_so(plan: Path, tmp_path: Path) -> None:
    key = next(read_plan(plan)[1])[:3]
    (tmp_path / "saved.jsonl").write_bytes(format_verdicts([Verdict(0, *key, R, U)]))
    reviewed = Review(import_=tmp_path / "saved.jsonl").serve(plan, no_page)
    assert str(reviewed).endswith("; 1 overruled what was decided meanwhile")
    assert verdicts(plan)[0] == R


def test_import_of_the_journal_itself(plan: Path) -> None:
    """The way out when a plan was changed by hand after a kill."""
    key = next(read_plan(plan)[1])[:3]
    journal_of(plan).write_bytes(format_verdicts([Verdict(0, *key, R, U)]))
    with pytest.raises(
        SourceError, match=r"Remove this file if the plan is right; else --import plan.jsonl.review"
    ):
        Review().serve(plan, no_page)
    Review(import_=journal_of(plan)).serve(plan, no_page)
    assert verdicts(plan)[0] == R and not journal_of(plan).exists()


def test_import_for_another_plan(plan: Path, tmp_path: Path) -> None:
    before = plan.read_bytes()
    (tmp_path / "saved.jsonl").write_bytes(format_verdicts([Verdict(0, "drop", "x", "", R, A)]))
    with pytest.raises(SourceError, match="the plan has no decision 'drop x'"):
        Review(import_=tmp_path / "saved.jsonl").serve(plan, no_page)
    assert plan.read_bytes() == before
    assert sorted(os.listdir(plan.parent)) == [plan.name]
