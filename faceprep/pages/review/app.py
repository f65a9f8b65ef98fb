"""The server of the review page as a WSGI application.

A request must start with the token, name this machine as its host (which defeats DNS rebinding),
and not come from another site. Changes are a POST of JSON. A page of another site cannot send that
without a preflight request, which this server refuses.

    GET  /TOKEN/                     the page and its files
    GET  /TOKEN/data.js              a summary of all decisions
    GET  /TOKEN/decision/N           the details of one decision
    GET  /TOKEN/image/N/ROLE/PLACE   a thumbnail of an image of the plan
    GET  /TOKEN/changes/SINCE        the decisions that have changed since
    POST /TOKEN/decide  /TOKEN/undo  {"verdict": …, "decisions": [[N, VERSION], …]}, {"group": …}
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from faceprep.core.errors import FaceprepError, SourceError
from faceprep.core.types import VERDICTS, Outcome
from faceprep.pages.review.gallery import ROLES, Gallery
from faceprep.pages.review.serialize import describe_decision, letter, write_plan_script
from faceprep.pages.review.session import PlanChanged, Session, Stale
from faceprep.pages.review.thumbnails import Thumbnails
from faceprep.tables.plan import apply_command

MAX_BODY = 8 << 20
_HOME = "index.html"
_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
_TEXT, _JSON, _SCRIPT, _JPEG = (
    "text/plain; charset=utf-8",
    "application/json",
    "text/javascript",
    "image/jpeg",
)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_CACHED = {"Cache-Control": "private, max-age=600"}  # each server has its own token and addresses

Environ = Mapping[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Answer(NamedTuple):
    """A response without the headers that all responses share."""

    body: bytes
    kind: str = _TEXT
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = {}


class PageFile(NamedTuple):
    """A file of the page itself."""

    kind: str
    data: bytes


class ReviewApp:
    """The WSGI application for one session; safe to use from several threads."""

    def __init__(
        self,
        session: Session,
        gallery: Gallery,
        thumbnails: Thumbnails,
        token: str,
        files: Mapping[str, PageFile],
    ) -> None:
        self._session, self._thumbnails, self._files = session, thumbnails, files
        self._token = token.encode()
        self._gallery = gallery
        self.trouble = ""
        """A warning for the page to show."""

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
        if problem := _origin_problem(environ):
            return _error(HTTPStatus.FORBIDDEN, problem)
        if not hmac.compare_digest(token.encode("latin-1", "replace"), self._token):
            return _error(HTTPStatus.FORBIDDEN, "use the address that faceprep review printed")
        try:
            return self._dispatch(environ, path)
        except _Refused as error:
            return _error(error.status, error.problem)
        except Stale as error:
            return self._rows(error.numbers, HTTPStatus.CONFLICT, error=error.problem)
        except PlanChanged as error:
            return _as_json({"error": str(error), "ended": True}, HTTPStatus.CONFLICT)
        except FaceprepError as error:  # the disk is full, or fails
            return _as_json({"error": str(error)}, HTTPStatus.INSUFFICIENT_STORAGE)

    def _dispatch(self, environ: Environ, path: str) -> Answer:
        change = {"decide": self._decide, "undo": self._undo}.get(path)
        method = environ["REQUEST_METHOD"]
        allowed = ("GET", "HEAD") if change is None else ("POST",)
        if method not in allowed:
            raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not allowed here")
        if change is None:
            return self._get(path)
        return change(_body_of(environ))

    # Reading

    def _get(self, path: str) -> Answer:
        match path.split("/"):
            case [name] if (name or _HOME) in self._files:
                file = self._files[name or _HOME]
                return Answer(file.data, file.kind)
            case ["data.js"]:
                return self._plan()
            case ["decision", number]:
                return self._details(self._number(number))
            case ["image", number, role, place] if role in ROLES and _is_number(place):
                return self._image(self._number(number), role, int(place))
            case ["changes", since] if _is_number(since):
                return self._rows(self._session.changes[int(since) :])
        raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _details(self, number: int) -> Answer:
        details = describe_decision(
            self._session.decisions[number],
            self._gallery,
            lambda role, place, _: f"image/{number}/{role}/{place}",
        )
        return _as_json(details | self._state(number))

    def _plan(self) -> Answer:
        session = self._session
        n_changes, decisions = len(session.changes), session.decisions.copy()
        versions = [[number, version] for number, version in enumerate(session.versions) if version]
        plan = write_plan_script(
            session.judged,
            decisions,
            mode="server",
            name=session.plan.name,
            next=apply_command(session.plan),
            versions=versions,
            since=n_changes,
        )
        return Answer(plan, _SCRIPT)

    def _image(self, number: int, role: str, place: int) -> Answer:
        try:
            path = self._gallery.locate(self._session.decisions[number], role, place)
        except SourceError as error:
            raise _Refused(HTTPStatus.NOT_FOUND, f"cannot be shown: {error.problem}") from error
        thumbnail = self._thumbnails.load(path)
        if isinstance(thumbnail, Outcome):
            raise _Refused(HTTPStatus.NOT_FOUND, f"cannot be shown: {thumbnail.reason}")
        return Answer(thumbnail, _JPEG, headers=_CACHED)

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

    def _rows(
        self, numbers: Iterable[int], status: HTTPStatus = HTTPStatus.OK, **more: Any
    ) -> Answer:
        """Answer with the current verdicts and versions of decisions."""
        since = len(self._session.changes)
        rows = [[number, *self._state(number).values()] for number in dict.fromkeys(numbers)]
        return _as_json({"rows": rows, "since": since, "trouble": self.trouble} | more, status)

    # Changing

    def _decide(self, body: Mapping[str, Any]) -> Answer:
        verdict, wanted = body.get("verdict"), body.get("decisions")
        is_list = isinstance(wanted, list) and all(map(self._is_reference, wanted))
        if verdict not in VERDICTS or not is_list:
            raise _Refused(HTTPStatus.BAD_REQUEST, "not a verdict and decisions")
        references = [(number, version) for number, version in wanted or ()]
        group = self._session.decide(str(verdict), references)
        return self._rows((number for number, _ in references), group=group)

    def _is_reference(self, value: Any) -> bool:
        """Return whether `value` is a list of a decision's number and a version."""
        return (
            isinstance(value, list)
            and list(map(type, value)) == [int, int]
            and 0 <= value[0] < len(self._session.decisions)
        )

    def _undo(self, body: Mapping[str, Any]) -> Answer:
        group = body.get("group")
        if type(group) is not int:
            raise _Refused(HTTPStatus.BAD_REQUEST, "not a group")
        return self._rows(self._session.undo(group))


