"""The page's server as a WSGI application: who may ask, for what, and the answer.

Who asks must know the token, which is the first part of every address, by the name of this machine
alone (else a foreign name could be made to lead here), and not on behalf of another site. What
changes something is a POST of JSON, which a page of another site cannot send without being asked
first whether it may: and nobody here says yes.

    GET  /TOKEN/                     the page, and its files
    GET  /TOKEN/data.js              all decisions in brief
    GET  /TOKEN/decision/N           all about one
    GET  /TOKEN/image/N/ROLE/PLACE   a thumbnail of an image of the plan
    GET  /TOKEN/changes/SINCE        what was decided since
    POST /TOKEN/decide  /TOKEN/undo  {"verdict": …, "decisions": [[N, VERSION], …]}, {"group": …}
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from faceprep.core.errors import FaceprepError, OutputError, SourceError
from faceprep.core.types import VERDICTS
from faceprep.pages.review.gallery import ROLES, Gallery
from faceprep.pages.review.serialize import letter, tell_decision, tell_plan
from faceprep.pages.review.session import PlanChanged, Session, Stale
from faceprep.pages.review.thumbnails import Thumbnails
from faceprep.vision.codec import Undecodable

MAX_BODY = 8 << 20
_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
_TEXT, _JSON, _SCRIPT, _JPEG = (
    "text/plain; charset=utf-8",
    "application/json",
    "text/javascript",
    "image/jpeg",
)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src "
    "'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FOR_A_WHILE = {
    "Cache-Control": "private, max-age=600"
}  # an address of another server has another token

Environ = Mapping[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Answer(NamedTuple):
    """A response, before the headers that all of them have."""

    body: bytes
    kind: str = _TEXT
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = {}


class PageFile(NamedTuple):
    """One of the page's own files."""

    kind: str
    data: bytes


