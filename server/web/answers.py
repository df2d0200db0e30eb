"""The error answers this folder gives on its own, before or instead of the API: status, public code, one sentence.

Their JSON follows contract section 3: always `code` and `message`, and a 400 always has `violations`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Final

import orjson

from server.errors import Kind
from server.web.asgi import JSON, NO_SNIFF, NO_STORE, Header, Scope, Send, respond


@dataclass(frozen=True, kw_only=True)
class ErrorAnswer:
    """One fixed error response. `message` is public; `headers` come on top of the ones every error carries."""

    status: int
    code: str
    message: str
    headers: tuple[Header, ...] = ()

    @cached_property
    def body(self) -> bytes:
        """Return the JSON body."""
        violations: dict[str, object] = {"violations": []} if self.status == HTTPStatus.BAD_REQUEST else {}
        return orjson.dumps({"code": self.code, "message": self.message, **violations})

    async def send(self, scope: Scope, send: Send) -> None:
        """Answer an ASGI request with this error."""
        await respond(scope, send, self.status, self.body, (JSON, NO_STORE, *self.headers))

    def to_wire(self, server_headers: Iterable[Header]) -> bytes:
        """Return the complete HTTP/1.1 response, the last one of its connection; there may be no request to answer."""
        fields = (
            *server_headers,
            JSON,
            NO_STORE,
            NO_SNIFF,
            *self.headers,
            (b"content-length", b"%d" % len(self.body)),
            (b"connection", b"close"),
        )
        status = HTTPStatus(self.status)
        lines = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode()), *(b"%s: %s" % field for field in fields)]
        return b"\r\n".join([*lines, b"", self.body])


RETRY_SOON: Final[Header] = (b"retry-after", b"1")

NOT_FOUND: Final = ErrorAnswer(status=404, code=Kind.NOT_FOUND.value, message="There is nothing at this path.")
INTERNAL: Final = ErrorAnswer(
    status=500, code=Kind.INTERNAL.value, message="Something failed on our side. Retry, or report the request id."
)
STOPPING: Final = ErrorAnswer(
    status=503,
    code=Kind.UNAVAILABLE.value,
    message="The server is stopping. Retry with back-off.",
    headers=(RETRY_SOON, (b"connection", b"close")),
)
TOO_MANY_CONNECTIONS: Final = ErrorAnswer(
    status=503,
    code=Kind.OVERLOADED.value,
    message="The server has too many connections. Retry with back-off.",
    headers=(RETRY_SOON,),
)
TOO_MANY_PIPELINED: Final = ErrorAnswer(
    status=503,
    code=Kind.OVERLOADED.value,
    message="Too many requests were sent ahead of their answers. Retry with back-off.",
    headers=(RETRY_SOON,),
)
REQUEST_TIMEOUT: Final = ErrorAnswer(
    status=408, code="ERROR_CODE_REQUEST_TIMEOUT", message="The request did not arrive in time."
)
URI_TOO_LONG: Final = ErrorAnswer(status=414, code="ERROR_CODE_URI_TOO_LONG", message="The request target is too long.")
HEADERS_TOO_LARGE: Final = ErrorAnswer(
    status=431, code="ERROR_CODE_HEADERS_TOO_LARGE", message="The request's headers are too many or too large."
)


def malformed(message: str) -> ErrorAnswer:
    """Make the 400 for a request that is not good HTTP; there is no field to name, so `violations` is empty."""
    return ErrorAnswer(status=400, code=Kind.INVALID_REQUEST.value, message=message)


def method_not_allowed(*allowed: str) -> ErrorAnswer:
    """Make the 405 that names the methods which would be `allowed` (RFC 9110 section 15.5.6)."""
    names = ", ".join(allowed)
    return ErrorAnswer(
        status=405,
        code="ERROR_CODE_METHOD_NOT_ALLOWED",
        message=f"Only {names} can be used here.",
        headers=((b"allow", names.encode()),),
    )
