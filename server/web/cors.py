"""Cross-origin requests of browsers, for an allow list of origins (WHATWG Fetch, "CORS protocol").

Credentials mode is never allowed: callers send their token in a header themselves, so cookies have no part in it.
"""

import re
from collections.abc import Sequence
from typing import Final

from server.web.asgi import NO_SNIFF, App, Header, Message, Receive, Scope, Send, header_values, respond

_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_VARY: Final[Header] = (b"vary", b"origin")
_EXPOSED: Final[Header] = (
    b"access-control-expose-headers",
    b"deprecation, etag, link, location, retry-after, sunset, www-authenticate, "
    b"x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-request-id",
)
_HEADERS: Final = (
    "authorization",
    "content-type",
    "grpc-timeout",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-request-id",
    "x-server-timeout",
)


def check_origins(origins: Sequence[str]) -> None:
    """Check that all are exact origins. Raises ValueError, naming one that is not."""
    if wrong := [origin for origin in origins if not _ORIGIN.fullmatch(origin)]:
        raise ValueError(f"not an origin such as https://portal.example.com: {wrong[0]}")


class Cors:
    """Let browsers at the allowed `origins` read the answers of `app`; answer their preflights.

    They may send `headers` besides the usual ones. Raises ValueError for anything but exact `scheme://host[:port]`
    origins, so `*` and `null` too.
    """

    def __init__(self, app: App, origins: Sequence[str], headers: Sequence[str] = ()) -> None:
        check_origins(origins)
        self._app = app
        self._preflight: tuple[Header, ...] = (
            (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
            (b"access-control-allow-headers", ", ".join(sorted({*_HEADERS, *headers})).encode("ascii")),
            (b"access-control-max-age", b"600"),
        )
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. A stranger's preflight is answered without permissions, which browsers read as no."""
        origins = header_values(scope, b"origin")
        allowed = len(origins) == 1 and origins[0] in self._origins
        permission = ((b"access-control-allow-origin", origins[0]),) if allowed else ()
        if scope["method"] == "OPTIONS" and origins and header_values(scope, b"access-control-request-method"):
            preflight = self._preflight if allowed else ()
            await respond(scope, send, 204, b"", (_VARY, NO_SNIFF, *permission, *preflight))
            return

        added = (_VARY, *permission, _EXPOSED) if allowed else (_VARY,)

        async def send_permitted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self._app(scope, receive, send_permitted)
