"""Errors over HTTP: the end of an RPC, or a refusal of the transcoder's own, as a status and a JSON body.

Every body has `code` and `message`; a 400 always has `violations` too. Meaning is read from statuses and details, never
from a message's text.
"""

import base64
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import grpc
import orjson
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from server.transcoding.headers import Headers
from server.transcoding.options import Options

DETAILS_KEY = "grpc-status-details-bin"
INTERNAL_SENTENCE = "The server failed to handle the request."

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


class Reply(NamedTuple):
    """A whole HTTP response; content type and length are added when it is sent."""

    status: int
    headers: Headers
    body: bytes


_TOLD = 5
"""How many violations the message repeats."""


class Details(NamedTuple):
    """The details of a gRPC status that HTTP has a place for. `retry_after` is in whole seconds, None if absent."""

    reason: str | None = None
    violations: tuple[tuple[str, str], ...] = ()
    retry_after: int | None = None


class ErrorReplies:
    """Makes error replies in the codes of one application."""

    def __init__(self, options: Options) -> None:
        self._domain = options.domain
        self._reason_statuses = dict(options.reason_statuses)
        self._codes = dict(options.codes)

    def of_rpc(
        self,
        code: grpc.StatusCode,
        message: str,
        details: bytes | None,
        spelled: Callable[[str], str],
        headers: Headers,
    ) -> Reply:
        """Answer for an RPC that ended with `code`; `spelled` puts its violations into the client's words."""
        known = self._details(details)
        status = HTTP_STATUSES[code]
        if known.reason is not None:
            status = self._reason_statuses.get(known.reason, status)
        if known.retry_after is not None and all(name != b"retry-after" for name, _ in headers):
            headers = [*headers, (b"retry-after", str(known.retry_after).encode("ascii"))]
        violations = [(spelled(field), description) for field, description in known.violations]
        if violations:
            message = sentence(violations[:_TOLD])  # in the same words as the violations
        return self._reply(status, known.reason or self._code(code.name), message, violations, headers)

    def own(self, status: int, code: str, message: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
        """Answer for a request that reached no RPC. `code` is the transcoder's name for it, before renaming."""
        return self._reply(status, self._code(code), message, (), list(headers))

    def invalid(self, violations: Sequence[tuple[str, str]]) -> Reply:
        """Answer 400 for a request that could not even be put to an RPC."""
        return self._reply(400, self._code("INVALID_ARGUMENT"), sentence(violations), violations, [])

    def _code(self, name: str) -> str:
        return self._codes.get(name, name)

    def _reply(
        self, status: int, code: str, message: str, violations: Sequence[tuple[str, str]], headers: Headers
    ) -> Reply:
        body: dict[str, Any] = {"code": code, "message": message}
        if status == 400:
            body["violations"] = [{"field": field, "description": text} for field, text in violations]
        return Reply(status, headers, orjson.dumps(body))

    def _details(self, octets: bytes | None) -> Details:
        if not octets:
            return Details()
        try:
            status = Status.FromString(octets)
        except DecodeError:
            return Details()
        reason: str | None = None
        violations: list[tuple[str, str]] = []
        retry_after: int | None = None
        for detail in status.details:
            if (info := _unpack(detail, ErrorInfo())) and info.domain == self._domain:
                reason = info.reason or None
            elif bad := _unpack(detail, BadRequest()):
                violations.extend((violation.field, violation.description) for violation in bad.field_violations)
            elif retry := _unpack(detail, RetryInfo()):
                delay = retry.retry_delay
                retry_after = max(1, math.ceil(delay.seconds + delay.nanos / 1e9))
        return Details(reason, tuple(violations), retry_after)


def _unpack(detail: Any, into: Any) -> Any:
    """Return the detail as that type, or None when it is of another type or damaged."""
    try:
        return into if detail.Unpack(into) else None
    except DecodeError:
        return None


def bad_request_details(violations: Sequence[tuple[str, str]], message: str) -> bytes:
    """Return the `google.rpc.Status` of an INVALID_ARGUMENT, serialized, with one violation per fault."""
    bad = BadRequest()
    for field, description in violations:
        bad.field_violations.add(field=field, description=description)
    status: Message = Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message=message)
    status.details.add().Pack(bad)  # type: ignore[attr-defined]
    return status.SerializeToString()


def sentence(violations: Sequence[tuple[str, str]]) -> str:
    """Return violations as the one message of an error."""
    return "; ".join(f"{field}: {description}" for field, description in violations) or "The request is invalid."


def details_of(metadata: Sequence[tuple[str, str | bytes]]) -> bytes | None:
    """Return the serialized status details among trailing metadata. A text value is base64, as on the wire."""
    for key, value in metadata:
        if key == DETAILS_KEY:
            return value if isinstance(value, bytes) else _from_base64(value)
    return None


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None
