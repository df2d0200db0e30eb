"""The words of ASGI 3 that this folder uses, and the one way it answers with a whole body. No policy lives here."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
NO_STORE: Header = (b"cache-control", b"no-store")
NO_SNIFF: Header = (b"x-content-type-options", b"nosniff")


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """Return the values of every field line called `name` (lower case), in the order they were sent."""
    return [value for key, value in scope["headers"] if key == name]


async def respond(scope: Scope, send: Send, status: int, body: bytes, headers: Iterable[Header] = ()) -> None:
    """Send a whole response. HEAD gets the length of the body but not the body (RFC 9110 section 9.3.2)."""
    fields = [*headers, (b"content-length", b"%d" % len(body))] if status not in (204, 304) else [*headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
