"""Handlers behind interceptors, called in process: what they get, and how their calls end."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

from server.transcoding.app import Options, Transcoder
from server.transcoding.details import DETAILS_KEY
from server.transcoding.dispatch import Dispatcher
from tests.unit.transcoding.client import Client
from tests.unit.transcoding.kitchen import SERVICE, message
from tests.unit.transcoding.kitchen_app import JSON, NAME, get_book, serve


async def test_a_method_nobody_implements_is_said_so() -> None:
    response = await serve().send("DELETE", "/v1/books/a")

    assert (response.status, response.json()["code"]) == (501, "UNIMPLEMENTED")


async def test_an_abort_is_the_answer_even_when_its_exception_is_swallowed() -> None:
    async def handler(request: Any, context: Any) -> Any:
        with pytest.raises(grpc.aio.AbortError):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such book")
        return await get_book(request, context)

    response = await serve(GetBook=handler).send("GET", "/v1/books/a")

    assert (response.status, response.json()) == (404, {"code": "NOT_FOUND", "message": "no such book"})


async def test_a_status_set_without_abort_counts_too() -> None:
    async def handler(request: Any, context: Any) -> Any:
        context.set_code(grpc.StatusCode.PERMISSION_DENIED)
        context.set_details("not yours")
        return await get_book(request, context)

    assert (await serve(GetBook=handler).send("GET", "/v1/books/a")).status == 403


async def test_violations_of_the_handler_are_spelled_as_the_client_wrote_them() -> None:
    async def handler(request: Any, context: Any) -> Any:
        request()
        status = Status(code=3, message="m")
        violations = [BadRequest.FieldViolation(field=field) for field in ("a_string", "an_int32", "nums[0]")]
        status.details.add().Pack(BadRequest(field_violations=violations))
        context.set_trailing_metadata([("x", "replaced")])
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "m", ((DETAILS_KEY, status.SerializeToString()),))

    response = await serve(PutSink=handler).send("POST", "/v1/sinks", '{"a_string": "x"}', JSON)

    assert [violation["field"] for violation in response.json()["violations"]] == ["a_string", "anInt32", "nums[0]"]


async def test_the_application_chooses_the_exception_of_a_bad_request() -> None:
    async def handler(request: Any, context: Any) -> Any:
        try:
            request()
        except LookupError as fault:
            await context.abort(grpc.StatusCode.DATA_LOSS, str(fault))

    options = Options(bad_request=lambda violations: LookupError(violations[0][0]))

    response = await serve(options=options, PutSink=handler).send("POST", "/v1/sinks", "{")

    assert (response.status, response.json()["message"]) == (500, "body")


async def test_with_a_deserializer_the_handler_gets_the_message() -> None:
    async def handler(request: Any, _context: Any) -> Any:
        return message("Book")(name=request.name)

    kind = message("GetBookRequest")
    registered = grpc.unary_unary_rpc_method_handler(handler, kind.FromString, kind.SerializeToString)
    generic = grpc.method_handlers_generic_handler(NAME, {"GetBook": registered})
    client = Client(Transcoder([SERVICE], Dispatcher([generic])))

    assert (await client.send("GET", "/v1/books/a")).json()["name"] == "a"
    assert (await client.send("GET", "/v1/books/%zz")).status == 400


async def test_a_plain_function_will_do() -> None:
    def handler(request: Any, _context: Any) -> Any:
        return message("Book")(name=request().name)

    def watch(_request: Any, _context: Any) -> Any:
        yield message("Book")(name="a")

    client = serve(GetBook=handler, Watch=watch)

    assert (await client.send("GET", "/v1/books/a")).json()["name"] == "a"
    assert (await client.send("GET", "/v1/books:watch")).json()["name"] == "a"


async def test_an_unexpected_exception_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_request: Any, context: Any) -> Any:
        context.set_trailing_metadata([(DETAILS_KEY, b"leak")])
        raise RuntimeError("secret")

    async def nothing(_request: Any, _context: Any) -> Any:
        return None

    async def wrong(_request: Any, _context: Any) -> Any:
        return b"\xff"

    with caplog.at_level(logging.CRITICAL):
        for broken in (handler, nothing, wrong):
            response = await serve(GetBook=broken).send("GET", "/v1/books/a")
            assert response.status == 500
            assert response.json() == {"code": "INTERNAL", "message": "The server failed to handle the request."}


@dataclass(frozen=True)
class Ended(grpc.Status):
    """A status object, as applications define them."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: Any


