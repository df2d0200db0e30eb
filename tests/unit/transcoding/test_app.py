"""The whole transcoder over HTTP, in process, with a kitchen service behind it."""

import asyncio
import gzip
import logging
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.transcoding.app import Options, Transcoder
from server.transcoding.dispatch import Dispatcher
from tests.unit.transcoding.client import Client
from tests.unit.transcoding.kitchen import SERVICE, message
from tests.unit.transcoding.kitchen_app import NAME, echo_sink, get_book, serve


async def test_a_get_is_answered() -> None:
    response = await serve().send("GET", "/v1/books/moby%20dick")

    assert response.status == 200
    assert response.headers == {"content-type": "application/json", "content-length": str(len(response.body))}
    assert response.json() == {"name": "moby dick", "title": "t", "tags": ["x"]}


async def test_a_response_in_bytes_is_read_by_the_methods_type() -> None:
    assert (await serve().send("GET", "/v1/books")).json() == {"books": [{"name": "a", "tags": []}]}


async def test_a_response_body_is_one_field_of_the_response() -> None:
    assert (await serve().send("GET", "/v1/books:titles")).json() == [{"name": "a", "tags": []}]


async def test_a_head_is_a_get_without_its_body() -> None:
    got, head = [await serve().send(method, "/v1/books/a") for method in ("GET", "HEAD")]

    assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")


async def test_options_names_the_methods() -> None:
    response = await serve().send("OPTIONS", "/v1/books/a")

    assert (response.status, response.body) == (204, b"")
    assert response.headers == {"allow": "DELETE, GET, HEAD, OPTIONS, PATCH"}


async def test_a_wrong_method_is_told_the_right_ones() -> None:
    response = await serve(options=Options(codes={"METHOD_NOT_ALLOWED": "E_METHOD"})).send("PUT", "/v1/books")

    assert response.status == 405
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
    assert response.json() == {"code": "E_METHOD", "message": "The path does not have this method."}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v2", [], 404),
        ("PUT", "/v1/books", [], 405),
        ("GET", "/v1/books", [("accept", "image/png")], 406),
        ("GET", "/v1/books", [("x-server-timeout", "soon")], 400),
    ],
)
async def test_who_wants_to_know_is_told_of_requests_that_reach_no_rpc(
    method: str, path: str, headers: list[tuple[str, str]], status: int
) -> None:
    told: list[int] = []
    options = Options(on_refused=_noting(told))

    response = await serve(options=options).send(method, path, headers=headers)

    assert (response.status, response.headers["x-told"], told) == (status, "yes", [status])


async def test_nobody_is_told_of_other_requests() -> None:
    told: list[int] = []
    service = serve(options=Options(on_refused=_noting(told)))

    for method in ("GET", "HEAD", "OPTIONS"):
        await service.send(method, "/v1/books")

    assert told == []


async def test_nobody_is_told_of_a_body_that_was_refused_where_the_rpc_reads_it() -> None:
    told: list[int] = []
    options = Options(max_body=1, on_refused=_noting(told))
    method: Any = grpc.unary_unary_rpc_method_handler(echo_sink, request_deserializer=message("Sink").FromString)
    handlers = grpc.method_handlers_generic_handler(NAME, {"PutSink": method})
    client = Client(Transcoder([SERVICE], Dispatcher([handlers], (), options), options))

    assert (await client.send("POST", "/v1/sinks", b"{}")).status == 413
    assert told == []


def _noting(told: list[int]) -> Callable[[int], list[tuple[bytes, bytes]]]:
    def note(status: int) -> list[tuple[bytes, bytes]]:
        told.append(status)
        return [(b"x-told", b"yes")]

    return note


