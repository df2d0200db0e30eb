"""The last line behind every answer: no exception text leaves, and the security headers are on everything."""

import asyncio
from collections.abc import Awaitable

import structlog

from server.web.answers import INTERNAL, STOPPING
from server.web.asgi import NO_SNIFF, NO_STORE, App, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)


class Guard:
    """Wrap an ASGI app so that it never raises and every response carries `nosniff` and, by default, `no-store`."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. A failure is logged here, with its traceback, and answered with a fixed sentence.

        A cancellation ends here too, as 503: this is the outermost frame of the request's task, and only a stopping
        server cancels it. When the response had begun, it is left unfinished and the server closes the connection.
        """
        started = False

        def send_guarded(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _secured(message.get("headers", ()))
            return send(message)

        try:
            await self._app(scope, receive, send_guarded)
        except asyncio.CancelledError:
            if not started:
                await STOPPING.send(scope, send_guarded)
        except Exception:
            log.exception("http_request_failed", method=scope["method"], path=scope["path"])
            if not started:
                await INTERNAL.send(scope, send_guarded)


def _secured(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return `headers` with what is missing; only lower-case names count, as ASGI prescribes."""
    names = [name for name, _ in headers]
    secured = [*headers]
    if NO_SNIFF[0] not in names:
        secured.append(NO_SNIFF)
    if b"cache-control" not in names:
        secured.append(NO_STORE)
    return secured
