"""Streams of the server over HTTP: in every form, message by message, and how they end."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from server.transcoding.app import Options, Transcoder
from server.transcoding.dispatch import Dispatcher
from tests.unit.transcoding.client import Client
from tests.unit.transcoding.kitchen import SERVICE, message
from tests.unit.transcoding.kitchen_app import NAME, serve

LINES = [("content-type", "application/x-ndjson")]
ONE, TWO = {"name": "a", "tags": []}, {"name": "b", "tags": []}


def book(name: str) -> Any:
    return message("Book")(name=name)


async def watch(_request: Any, _context: Any) -> AsyncIterator[Any]:
    yield book("a")
    yield book("b").SerializeToString()


async def nothing(_request: Any, _context: Any) -> AsyncIterator[Any]:
    return
    yield


async def breaks(_request: Any, context: Any) -> AsyncIterator[Any]:
    yield book("a")
    await context.abort(grpc.StatusCode.DATA_LOSS, "the shelf burns")


@pytest.mark.parametrize(
    ("accept", "content_type", "parts"),
    [
        (None, "application/x-ndjson", (b'{"name":"a","tags":[]}\n', b'{"name":"b","tags":[]}\n', b"")),
        ("*/*", "application/x-ndjson", (b'{"name":"a","tags":[]}\n', b'{"name":"b","tags":[]}\n', b"")),
        (
            "text/event-stream",
            "text/event-stream",
            (b'data: {"name":"a","tags":[]}\n\n', b'data: {"name":"b","tags":[]}\n\n', b""),
        ),
        ("application/json", "application/json", (b'[{"name":"a","tags":[]}', b',{"name":"b","tags":[]}', b"]")),
    ],
)
async def test_a_stream_comes_message_by_message(
    accept: str | None, content_type: str, parts: tuple[bytes, ...]
) -> None:
    headers = [("accept", accept)] if accept else []

    response = await serve(Watch=watch).send("GET", "/v1/books:watch", headers=headers)

    assert (response.status, response.headers["content-type"]) == (200, content_type)
    assert response.parts == parts
    assert response.whole


@pytest.mark.parametrize(
    ("accept", "body"), [("application/x-ndjson", b""), ("text/event-stream", b""), ("application/json", b"[]")]
)
async def test_a_stream_may_be_empty(accept: str, body: bytes) -> None:
    response = await serve(Watch=nothing).send("GET", "/v1/books:watch", headers=[("accept", accept)])

    assert (response.status, response.headers["content-type"], response.body) == (200, accept, body)


@pytest.mark.parametrize(
    ("accept", "begin", "end"),
    [
        ("application/x-ndjson", b'{"name":"a","tags":[]}\n', b"\n"),
        ("text/event-stream", b'data: {"name":"a","tags":[]}\n\nevent: error\ndata: ', b"\n\n"),
        ("application/json", b'[{"name":"a","tags":[]},', b"]"),
    ],
)
async def test_an_error_in_the_middle_is_the_last_element(accept: str, begin: bytes, end: bytes) -> None:
    response = await serve(Watch=breaks).send("GET", "/v1/books:watch", headers=[("accept", accept)])

    assert (response.status, response.whole) == (200, True)
    assert response.body.startswith(begin)
    assert response.body.endswith(end)
    error = response.body.removeprefix(begin).removesuffix(end)
    assert json.loads(error) == {"error": {"code": "DATA_LOSS", "message": "the shelf burns"}}


async def test_an_error_before_the_first_message_is_a_plain_error() -> None:
    async def refuses(_request: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such shelf")
        yield

    response = await serve(Watch=refuses).send("GET", "/v1/books:watch", headers=[("accept", "text/event-stream")])

    assert (response.status, response.headers["content-type"]) == (404, "application/json")
    assert response.json() == {"code": "NOT_FOUND", "message": "no such shelf"}


async def test_a_request_that_does_not_fit_is_a_plain_error() -> None:
    async def reads(request: Any, _context: Any) -> AsyncIterator[Any]:
        request()
        yield book("a")

    response = await serve(Watch=reads).send("GET", "/v1/books:watch?pageSize=x")

    assert (response.status, response.json()["violations"][0]["field"]) == (400, "pageSize")


async def test_an_exception_in_the_middle_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield book("a")
        raise RuntimeError("secret")

    with caplog.at_level(logging.CRITICAL):
        response = await serve(Watch=fails).send("GET", "/v1/books:watch")

    assert json.loads(response.body.splitlines()[1])["error"]["code"] == "INTERNAL"
    assert b"secret" not in response.body


class Delivering:
    """Delivers one message that can be written and one that cannot."""

    async def call(self, request: Any, terms: Any) -> Any:
        raise NotImplementedError

    async def stream(self, route: Any, requests: Any, terms: Any, deliver: Any) -> Any:
        await deliver(book("a"), ())
        unwritable = book("b")
        unwritable.published_at.seconds = 2**62
        await deliver(unwritable, ())


async def test_a_message_that_cannot_be_written_is_the_last_element(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        response = await Client(Transcoder([SERVICE], Delivering())).send("GET", "/v1/books:watch")

    assert (response.status, response.whole) == (200, True)
    assert json.loads(response.body.splitlines()[1])["error"]["code"] == "INTERNAL"


async def test_a_form_that_there_is_not_is_refused() -> None:
    response = await serve(Watch=watch).send("GET", "/v1/books:watch", headers=[("accept", "text/html")])

    assert (response.status, response.json()["code"]) == (406, "NOT_ACCEPTABLE")


async def test_a_stream_takes_http_1_1() -> None:
    response = await serve(Watch=watch).send("GET", "/v1/books:watch", http_version="1.0")

    assert (response.status, response.json()["code"]) == (505, "HTTP_VERSION_NOT_SUPPORTED")


async def test_a_handler_may_write_for_itself() -> None:
    async def writes(_request: Any, context: Any) -> None:
        await context.send_initial_metadata([("etag", "1")])
        await context.write(book("a"))
        with pytest.raises(grpc.aio.UsageError):
            await context.read()

    response = await serve(Watch=writes).send("GET", "/v1/books:watch")

    assert (response.headers["etag"], response.json()) == ("1", ONE)


async def test_a_status_set_at_the_end_counts() -> None:
    async def ends_badly(_request: Any, context: Any) -> AsyncIterator[Any]:
        yield book("a")
        context.set_code(grpc.StatusCode.ABORTED)

    response = await serve(Watch=ends_badly).send("GET", "/v1/books:watch")

    assert json.loads(response.body.splitlines()[1])["error"]["code"] == "ABORTED"


async def test_a_method_nobody_implements_is_said_so() -> None:
    async def unary(_request: Any, _context: Any) -> Any:
        return book("a")

    of_another_kind = grpc.method_handlers_generic_handler(NAME, {"Watch": grpc.unary_unary_rpc_method_handler(unary)})
    for handlers in ([], [of_another_kind]):
        client = Client(Transcoder([SERVICE], Dispatcher(handlers)))
        assert (await client.send("GET", "/v1/books:watch")).status == 501


async def test_raw_bytes_are_joined_and_have_the_first_ones_type() -> None:
    async def downloads(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield message("google.api.HttpBody")(content_type="text/csv", data=b"a,b\n")
        yield message("google.api.HttpBody")(data=b"1,2\n")

    response = await serve(DownloadAll=downloads).send("GET", "/v1/books:download", headers=[("accept", "image/png")])

    assert (response.status, response.headers["content-type"], response.body) == (200, "text/csv", b"a,b\n1,2\n")


async def test_raw_bytes_that_fail_have_no_end() -> None:
    async def fails(_request: Any, context: Any) -> AsyncIterator[Any]:
        yield message("google.api.HttpBody")(data=b"a,b\n")
        await context.abort(grpc.StatusCode.DATA_LOSS, "")

    response = await serve(DownloadAll=fails).send("GET", "/v1/books:download")

    assert (response.status, response.body, response.whole) == (200, b"a,b\n", False)


async def test_no_raw_bytes_at_all_are_an_empty_body() -> None:
    response = await serve(DownloadAll=nothing).send("GET", "/v1/books:download")

    assert (response.status, response.headers["content-type"]) == (200, "application/octet-stream")
    assert (response.body, response.whole) == (b"", True)


# Ends


@pytest.mark.parametrize(("path", "name"), [("/v1/books:watch", "Watch"), ("/v1/books:chat", "Chat")])
async def test_a_client_that_goes_away_cancels_the_stream(path: str, name: str) -> None:
    gone, started = asyncio.Event(), asyncio.Event()
    contexts: list[Any] = []

    async def waits(_requests: Any, context: Any) -> AsyncIterator[Any]:
        context.add_done_callback(contexts.append)
        yield book("a")
        started.set()
        await asyncio.Event().wait()

    method = "GET" if name == "Watch" else "POST"
    call = asyncio.create_task(serve(None, None, **{name: waits}).send(method, path, gone=gone))
    await started.wait()
    gone.set()
    response = await asyncio.wait_for(call, 1)

    assert not response.whole
    assert contexts[0].cancelled()


async def test_a_stream_has_a_deadline_if_one_is_asked_for() -> None:
    left: list[Any] = []

    async def waits(_request: Any, context: Any) -> AsyncIterator[Any]:
        left.append(context.time_remaining())
        yield book("a")
        if left[0] is not None:
            await asyncio.Event().wait()

    await serve(Watch=waits).send("GET", "/v1/books:watch")
    assert left == [None]
    left.clear()
    response = await serve(Watch=waits).send("GET", "/v1/books:watch", headers=[("grpc-timeout", "10m")])

    assert json.loads(response.body.splitlines()[1])["error"]["code"] == "DEADLINE_EXCEEDED"


async def test_the_server_may_bound_streams() -> None:
    left: list[float] = []

    async def notes(_request: Any, context: Any) -> AsyncIterator[Any]:
        left.append(context.time_remaining())
        yield book("a")

    client = serve(options=Options(stream_timeout=60), Watch=notes)
    for asked in ([], [("grpc-timeout", "9H")], [("x-server-timeout", "5")]):
        await client.send("GET", "/v1/books:watch", headers=asked)

    assert [round(seconds) for seconds in left] == [60, 60, 5]
