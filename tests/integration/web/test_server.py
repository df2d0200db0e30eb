"""Starting, being found, and stopping."""

import asyncio
import os
import signal
import socket
from contextvars import ContextVar
from pathlib import Path

import httpx2
import pytest

from server.web.app import web_app
from server.web.asgi import Receive, Scope, Send, respond
from server.web.limits import Limits
from server.web.metrics import metrics_app
from server.web.server import CannotListenError, HttpServer, PortInUseError
from tests.integration.web.wire import Api, connected, get, read_to_end, replies, serving, statuses

_ESTABLISHED, _KEEPALIVE = "01", "02"
"""States of connections and kinds of timers in /proc/net/tcp (proc_net_tcp of Linux's documentation)."""


async def test_a_client_keeps_its_connection_between_requests() -> None:
    async with serving(Api()) as server:
        async with httpx2.AsyncClient(base_url=f"http://{server.address}") as client:
            answers = [await client.post("/v1/things", content=b"abc") for _ in range(3)]
            health = await client.get("/healthz")
            ports = {answer.extensions["network_stream"].get_extra_info("client_addr") for answer in answers}
        assert [answer.json() for answer in answers] == [["POST", "/v1/things", 3]] * 3
        assert health.json() == {"status": "ok"}
        assert len(ports) == 1


async def test_metrics_are_served_on_a_port_of_their_own() -> None:
    server = HttpServer(metrics_app(), "127.0.0.1", 0)
    await server.start()
    try:
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"http://{server.address}/metrics")
        assert answer.status_code == 200
        assert "server" not in answer.headers
        assert "date" in answer.headers
    finally:
        await server.stop(0)


async def test_the_system_asks_silent_clients_whether_they_are_there() -> None:
    async with serving(Api()) as server:
        port = int(server.address.rpartition(":")[2])
        async with connected(server):
            lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            ours = [line for line in lines if line[1].endswith(f":{port:04X}") and line[3] == _ESTABLISHED]
        ((kind, when),) = (line[5].split(":") for line in ours)
        assert kind == _KEEPALIVE
        assert int(when, 16) / os.sysconf("SC_CLK_TCK") <= 30


async def test_port_zero_is_replaced_by_the_systems_choice() -> None:
    server = HttpServer(Api(), "127.0.0.1", 0)
    assert server.address == "127.0.0.1:0"
    await server.start()
    bound = server.address
    await server.stop(0)
    assert int(bound.removeprefix("127.0.0.1:")) > 0
    assert server.address == bound


@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_ipv6_addresses_have_brackets(host: str) -> None:
    server = HttpServer(Api(), host, 0)
    try:
        await server.start()
    except CannotListenError:
        pytest.skip("no IPv6 here")
    try:
        assert server.address.startswith("[::1]:")
        async with httpx2.AsyncClient() as client:
            assert (await client.get(f"http://{server.address}/a")).status_code == 200
    finally:
        await server.stop(0)


async def test_a_taken_port_is_named() -> None:
    async with serving(Api()) as server:
        host, port = server.address.split(":")
        second = HttpServer(Api(), host, int(port))
        with pytest.raises(PortInUseError, match=rf"^cannot listen on {server.address}: .*in use"):
            await second.start()
        await second.stop(0)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(CannotListenError, match=rf"^cannot listen on {host}:8080: \w+"):
        await HttpServer(Api(), host, 8080).start()


async def test_signals_are_left_to_the_owner() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serving(Api()):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_stopping_server_lets_a_running_request_finish_and_takes_no_new_one() -> None:
    api = Api()
    server = HttpServer(web_app(api, ready=dict, openapi=b"{}"), "127.0.0.1", 0)
    await server.start()
    async with connected(server) as (busy, writer), connected(server) as (idle, _):
        writer.write(get("/wait"))
        await api.entered.wait()
        stopping = asyncio.ensure_future(server.stop(5))
        assert await read_to_end(idle) == b""
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*server.address.split(":"))
        assert not stopping.done()
        api.release.set()
        (reply,) = replies(await read_to_end(busy))
        await stopping
    assert (reply.status, reply.headers["connection"]) == (200, "close")


async def test_a_request_that_outlasts_the_grace_is_told_so() -> None:
    api = Api()
    async with serving(api) as server, connected(server) as (reader, writer):
        writer.write(get("/wait"))
        await api.entered.wait()
        stopping = asyncio.ensure_future(server.stop(0.05))
        (reply,) = replies(await read_to_end(reader))
        await stopping
    assert (reply.status, reply.code) == (503, "ERROR_CODE_UNAVAILABLE")


async def test_a_client_that_reads_nothing_cannot_hold_up_the_end() -> None:
    api = Api()
    async with serving(api) as server, connected(server) as (reader, writer):
        writer.write(get("/big"))
        await api.entered.wait()
        await server.stop(0.05)
        assert not replies(await read_to_end(reader))[0].complete


async def test_a_half_sent_request_cannot_hold_up_the_end() -> None:
    async with (
        serving(Api(), Limits(head_seconds=60, body_seconds=60)) as server,
        connected(server) as (reader, writer),
    ):
        writer.write(get("/a") + b"GET /b")
        await reader.readuntil(b"]")
        await server.stop(60)
        assert await read_to_end(reader) == b""


async def test_pipelined_requests_are_still_answered_by_a_stopping_server() -> None:
    api = Api()
    async with serving(api) as server, connected(server) as (reader, writer):
        writer.write(get("/wait") + get("/b"))
        await api.entered.wait()
        stopping = asyncio.ensure_future(server.stop(5))
        api.release.set()
        assert statuses(await read_to_end(reader)) == [200, 200]
        await stopping


async def test_stopping_twice_or_before_starting_does_nothing() -> None:
    server = HttpServer(Api(), "127.0.0.1", 0)
    await server.stop(0)
    await server.start()
    await server.stop(0)
    await server.stop(0)


async def test_the_port_is_free_after_the_stop() -> None:
    async with serving(Api()) as server:
        host, port = server.address.split(":")
    with socket.create_server((host, int(port))):
        pass


async def test_one_requests_context_does_not_reach_the_next_of_its_connection() -> None:
    caller: ContextVar[str] = ContextVar("caller", default="nobody")

    async def remembers(scope: Scope, receive: Receive, send: Send) -> None:
        before = caller.get()
        caller.set(scope["path"])
        await respond(scope, send, 200, before.encode())

    async with serving(remembers) as server, connected(server) as (reader, writer):
        writer.write(get("/a") + get("/b") + get("/c", "Connection: close"))
        answers = replies(await read_to_end(reader))
    assert [answer.body for answer in answers] == [b"nobody"] * 3
