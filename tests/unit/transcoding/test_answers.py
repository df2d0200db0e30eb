"""Answers in other forms than plain JSON: protobuf, raw bytes, and compressed."""

import gzip
import json
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status

from server.transcoding.app import Options
from tests.unit.transcoding.kitchen import message
from tests.unit.transcoding.kitchen_app import serve


async def test_protobuf_is_taken_and_given() -> None:
    sink = message("Sink")(a_string="x", nums=[1])
    headers = [("content-type", "application/x-protobuf"), ("accept", "application/x-protobuf")]

    response = await serve().send("POST", "/v1/sinks", sink.SerializeToString(), headers)

    assert (response.status, response.headers["content-type"]) == (200, "application/x-protobuf")
    assert message("Sink").FromString(response.body) == sink


async def test_a_field_that_is_no_message_comes_as_json() -> None:
    response = await serve().send("GET", "/v1/books:titles", headers=[("accept", "application/x-protobuf")])

    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("target", ["/v1/books/%zz", "/v1/books"])
async def test_errors_come_as_protobuf_too(target: str) -> None:
    async def refuses(_request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")

    response = await serve(Search=refuses).send("GET", target, headers=[("accept", "application/x-protobuf")])

    assert (response.status, response.headers["content-type"]) == (400, "application/x-protobuf")
    assert Status.FromString(response.body).code == 3


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/v2", [], 404),
        ("PUT", "/v1/books", [], 405),
        ("GET", "/v1/books/a", [("grpc-timeout", "soon")], 400),
        ("GET", "/v1/books:watch", [], 406),
    ],
)
async def test_refusals_come_as_protobuf_too(
    method: str, target: str, headers: list[tuple[str, str]], status: int
) -> None:
    response = await serve().send(method, target, headers=[("accept", "application/x-protobuf"), *headers])

    assert (response.status, response.headers["content-type"]) == (status, "application/x-protobuf")
    assert Status.FromString(response.body).message


async def test_raw_bytes_go_both_ways() -> None:
    async def reflect(request: Any, _context: Any) -> Any:
        return request()

    response = await serve(Reflect=reflect).send("POST", "/v1/reflect", b"\xff\x00", [("content-type", "image/png")])

    assert (response.headers["content-type"], response.body) == ("image/png", b"\xff\x00")


@pytest.mark.parametrize("content_type", ["", "text/plain\r\nx: y", "t\u00e9xt/plain", " "])
async def test_a_type_that_cannot_be_a_header_is_unknown_bytes(content_type: str) -> None:
    async def download(_request: Any, _context: Any) -> Any:
        return message("google.api.HttpBody")(content_type=content_type, data=b"x")

    response = await serve(Download=download).send("GET", "/v1/books/a:download")

    assert response.headers["content-type"] == "application/octet-stream"


async def test_a_field_of_raw_bytes_takes_any_type() -> None:
    async def upload(request: Any, _context: Any) -> Any:
        read = request()
        return message("Book")(name=read.name, title=f"{read.file.content_type} {read.file.data!r} {read.note}")

    client = serve(Upload=upload)
    response = await client.send("POST", "/v1/books/a:upload?note=n", b"x", [("content-type", "text/csv")])

    assert response.json()["title"] == "text/csv b'x' n"


async def many(_request: Any, _context: Any) -> Any:
    return message("SearchResponse")(books=[message("Book")(name="a")] * 100)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("br", None), (None, None)],
)
async def test_a_long_answer_is_compressed_when_that_is_asked_for(accepted: str | None, coding: str | None) -> None:
    headers = [("accept-encoding", accepted)] if accepted else []

    response = await serve(Search=many).send("GET", "/v1/books", headers=headers)

    assert response.headers.get("content-encoding") == coding
    assert response.headers["vary"] == "accept-encoding"
    assert response.headers["content-length"] == str(len(response.body))
    body = gzip.decompress(response.body) if coding else response.body
    assert len(json.loads(body)["books"]) == 100


async def test_a_short_answer_is_not_compressed_and_neither_is_any_without_the_wish() -> None:
    asked = [("accept-encoding", "gzip")]

    assert "vary" not in (await serve().send("GET", "/v1/books", headers=asked)).headers
    never = serve(options=Options(min_gzip=0), Search=many)
    assert "vary" not in (await never.send("GET", "/v1/books", headers=asked)).headers


@pytest.mark.parametrize(("etag", "coding"), [('"a"', None), ('W/"a"', "gzip")])
async def test_a_strong_entity_tag_names_the_bytes(etag: str, coding: str | None) -> None:
    async def tagged(request: Any, context: Any) -> Any:
        await context.send_initial_metadata([("etag", etag)])
        return await many(request, context)

    response = await serve(Search=tagged).send("GET", "/v1/books", headers=[("accept-encoding", "gzip")])

    assert response.headers.get("content-encoding") == coding
