"""Streams of the client: lines or raw bytes, each a request of its own, and what is wrong with them."""

import asyncio
import gzip
import json
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


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"name":"a"}\n{"nam":1}\n', [], 400),
        (b'{"name":"' + b"a" * 60 + b'"}\n', [], 413),
        (b"{}\n", [("content-encoding", "gzip")], 400),
    ],
)
@pytest.mark.parametrize("lazily", [True, False])
async def test_what_is_wrong_with_a_line_is_told_whatever_the_handler_makes_of_it(
    body: bytes, headers: list[tuple[str, str]], status: int, lazily: bool
) -> None:
    caught: list[Exception] = []

    async def catches(requests: Any, context: Any) -> Any:
        try:
            return message("SearchResponse")(books=[each() if lazily else each async for each in requests])
        except Exception as fault:
            caught.append(fault)
            await context.abort(grpc.StatusCode.INTERNAL, "caught")

    parse = None if lazily else message("Book").FromString
    options = Options(max_body=60, bad_request=LookupError)
    generic = grpc.method_handlers_generic_handler(
        NAME, {"Import": grpc.stream_unary_rpc_method_handler(catches, request_deserializer=parse)}
    )
    client = Client(Transcoder([SERVICE], Dispatcher([generic], (), options), options))

    response = await client.send("POST", "/v1/books:import", body, LINES + headers)

    assert response.status == status
    assert isinstance(caught[0], LookupError) == lazily


async def test_a_refused_line_passes_through_a_handler_that_gets_messages() -> None:
    async def passes(requests: Any, _context: Any) -> Any:
        return message("SearchResponse")(books=[each async for each in requests])

    parsing: Any = grpc.stream_unary_rpc_method_handler(passes, request_deserializer=message("Book").FromString)
    generic = grpc.method_handlers_generic_handler(NAME, {"Import": parsing})
    client = Client(Transcoder([SERVICE], Dispatcher([generic]), Options(max_body=20)))

    response = await client.send("POST", "/v1/books:import", b"a" * 30, LINES)

    assert (response.status, response.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_stream_of_raw_bytes_comes_as_it_is() -> None:
    async def uploads(requests: Any, _context: Any) -> Any:
        pieces = [request() async for request in requests]
        return message("Book")(title=pieces[0].content_type, tags=[piece.data.decode() for piece in pieces])

    client = serve(UploadAll=uploads)
    response = await client.send("POST", "/v1/books:upload", [b"a\n\n", b"b", b""], [("content-type", "text/csv")])

    assert response.json() == {"title": "text/csv", "tags": ["a\n\n", "b"]}


async def test_a_refused_stream_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    state = {"let_body_last": lambda: pytest.fail("a refused body does not last")}
    headers = [("content-type", "text/plain")]

    response = await serve(Import=imports).send("POST", "/v1/books:import", [b"a", b"b", b"c"], headers, state=state)

    assert response.status == 415
    assert asyncio.all_tasks() == before


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


async def test_a_stream_of_requests_has_the_deadline_that_is_asked_for() -> None:
    async def waits(_requests: Any, _context: Any) -> Any:
        await asyncio.Event().wait()

    client = serve(Import=waits)
    response = await client.send("POST", "/v1/books:import", b"{}\n", [*LINES, ("grpc-timeout", "90m")])

    assert (response.status, response.json()["code"]) == (504, "DEADLINE_EXCEEDED")