class Note(grpc.aio.ServerInterceptor):
    """Notes the calls that pass, and that they pass in order."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self._notes.append(f"{self._name} {handler_call_details.method}")
        handler = await continuation(handler_call_details)
        self._notes.append(f"{self._name} {'none' if handler is None else 'found'}")
        return handler


class Deny(grpc.aio.ServerInterceptor):
    """Refuses every call before its handler, without looking at the request."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        await continuation(handler_call_details)

        async def deny(_request: Any, context: Any) -> None:
            await context.send_initial_metadata([("www-authenticate", "Bearer")])
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

        return grpc.unary_unary_rpc_method_handler(deny)


async def test_interceptors_run_outermost_first_and_see_unknown_methods() -> None:
    notes: list[str] = []

    await serve([Note("outer", notes), Note("inner", notes)]).send("DELETE", "/v1/books/a")

    path = f"/{NAME}/DeleteBook"
    assert notes == [f"outer {path}", f"inner {path}", "inner none", "outer none"]


async def test_an_interceptor_answers_before_the_body_is_parsed() -> None:
    response = await serve([Deny()]).send("POST", "/v1/sinks", "not JSON")

    assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.json() == {"code": "UNAUTHENTICATED", "message": "who are you?"}


async def test_a_client_that_goes_away_cancels_the_call() -> None:
    gone, started = asyncio.Event(), asyncio.Event()
    contexts: list[Any] = []

    async def handler(_request: Any, context: Any) -> Any:
        context.add_done_callback(contexts.append)
        started.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(serve(GetBook=handler).send("GET", "/v1/books/a", gone=gone))
    await started.wait()
    gone.set()
    response = await asyncio.wait_for(call, 1)

    assert response.status == 0
    assert contexts[0].cancelled()
    assert contexts[0].done()


async def test_cancelling_the_request_cancels_the_handler() -> None:
    started = asyncio.Event()
    contexts: list[Any] = []

    async def handler(_request: Any, context: Any) -> Any:
        contexts.append(context)
        started.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(serve(GetBook=handler).send("GET", "/v1/books/a"))
    await started.wait()
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert contexts[0].cancelled()


async def test_a_call_has_a_deadline() -> None:
    left: list[float] = []

    async def handler(_request: Any, context: Any) -> Any:
        left.append(context.time_remaining())
        await asyncio.Event().wait()

    response = await serve(options=Options(timeout=0.01), GetBook=handler).send("GET", "/v1/books/a")

    assert (response.status, response.json()["code"]) == (504, "DEADLINE_EXCEEDED")
    assert 0 < left[0] < 0.011


async def test_a_timeout_of_the_handlers_own_is_not_the_deadline() -> None:
    async def handler(_request: Any, _context: Any) -> Any:
        raise TimeoutError

    logging.getLogger("server.transcoding.dispatch").disabled = True
    try:
        assert (await serve(GetBook=handler).send("GET", "/v1/books/a")).status == 500
    finally:
        logging.getLogger("server.transcoding.dispatch").disabled = False


async def test_the_context_is_what_handlers_expect() -> None:
    done: list[Any] = []

    async def handler(request: Any, context: Any) -> Any:
        assert grpc.aio.ServicerContext in type(context).__mro__
        assert context.auth_context() == {}
        assert context.peer_identities() is None
        assert context.peer_identity_key() is None
        assert context.code() is None
        assert context.details() == ""
        assert context.trailing_metadata() == ()
        assert not context.done()
        assert not context.cancelled()
        context.set_compression(grpc.Compression.Gzip)
        context.disable_next_message_compression()
        with pytest.raises(ValueError):
            await context.abort(grpc.StatusCode.OK)
        for stream in (context.read(), context.write(None)):
            with pytest.raises(grpc.aio.UsageError):
                await stream
        context.add_done_callback(done.append)
        return await get_book(request, context)

    assert (await serve(GetBook=handler).send("GET", "/v1/books/a")).status == 200
    assert done[0].done()
    assert not done[0].cancelled()
    done[0].add_done_callback(done.append)
    assert len(done) == 2


async def test_a_status_object_ends_the_call_with_all_it_carries() -> None:
    async def handler(_request: Any, context: Any) -> Any:
        try:
            await context.abort_with_status(Ended(grpc.StatusCode.ABORTED, "m", (("x", "y"),)))
        finally:
            assert context.trailing_metadata() == (("x", "y"),)
            with pytest.raises(grpc.aio.UsageError):
                await context.abort(grpc.StatusCode.ABORTED)

    assert (await serve(GetBook=handler).send("GET", "/v1/books/a")).json() == {"code": "ABORTED", "message": "m"}
