"""Whatever arrives, the server neither fails nor hangs."""

import re
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.web.limits import Limits
from server.web.server import HttpServer
from tests.integration.web.wire import Api, chunked, exchange, get, request, serving

LIMITS = Limits(
    head_bytes=600,
    target_bytes=200,
    headers=8,
    idle_seconds=0.02,
    head_seconds=0.02,
    body_seconds=0.02,
    linger_seconds=0.02,
)
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")

WORDS = st.sampled_from(
    [
        get("/a"),
        get("/early"),
        request("HEAD /a HTTP/1.1", "Host: a"),
        request("POST /a HTTP/1.1", "Host: a", "Content-Length: 5", body=b"hello"),
        request("POST /a HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", body=chunked([b"hello", b"you"])),
        request("POST /early HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: 100-continue"),
        request("POST /a HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: 100-continue", body=b"hello"),
        request(
            "POST /a HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: h2c", "Content-Length: 5", body=b"hello"
        ),
        request("GET /a HTTP/1.1", "Host: a", "Connection: close"),
        b"GET http://",
        b"/ HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"x" * 700,
    ]
)
PIECES = st.lists(st.lists(WORDS | st.binary(max_size=40), max_size=6).map(b"".join), max_size=5)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[HttpServer]:
    async with serving(Api(), LIMITS) as server:
        yield server


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES, half_close=st.booleans())
async def test_any_bytes(server: HttpServer, pieces: list[bytes], half_close: bool) -> None:
    said = await exchange(server, *pieces, half_close=half_close)
    assert [status for status in STATUS.findall(said) if status >= b"500"] == []
