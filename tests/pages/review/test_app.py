"""Access to the page's server and its answers, asked through WSGI without a network."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from faceprep.pages.review.app import ReviewApp
from faceprep.pages.review.gallery import Gallery
from faceprep.pages.review.page_files import page_files
from faceprep.pages.review.session import Session, open_session
from faceprep.pages.review.thumbnails import Thumbnails
from faceprep.tables.verdicts import journal_of
from faceprep.vision.codec import decode
from tests.reviews import saved

TOKEN = "a-token_of-tests"
HOST = "127.0.0.1:5000"
JPEG = b"\xff\xd8\xff"


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asking:
    """Requests as a browser sends them from the page, but for what a test changes."""

    def __init__(self, app: ReviewApp) -> None:
        self.app = app

    def __call__(
        self, path: str, method: str = "GET", body: bytes = b"", **changed: str | None
    ) -> Answered:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path if path.startswith("/") else f"/{TOKEN}/{path}",
            "HTTP_HOST": HOST,
            "HTTP_SEC_FETCH_SITE": "same-origin",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        if method == "POST":
            environ |= {"HTTP_ORIGIN": f"http://{HOST}", "CONTENT_TYPE": "application/json"}
        environ |= changed
        told: list[Any] = []
        data = b"".join(
            self.app(
                {name: value for name, value in environ.items() if value is not None},
                lambda *args: told.extend(args),
            )
        )
        return Answered(int(told[0].split()[0]), dict(told[1]), data)

    def post(self, path: str, value: object, **changed: str | None) -> Answered:
        return self(path, "POST", json.dumps(value).encode(), **changed)

    def decide(self, number: int, version: int, verdict: str = "refused") -> Answered:
        return self.post("decide", {"verdict": verdict, "decisions": [[number, version]]})


@pytest.fixture
def session(plan: Path) -> Iterator[Session]:
    with open_session(plan) as session:
        yield session


@pytest.fixture
def ask(session: Session, tmp_path: Path) -> Asking:
    gallery = Gallery(session.judged, tmp_path / "scratch")
    thumbnails = Thumbnails(tmp_path / "thumbnails")
    return Asking(ReviewApp(session, gallery, thumbnails, TOKEN, page_files()))


# Who

GETS = ["", "data.js", "review.js", "decision/1", "image/1/for/0", "changes/0", "no-such-page"]
REFUSED: list[dict[str, str | None]] = [
    {"HTTP_HOST": "evil.example:5000"},
    {"HTTP_HOST": "127.0.0.1.evil.example"},
    {"HTTP_HOST": "evil.example@127.0.0.1"},
    {"HTTP_HOST": "localhost.evil.example:5000"},
    {"HTTP_HOST": "192.168.0.7:5000"},
    {"HTTP_HOST": ""},
    {"HTTP_HOST": None},
    {"HTTP_ORIGIN": "http://evil.example"},
    {"HTTP_ORIGIN": "null"},
    {"HTTP_ORIGIN": "https://127.0.0.1:5000"},
    {"HTTP_ORIGIN": "http://127.0.0.1:5001"},
    {"HTTP_ORIGIN": "http://localhost:5000"},
    {"HTTP_SEC_FETCH_SITE": "cross-site"},
    {"HTTP_SEC_FETCH_SITE": "same-site"},
]


@pytest.mark.parametrize("changed", REFUSED, ids=str)
def test_strangers(changed: dict[str, str | None], ask: Asking, plan: Path) -> None:
    """Other names of this machine (DNS rebinding), other sites, other programs' pages on this
    machine.
    """
    for path in GETS:
        answer = ask(path, **changed)
        assert answer.status == 403 and len(answer.body) < 100
    body = {"verdict": "refused", "decisions": [[1, 0]]}
    assert ask.post("decide", body, **changed).status == 403
    assert ask.post("decide", body).status == 200, "it is the change that is refused"
    assert ask.post("undo", {"group": 0}, **changed).status == 403
    assert saved(plan)[1] == "refused"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/data.js",
        "/review.js",
        "/wrong/",
        f"/{TOKEN}x/",
        f"/{TOKEN[:-1]}/",
        f"//{TOKEN}/",
        "/\xe9/data.js",
    ]
    + [f"/{TOKEN.upper()}/", f"/x/{TOKEN}/data.js", "/../" + TOKEN],
)
def test_wrong_token(path: str, ask: Asking) -> None:
    path = path or "/"
    assert ask(path).status == 403
    assert (
        ask.post(
            f"/{path.strip('/')}x/decide", {"verdict": "refused", "decisions": [[1, 0]]}
        ).status
        == 403
    )


def test_address_bar_and_port_forwarding(ask: Asking) -> None:
    assert ask("", HTTP_SEC_FETCH_SITE="none").status == 200
    assert ask("", HTTP_SEC_FETCH_SITE=None).status == 200, "older browsers"
    assert ask("", HTTP_HOST="localhost:9000").status == 200
    assert ask("", HTTP_HOST="localhost").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_a_post_changes_something(method: str, ask: Asking, plan: Path) -> None:
    body = json.dumps({"verdict": "refused", "decisions": [[1, 0]]}).encode()
    for path in ("decide", "undo"):
        answer = ask(
            path, method, body, CONTENT_TYPE="application/json", QUERY_STRING="verdict=refused"
        )
        assert answer.status == 405
        assert not {name for name in answer.headers if name.startswith("Access-Control")}
    assert not journal_of(plan).exists()


@pytest.mark.parametrize("path", GETS[:-1])
def test_pages_are_not_posted_to(path: str, ask: Asking) -> None:
    assert ask.post(path, {}).status == 405


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        None,
    ],
)
def test_what_a_form_can_send_is_no_json(kind: str | None, ask: Asking, plan: Path) -> None:
    answer = ask.post("decide", {"verdict": "refused", "decisions": [[1, 0]]}, CONTENT_TYPE=kind)
    assert answer.status == 415 and not journal_of(plan).exists()


def test_every_answer_is_careful(ask: Asking) -> None:
    for answer in [ask(path) for path in GETS] + [
        ask("/"),
        ask("", "PUT"),
        ask.decide(1, 0),
        ask.decide(1, 0),
    ]:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert int(answer.headers["Content-Length"]) == len(answer.body)


def test_page_asks_nobody_else() -> None:
    for name, file in page_files().items():
        text = file.data.decode().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in text.replace("// ", "") or "http" not in text, name
        assert "eval(" not in text and "innerHTML" not in text and "style=" not in text, name


# What


def test_pictures(ask: Asking) -> None:
    for path in (
        "image/1/for/0",
        "image/1/against/1",
        "image/1/subject/2",
        "image/1/into/7",
        "image/4/lead/1",
    ):
        answer = ask(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/jpeg")
        assert max(decode(answer.body).shape[:2]) <= 160
        assert ask(path, "HEAD").body == b""


@pytest.mark.parametrize(
    "path",
    [
        "image/1/for/2",
        "image/99/for/0",
        "image/-1/for/0",
        "image/1/secret/0",
        "image/1/for/-1",
        "image/1/for/x",
    ]
    + [
        "image/1/for/0/0",
        "image/1/for",
        "image/../../etc/passwd",
        "image/1/for/../../x",
        "decision/7",
        "decision/x",
    ]
    + [
        "decision/\xb2",
        "decision/1/",
        "decision/" + "9" * 30,
        "image/1/for/" + "9" * 30,
        "../review.js",
        "page/",
    ]
    + ["..%2f..%2fetc/passwd", "review.js/", "app.py", "../app.py", "index.html/..", "changes/-1"]
    + ["changes/x", "plan.jsonl", "image/6/lead/0", "image/1//0"],
)
def test_nothing_else_is_there(path: str, ask: Asking) -> None:
    answer = ask(path)
    assert answer.status == 404 and len(answer.body) < 100


def test_what_leads_out_is_not_shown(ask: Asking, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    (tmp_path / "faces/person-1/4.jpg").rename(secret)
    (tmp_path / "faces/person-1/4.jpg").symlink_to(secret)
    assert ask("image/5/lead/0").status == 404
    assert ask("image/5/subject/4").status == 404
    assert ask("image/5/subject/3").body.startswith(JPEG)


def test_what_is_not_an_image_is_not_shown(ask: Asking, tmp_path: Path) -> None:
    (tmp_path / "faces/person-1/4.jpg").write_text("text that nobody should see")
    answer = ask("image/5/lead/0")
    assert answer.status == 404 and b"text" not in answer.body


def test_all_decisions_in_brief(ask: Asking) -> None:
    ask.decide(1, 0)
    script = ask("data.js").body.decode()
    told = json.loads(script.removeprefix("const faceprepPlan = ").removesuffix(";\n"))
    assert told["verdict"] == "aruuaua"
    assert told["versions"] == [[1, 1]] and told["since"] == 1
    assert [told["actions"][number] for number in told["action"]] == ["merge"] * 4 + [
        "drop",
        "move",
        "drop",
    ]
    assert told["score"] == [0.9, 0.41, 0.58, 0.5, 0.97, 0.59, None]
    assert told["thresholds"]["merge"] == {"value": 0.6, "at_least": True, "low": 0.41, "high": 0.9}


def test_all_about_one_decision(ask: Asking) -> None:
    told = ask("decision/1").json
    assert (told["verdict"], told["version"]) == ("u", 0)
    assert told["reason"].startswith("mean similarity") and told["facts"] == {"pairs": 9}
    assert list(told["strips"]) == ["for", "against", "subject", "into"], (
        "the strongest evidence first"
    )
    assert told["strips"]["for"]["likeness"] == pytest.approx(0.51)
    assert told["strips"]["for"]["images"][1] == {"src": "image/1/for/1", "name": "person-0/0.jpg"}
    assert told["strips"]["into"]["total"] == 8


def test_decide_undo_and_tell_the_others(ask: Asking, plan: Path) -> None:
    group = ask.decide(1, 0).json["group"]
    assert saved(plan)[1] == "refused"
    news = ask("changes/0").json
    assert news == {"rows": [[1, "r", 1]], "since": 1, "trouble": ""}
    assert ask("changes/1").json["rows"] == []
    assert ask.post("undo", {"group": group}).json["rows"] == [[1, "u", 2]]
    assert ask("changes/0").json["rows"] == [[1, "u", 2]]
    assert ask.post("undo", {"group": group}).status == 409


def test_stale_post_is_told_what_there_is(ask: Asking, plan: Path) -> None:
    assert ask.decide(1, 0, "accepted").status == 200
    answer = ask.decide(1, 0, "refused")
    assert answer.status == 409
    assert answer.json["rows"] == [[1, "a", 1]] and "elsewhere" in answer.json["error"]
    assert saved(plan)[1] == "accepted"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"verdict": "refused"}',
        b'{"verdict": "x", "decisions": [[1, 0]]}',
    ]
    + [
        b'{"verdict": "refused", "decisions": %s}' % wanted
        for wanted in (b"1", b"[1]", b"[[1]]", b"[[1, true]]")
    ]
    + [
        b'{"verdict": "refused", "decisions": [[%s, 0]]}' % number
        for number in (b"-1", b"7", b"1.0", b'"1"', b"1e3")
    ]
    + [b'{"verdict": ["refused"], "decisions": [[1, 0]]}', b"\xff"],
)
def test_bodies_that_cannot_be_meant(body: bytes, ask: Asking, plan: Path) -> None:
    assert ask("decide", "POST", body).status == 400
    assert not journal_of(plan).exists()


@pytest.mark.parametrize("body", [b"{}", b'{"group": "0"}', b'{"group": true}', b'{"group": null}'])
def test_undo_of_nothing(body: bytes, ask: Asking) -> None:
    assert ask("undo", "POST", body).status == 400
    assert ask("undo", "POST", b'{"group": 7}').status == 409


@pytest.mark.parametrize("length", ["9000000", "-1", "x"])
def test_bodies_without_end(length: str, ask: Asking) -> None:
    assert ask("decide", "POST", b"{}", CONTENT_LENGTH=length).status == 413


def test_plan_changed_by_hand(ask: Asking, session: Session, plan: Path) -> None:
    before = plan.read_bytes()
    plan.write_bytes(before + b"\n")
    answer = ask.decide(1, 0)
    assert (
        answer.status == 409
        and answer.json["ended"]
        and "changed by somebody else" in answer.json["error"]
    )
    plan.write_bytes(before)
    assert ask.decide(1, 0).status == 200


def test_full_disk(ask: Asking, plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        answer = ask.decide(1, 0)
    assert answer.status == 507 and "No space left" in answer.json["error"]
    assert ask("decision/1").json["verdict"] == "u"
    assert ask.decide(1, 0).status == 200


def test_thumbnails_are_not_those_of_another_image(ask: Asking, tmp_path: Path) -> None:
    """One that has changed is drawn again."""
    before = ask("image/5/lead/0").body
    face = tmp_path / "faces/person-1/4.jpg"
    face.write_bytes((tmp_path / "faces/person-0/0.jpg").read_bytes())
    after = ask("image/5/lead/0").body
    assert np.abs(decode(before).astype(int) - decode(after)).mean() > 5
