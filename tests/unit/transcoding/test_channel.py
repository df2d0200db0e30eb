"""Calls over a channel: what of the server's answer comes back, and what is said of a server that gives none."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from server.transcoding.binding import Binding, Request
from server.transcoding.calls import Outcome, Terms
from server.transcoding.channel import UNREACHABLE_SENTENCE, ChannelCaller
from server.transcoding.codec.message import Codecs
from server.transcoding.details import DETAILS_KEY
from server.transcoding.errors import INTERNAL_SENTENCE, LATE_SENTENCE
from server.transcoding.router import Route, routes_of
from server.transcoding.violation import Refusal
from tests.unit.transcoding.kitchen import SERVICE, message

CODES = grpc.StatusCode
TERMS = Terms((("x-api-key", "k"),), "ipv4:127.0.0.1:5000", 10.0)
BINDINGS = {route.rpc.name: Binding(route, Codecs()) for route in routes_of(SERVICE)}
ROUTES: dict[str, Route] = {name: binding.route for name, binding in BINDINGS.items()}

Upstream = Callable[..., Awaitable[ChannelCaller]]


class Methods(grpc.GenericRpcHandler):
    """Handlers by the names of the kitchen's methods; each gets and gives bytes or messages of its own making."""

    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: Any) -> Any:
        name = handler_call_details.method.rpartition("/")[2]
        rpc, handler = SERVICE.methods_by_name[name], self._handlers[name]
        kinds = (
            (grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler),
            (grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler),
        )
        make = kinds[rpc.client_streaming][rpc.server_streaming]
        return make(handler, message(rpc.input_type.full_name).FromString, _serialized)


