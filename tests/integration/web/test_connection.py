"""What a well-behaved client may do with a connection."""

import asyncio

import pytest
from structlog.testing import capture_logs

from server.web.asgi import JSON, Receive, Scope, Send, respond
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

LIMITS = Limits(idle_seconds=0.1, linger_seconds=0.1, pipelined=5, connections=2)


async def test_pipelined_requests_are_answered_in_order() -> None:
    api = Api()
    async with serving(api, LIMITS) as server, connected(server) as (reader, writer):
        writer.write(get("/wait") + request("POST /b HTTP/1.1", "Host: a", "Content-Length: 2", body=b"xx") + get("/c"))
        await api.entered.wait()
        api.release.set()
        answers = replies(await read_to_end(reader))
    assert [reply.body for reply in answers] == [b'["GET","/wait",0]', b'["POST","/b",2]', b'["GET","/c",0]']


async def test_pipelining_without_end_is_refused_after_the_answers_that_are_due() -> None:
    async with serving(Api(), LIMITS) as server:
        *answered, refused = replies(await exchange(server, get("/") * 1000))
    assert [reply.status for reply in answered] == [200] * 6
    assert (refused.status, refused.code) == (503, "ERROR_CODE_OVERLOADED")


async def test_a_request_may_arrive_byte_by_byte() -> None:
    whole = request("POST /a HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", body=chunked([b"ab", b"c"])) + get(
        "/b"
    )
    async with serving(Api(), LIMITS) as server:
        first, second = replies(await exchange(server, *(whole[i : i + 1] for i in range(len(whole)))))
    assert (first.body, second.body) == (b'["POST","/a",3]', b'["GET","/b",0]')


async def test_head_is_answered_without_a_body() -> None:
    async with serving(Api(), LIMITS) as server:
        said = await exchange(server, request("HEAD /a HTTP/1.1", "Host: a", "Connection: close"))
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 15" in head
    assert body == b""


async def test_http_1_0_needs_no_host_and_gets_one_answer() -> None:
    async with serving(Api(), LIMITS) as server:
        (reply,) = replies(await exchange(server, b"GET /a HTTP/1.0\r\n\r\n"))
    assert (reply.status, reply.headers["connection"]) == (200, "close")


async def test_an_absolute_target_is_its_path() -> None:
    async with serving(Api(), LIMITS) as server:
        first, second = replies(await exchange(server, get("http://a/b?c") + get("http://a")))
    assert (first.body, second.body) == (b'["GET","/b",0]', b'["GET","/",0]')


async def test_a_client_that_waits_for_100_gets_it_before_it_sends_the_body() -> None:
    async with serving(Api(), LIMITS) as server, connected(server) as (reader, writer):
        writer.write(request("POST /a HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 3"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        (reply,) = replies(await read_to_end(reader))
    assert reply.body == b'["POST","/a",3]'


async def test_after_a_final_answer_instead_of_100_nothing_can_be_taken_for_the_body() -> None:
    api = Api()
    async with serving(api, LIMITS) as server:
        expecting = request("POST /early HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 3")
        (reply,) = replies(await exchange(server, expecting))
    assert (reply.status, reply.headers["connection"]) == (200, "close")


async def test_a_client_that_waits_for_100_is_watched_without_it_when_its_body_is_left() -> None:
    gone = asyncio.Event()

    async def leave(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["leave_body"]()
        if scope["path"] == "/wait":
            assert await receive() == {"type": "http.disconnect"}
            gone.set()
            return
        watcher = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await respond(scope, send, 413, b"{}", (JSON,))
        await watcher

    def expecting(path: str) -> bytes:
        return request(f"POST {path} HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 3")

    async with serving(leave, LIMITS) as server:
        assert statuses(await exchange(server, expecting("/"))) == [413]
        async with connected(server) as (_, writer):
            writer.write(expecting("/wait"))
            await writer.drain()
        async with asyncio.timeout(5):
            await gone.wait()


async def test_only_a_client_that_waits_for_100_has_a_body_to_leave() -> None:
    states: list[dict[str, object]] = []

    async def look(scope: Scope, _receive: Receive, send: Send) -> None:
        states.append(scope["state"])
        await respond(scope, send, 200, b"{}", (JSON,))

    async with serving(look, LIMITS) as server:
        await exchange(server, get("/"), get("/", "Expect: 100-continue", "Connection: close"))

    assert ["leave_body" in state for state in states] == [False, True]


async def test_http_1_0_gets_no_100() -> None:
    async with serving(Api(), LIMITS) as server:
        expecting = request("POST / HTTP/1.0", "Expect: 100-continue", "Content-Length: 1", body=b"x")
        assert statuses(await exchange(server, expecting)) == [200]


async def test_one_connection_too_many_is_told_so() -> None:
    async with serving(Api(), Limits(connections=2, linger_seconds=0.1)) as server:
        async with connected(server) as (_, first), connected(server) as (_, second):
            first.write(get("/a"))
            second.write(get("/b"))
            (reply,) = replies(await exchange(server, get("/c")))
        assert (reply.status, reply.code) == (503, "ERROR_CODE_OVERLOADED")
        assert reply.headers["retry-after"] == "1"


async def test_a_closed_connection_makes_room_for_the_next() -> None:
    async with serving(Api(), LIMITS) as server:
        for _ in range(5):
            assert statuses(await exchange(server, get("/a", "Connection: close"))) == [200]


async def test_a_client_that_leaves_is_noticed() -> None:
    api = Api()
    async with serving(api) as server:
        async with connected(server) as (_, writer):
            writer.write(request("POST /a HTTP/1.1", "Host: a", "Content-Length: 3", body=b"a"))
            await writer.drain()
        async with asyncio.timeout(5):
            await api.left.wait()


async def test_a_failing_app_is_a_json_500_and_the_connection_goes_on() -> None:
    with capture_logs() as logs:
        async with serving(Api(), LIMITS) as server:
            failed, served = replies(await exchange(server, get("/fail"), get("/a")))
    assert (failed.status, failed.code, served.status) == (500, "ERROR_CODE_INTERNAL", 200)
    assert b"hunter2" not in failed.body
    assert [line["event"] for line in logs] == ["http_request_failed"]


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 70_000, 3_000_000])
@pytest.mark.parametrize("is_chunked", [True, False])
async def test_bodies_arrive_whole(size: int, is_chunked: bool) -> None:
    body = bytes(size)
    framed = chunked(body[i : i + 10_000] for i in range(0, size, 10_000)) if is_chunked else body
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    async with serving(Api(), LIMITS) as server:
        first, second = replies(
            await exchange(server, request("POST /a HTTP/1.1", "Host: a", framing, body=framed) + get("/b"))
        )
    assert (first.body, second.body) == (b'["POST","/a",%d]' % size, b'["GET","/b",0]')
