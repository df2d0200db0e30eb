"""Streams over HTTP: of the server in every form, of the client as lines, and how they end."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from server.transcoding.app import Options, Transcoder
from server.transcoding.dispatch import Dispatcher
from server.transcoding.violation import InvalidRequest
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


# Streams of the client


async def imports(requests: Any, _context: Any) -> Any:
    return message("SearchResponse")(books=[request() async for request in requests])


async def import_by_reading(_requests: Any, context: Any) -> Any:
    books = []
    while (request := await context.read()) is not grpc.aio.EOF:
        books.append(request())
    return message("SearchResponse")(books=books)


@pytest.mark.parametrize("handler", [imports, import_by_reading])
@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"a"}\n{"name":"b"}\n',
        b'{"name":"a"}\r\n\r\n  \n{"name":"b"}',
        [b'{"na', b'me":"a"}\n{"name"', b':"b"}\n', b""],
    ],
)
async def test_each_line_is_a_request(handler: Any, body: Any) -> None:
    response = await serve(Import=handler).send("POST", "/v1/books:import", body, LINES)

    assert (response.status, response.json()) == (200, {"books": [ONE, TWO]})


async def test_a_stream_of_requests_may_be_compressed_or_empty() -> None:
    client = serve(Import=imports)
    body = gzip.compress(b'{"name":"a"}\n{"name":"b"}\n')

    compressed = await client.send("POST", "/v1/books:import", body, [*LINES, ("content-encoding", "gzip")])

    assert compressed.json() == {"books": [ONE, TWO]}
    assert (await client.send("POST", "/v1/books:import")).json() == {"books": []}


async def test_a_line_that_does_not_fit_is_invalid() -> None:
    response = await serve(Import=imports).send("POST", "/v1/books:import", b'{"name":"a"}\n{"nam":1}\n', LINES)

    assert (response.status, response.json()["violations"][0]["field"]) == (400, "nam")


async def test_violations_of_the_handler_are_spelled_as_the_last_line_wrote_them() -> None:
    async def refuses(requests: Any, _context: Any) -> Any:
        async for request in requests:
            request()
        raise InvalidRequest([("page_count", "must be more")])

    client = serve(Import=refuses)
    response = await client.send("POST", "/v1/books:import", b'{"pageCount":1}\n', LINES)
    assert response.json()["violations"][0]["field"] == "pageCount"
    response = await client.send("POST", "/v1/books:import", b"", LINES)
    assert response.json()["violations"][0]["field"] == "page_count"


async def test_a_line_has_a_limit_and_a_stream_has_none() -> None:
    client = serve(options=Options(max_body=20), Import=imports)
    line = b'{"name":"a"}\n'

    assert len((await client.send("POST", "/v1/books:import", line * 9, LINES)).json()["books"]) == 9
    for body in (b'{"name":"' + b"a" * 20 + b'"}\n', [b'{"name":"', b"a" * 20]):
        response = await client.send("POST", "/v1/books:import", body, LINES)
        assert (response.status, response.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-protobuf"])
async def test_requests_come_as_lines_and_not_otherwise(content_type: str) -> None:
    response = await serve(Import=imports).send("POST", "/v1/books:import", b"{}", [("content-type", content_type)])

    assert (response.status, response.headers["accept-post"]) == (415, "application/x-ndjson")


async def test_lines_are_no_single_request() -> None:
    assert (await serve().send("POST", "/v1/sinks", b"{}\n", LINES)).status == 415


async def test_the_handler_may_leave_before_the_last_line() -> None:
    async def leaves(_requests: Any, context: Any) -> Any:
        await context.read()
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    response = await serve(Import=leaves).send("POST", "/v1/books:import", [b"{}\n", b"{}\n", b"{}\n"], LINES)

    assert response.status == 429


async def test_a_conversation_goes_both_ways() -> None:
    async def chats(requests: Any, _context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield book(request().name.upper())

    response = await serve(Chat=chats).send("POST", "/v1/books:chat", [b'{"name":"a"}\n', b'{"name":"b"}\n'], LINES)

    assert [json.loads(line)["name"] for line in response.body.splitlines()] == ["A", "B"]


async def test_a_line_too_long_in_the_middle_is_the_last_element() -> None:
    async def chats(requests: Any, _context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield request()

    body = [b'{"name":"a"}\n', b'{"name":"' + b"b" * 30]
    response = await serve(options=Options(max_body=20), Chat=chats).send("POST", "/v1/books:chat", body, LINES)

    assert json.loads(response.body.splitlines()[1])["error"]["code"] == "PAYLOAD_TOO_LARGE"


async def test_the_server_is_told_that_the_body_lasts() -> None:
    told: list[bool] = []
    state = {"let_body_last": lambda: told.append(True)}

    await serve(Import=imports).send("POST", "/v1/books:import", b"", LINES, state=state)
    await serve().send("GET", "/v1/books/a", state=state)

    assert told == [True]


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
