"""How much one request may weigh before it is a request."""

import tracemalloc
from contextlib import suppress

import pytest

from server.web.limits import Limits
from tests.integration.web.wire import (
    Api,
    chunked,
    connected,
    exchange,
    get,
    read_to_end,
    replies,
    request,
    serving,
    statuses,
)

LIMITS = Limits(head_bytes=2048, headers=10, target_bytes=512, idle_seconds=0.1, head_seconds=0.2, linger_seconds=0.1)


def get_of(size: int) -> bytes:
    """Write a GET whose head has exactly `size` bytes."""
    bare = get("/", "X: ")
    return get("/", "X: " + "x" * (size - len(bare)))


@pytest.mark.parametrize("in_one_piece", [True, False])
@pytest.mark.parametrize(("size", "status"), [(2047, 200), (2048, 200), (2049, 431), (5000, 431), (300_000, 431)])
async def test_a_head_may_have_as_many_bytes_as_the_limit(size: int, status: int, in_one_piece: bool) -> None:
    head = get_of(size)
    pieces = [head] if in_one_piece else [head[:1500], head[1500:]]
    async with serving(Api(), LIMITS) as server:
        assert statuses(await exchange(server, *pieces)) == [status]


async def test_too_large_headers_are_told_so_in_json() -> None:
    async with serving(Api(), LIMITS) as server:
        (reply,) = replies(await exchange(server, get_of(2049)))
    assert (reply.status, reply.code, reply.complete) == (431, "ERROR_CODE_HEADERS_TOO_LARGE", True)
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["connection"] == "close"
    assert "date" in reply.headers
    assert "server" not in reply.headers


@pytest.mark.parametrize(("number", "status"), [(10, 200), (11, 431)])
async def test_the_number_of_headers_is_limited(number: int, status: int) -> None:
    async with serving(Api(), LIMITS) as server:
        assert statuses(await exchange(server, get("/", *["A: b"] * (number - 1)))) == [status]


@pytest.mark.parametrize(("length", "status"), [(512, 200), (513, 414), (1900, 414), (4000, 414)])
async def test_the_length_of_the_target_is_limited(length: int, status: int) -> None:
    async with serving(Api(), LIMITS) as server:
        (reply,) = replies(await exchange(server, get("/" + "x" * (length - 1))))
    assert reply.status == status
    if status == 414:
        assert reply.code == "ERROR_CODE_URI_TOO_LONG"


async def test_the_limits_hold_for_every_request_of_a_connection() -> None:
    async with serving(Api(), LIMITS) as server:
        assert statuses(await exchange(server, get_of(2048) * 3, get_of(2048), get_of(9000))) == [200] * 4 + [431]


async def test_a_body_is_not_a_head() -> None:
    body = b"x" * 1_000_000
    plain = request("POST /a HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", body=body)
    crumbs = request("POST /b HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", body=chunked([b"x"] * 20_000))
    async with serving(Api(), LIMITS) as server:
        first, second = replies(await exchange(server, plain, crumbs))
    assert first.body == b'["POST","/a",1000000]'
    assert second.body == b'["POST","/b",20000]'


@pytest.mark.parametrize("flood", [b"0\r\nX: " + b"x" * 5000, b"0\r\n" + b"X: y\r\n" * 5000, b"5;" + b"x" * 5000])
async def test_trailers_and_chunk_extensions_are_limited_like_a_head(flood: bytes) -> None:
    head = request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
    async with serving(Api(), LIMITS) as server:
        assert statuses(await exchange(server, head + b"1\r\nx\r\n", flood)) == [431]


async def test_a_flood_of_headers_takes_no_memory_and_is_answered() -> None:
    flood = b"x" * 65536
    async with serving(Api()) as server, connected(server) as (reader, writer):
        writer.write(get("/", "X: ")[:-4])
        tracemalloc.start()
        with suppress(ConnectionError):
            for _ in range(80):
                writer.write(flood)
                await writer.drain()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        writer.write_eof()
        assert statuses(await read_to_end(reader)) == [431]
    assert peak < 1_500_000