def _serialized(response: Any) -> bytes:
    return response if isinstance(response, bytes) else bytes(response.SerializeToString())


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """Start servers with some handlers; each gives a caller of its own."""
    started: list[Any] = []

    async def start(**handlers: Any) -> ChannelCaller:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Methods(handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        started.extend([channel.close, lambda: server.stop(None)])
        return ChannelCaller(channel)

    yield start
    for end in started:
        await end()


def request(name: str, body: str = "", *captures: str, query: str = "") -> Request:
    return Request(BINDINGS[name], captures, query, body.encode())


def book(title: str) -> Any:
    return message("Book")(title=title)


async def lines(*bodies: str) -> AsyncIterator[Request]:
    for body in bodies:
        yield request("Chat", body)


async def collected(
    caller: ChannelCaller, name: str, requests: Any, terms: Terms = TERMS
) -> tuple[Outcome, list[str], list[Any]]:
    """Run a stream; return its outcome, and the titles and metadata that were delivered."""
    titles: list[str] = []
    metadata: list[Any] = []

    async def deliver(response: Any, initial: Any) -> None:
        titles.append(getattr(response, "title", "") or response.next_page_token)
        metadata.append(initial)

    return await caller.stream(ROUTES[name], requests, terms, deliver), titles, metadata


# Unary calls


async def test_the_response_and_its_initial_metadata_come_back(upstream: Upstream) -> None:
    async def burn(got: Any, context: Any) -> Any:
        await context.send_initial_metadata((("etag", "v1"), ("raw-bin", b"\xff")))
        return book(f"{got.name} {dict(context.invocation_metadata())['x-api-key']}")

    outcome = await (await upstream(BurnBook=burn)).call(request("BurnBook", "{}", "a"), TERMS)

    assert outcome == Outcome(CODES.OK, "", None, (("etag", "v1"), ("raw-bin", b"\xff")), book("a k"))


async def test_a_request_that_does_not_fit_never_reaches_the_server(upstream: Upstream) -> None:
    caller = await upstream()

    outcome = await caller.call(request("PutSink", '{"a_bool": 3}'), TERMS)

    assert outcome.code is CODES.INVALID_ARGUMENT
    bad = BadRequest()
    assert Status.FromString(outcome.details or b"").details[0].Unpack(bad)
    assert [violation.field for violation in bad.field_violations] == ["a_bool"]


async def test_a_refused_request_is_raised(upstream: Upstream) -> None:
    caller = await upstream()
    refused = Request(BINDINGS["PutSink"], (), "", b"", refusal=Refusal(413, "X", "too large"))

    with pytest.raises(Refusal):
        await caller.call(refused, TERMS)
    with pytest.raises(Refusal):
        await collected(caller, "Watch", refused)


@pytest.mark.parametrize(
    ("code", "with_details", "message_out"),
    [
        (CODES.NOT_FOUND, False, "its own words"),
        (CODES.UNAVAILABLE, False, "its own words"),
        (CODES.DEADLINE_EXCEEDED, False, "its own words"),
        (CODES.RESOURCE_EXHAUSTED, False, "its own words"),
        (CODES.CANCELLED, False, "its own words"),
        (CODES.UNKNOWN, False, INTERNAL_SENTENCE),
        (CODES.INTERNAL, False, INTERNAL_SENTENCE),
        (CODES.UNKNOWN, True, "its own words"),
        (CODES.INTERNAL, True, "its own words"),
    ],
    ids=str,
)
async def test_a_status_comes_through(
    upstream: Upstream, code: grpc.StatusCode, with_details: bool, message_out: str
) -> None:
    trailing = ((DETAILS_KEY, b"details"),) if with_details else ()

    async def put(_got: Any, context: Any) -> None:
        await context.send_initial_metadata((("x-request-id", "r"),))
        await context.abort(code, "its own words", trailing)

    async def watch(got: Any, context: Any) -> AsyncIterator[Any]:
        await put(got, context)
        yield

    caller = await upstream(PutSink=put, Watch=watch)
    expected = Outcome(code, message_out, b"details" if with_details else None, (("x-request-id", "r"),), None)

    assert await caller.call(request("PutSink", "{}"), TERMS) == expected
    assert await collected(caller, "Watch", request("Watch")) == (expected, [], [])


async def test_the_text_of_an_exception_stays_with_the_server(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    async def put(_got: Any, _context: Any) -> None:
        raise ValueError("secret")

    with caplog.at_level(logging.CRITICAL):
        outcome = await (await upstream(PutSink=put)).call(request("PutSink", "{}"), TERMS)

    assert (outcome.code, outcome.message) == (CODES.UNKNOWN, INTERNAL_SENTENCE)


async def test_a_server_that_does_not_answer_in_time_is_late(upstream: Upstream) -> None:
    cancelled = asyncio.Event()

    async def put(_got: Any, _context: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    outcome = await (await upstream(PutSink=put)).call(request("PutSink", "{}"), TERMS._replace(timeout=0.05))

    assert (outcome.code, outcome.message) == (CODES.DEADLINE_EXCEEDED, LATE_SENTENCE)
    await cancelled.wait()


async def test_the_server_sees_the_deadline(upstream: Upstream) -> None:
    async def burn(_got: Any, context: Any) -> Any:
        return book("soon" if 0 < context.time_remaining() < 11 else "late")

    outcome = await (await upstream(BurnBook=burn)).call(request("BurnBook", "{}", "a"), TERMS)

    assert outcome.response.title == "soon"


async def test_where_nobody_listens_no_address_is_told() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        outcome = await ChannelCaller(channel).call(request("PutSink", "{}"), TERMS)

    assert outcome == Outcome(CODES.UNAVAILABLE, UNREACHABLE_SENTENCE, None, (), None)


@pytest.mark.parametrize("code", [CODES.UNKNOWN, CODES.INTERNAL], ids=str)
async def test_details_that_are_empty_are_none(upstream: Upstream, code: grpc.StatusCode) -> None:
    async def put(_got: Any, context: Any) -> None:
        await context.abort(code, "secret", ((DETAILS_KEY, b""),))

    outcome = await (await upstream(PutSink=put)).call(request("PutSink", "{}"), TERMS)

    assert (outcome.message, outcome.details) == (INTERNAL_SENTENCE, None)


@pytest.mark.parametrize(
    ("said", "is_told"),
    [
        ("the shelf is closed", True),
        ("the ship of the librarian is late", True),
        ("failed to connect to all addresses; last error: UNKNOWN: ipv4:10.1.2.3:50051: refused", False),
        ("ipv6:%5B::1%5D:50051: recvmsg:Operation timed out", False),
        ("unix:/run/secret.sock: No such file", False),
        ("Socket closed", False),
        ("GOAWAY received; Error code: 0; Debug Text: max_age", False),
        ("Received http2 header with status: 503", False),
        ("Received RST_STREAM with error code 7", False),
        ("DNS resolution failed for inner.example: C-ares status is not ARES_SUCCESS", False),
        ("upstream connect error or disconnect/reset before headers", False),
        ("sendmsg: Broken pipe (32)", False),
        ("Stream removed (of nothing)", False),
    ],
)
async def test_what_is_said_of_connections_is_not_told_even_while_there_is_one(
    upstream: Upstream, said: str, is_told: bool
) -> None:
    async def put(_got: Any, context: Any) -> None:
        await context.abort(CODES.UNAVAILABLE, said)

    outcome = await (await upstream(PutSink=put)).call(request("PutSink", "{}"), TERMS)

    assert (outcome.code, outcome.message) == (CODES.UNAVAILABLE, said if is_told else UNREACHABLE_SENTENCE)


async def test_what_the_server_details_is_told_whatever_its_words(upstream: Upstream) -> None:
    async def put(_got: Any, context: Any) -> None:
        await context.abort(CODES.UNAVAILABLE, "no connection to the printer", ((DETAILS_KEY, b"details"),))

    outcome = await (await upstream(PutSink=put)).call(request("PutSink", "{}"), TERMS)

    assert outcome.message == "no connection to the printer"


async def test_a_connection_that_breaks_under_a_call_is_unavailable_too() -> None:
    called = asyncio.Event()

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\0\4\0\0\0\0\0")  # an empty SETTINGS frame, which makes the connection ready (RFC 9113)
        while b"PutSink" not in await reader.read(4096):
            pass
        called.set()
        writer.transport.abort()

    listener = await asyncio.start_server(break_off, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        outcome = await ChannelCaller(channel).call(request("PutSink", "{}"), TERMS)

    assert called.is_set()
    assert (outcome.code, outcome.message) == (CODES.UNAVAILABLE, UNREACHABLE_SENTENCE)


@pytest.mark.parametrize("octets", [b"\xff", b"x" * 5_000_000], ids=["garbage", "huge"])
async def test_a_response_that_cannot_be_read_is_the_servers_fault(
    upstream: Upstream, caplog: pytest.LogCaptureFixture, octets: bytes
) -> None:
    async def put(_got: Any, _context: Any) -> Any:
        return octets

    async def watch(_got: Any, _context: Any) -> AsyncIterator[Any]:
        yield octets

    caller = await upstream(PutSink=put, Watch=watch)

    with caplog.at_level(logging.CRITICAL):
        for outcome in (
            await caller.call(request("PutSink", "{}"), TERMS),
            (await collected(caller, "Watch", request("Watch")))[0],
        ):
            assert outcome[:3] == (CODES.INTERNAL, INTERNAL_SENTENCE, None)


async def test_cancelling_a_call_cancels_the_rpc(upstream: Upstream) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def put(_got: Any, _context: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def watch(got: Any, context: Any) -> AsyncIterator[Any]:
        yield book("first")
        await put(got, context)

    caller = await upstream(PutSink=put, Watch=watch)
    for work in (caller.call(request("PutSink", "{}"), TERMS), collected(caller, "Watch", request("Watch"))):
        begun.clear()
        ended.clear()
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()


# Streams


async def test_responses_are_delivered_one_by_one_with_the_metadata(upstream: Upstream) -> None:
    async def watch(got: Any, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("etag", "v1"),))
        yield book(got.query)
        yield book("second")

    outcome, titles, metadata = await collected(
        await upstream(Watch=watch), "Watch", request("Watch", query="query=first")
    )

    assert outcome == Outcome(CODES.OK, "", None, (("etag", "v1"),), None)
    assert titles == ["first", "second"]
    assert metadata == [(("etag", "v1"),)] * 2


async def test_a_stream_may_be_empty(upstream: Upstream) -> None:
    async def watch(_got: Any, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("etag", "v1"),))
        nothing: list[str] = []
        for title in nothing:
            yield book(title)

    outcome, titles, _ = await collected(await upstream(Watch=watch), "Watch", request("Watch"))

    assert (outcome.code, outcome.initial_metadata, titles) == (CODES.OK, (("etag", "v1"),), [])


async def test_an_error_after_some_responses_is_the_outcome(upstream: Upstream) -> None:
    async def watch(_got: Any, context: Any) -> AsyncIterator[Any]:
        yield book("first")
        await context.abort(CODES.DATA_LOSS, "torn", ((DETAILS_KEY, b"d"),))

    outcome, titles, _ = await collected(await upstream(Watch=watch), "Watch", request("Watch"))

    assert (outcome.code, outcome.message, outcome.details, titles) == (CODES.DATA_LOSS, "torn", b"d", ["first"])


async def test_an_invalid_request_begins_no_stream(upstream: Upstream) -> None:
    outcome, titles, _ = await collected(await upstream(), "Watch", request("Watch", query="nonsense=1"))

    assert (outcome.code, titles) == (CODES.INVALID_ARGUMENT, [])


async def test_the_next_response_is_read_when_the_one_before_was_delivered(upstream: Upstream) -> None:
    written = 0

    async def watch(_got: Any, context: Any) -> None:
        nonlocal written
        for _ in range(200):
            await context.write(book("x" * 100_000))
            written += 1

    caller = await upstream(Watch=watch)
    first, go_on = asyncio.Event(), asyncio.Event()
    delivered = 0

    async def deliver(_response: Any, _metadata: Any) -> None:
        nonlocal delivered
        first.set()
        await go_on.wait()
        delivered += 1

    task = asyncio.create_task(caller.stream(ROUTES["Watch"], request("Watch"), TERMS, deliver))
    await first.wait()
    for _ in range(1000):  # the server may write as much as it can
        await asyncio.sleep(0)
    assert written < 100
    go_on.set()

    assert (await task).code is CODES.OK
    assert (written, delivered) == (200, 200)


async def test_requests_go_out_as_they_come_and_answers_come_back_between_them(upstream: Upstream) -> None:
    async def chat(requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        async for got in requests:
            yield book(f"re: {got.title}")
        yield book("the end")

    heard: asyncio.Queue[str] = asyncio.Queue()

    async def questions() -> AsyncIterator[Request]:
        yield request("Chat", '{"title": "a"}')
        assert await heard.get() == "re: a"
        yield request("Chat", '{"title": "b"}')
        assert await heard.get() == "re: b"

    async def deliver(response: Any, _metadata: Any) -> None:
        heard.put_nowait(response.title)

    outcome = await (await upstream(Chat=chat)).stream(ROUTES["Chat"], questions(), TERMS, deliver)

    assert (outcome.code, heard.get_nowait()) == (CODES.OK, "the end")


async def test_a_client_stream_gets_one_response(upstream: Upstream) -> None:
    async def read(requests: AsyncIterator[Any], _context: Any) -> Any:
        return message("SearchResponse")(next_page_token=" ".join([got.title async for got in requests]))

    outcome, titles, _ = await collected(
        await upstream(Import=read), "Import", lines('{"title": "a"}', '{"title": "b"}')
    )

    assert (outcome.code, titles) == (CODES.OK, ["a b"])


@pytest.mark.parametrize("count", [0, 2])
async def test_a_client_stream_without_exactly_one_response_is_the_servers_fault(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    async def read(_requests: Any, _context: Any) -> AsyncIterator[Any]:
        for _ in range(count):
            yield message("SearchResponse")()

    monkeypatch.setattr(grpc, "stream_unary_rpc_method_handler", grpc.stream_stream_rpc_method_handler)

    with caplog.at_level(logging.CRITICAL):
        outcome, _, _ = await collected(await upstream(Import=read), "Import", lines())

    assert (outcome.code, outcome.message) == (CODES.INTERNAL, INTERNAL_SENTENCE)


async def test_a_client_stream_that_is_answered_again_and_again_is_cancelled(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = asyncio.Event()

    async def read(_requests: Any, context: Any) -> None:
        try:
            while True:
                await context.write(message("SearchResponse")(next_page_token="again"))
        finally:
            ended.set()

    monkeypatch.setattr(grpc, "stream_unary_rpc_method_handler", grpc.stream_stream_rpc_method_handler)

    with caplog.at_level(logging.CRITICAL):
        outcome, titles, _ = await collected(await upstream(Import=read), "Import", lines())

    assert (outcome.code, outcome.message, titles) == (CODES.INTERNAL, INTERNAL_SENTENCE, ["again"])
    await ended.wait()


@pytest.mark.parametrize("fault", [ValueError("no such time"), RecursionError("too deep")], ids=repr)
async def test_an_answer_that_cannot_be_passed_on_cancels_the_rpc(upstream: Upstream, fault: Exception) -> None:
    ended, asked_no_more = asyncio.Event(), asyncio.Event()

    async def chat(_requests: Any, context: Any) -> None:
        try:
            await context.write(book("first"))
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def endless() -> AsyncIterator[Request]:
        try:
            yield request("Chat", "{}")
            await asyncio.Event().wait()
        finally:
            asked_no_more.set()

    async def deliver(_response: Any, _metadata: Any) -> None:
        raise fault

    caller = await upstream(Chat=chat)
    before = asyncio.all_tasks()
    with pytest.raises(type(fault), match=str(fault)):
        await caller.stream(ROUTES["Chat"], endless(), TERMS, deliver)

    assert asked_no_more.is_set()
    await ended.wait()
    assert not [task for task in asyncio.all_tasks() - before if "_write" in repr(task.get_coro())]


@pytest.mark.parametrize("code", [CODES.OK, CODES.NOT_FOUND])
async def test_a_server_that_has_heard_enough_has_the_last_word(upstream: Upstream, code: grpc.StatusCode) -> None:
    async def chat(requests: Any, context: Any) -> AsyncIterator[Any]:
        yield book((await anext(aiter(requests))).title)
        if code is not CODES.OK:
            await context.abort(code, "enough")

    ended = asyncio.Event()

    async def endless() -> AsyncIterator[Request]:
        try:
            yield request("Chat", '{"title": "a"}')
            await asyncio.Event().wait()
        finally:
            ended.set()

    outcome, titles, _ = await collected(await upstream(Chat=chat), "Chat", endless())

    assert (outcome.code, titles) == (code, ["a"])
    assert ended.is_set()


async def test_writing_to_a_server_that_has_ended_ends_too(upstream: Upstream) -> None:
    async def chat(_requests: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(CODES.PERMISSION_DENIED, "not you")
        yield

    async def restless() -> AsyncIterator[Request]:
        while True:
            yield request("Chat", '{"title": "again"}')

    outcome, _, _ = await collected(await upstream(Chat=chat), "Chat", restless())

    assert (outcome.code, outcome.message) == (CODES.PERMISSION_DENIED, "not you")


async def test_a_request_that_does_not_fit_cancels_the_stream(upstream: Upstream) -> None:
    cancelled = asyncio.Event()

    async def chat(requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        try:
            async for got in requests:
                yield book(got.title)
        finally:
            cancelled.set()

    outcome, _, _ = await collected(await upstream(Chat=chat), "Chat", lines('{"title": "a"}', '{"titel": "b"}'))

    assert (outcome.code, b"titel" in (outcome.details or b"")) == (CODES.INVALID_ARGUMENT, True)
    await cancelled.wait()


async def test_a_refusal_between_the_requests_is_raised(upstream: Upstream) -> None:
    async def chat(requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        async for got in requests:
            yield book(got.title)

    async def too_many() -> AsyncIterator[Request]:
        yield request("Chat", '{"title": "a"}')
        raise Refusal(413, "PAYLOAD_TOO_LARGE", "too much")

    with pytest.raises(Refusal, match="too much"):
        await collected(await upstream(Chat=chat), "Chat", too_many())


async def test_cancelling_stops_a_stream_that_waits_for_requests(upstream: Upstream) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def chat(requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        begun.set()
        try:
            async for got in requests:
                yield book(got.title)
        finally:
            ended.set()

    async def endless() -> AsyncIterator[Request]:
        await asyncio.Event().wait()
        yield request("Chat", "{}")

    task = asyncio.create_task(collected(await upstream(Chat=chat), "Chat", endless()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended.wait()


async def test_closing_the_channel_cancels_what_runs(upstream: Upstream) -> None:
    begun = asyncio.Event()

    async def watch(_got: Any, _context: Any) -> AsyncIterator[Any]:
        begun.set()
        await asyncio.Event().wait()
        yield

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Methods({"Watch": watch}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    task = asyncio.create_task(collected(ChannelCaller(channel), "Watch", request("Watch")))
    await begun.wait()

    await channel.close()

    with pytest.raises(asyncio.CancelledError):
        await task
    await server.stop(None)


async def test_a_method_is_looked_up_once_per_route(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    async def burn(_got: Any, _context: Any) -> Any:
        return book("ash")

    caller = await upstream(BurnBook=burn)
    made: list[str] = []
    channel: Any = caller._channel
    really = channel.unary_unary

    def unary_unary(path: str, **serializers: Any) -> Any:
        made.append(path)
        return really(path, **serializers)

    monkeypatch.setattr(channel, "unary_unary", unary_unary)

    for _ in range(3):
        await caller.call(request("BurnBook", "{}", "a"), TERMS)

    assert made == ["/kitchen.v1.Kitchen/BurnBook"]
