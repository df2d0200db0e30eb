"""The chain around every handler, on a real grpc.aio server: order, headers once, aborts, streams, cancellation."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from server.errors import Conflict, Error
from server.rpc.access_log import AccessLog
from server.rpc.call import Call, Interceptor, Proceed, current_call
from server.rpc.chain import Chain
from server.rpc.concurrency import ConcurrencyLimit
from server.rpc.error_mapping import map_errors

Context = Any


class Handlers:
    """A service of bytes with a method of each kind, each of which can go wrong."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def echo(self, request: bytes, context: Context) -> bytes:
        current_call().response_headers["x-seen"] = "yes"
        if request == b"conflict":
            raise Conflict("It is already so.")
        if request == b"fault":
            raise KeyError("a secret in an exception")
        if request == b"abort":
            await context.abort(grpc.StatusCode.DATA_LOSS, "lost")
        if request == b"hang":
            self.started.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        return request

    async def count(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        for number in range(3):
            if request == b"conflict" and number == 1:
                raise Conflict("It is already so.")
            yield str(number).encode()

    async def write(self, request: bytes, context: Context) -> None:
        await context.write(b"one")
        await context.write(b"two")

    async def join(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        return b"".join([request async for request in requests])

    async def repeat(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    def generic(self, service: str) -> grpc.GenericRpcHandler:
        methods: dict[str, Any] = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Write": grpc.unary_stream_rpc_method_handler(self.write),
            "Join": grpc.stream_unary_rpc_method_handler(self.join),
            "Repeat": grpc.stream_stream_rpc_method_handler(self.repeat),
        }
        return grpc.method_handlers_generic_handler(service, methods)


@asynccontextmanager
async def _served(
    handlers: Handlers, *, outer: Sequence[Interceptor] = (map_errors,), inner: Sequence[Interceptor] = ()
) -> AsyncIterator[grpc.aio.Channel]:
    chain = Chain(outer=outer, inner=inner, open_services=["open"])
    server = grpc.aio.server(interceptors=[chain])
    server.add_generic_rpc_handlers((handlers.generic("closed"), handlers.generic("open")))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)


class Witness:
    """A link that remembers in what order links saw which calls."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self._name = name
        self._seen = seen

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        self._seen.append(f"{self._name} {call.method}")
        return await proceed(call, request)


async def _echo(channel: grpc.aio.Channel, request: bytes = b"x", method: str = "/closed/Echo") -> Any:
    stub: Any = channel.unary_unary(method)
    call = stub(request)
    return await call, dict(await call.initial_metadata())


async def _failing(channel: grpc.aio.Channel, request: bytes, method: str = "/closed/Echo") -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await _echo(channel, request, method)
    return failure.value


async def test_links_run_outermost_first_and_inner_ones_not_around_open_services() -> None:
    seen: list[str] = []
    outer = [Witness("first", seen), Witness("second", seen)]
    async with _served(Handlers(), outer=outer, inner=[Witness("third", seen)]) as channel:
        await _echo(channel)
        await _echo(channel, method="/open/Echo")
    assert seen == [
        *("first /closed/Echo", "second /closed/Echo", "third /closed/Echo"),
        *("first /open/Echo", "second /open/Echo"),
    ]


async def test_headers_come_with_an_answer() -> None:
    async with _served(Handlers()) as channel:
        response, headers = await _echo(channel)
    assert (response, headers["x-seen"]) == (b"x", "yes")
    assert headers["x-request-id"].startswith("call_")


async def test_headers_come_with_an_error_too() -> None:
    async with _served(Handlers()) as channel:
        error = await _failing(channel, b"conflict")
    headers = dict(error.initial_metadata())
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "It is already so.")
    assert headers["x-seen"] == "yes"
    assert [key for key, _ in error.trailing_metadata()] == ["grpc-status-details-bin"]


async def test_no_text_of_an_exception_leaves_or_is_logged() -> None:
    with capture_logs() as logs:
        async with _served(Handlers()) as channel:
            error = await _failing(channel, b"fault")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert str(dict(error.initial_metadata())["x-request-id"]) in str(error.details())
    assert "secret" not in str(error.details()) + str(error.trailing_metadata()) + str(logs)
    assert [(line["event"], line["fault"]) for line in logs] == [("unexpected_fault", "KeyError")]
    assert logs[0]["where"].startswith("test_chain.py:")


async def test_an_abort_of_a_handler_passes() -> None:
    async with _served(Handlers()) as channel:
        error = await _failing(channel, b"abort")
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "lost")


@pytest.mark.parametrize("method", ["/closed/Nothing", "/nowhere/Echo", "/open/Nothing"])
async def test_an_unknown_method_is_unimplemented_inside_the_chain(method: str) -> None:
    seen: list[str] = []
    async with _served(Handlers(), outer=[Witness("outer", seen), map_errors]) as channel:
        errors = [await _failing(channel, b"", method) for _ in range(2)]
    assert {error.code() for error in errors} == {grpc.StatusCode.UNIMPLEMENTED}
    assert all("x-request-id" in dict(error.initial_metadata()) for error in errors)
    assert seen == [f"outer {method}"] * 2


async def test_streams_go_through_the_chain() -> None:
    seen: list[str] = []
    async with _served(Handlers(), outer=[Witness("outer", seen), map_errors]) as channel:
        count: Any = channel.unary_stream("/closed/Count")
        write: Any = channel.unary_stream("/closed/Write")
        join: Any = channel.stream_unary("/closed/Join")
        repeat: Any = channel.stream_stream("/closed/Repeat")
        calls = [count(b""), write(b""), repeat([b"a", b"b"])]
        answers = [[message async for message in call] for call in calls]
        headers = [dict(await call.initial_metadata()) for call in calls]
        joined = await join([b"a", b"b"])
    assert answers == [[b"0", b"1", b"2"], [b"one", b"two"], [b"a", b"b"]]
    assert joined == b"ab"
    assert all("x-request-id" in each for each in headers)
    assert len(seen) == 4


async def test_a_stream_that_fails_on_its_way_ends_with_the_status() -> None:
    async with _served(Handlers()) as channel:
        count: Any = channel.unary_stream("/closed/Count")
        call = count(b"conflict")
        first = await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call.read()
    assert first == b"0"
    assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_callers_cancellation_reaches_the_handler_and_the_log() -> None:
    handlers = Handlers()
    registry = CollectorRegistry()
    outer: list[Interceptor] = [AccessLog(registry, frozenset({"/closed/Echo"})), map_errors]
    with capture_logs() as logs:
        async with _served(handlers, outer=outer) as channel:
            stub: Any = channel.unary_unary("/closed/Echo")
            call = stub(b"hang")
            await handlers.started.wait()
            call.cancel()
            async with asyncio.timeout(5):
                await handlers.cancelled.wait()
    assert [line["outcome"] for line in logs if line["event"] == "call"] == ["CANCELLED"]
    labels = {"method": "/closed/Echo", "outcome": "CANCELLED"}
    assert registry.get_sample_value("developer_calls_total", labels) == 1


async def test_calls_are_logged_and_counted_by_outcome_but_unknown_methods_are_one() -> None:
    registry = CollectorRegistry()
    outer: list[Interceptor] = [AccessLog(registry, frozenset({"/closed/Echo"})), map_errors]
    with capture_logs() as logs:
        async with _served(Handlers(), outer=outer) as channel:
            await _echo(channel)
            for method in ("/closed/Echo", "/any/1", "/any/2"):
                await _failing(channel, b"conflict", method)
    counted = {
        (sample.labels["method"], sample.labels["outcome"]): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "developer_calls_total"
    }
    assert counted == {
        ("/closed/Echo", "OK"): 1,
        ("/closed/Echo", "ERROR_CODE_CONFLICT"): 1,
        ("unknown", "ERROR_CODE_UNIMPLEMENTED"): 2,
    }
    assert {line["method"] for line in logs} == {"/closed/Echo", "unknown"}
    assert len({line["call_id"] for line in logs}) == 4


def test_a_request_that_reached_no_method_is_logged_and_counted_without_its_path() -> None:
    registry = CollectorRegistry()
    with capture_logs() as logs:
        call_id = AccessLog(registry, frozenset()).refused(405)

    line = {"event": "call", "method": "unknown", "outcome": "METHOD_NOT_ALLOWED", "call_id": call_id}
    assert logs == [{**line, "log_level": "info"}]
    labels = {"method": "unknown", "outcome": "METHOD_NOT_ALLOWED"}
    assert registry.get_sample_value("developer_calls_total", labels) == 1


class RecordingContext:
    """A context that remembers what was done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return (("a", "1"), ("b-bin", b"2"), ("a", "3"))

    async def send_initial_metadata(self, metadata: object) -> None:
        self.done.append("headers")

    async def abort_with_status(self, status: grpc.Status) -> None:
        self.done.append(f"abort {status.code.name}")
        raise grpc.aio.AbortError


async def _handle(context: Any, behaviour: Any, *outer: Interceptor) -> Any:
    async def find(_: object) -> Any:
        return grpc.unary_unary_rpc_method_handler(behaviour)

    chain = Chain(outer=outer, inner=[], open_services=[])
    details: Any = type("Details", (), {"method": "/closed/Echo"})
    handler: Any = await chain.intercept_service(find, details)
    return await handler.unary_unary(b"x", context)


async def test_headers_are_sent_once_and_before_an_abort() -> None:
    async def send_early_and_fail(request: object, context: object) -> None:
        await current_call().send_headers()
        await current_call().send_headers()
        raise Error("no")

    context = RecordingContext()
    with pytest.raises(grpc.aio.AbortError):
        await _handle(context, send_early_and_fail, map_errors)
    assert context.done == ["headers", "abort INTERNAL"]


async def test_cancellation_passes_through_the_error_mapping() -> None:
    async def be_cancelled(request: object, context: object) -> None:
        raise asyncio.CancelledError

    context = RecordingContext()
    with pytest.raises(asyncio.CancelledError):
        await _handle(context, be_cancelled, map_errors)
    assert context.done == []


async def test_a_call_knows_every_value_of_its_metadata() -> None:
    values: list[list[str]] = []

    async def read(request: bytes, context: object) -> bytes:
        values.extend(current_call().header_values(name) for name in ("a", "b-bin", "c"))
        return request

    assert await _handle(RecordingContext(), read) == b"x"
    assert values == [["1", "3"], [], []]


async def test_the_concurrency_limit_refuses_one_too_many_and_forgets_those_that_ended() -> None:
    handlers = Handlers()
    async with _served(handlers, outer=[map_errors, ConcurrencyLimit(1)]) as channel:
        stub: Any = channel.unary_unary("/closed/Echo")
        hanging = stub(b"hang")
        await handlers.started.wait()
        refused = await _failing(channel, b"x")
        hanging.cancel()
        await handlers.cancelled.wait()
        await _failing(channel, b"conflict")
        await _failing(channel, b"fault")
        assert (await _echo(channel))[0] == b"x"
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
