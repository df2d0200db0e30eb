"""How long a client may take."""

import asyncio

from server.web.limits import Limits
from tests.integration.web.wire import Api, connected, exchange, get, read_to_end, replies, request, serving, statuses

SLOW = 60.0
"""A deadline that the test must not run into."""


async def test_a_slow_head_is_told_so() -> None:
    limits = Limits(head_seconds=0.05, idle_seconds=SLOW, body_seconds=SLOW)
    async with serving(Api(), limits) as server:
        (reply,) = replies(await exchange(server, b"GET / HTTP/1.1\r\nHos"))
    assert (reply.status, reply.code) == (408, "ERROR_CODE_REQUEST_TIMEOUT")
    assert reply.headers["connection"] == "close"


async def test_a_head_that_dribbles_does_not_win_time() -> None:
    limits = Limits(head_seconds=0.05, idle_seconds=SLOW)
    async with serving(Api(), limits) as server, connected(server) as (reader, writer):
        answer = asyncio.ensure_future(read_to_end(reader))
        writer.write(b"GET / HTTP/1.1\r\n")
        while not answer.done():
            writer.write(b"X: y\r\n")
            await asyncio.wait([answer], timeout=0.005)
        assert statuses(await answer) == [408]


async def test_a_slow_body_is_told_so_and_the_app_learns_that_it_will_not_come() -> None:
    api = Api()
    limits = Limits(body_seconds=0.05, idle_seconds=SLOW, head_seconds=SLOW)
    async with serving(api, limits) as server:
        (reply,) = replies(
            await exchange(server, request("POST /a HTTP/1.1", "Host: a", "Content-Length: 5", body=b"x"))
        )
        await api.left.wait()
    assert (reply.status, reply.code) == (408, "ERROR_CODE_REQUEST_TIMEOUT")


async def test_a_slow_body_of_an_answered_request_only_ends_the_connection() -> None:
    limits = Limits(body_seconds=0.05, idle_seconds=SLOW, linger_seconds=0.05)
    async with serving(Api(), limits) as server:
        said = await exchange(server, request("POST /early HTTP/1.1", "Host: a", "Content-Length: 5", body=b"x"))
    assert statuses(said) == [200]


async def test_a_body_that_comes_after_its_answer_leaves_the_connection_usable() -> None:
    async with serving(Api(), Limits(idle_seconds=0.05)) as server, connected(server) as (reader, writer):
        writer.write(request("POST /early HTTP/1.1", "Host: a", "Content-Length: 5", body=b"x"))
        first = await reader.readuntil(b"{}")
        writer.write(b"xxxx" + get("/b"))
        assert statuses(first + await read_to_end(reader)) == [200, 200]


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with serving(Api(), Limits(idle_seconds=0.05)) as server:
        assert await exchange(server) == b""
        assert await exchange(server, b"\r\n\r\n") == b""


async def test_an_idle_connection_is_closed_after_its_last_answer() -> None:
    async with serving(Api(), Limits(idle_seconds=0.05, head_seconds=SLOW, body_seconds=SLOW)) as server:
        assert statuses(await exchange(server, get("/a"), get("/b"))) == [200, 200]


async def test_the_head_clock_runs_for_a_request_after_an_idle_time() -> None:
    limits = Limits(head_seconds=0.05, idle_seconds=SLOW)
    async with serving(Api(), limits) as server:
        assert statuses(await exchange(server, get("/a"), b"GET /b")) == [200, 408]


async def test_our_own_slowness_is_not_the_clients_fault() -> None:
    api = Api()
    limits = Limits(idle_seconds=0.02, head_seconds=0.02, body_seconds=0.02)
    async with serving(api, limits) as server, connected(server) as (reader, writer):
        writer.write(get("/wait"))
        await api.entered.wait()
        late = asyncio.get_running_loop().call_later(0.1, api.release.set)
        assert statuses(await read_to_end(reader)) == [200]
        assert not late.cancelled()


async def test_a_slow_pipelined_head_gets_its_408_after_the_answer_that_is_due() -> None:
    api = Api()
    limits = Limits(head_seconds=0.02, idle_seconds=SLOW)
    async with serving(api, limits) as server, connected(server) as (reader, writer):
        writer.write(get("/wait") + b"GET /b")
        await api.entered.wait()
        asyncio.get_running_loop().call_later(0.1, api.release.set)
        assert statuses(await read_to_end(reader)) == [200, 408]


async def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    api = Api()
    async with serving(api, Limits(idle_seconds=0.05)) as server, connected(server) as (reader, writer):
        writer.write(get("/stream"))
        await api.left.wait()
        (reply,) = replies(await read_to_end(reader))
    assert not reply.complete


async def test_a_closing_connection_whose_client_does_not_read_is_cut_off() -> None:
    api = Api()
    async with serving(api, Limits(idle_seconds=0.05)) as server, connected(server) as (reader, writer):
        writer.write(get("/big", "Connection: close"))
        await api.left.wait()
        await server.stop(SLOW)
        (reply,) = replies(await read_to_end(reader))
    assert not reply.complete
