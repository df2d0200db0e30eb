"""One HTTP/1.1 connection: uvicorn's httptools protocol with limits on size, time and number, and JSON error answers.

What uvicorn lacks and this adds: headers counted before they are buffered, deadlines for head, body, idleness and a
client that does not read, no error in the middle of another answer, no body smuggled past an ignored Upgrade.
"""

from asyncio import Transport
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import cast

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from server.web import answers
from server.web.answers import ErrorAnswer
from server.web.deadline import Deadline
from server.web.head import RefusedError, answer_to, check_head, origin_form, without_upgrade
from server.web.limits import Limits


class Phase(Enum):
    """What the connection waits for from the client."""

    REQUEST = "the first byte of a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    END = "nothing: what still arrives is thrown away"


REQUEST, HEAD, BODY, END = Phase

LASTING_BODY = "let_body_last"
"""Where an application finds, in its scope's `state`, what it calls when a request's body is a stream of messages."""
LEFT_BODY = "leave_body"
"""Where it finds what it calls when it will not read a body: to receive, which also tells that the client went away, no
longer says `100 Continue`. Absent where the client does not wait for that."""


class Outlet:
    """A transport that drops what is written after its end.

    A client that resets the connection ends the transport a moment before anybody is told, and uvloop's raises then.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Write to a transport that is open."""
        if not self.is_closing():
            self._transport.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `on_closed` is called once it is gone from the server's set of connections."""

    def __init__(self, config: Config, state: ServerState, limits: Limits, *, on_closed: Callable[[], None]) -> None:
        super().__init__(config, state, {LASTING_BODY: self._let_body_last})
        self._limits = limits
        self._on_closed = on_closed
        self._phase = REQUEST
        self._room = limits.head_bytes
        self._deadline = Deadline(self.loop, self._missed_deadline)
        self._is_timed = False
        self._body_lasts = False
        self._last_words: ErrorAnswer | None = None
        self.parser = httptools.HttpRequestParser(self)  # without the leniency uvicorn gives its own

    # The connection

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the idle clock, or refuse with 503 when there are too many connections."""
        super().connection_made(cast("Transport", Outlet(transport)))
        self._deadline.allow(self._limits.idle_seconds)
        if len(self.connections) > self._limits.connections:
            self._refuse(answers.TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what the connection holds."""
        self._deadline.cancel()
        super().connection_lost(exc)
        self._on_closed()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, never more of a head than the limit.

        `_room` shrinks with every byte fed and is whole again at each step forward (head complete, body bytes, message
        complete), so only heads, trailers and chunk framing can use it up. A pipelined head that shares a read with an
        earlier message is counted from the next read on.
        """
        if self._phase is END:
            return
        size = len(data)
        if size < self._room:
            self._room -= size
            self._feed(data)
        else:
            self._feed_in_pieces(data)
        if not self._is_timed:
            self._is_timed = True
            self._deadline.allow(self._patience())

    def _feed_in_pieces(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self._phase is not END:
            piece, rest = bytes(rest[: self._room]), rest[self._room :]
            self._room -= len(piece)
            self._feed(piece)
            if not self._room and self._phase is not END:
                self._refuse(answers.HEADERS_TOO_LARGE)

    def _feed(self, data: bytes) -> None:
        while data and self._phase is not END:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                self._refuse(answer_to(error))
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """Start the message anew on a fresh parser; this one skipped the body and would read it as the next request."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.parser = httptools.HttpRequestParser(self)
        return without_upgrade(method, self.url, version, self.headers)

    # The parser's callbacks; what they raise comes out of feed_data wrapped

    def on_message_begin(self) -> None:
        """Start the head's clock."""
        super().on_message_begin()
        self._phase = HEAD
        self._is_timed = False

    def on_url(self, url: bytes) -> None:
        """Collect the target, up to its limit."""
        self.url += url
        if len(self.url) > self._limits.target_bytes:
            raise RefusedError(answers.URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; a trailer is dropped, it must not pass for one (RFC 9110 section 6.5.1)."""
        if self._phase is HEAD:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value.rstrip(b" \t")))  # RFC 9112 section 5.1

    def on_headers_complete(self) -> None:
        """Judge the head, then let the app start; not yet if it asks for an Upgrade (`_head_without_upgrade`)."""
        if len(self.headers) > self._limits.headers:
            raise RefusedError(answers.HEADERS_TOO_LARGE)
        version = self.parser.get_http_version()
        check_head(version, self.headers)
        self.url = origin_form(self.parser.get_method(), self.url)
        if self.parser.should_upgrade():
            return
        if len(self.pipeline) >= self._limits.pipelined:
            raise RefusedError(answers.TOO_MANY_PIPELINED)
        super().on_headers_complete()
        if self.expect_100_continue:
            # A client that gets a final answer instead of 100 may not send the body, so nothing may follow
            # (RFC 9110 section 10.1.1); HTTP/1.0 knows no 100.
            self.cycle.keep_alive = False
            self.cycle.waiting_for_100_continue = version == "1.1"
            self.scope["state"][LEFT_BODY] = partial(setattr, self.cycle, "waiting_for_100_continue", False)
        self._advance(BODY)

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body."""
        self._room = self._limits.head_bytes
        if self._body_lasts:
            self._is_timed = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        if self._phase is BODY:
            super().on_message_complete()
            self._advance(REQUEST)

    def _advance(self, phase: Phase) -> None:
        self._phase = phase
        self._room = self._limits.head_bytes
        self._is_timed = False
        self._body_lasts = False

    # Answers

    def on_response_complete(self) -> None:
        """Start the next pipelined request, or say the last words, or be idle.

        Replaces uvicorn's method, which would set a second timer that later data does not always renew.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_words is not None:
            self._say(self._last_words)
        elif self._phase is REQUEST:
            self._deadline.allow(self._limits.idle_seconds)

    def _refuse(self, answer: ErrorAnswer) -> None:
        """End the connection with `answer`, after the answers that are due before it and never inside one of them."""
        faulty = self.cycle if self._phase is BODY else None
        self._phase, self._is_timed = END, True
        if faulty is not None and self.pipeline and self.pipeline[0][0] is faulty:
            self.pipeline.popleft()
            self._say_later(answer)
        elif faulty is not None:
            faulty.disconnected = True
            faulty.waiting_for_100_continue = False
            faulty.message_event.set()
            self._end() if faulty.response_started else self._say(answer)
        elif self._is_answering():
            self._say_later(answer)
        else:
            self._say(answer)

    def _say_later(self, answer: ErrorAnswer) -> None:
        self._last_words = answer
        self._deadline.allow(self._limits.idle_seconds)

    def _say(self, answer: ErrorAnswer) -> None:
        self._last_words = None
        self.transport.write(answer.to_wire(self.server_state.default_headers))
        self._end()

    def _end(self) -> None:
        """Close our side and read on for a moment: closing both at once would reset the connection under the answer."""
        self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline.allow(self._limits.linger_seconds)

    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    # Time

    def pause_writing(self) -> None:
        """Give a client that does not read its answer the idle time to start again."""
        super().pause_writing()
        if self._phase is REQUEST:
            self._deadline.allow(self._limits.idle_seconds)

    def _patience(self) -> float:
        if self._phase is HEAD:
            return self._limits.head_seconds
        has_to_end = self._phase is BODY and not self._body_lasts
        return self._limits.body_seconds if has_to_end else self._limits.idle_seconds

    def _let_body_last(self) -> None:
        """Take the body being read for a stream, which may be slow as long as something comes in the idle time."""
        if self._phase is BODY:
            self._body_lasts = True
            self._deadline.allow(self._patience())

    def _missed_deadline(self) -> None:
        """Act on a missed deadline: 408 to a slow sender, the end for an idle one, more time while it is our turn."""
        self._deadline.allow(self._patience())
        lingering = self._phase is END and self._last_words is None
        if lingering or self.flow.write_paused or self.transport.is_closing():
            self.transport.abort()
        elif self._phase in (HEAD, BODY) and not self.flow.read_paused:
            self._refuse(answers.REQUEST_TIMEOUT)
        elif not self._is_answering():
            self.transport.abort()
