"""More calls at once than the server accepts: the surplus is refused at once, the rest is served."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server import app
from server.keys.service import KeyService
from tests.e2e.conftest import client_of
from tests.service import serving


async def test_one_call_too_many_is_refused_at_once(
    database_url: str, data_dir: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_MAXIMUM_CALLS", 2)
    inside, go_on = asyncio.Semaphore(0), asyncio.Event()
    list_keys = KeyService.list

    async def wait_and_list(self: KeyService, *arguments: object) -> object:
        inside.release()
        await go_on.wait()
        return await list_keys(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(KeyService, "list", wait_and_list)
    async with serving(database_url, data_dir) as service, client_of(service, protocol) as client:
        first = [asyncio.create_task(client.call("ListApiKeys", {})) for _ in range(2)]
        await inside.acquire()
        await inside.acquire()
        surplus = await client.fail("ERROR_CODE_OVERLOADED", "ListApiKeys")
        go_on.set()
        served = [answer.code for answer in await asyncio.gather(*first)]
        afterwards = await client.call("ListApiKeys", {})
    assert served == ["OK", "OK"]
    assert afterwards.code == "OK"
    assert surplus.retry_after == 1
    assert surplus.message == "The server is busy. Retry with back-off."


async def test_open_watches_keep_no_caller_out(
    database_url: str, data_dir: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_MAXIMUM_CALLS", 2)
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(serving(database_url, data_dir))
        client = await stack.enter_async_context(client_of(service, protocol))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.addresses.grpc))
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
        for watch in watches:
            await watch.read()

        answer = await client.call("ListApiKeys", {})

    assert answer.code == "OK"