async def test_an_unknown_path_is_not_found() -> None:
    for method in ("GET", "OPTIONS"):
        response = await serve().send(method, "/v2")
        assert (response.status, response.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/x+json",
        None,
    ],
)
async def test_json_is_taken_under_its_names(content_type: str | None) -> None:
    headers = [("content-type", content_type)] if content_type else []

    assert (await serve().send("POST", "/v1/sinks", "{}", headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("content-type", "text/plain")],
        [("content-type", "application/x-www-form-urlencoded")],
        [("content-type", "application/json; charset=latin-1")],
        [("content-type", "json")],
    ],
)
async def test_another_media_type_is_refused(headers: list[tuple[str, str]]) -> None:
    response = await serve().send("POST", "/v1/sinks", "{}", headers)

    assert (response.status, response.headers["accept-post"]) == (415, "application/json, application/x-protobuf")
    assert response.json() == {
        "code": "UNSUPPORTED_MEDIA_TYPE",
        "message": "The body must be application/json or application/x-protobuf; text is in UTF-8.",
    }


async def test_another_coding_is_refused() -> None:
    response = await serve().send("POST", "/v1/sinks", "{}", [("content-encoding", "br")])

    assert (response.status, response.headers["accept-encoding"]) == (415, "gzip")


async def test_a_compressed_body_is_read() -> None:
    client = serve()
    headers = [("content-encoding", "gzip")]

    assert (await client.send("POST", "/v1/sinks", gzip.compress(b'{"nums":[1]}'), headers)).json()["nums"] == [1]
    response = await client.send("POST", "/v1/sinks", b"{}", headers)
    assert response.json()["violations"] == [{"field": "body", "description": "is not one whole gzip stream"}]


async def test_what_is_wrong_with_a_body_is_told_behind_the_interceptors() -> None:
    async def limited(request: Any, context: Any) -> Any:
        await context.send_initial_metadata([("x-ratelimit-limit", "3")])
        return request()

    async def denied(_request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    options = Options(max_body=20)
    for handler, status in ((limited, 413), (denied, 401)):
        response = await serve(options=options, PutSink=handler).send("POST", "/v1/sinks", b'{"aString": "12345678"}')
        assert response.status == status
        assert ("x-ratelimit-limit" in response.headers) == (handler is limited)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], 30),
        ([("grpc-timeout", "5S")], 5),
        ([("x-server-timeout", "2.5")], 2.5),
        ([("grpc-timeout", "1H")], 30),
        ([("grpc-timeout", "9S"), ("x-server-timeout", "3")], 3),
    ],
)
async def test_the_client_may_ask_for_less_time(headers: list[tuple[str, str]], seconds: float) -> None:
    left: list[float] = []

    async def handler(request: Any, context: Any) -> Any:
        left.append(context.time_remaining())
        return await get_book(request, context)

    await serve(GetBook=handler).send("GET", "/v1/books/a", headers=headers)

    assert left[0] == pytest.approx(seconds, abs=0.2)


async def test_a_content_type_without_a_body_does_not_matter() -> None:
    assert (await serve().send("GET", "/v1/books/a", b"", [("content-type", "text/plain")])).status == 200