class ReviewApp:
    """Answers for one session; safe to use from several threads."""

    def __init__(
        self, session: Session, thumbnails: Thumbnails, token: str, files: Mapping[str, PageFile]
    ) -> None:
        self._session, self._thumbnails, self._files = session, thumbnails, files
        self._token = token.encode()
        self._gallery = Gallery(session.judged)
        self.trouble = ""
        """What the page should say, besides."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._answer(environ)
        headers = _HEADERS | {
            "Content-Type": answer.kind,
            "Content-Length": str(len(answer.body)),
            **answer.headers,
        }
        start_response(f"{answer.status.value} {answer.status.phrase}", list(headers.items()))
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body]

    def _answer(self, environ: Environ) -> Answer:
        token, _, path = environ.get("PATH_INFO", "").removeprefix("/").partition("/")
        if refused := _refuse_strangers(environ):
            return _no(HTTPStatus.FORBIDDEN, refused)
        if not hmac.compare_digest(token.encode("latin-1", "replace"), self._token):
            return _no(HTTPStatus.FORBIDDEN, "use the address that faceprep review printed")
        changes = {"decide": self._decide, "undo": self._undo}
        method = environ["REQUEST_METHOD"]
        if method not in (("POST",) if path in changes else ("GET", "HEAD")):
            return _no(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not allowed here")
        try:
            return changes[path](_body_of(environ)) if path in changes else self._get(path)
        except _Refused as error:
            return _no(error.status, error.problem)
        except Stale as error:
            return self._told(error.numbers, HTTPStatus.CONFLICT, error=error.problem)
        except PlanChanged as error:
            return _as_json({"error": str(error), "ended": True}, HTTPStatus.CONFLICT)
        except OutputError as error:
            return _as_json({"error": str(error)}, HTTPStatus.INSUFFICIENT_STORAGE)

    # Looking

    def _get(self, path: str) -> Answer:
        what, *rest = path.split("/")
        if not rest and (what or "index.html") in self._files:
            file = self._files[what or "index.html"]
            return Answer(file.data, file.kind)
        if path == "data.js":
            return self._plan()
        if what == "decision" and len(rest) == 1:
            number = self._number(rest[0])
            told = tell_decision(
                self._session.decisions[number],
                self._gallery,
                lambda role, place, _: f"image/{number}/{role}/{place}",
            )
            return _as_json(told | self._state(number))
        if what == "image" and len(rest) == 3 and rest[1] in ROLES and _is_number(rest[2]):
            return self._image(self._number(rest[0]), rest[1], int(rest[2]))
        if what == "changes" and len(rest) == 1 and _is_number(rest[0]):
            return self._told(self._session.changes[int(rest[0]) :])
        raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _plan(self) -> Answer:
        session = self._session
        n_changes, decisions = len(session.changes), session.decisions.copy()
        versions = [[number, version] for number, version in enumerate(session.versions) if version]
        plan = tell_plan(
            session.judged,
            decisions,
            mode="server",
            name=session.plan.name,
            versions=versions,
            since=n_changes,
        )
        return Answer(plan, _SCRIPT)

    def _image(self, number: int, role: str, place: int) -> Answer:
        try:
            path = self._gallery.locate(self._session.decisions[number], role, place)
            return Answer(self._thumbnails.of(path), _JPEG, headers=_FOR_A_WHILE)
        except (SourceError, Undecodable) as error:
            raise _Refused(HTTPStatus.NOT_FOUND, f"cannot be shown: {error.problem}") from error

    def _number(self, text: str) -> int:
        if not _is_number(text) or int(text) >= len(self._session.decisions):
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such decision")
        return int(text)

    def _state(self, number: int) -> dict[str, Any]:
        session = self._session
        return {
            "verdict": letter(session.decisions[number].verdict),
            "version": session.versions[number],
        }

    def _told(
        self, numbers: Iterable[int], status: HTTPStatus = HTTPStatus.OK, **more: Any
    ) -> Answer:
        """How decisions are now."""
        since = len(self._session.changes)
        rows = [[number, *self._state(number).values()] for number in dict.fromkeys(numbers)]
        return _as_json({"rows": rows, "since": since, "trouble": self.trouble} | more, status)

    # Deciding

    def _decide(self, body: Mapping[str, Any]) -> Answer:
        verdict, wanted = body.get("verdict"), body.get("decisions")
        if (
            verdict not in VERDICTS
            or not isinstance(wanted, list)
            or not all(map(self._is_wanted, wanted))
        ):
            raise _Refused(HTTPStatus.BAD_REQUEST, "not a verdict and decisions")
        group = self._session.decide(
            str(verdict), [(number, version) for number, version in wanted]
        )
        return self._told((number for number, _ in wanted), group=group)

    def _is_wanted(self, value: Any) -> bool:
        return (
            isinstance(value, list)
            and list(map(type, value)) == [int, int]
            and 0 <= value[0] < len(self._session.decisions)
        )

    def _undo(self, body: Mapping[str, Any]) -> Answer:
        group = body.get("group")
        if type(group) is not int:
            raise _Refused(HTTPStatus.BAD_REQUEST, "not a group")
        return self._told(self._session.undo(group))


class _Refused(FaceprepError):
    def __init__(self, status: HTTPStatus, problem: str) -> None:
        super().__init__(problem)
        self.status = status


def _refuse_strangers(environ: Environ) -> str:
    """Why this request is not from the page or from the address bar; empty when it is."""
    host = environ.get("HTTP_HOST", "")
    if not _HOST.fullmatch(host):
        return "this machine is asked for by another name"
    if environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin"):
        return "another site asks"
    if environ.get("HTTP_ORIGIN", f"http://{host}") != f"http://{host}":
        return "another site asks"
    return ""


def _is_number(text: str) -> bool:
    """Whether `int` is right for it: Python refuses to read some thousand digits.

    >>> _is_number("12"), _is_number("-1"), _is_number("1" * 5000)
    (True, False, False)
    """
    return text.isascii() and text.isdecimal() and len(text) < 10


def _body_of(environ: Environ) -> Mapping[str, Any]:
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != _JSON:
        raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not JSON")
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_BODY:
        raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too long")
    try:
        value = json.loads(environ["wsgi.input"].read(int(length)))
    except (ValueError, RecursionError) as error:
        raise _Refused(HTTPStatus.BAD_REQUEST, "no JSON") from error
    if not isinstance(value, dict):
        raise _Refused(HTTPStatus.BAD_REQUEST, "no JSON object")
    return value


def _as_json(value: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(json.dumps(value, separators=(",", ":")).encode(), _JSON, status)


def _no(status: HTTPStatus, problem: str) -> Answer:
    return Answer(f"{problem}\n".encode("utf-8", "backslashreplace"), _TEXT, status)
