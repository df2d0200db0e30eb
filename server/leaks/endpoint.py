"""The web address that takes signed reports of leaks, as GitHub's secret scanning sends them to its partners.

No token is ever repeated: neither in an answer, which names them by SHA-256, nor in a log.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from starlette.routing import Route

from server.errors import InvalidRequest, Kind, Unavailable, Violation
from server.identity.strict_json import parse_object
from server.leaks.finder import redact
from server.leaks.model import MAXIMUM_PLACE_LENGTH, Leak
from server.leaks.service import LeakReports
from server.leaks.signatures import ReporterKeys
from server.secret import Secret
from server.web.answers import RETRY_SOON, ErrorAnswer, method_not_allowed
from server.web.asgi import JSON, NO_STORE, Receive, Scope, Send, header_values, respond

PATH: Final = "/leak-reports"
MAXIMUM_BODY: Final = 1024 * 1024
MAXIMUM_LEAKS: Final = 1000

_KEY_ID, _SIGNATURE = b"github-public-key-identifier", b"github-public-key-signature"
_MEMBER = "reports"
_MEMBERS, _OPTIONAL = ("token", "type", "url", "source"), ("url", "source")

_UNSIGNED = ErrorAnswer(
    status=401,
    code=Kind.UNAUTHENTICATED.value,
    message="A report must be signed in Github-Public-Key-Signature with a published key.",
    headers=((b"www-authenticate", b"Github-Public-Key"),),  # RFC 9110 section 15.5.2 asks for a challenge
)
_TOO_LARGE = ErrorAnswer(
    status=413, code="ERROR_CODE_PAYLOAD_TOO_LARGE", message=f"A report must be at most {MAXIMUM_BODY} bytes."
)
_UNAVAILABLE = ErrorAnswer(
    status=503, code=Kind.UNAVAILABLE.value, message=Unavailable().message, headers=(RETRY_SOON,)
)
_WRONG_METHOD = method_not_allowed("POST")


def leak_routes(reports: LeakReports, keys: ReporterKeys) -> list[Route]:
    """Make the one route of reports; requests to it carry no cookie and need no token but their signature."""
    return [Route(PATH, LeakReportEndpoint(reports, keys))]


class _Refusal(Exception):
    def __init__(self, answer: ErrorAnswer) -> None:
        super().__init__()
        self.answer = answer


class _Gone(Exception):
    pass


class LeakReportEndpoint:
    """An ASGI application: a signed JSON array in, what each token of it is in reply."""

    def __init__(self, reports: LeakReports, keys: ReporterKeys) -> None:
        self._reports = reports
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. A client that went away before the end of its body gets nothing."""
        try:
            answer = await self._answer(scope, receive)
        except _Refusal as refusal:
            await refusal.answer.send(scope, send)
        except InvalidRequest as invalid:
            await _refuse(scope, send, invalid)
        except Unavailable:
            await _UNAVAILABLE.send(scope, send)
        except _Gone:
            return
        else:
            await respond(scope, send, 200, answer, (JSON, NO_STORE))

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        if scope["method"] != "POST":
            raise _Refusal(_WRONG_METHOD)
        key_id, signature = _one_header(scope, _KEY_ID), _one_header(scope, _SIGNATURE)
        body = await _read(scope, receive)
        if not await self._keys.have_signed(body, key_id, signature):
            raise _Refusal(_UNSIGNED)
        found = read_report(body)
        ours = await self._reports.take([leak for _, leak in found])
        return orjson.dumps([_feedback(kind, leak, is_ours) for (kind, leak), is_ours in zip(found, ours, strict=True)])


def read_report(body: bytes) -> list[tuple[str, Leak]]:
    """Read the reported leaks, each with the type that the reporter gives it.

    Raises:
        InvalidRequest: naming the faults by their places, and nothing of what was sent.
    """
    entries = _parse_array(body)
    if not 1 <= len(entries) <= MAXIMUM_LEAKS:
        raise InvalidRequest([Violation("body", f"must have 1 to {MAXIMUM_LEAKS} elements")])
    violations: list[Violation] = []
    found = [_read_leak(entry, f"[{position}]", violations) for position, entry in enumerate(entries)]
    if violations:
        raise InvalidRequest(violations)
    return found


def _parse_array(body: bytes) -> Sequence[object]:
    """Parse a JSON array as strictly as objects are: as the one member of an object made around it."""
    try:
        document = parse_object(b'{"%s":%s}' % (_MEMBER.encode(), body))
    except ValueError:
        document = {}
    entries = document.get(_MEMBER)
    if len(document) != 1 or not isinstance(entries, list):  # more members: the body closed its array and went on
        raise InvalidRequest([Violation("body", "must be a JSON array in UTF-8, without duplicate members")])
    return entries


def _read_leak(entry: object, place: str, violations: list[Violation]) -> tuple[str, Leak]:
    members: Mapping[str, object] = entry if isinstance(entry, dict) else {}
    texts = dict.fromkeys(_MEMBERS, "")
    for name in _MEMBERS:
        value = members.get(name)
        if value is None and name in _OPTIONAL:
            continue
        if isinstance(value, str) and _is_unicode(value):
            texts[name] = value
        else:
            violations.append(Violation(f"{place}.{name}", "must be a string of Unicode characters"))
    leak = Leak(secret=Secret(texts["token"]), url=_shown(texts["url"]), source=_shown(texts["source"]))
    return texts["type"], leak


def _shown(text: str) -> str:
    """Make a reporter's word fit to be stored and shown: an address may hold the very token."""
    return redact(text)[:MAXIMUM_PLACE_LENGTH]


def _is_unicode(text: str) -> bool:
    """Tell whether a string can be encoded: JSON's escapes can write halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _feedback(kind: str, leak: Leak, is_ours: bool) -> dict[str, str]:
    """Say of one token whether it is a credential of ours, alive or not, as the programme asks for it."""
    return {
        "token_hash": hashlib.sha256(leak.secret.reveal().encode()).hexdigest(),
        "token_type": kind,
        "label": "true_positive" if is_ours else "false_positive",
    }


async def _refuse(scope: Scope, send: Send, invalid: InvalidRequest) -> None:
    """Send the 400 of contract section 3."""
    violations = [violation._asdict() for violation in invalid.violations]
    body = orjson.dumps({"code": invalid.kind.value, "message": invalid.message, "violations": violations})
    await respond(scope, send, 400, body, (JSON, NO_STORE))


def _one_header(scope: Scope, name: bytes) -> str:
    values = header_values(scope, name)
    if len(values) != 1:
        raise _Refusal(_UNSIGNED)
    return values[0].decode("latin-1")


async def _read(scope: Scope, receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > MAXIMUM_BODY:
            raise _Refusal(_TOO_LARGE)
        if not message.get("more_body", False):
            return bytes(body)
