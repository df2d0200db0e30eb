"""Errors over HTTP: the end of an RPC, or a refusal of the transcoder's own, as a status and a body.

A JSON body has `code` and `message`; a 400 always has `violations` too, and `details` are what an RPC told besides.
Where the client asked for protobuf the body is a `google.rpc.Status`. Meaning is read from statuses and details, never
from a message's text.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import grpc
import orjson
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from server.transcoding.details import DetailReader, Details, type_name
from server.transcoding.headers import Headers
from server.transcoding.media import Kind
from server.transcoding.options import Options
from server.transcoding.violation import MAX_VIOLATIONS, Refusal

INTERNAL_SENTENCE = "The server failed to handle the request."
LATE_SENTENCE = "The server did not answer in time."

HTTP_STATUSES = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""google/rpc/code.proto."""
_CODES: dict[object, grpc.StatusCode] = {
    **{code: code for code in grpc.StatusCode},
    **{code.value[0]: code for code in grpc.StatusCode},
}

_NEAREST = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""What a refusal of the transcoder's own would be in gRPC; else INVALID_ARGUMENT below 500 and INTERNAL from there."""

_TOLD = 5
"""How many violations the message repeats."""


class Reply(NamedTuple):
    """A whole HTTP response; content type and length are added to its headers when it is sent."""

    status: int
    headers: Headers
    body: bytes
    content_type: bytes = b"application/json"


class ErrorReplies:
    """Makes error replies in the codes of one application. `pool` has the types of details that this process lacks."""

    def __init__(self, options: Options, pool: DescriptorPool | None = None) -> None:
        self._domain = options.domain
        self._reason_statuses = dict(options.reason_statuses)
        self._codes = dict(options.codes)
        self._hidden = options.hidden_details
        self._reader = DetailReader(options, pool)
        self._challenge = (b"www-authenticate", options.challenge.encode("ascii"))

    def of_rpc(
        self,
        outcome_code: object,
        message: str | None,
        details: bytes | None,
        spelled: Callable[[str], str],
        headers: Headers,
        *,
        protobuf: bool = False,
    ) -> Reply:
        """Answer for an RPC that ended with this code; `spelled` puts its violations into the client's words.

        What is no code is UNKNOWN; OK cannot end an RPC that failed and is told as INTERNAL.
        """
        status = _status(outcome_code, message, details)
        known = self._reader.read(status)
        if known.retry_after is not None and all(name != b"retry-after" for name, _ in headers):
            headers = [*headers, (b"retry-after", str(known.retry_after).encode("ascii"))]
        http = self._reason_statuses.get(known.reason, HTTP_STATUSES[_CODES[status.code]])
        if protobuf:
            return self._protobuf(http, headers, status)
        return self._json(http, headers, self._document(http, status, known, spelled))

    def refused(self, refusal: Refusal, *, protobuf: bool = False) -> Reply:
        """Answer for a request that is refused as a whole."""
        return self.own(refusal.status, refusal.code, refusal.message, refusal.headers, protobuf=protobuf)

    def own(
        self,
        status: int,
        code: str,
        message: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        *,
        protobuf: bool = False,
    ) -> Reply:
        """Answer for a request that reached no RPC. `code` is the transcoder's name for it, before renaming."""
        if protobuf:
            other = grpc.StatusCode.INVALID_ARGUMENT if status < 500 else grpc.StatusCode.INTERNAL
            return self._protobuf(status, headers, _status(_NEAREST.get(status, other), message, None))
        return self._json(status, headers, _body(status, self._code(code), message, ()))

    def invalid(self, violations: Sequence[tuple[str, str]], *, protobuf: bool = False) -> Reply:
        """Answer 400 for a request that could not even be put to an RPC."""
        message = sentence(violations)
        if protobuf:
            return self._protobuf(400, (), Status.FromString(bad_request_details(violations, message)))
        return self._json(400, (), _body(400, self._code("INVALID_ARGUMENT"), message, violations))

    def _code(self, name: str) -> str:
        return self._codes.get(name, name)

    def _document(self, http: int, status: Status, known: Details, spelled: Callable[[str], str]) -> dict[str, Any]:
        distinct = list(dict.fromkeys(known.violations))[:MAX_VIOLATIONS]
        violations = [(spelled(field), description) for field, description in distinct]
        message = sentence(violations) if violations else status.message  # in the same words as the violations
        code = known.reason or self._code(_CODES[status.code].name)
        document = _body(http, code, message, violations)
        if known.shown:
            document["details"] = known.shown
        return document

    def _json(self, status: int, headers: Sequence[tuple[bytes, bytes]], document: dict[str, Any]) -> Reply:
        return Reply(status, self._challenged(status, headers), orjson.dumps(document))

    def _protobuf(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: Status) -> Reply:
        shown = [detail for detail in body.details if type_name(detail) not in self._hidden]
        octets = Status(code=body.code, message=body.message, details=shown).SerializeToString()
        return Reply(status, self._challenged(status, headers), octets, Kind.PROTOBUF.value.encode("ascii"))

    def _challenged(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> Headers:
        """Return the headers; those of a 401 with a challenge (RFC 9110 section 11.6.1)."""
        if status != 401 or any(name == self._challenge[0] for name, _ in headers):
            return list(headers)
        return [*headers, self._challenge]


def _status(code: object, message: str | None, details: bytes | None) -> Status:
    """Return the end of an RPC as a status. Details that cannot be read are left out."""
    canonical = _CODES.get(code, grpc.StatusCode.UNKNOWN)
    if canonical is grpc.StatusCode.OK:
        return Status(code=grpc.StatusCode.INTERNAL.value[0], message=INTERNAL_SENTENCE)
    text = (message or "").encode("utf-8", "replace").decode()
    status = Status()
    with suppress(DecodeError):
        status = Status.FromString(details or b"")
    status.code, status.message = canonical.value[0], text
    return status


def _body(status: int, code: str, message: str, violations: Sequence[tuple[str, str]]) -> dict[str, Any]:
    body: dict[str, Any] = {"code": code, "message": message}
    if status == 400:
        body["violations"] = [{"field": field, "description": text} for field, text in violations]
    return body


def bad_request_details(violations: Sequence[tuple[str, str]], message: str) -> bytes:
    """Return the `google.rpc.Status` of an INVALID_ARGUMENT, serialized, with one violation per fault."""
    bad = BadRequest()
    for field, description in violations:
        bad.field_violations.add(field=field, description=description)
    status = Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message=message)
    status.details.add().Pack(bad)
    return status.SerializeToString()


def sentence(violations: Sequence[tuple[str, str]]) -> str:
    """Return the first violations as the one message of an error."""
    told = "; ".join(f"{field}: {text}" if field else text for field, text in violations[:_TOLD])
    return told or "The request is invalid."
