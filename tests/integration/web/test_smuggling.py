"""Requests that two servers in a row could read differently end here, with one 400 and a closed connection."""

import orjson
import pytest

from server.web.limits import Limits
from tests.integration.web.wire import Api, exchange, get, replies, request, serving, statuses

LIMITS = Limits(idle_seconds=0.1, head_seconds=0.2, body_seconds=0.2, linger_seconds=0.1)
SMUGGLED = get("/smuggled")

FRAMING = {
    "length and coding": ["Content-Length: 4", "Transfer-Encoding: chunked"],
    "coding and length": ["Transfer-Encoding: chunked", "Content-Length: 4"],
    "two lengths": ["Content-Length: 4", "Content-Length: 5"],
    "the same length twice": ["Content-Length: 4", "Content-Length: 4"],
    "a list of lengths": ["Content-Length: 4, 4"],
    "a signed length": ["Content-Length: +4"],
    "a negative length": ["Content-Length: -4"],
    "a hexadecimal length": ["Content-Length: 0x4"],
    "an empty length": ["Content-Length: "],
    "a length of two words": ["Content-Length: 4 4"],
    "a length beyond 64 bits": ["Content-Length: 99999999999999999999"],
    "a blank before the colon": ["Content-Length : 4"],
    "a tab before the colon": ["Transfer-Encoding\t: chunked"],
    "two codings": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "chunked before identity": ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    "identity": ["Transfer-Encoding: identity"],
    "nearly chunked": ["Transfer-Encoding: xchunked"],
    "gzip before chunked": ["Transfer-Encoding: gzip, chunked"],
    "chunked before gzip": ["Transfer-Encoding: chunked, gzip"],
    "chunked with a vertical tab": ["Transfer-Encoding: \x0bchunked"],
    "chunked in quotes": ['Transfer-Encoding: "chunked"'],
    "an empty coding": ["Transfer-Encoding: "],
    "a folded coding": ["Transfer-Encoding:", " chunked"],
    "a folded header": ["X: a", " b", "Content-Length: 4"],
    "a folded first header": [" X: a", "Content-Length: 4"],
    "a NUL in a value": ["X: a\0b", "Content-Length: 4"],
    "a control in a value": ["X: a\x01b", "Content-Length: 4"],
    "a bare CR in a value": ["X: a\rContent-Length: 40", "Content-Length: 4"],
    "a bare LF in a value": ["X: a\nContent-Length: 40", "Content-Length: 4"],
    "no colon": ["Content-Length 4"],
    "an empty name": [": a", "Content-Length: 4"],
    "a name with a parenthesis": ["X(: a", "Content-Length: 4"],
    "two hosts": ["Host: b", "Content-Length: 4"],
    "a host with a blank": ["Host: a b", "Content-Length: 4"],
}


@pytest.mark.parametrize("headers", FRAMING.values(), ids=FRAMING.keys())
async def test_doubtful_framing(headers: list[str]) -> None:
    api = Api()
    async with serving(api, LIMITS) as server:
        (reply,) = replies(
            await exchange(server, request("POST / HTTP/1.1", "Host: a", *headers, body=b"0\r\n\r\n" + SMUGGLED))
        )
    assert reply.status == 400
    assert reply.headers["connection"] == "close"
    error = orjson.loads(reply.body)
    assert (error["code"], error["violations"]) == ("ERROR_CODE_INVALID_REQUEST", [])
    assert error["message"]
    assert api.heads == []


CHUNKS = {
    "a signed size": b"+3\r\nabc\r\n0\r\n\r\n",
    "a prefixed size": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a blank after the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-1\r\nabc\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "bare LFs": b"3\nabc\n0\n\n",
    "a LF in an extension": b"3;a\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "a length as trailer": b"3\r\nabc\r\n0\r\nContent-Length: 4\r\n\r\n",
}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS.keys())
@pytest.mark.parametrize("later", [True, False])
async def test_doubtful_chunks(chunks: bytes, later: bool) -> None:
    head = request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
    pieces = [head, chunks + SMUGGLED] if later else [head + chunks + SMUGGLED]
    async with serving(Api(), LIMITS) as server:
        assert statuses(await exchange(server, *pieces)) == [400]


START = {
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/0.9 by name": b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "an unknown method": b"FROB / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a small method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a blank first": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a blank in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes in the target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "bare LFs": b"GET / HTTP/1.1\nHost: a\n\n",
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT to a path": b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("start", START.values(), ids=START.keys())
async def test_what_is_not_http_1_1(start: bytes) -> None:
    api = Api()
    async with serving(api, LIMITS) as server:
        assert statuses(await exchange(server, start + SMUGGLED)) == [400]
    assert api.heads == []


async def test_a_bad_request_does_not_spoil_the_answer_before_it() -> None:
    api = Api()
    async with serving(api, LIMITS) as server:
        answered, refused = replies(await exchange(server, get("/a") + b"nonsense\r\n\r\n" + SMUGGLED))
    assert (answered.status, answered.body) == (200, b'["GET","/a",0]')
    assert refused.status == 400


async def test_a_bad_pipelined_body_does_not_spoil_the_answer_before_it() -> None:
    bad = request("POST /b HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", body=b"nonsense")
    async with serving(Api(), LIMITS) as server:
        assert statuses(await exchange(server, get("/a") + bad + SMUGGLED)) == [200, 400]


async def test_nothing_is_served_after_connection_close() -> None:
    api = Api()
    async with serving(api, LIMITS) as server:
        assert statuses(await exchange(server, get("/a", "Connection: close") + SMUGGLED)) == [200]
    assert len(api.heads) == 1


async def test_a_trailer_does_not_pass_for_a_header() -> None:
    api = Api()
    trailer = b"3\r\nabc\r\n0\r\nAuthorization: Bearer stolen\r\n\r\n"
    async with serving(api, LIMITS) as server:
        said = await exchange(server, request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", body=trailer))
    assert replies(said)[0].body == b'["POST","/",3]'
    assert api.heads == [[(b"host", b"a"), (b"transfer-encoding", b"chunked")]]


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "anything"])
@pytest.mark.parametrize("later", [True, False])
async def test_an_upgrade_is_ignored_and_its_body_stays_a_body(upgrade: str, later: bool) -> None:
    api = Api()
    asked = ["Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]
    length = f"Content-Length: {len(SMUGGLED)}"
    head = request("POST /a HTTP/1.1", "Host: a", *asked, length)
    pieces = [head, SMUGGLED + get("/b")] if later else [head + SMUGGLED + get("/b")]
    async with serving(api, LIMITS) as server:
        first, second = replies(await exchange(server, *pieces))
    assert first.body == b'["POST","/a",%d]' % len(SMUGGLED)
    assert second.body == b'["GET","/b",0]'
    assert [name for name, _ in api.heads[0]] == [b"host", b"connection", b"content-length"]
