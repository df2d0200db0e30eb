"""One line for each request of the API when it is over: the RPC and how it ended, or that none was called for.

Nothing of the path, the query, the headers and the bodies is shown, for any of them may hold a secret, but ids of calls
that look like ids.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog

from server.transcoding.binding import Request
from server.transcoding.calls import Caller, Deliver, Outcome, Terms
from server.transcoding.headers import peer_of
from server.transcoding.router import Route
from server.transcoding.violation import Refusal
from server.web.asgi import App, Header, Message, Receive, Scope, Send

_ID = re.compile(rb"[0-9A-Za-z_.:-]{1,64}")
"""What ids of calls are made of: UUIDs, hexadecimal numbers, names with a prefix."""

_log = structlog.get_logger("server.access")


@dataclass(slots=True)
class _Visit:
    """What is known of a request: of the RPC its method and outcome, whether its client is gone, and of the answer."""

    method: str = ""
    outcome: str = ""
    is_gone: bool = False
    status: int | None = None
    headers: Iterable[Header] = ()


_current: ContextVar[_Visit] = ContextVar("visit")


class AccessLog:
    """Logs the requests that an ASGI app answers, whose RPCs a `NotingCaller` runs. It raises nothing of its own."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and tell of it, however it ends."""
        started = time.perf_counter()
        visit = _Visit()
        _current.set(visit)

        async def receive_noting() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                visit.is_gone = True
            return message

        def send_noting(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                visit.status, visit.headers = message["status"], message["headers"]
            return send(message)

        try:
            await self._app(scope, receive_noting, send_noting)
        except asyncio.CancelledError:  # the server stops
            visit.outcome = "CANCELLED"
            raise
        finally:
            milliseconds = round((time.perf_counter() - started) * 1000, 3)
            with suppress(Exception):  # the answer stands, whatever becomes of its record
                _log.info("call", **dict(_told(scope, visit)), milliseconds=milliseconds)


def _told(scope: Scope, visit: _Visit) -> Iterator[tuple[str, Any]]:
    """Yield what the line says. The outcome is what `_noted` knows, where no RPC was chosen the HTTP status's name."""
    yield "method", visit.method or "unknown"
    yield "outcome", visit.outcome or ("CANCELLED" if visit.status is None else HTTPStatus(visit.status).name)
    yield "verb", scope["method"]
    if visit.status is not None:
        yield "status", visit.status
    yield "peer", peer_of(scope.get("client"))
    if request_id := _find_id(scope["headers"]):
        yield "request_id", request_id
    if call_id := _find_id(visit.headers):
        yield "call_id", call_id


def _find_id(headers: Iterable[Header]) -> str | None:
    """Find the one `x-request-id`, if it looks like an id."""
    found = [value for name, value in headers if name == b"x-request-id"]
    return found[0].decode("ascii") if len(found) == 1 and _ID.fullmatch(found[0]) else None


class NotingCaller:
    """Runs RPCs by another caller, and notes for the `AccessLog` around it which they were and how they ended."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def call(self, request: Request, terms: Terms) -> Outcome:
        """Run a unary RPC to its end."""
        return await _noted(request.binding.route, self._caller.call(request, terms))

    async def stream(
        self, route: Route, requests: Request | AsyncIterator[Request], terms: Terms, deliver: Deliver
    ) -> Outcome:
        """Run an RPC that streams to its end."""
        return await _noted(route, self._caller.stream(route, requests, terms, deliver))


async def _noted(route: Route, work: Awaitable[Outcome]) -> Outcome:
    """Note the RPC and its code, or that of the transcoder's refusal: names of statuses depend on Python's version."""
    visit = _current.get()
    visit.method = route.rpc_path
    try:
        outcome = await work
    except asyncio.CancelledError:  # with its client there, a call is cut when its time is up
        visit.outcome = "CANCELLED" if visit.is_gone else "DEADLINE_EXCEEDED"
        raise
    except Refusal as refusal:
        visit.outcome = refusal.code
        raise
    except Exception:
        visit.outcome = "INTERNAL"
        raise
    visit.outcome = outcome.code.name
    return outcome