_DESTINATION = ("HTTP_SEC_FETCH_DEST", "document")
"""The header of a page that is opened in a tab of its own, as from the file that leads there."""


class _Refused(FaceprepError):
    """A request that is answered with an error status."""

    def __init__(self, status: HTTPStatus, problem: str) -> None:
        super().__init__(problem)
        self.status = status


def _origin_problem(environ: Environ) -> str:
    """Explain why a request comes from neither the page nor the address bar; empty if it does."""
    host = environ.get("HTTP_HOST", "")
    if not _HOST.fullmatch(host):
        return "the request names another host"
    is_opened = environ.get("REQUEST_METHOD") == "GET" and _DESTINATION in environ.items()
    site = environ.get("HTTP_SEC_FETCH_SITE", "none")
    if site not in ("none", "same-origin") and not is_opened:
        return "the request comes from another site"
    if environ.get("HTTP_ORIGIN", f"http://{host}") != f"http://{host}":
        return "the request comes from another site"
    return ""


def _is_number(text: str) -> bool:
    """Return whether `int` accepts the text; Python refuses thousands of digits.

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
        raise _Refused(HTTPStatus.BAD_REQUEST, "not JSON") from error
    if not isinstance(value, dict):
        raise _Refused(HTTPStatus.BAD_REQUEST, "not a JSON object")
    return value


def _as_json(value: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(json.dumps(value, separators=(",", ":")).encode(), _JSON, status)


def _error(status: HTTPStatus, problem: str) -> Answer:
    return Answer(f"{problem}\n".encode("utf-8", "backslashreplace"), _TEXT, status)