async def test_a_body_up_to_the_limit_is_read_and_no_more() -> None:
    client = serve(options=Options(max_body=20))
    exact, larger = b'{"aString": "123456"}'[:20], b'{"aString": "1234567"}'

    assert (await client.send("POST", "/v1/sinks", b'{"aString":"123456"}')).status == 200
    assert len(exact) == 20
    for body in (larger, [larger[:10], larger[10:]]):
        response = await client.send("POST", "/v1/sinks", body)
        assert (response.status, response.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_body_in_chunks_is_put_together() -> None:
    assert (await serve().send("POST", "/v1/sinks", [b'{"nums"', b": [1]", b"}"])).json()["nums"] == [1]


async def test_a_bad_length_is_a_violation() -> None:
    response = await serve().send("POST", "/v1/sinks", [b"{}"], [("content-length", "two")])

    assert response.json()["violations"] == [{"field": "content-length", "description": "must be a number of bytes"}]


async def test_listed_headers_become_metadata_and_no_others() -> None:
    seen: list[Any] = []

    async def handler(request: Any, context: Any) -> Any:
        seen.extend(context.invocation_metadata())
        assert context.peer() == "ipv4:127.0.0.1:5000"
        return await get_book(request, context)

    headers = [
        ("Authorization", "a"),
        ("Cookie", "c"),
        ("Grpc-Timeout", "1S"),
        ("User-Agent", "u"),
    ]
    await serve(GetBook=handler).send("GET", "/v1/books/a", headers=headers)

    assert seen == [("authorization", "a"), ("user-agent", "u")]


async def test_a_header_that_cannot_be_metadata_is_a_violation() -> None:
    response = await serve().send("GET", "/v1/books/a", headers=[("authorization", "Bearer é"), ("cookie", "é")])

    assert response.status == 400
    assert [violation["field"] for violation in response.json()["violations"]] == ["authorization"]


async def test_listed_initial_metadata_becomes_headers_and_no_other() -> None:
    async def handler(request: Any, context: Any) -> Any:
        await context.send_initial_metadata(
            [("x-ratelimit-limit", "3"), ("etag", "e"), ("x-other", "o"), ("grpc-x", "g"), ("link", "a\r\nb: c")]
        )
        with pytest.raises(grpc.aio.UsageError):
            await context.send_initial_metadata([])
        return await get_book(request, context)

    response = await serve(GetBook=handler).send("GET", "/v1/books/a")

    assert response.headers.keys() == {"x-ratelimit-limit", "etag", "content-type", "content-length"}


async def test_a_request_that_does_not_fit_is_invalid() -> None:
    response = await serve().send("POST", "/v1/sinks", '{"aBool": 1, "x": 2}')

    assert response.status == 400
    assert response.json() == {
        "code": "INVALID_ARGUMENT",
        "message": "aBool: must be true or false; x: is not a known field",
        "violations": [
            {"field": "aBool", "description": "must be true or false"},
            {"field": "x", "description": "is not a known field"},
        ],
    }


async def test_a_client_that_goes_away_before_its_body_ends_is_dropped() -> None:
    transcoder = Transcoder([SERVICE], Dispatcher([]))
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(event: Any) -> None:
        sent.append(event)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/v1/sinks",
        "query_string": b"",
        "headers": [],
        "client": None,
    }
    await transcoder(scope, receive, send)

    assert sent == []


async def test_a_path_with_a_route_is_owned() -> None:
    transcoder = Transcoder([SERVICE], Dispatcher([]))

    assert transcoder.owns("/v1/books/a")
    assert not transcoder.owns("/v2")


async def test_a_response_that_cannot_be_written_is_the_servers_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_request: Any, _context: Any) -> Any:
        book = message("Book")()
        book.published_at.seconds = 2**62
        return book

    with caplog.at_level(logging.CRITICAL):
        response = await serve(GetBook=handler).send("GET", "/v1/books/a")

    assert (response.status, response.json()["code"]) == (500, "INTERNAL")


async def test_other_scopes_are_not_answered() -> None:
    with pytest.raises(ValueError):
        await Transcoder([], Dispatcher([]))({"type": "lifespan"}, None, None)  # type: ignore[arg-type]


@given(
    st.sampled_from(["GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    st.text(alphabet="/v1boksin:{}%2F?=&.a", max_size=24),
    st.binary(max_size=24) | st.just(b"{}"),
)
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_is_the_servers_fault(method: str, target: str, body: bytes) -> None:
    async def delete(_request: Any, _context: Any) -> Any:
        return message("google.protobuf.Empty")()

    async def book(request: Any, _context: Any) -> Any:
        request()
        return message("Book")()

    client = serve(DeleteBook=delete, UpdateBook=book, PatchBook=book, BurnBook=book)
    for prefix in ("", "/v1/books", "/v1/sinks"):
        assert asyncio.run(client.send(method, prefix + target, body)).status < 500
