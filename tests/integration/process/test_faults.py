"""The server or its PostgreSQL killed or frozen: nobody waits, nothing acknowledged is lost, all heals by itself."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import httpx2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sdk.developer.v1.developer_service_pb2 import CreateApiKeyRequest, ListApiKeysRequest

from tests.integration.postgres.conftest import children_of, frozen, runs

from .installation import Installation, Server, Stubs, until

_KEYS = "/v1/developer/keys"
_ANSWER_SECONDS = 2.0

Call = Callable[[httpx2.AsyncClient, Stubs], Awaitable[str]]


async def _create_over_rest(rest: httpx2.AsyncClient, stubs: Stubs) -> str:
    return _name(await rest.post(_KEYS, json={"name": "Over REST", "scopes": ["read"]}))


async def _list_over_rest(rest: httpx2.AsyncClient, stubs: Stubs) -> str:
    return _name(await rest.get(_KEYS))


def _name(response: httpx2.Response) -> str:
    if response.status_code == 503:
        assert set(response.json()) == {"code", "message"}
        assert response.headers["retry-after"] == "1"
    return {200: "OK", 503: "UNAVAILABLE"}.get(response.status_code, response.text)


async def _create_over_grpc(rest: httpx2.AsyncClient, stubs: Stubs) -> str:
    request = CreateApiKeyRequest(name="Over gRPC", scopes=["read"])
    return await _name_of_status(stubs.keys.CreateApiKey(request, metadata=stubs.metadata))


async def _list_over_grpc(rest: httpx2.AsyncClient, stubs: Stubs) -> str:
    return await _name_of_status(stubs.keys.ListApiKeys(ListApiKeysRequest(), metadata=stubs.metadata))


async def _name_of_status(call: Awaitable[object]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


_CALLS: tuple[Call, ...] = (_create_over_rest, _list_over_rest, _create_over_grpc, _list_over_grpc)


async def _answers(rest: httpx2.AsyncClient, stubs: Stubs, times: int = 1) -> set[str]:
    """Make every kind of call at once, make sure that none waits for long, and return what they answer."""

    async def answer(call: Call) -> str:
        started = time.monotonic()
        outcome = await call(rest, stubs)
        assert time.monotonic() - started < _ANSWER_SECONDS
        return outcome

    return set(await asyncio.gather(*(answer(call) for call in _CALLS * times)))


async def _is_ready(rest: httpx2.AsyncClient) -> bool:
    response = await rest.get("/readyz")
    assert response.json()["checks"]["database"] == (response.status_code == 200)
    return response.status_code == 200


async def _is_healthy(stubs: Stubs) -> bool:
    health: Any = health_pb2_grpc.HealthStub(stubs.channel)
    states = {
        (await health.Check(health_pb2.HealthCheckRequest(service=service))).status
        for service in ("", "sdk.developer.v1.DeveloperService")
    }
    (state,) = states
    return bool(state == health_pb2.HealthCheckResponse.SERVING)


async def _shows(ready: bool, rest: httpx2.AsyncClient, stubs: Stubs, seconds: float) -> None:
    """Wait until both /readyz and gRPC health tell the same new state."""
    async with asyncio.timeout(seconds):
        while await _is_ready(rest) != ready or await _is_healthy(stubs) != ready:
            await asyncio.sleep(0.02)


async def test_a_killed_postgres_is_told_at_once_and_healed_without_a_restart(installation: Installation) -> None:
    files, away = installation.postgres_dir / "data", installation.postgres_dir / "away"
    async with installation.serving() as server, server.clients() as (rest, stubs):
        assert await _answers(rest, stubs) == {"OK"}
        postgres, backends = server.postgres, children_of(server.postgres)

        files.rename(away)  # so that it stays down until we have looked
        os.kill(postgres, signal.SIGKILL)
        async with asyncio.TaskGroup() as group:
            group.create_task(_shows(False, rest, stubs, _ANSWER_SECONDS))
            answers = group.create_task(_answers(rest, stubs, times=5))
        assert answers.result() == {"UNAVAILABLE"}
        assert (await rest.get("/healthz")).status_code == 200

        away.rename(files)
        await _shows(True, rest, stubs, 15)
        assert await _answers(rest, stubs, times=5) == {"OK"}
        assert server.postgres != postgres
        await until(lambda: not any(map(runs, [postgres, *backends])))
        assert "embedded_postgres_died" in {event["event"] for event in server.complaints}


async def test_a_killed_postgres_is_back_within_seconds(installation: Installation) -> None:
    async with installation.serving() as server, server.clients() as (rest, stubs):
        assert await _answers(rest, stubs) == {"OK"}

        os.kill(server.postgres, signal.SIGKILL)
        async with asyncio.timeout(10):
            while (answers := await _answers(rest, stubs)) != {"OK"}:
                assert answers <= {"OK", "UNAVAILABLE"}
                await asyncio.sleep(0.02)

        await _shows(True, rest, stubs, 5)


async def test_a_frozen_postgres_is_told_within_two_seconds_and_nobody_waits_longer(installation: Installation) -> None:
    async with installation.serving() as server, server.clients() as (rest, stubs):
        assert await _answers(rest, stubs) == {"OK"}
        postgres = server.postgres

        with frozen(postgres, *children_of(postgres)):
            async with asyncio.TaskGroup() as group:
                group.create_task(_shows(False, rest, stubs, _ANSWER_SECONDS))
                answers = group.create_task(_answers(rest, stubs, times=10))
            assert answers.result() == {"UNAVAILABLE"}
            assert await _answers(rest, stubs, times=10) == {"UNAVAILABLE"}

        await _shows(True, rest, stubs, 10)
        assert await _answers(rest, stubs, times=10) == {"OK"}
        assert server.postgres == postgres


async def test_a_server_can_be_stopped_while_its_postgres_is_frozen(installation: Installation) -> None:
    async with installation.serving() as server, server.clients() as (rest, stubs):
        assert await _answers(rest, stubs) == {"OK"}
        with frozen(server.postgres, *children_of(server.postgres)):
            server.signal(signal.SIGTERM)

            assert await server.ended(15) == 0
        await server.all_gone(2)


class _Writer:
    """Creates keys one after the other, over REST or gRPC, and remembers which were acknowledged."""

    def __init__(self, rest: httpx2.AsyncClient, stubs: Stubs) -> None:
        self._rest = rest
        self._stubs = stubs
        self.acknowledged: set[str] = set()

    async def write_over_rest(self) -> None:
        with suppress(httpx2.TransportError):
            while True:
                answer = await self._rest.post(_KEYS, json={"name": "Over REST", "scopes": ["read"]})
                if answer.status_code == 200:
                    self.acknowledged.add(answer.json()["apiKey"]["id"])

    async def write_over_grpc(self) -> None:
        request = CreateApiKeyRequest(name="Over gRPC", scopes=["read"])
        with suppress(grpc.aio.AioRpcError):
            while True:
                answer = await self._stubs.keys.CreateApiKey(request, metadata=self._stubs.metadata)
                self.acknowledged.add(answer.api_key.id)


async def _all_ids(rest: httpx2.AsyncClient) -> set[str]:
    ids: set[str] = set()
    token = ""
    while True:
        page = (await rest.get(_KEYS, params={"page_size": 100, "page_token": token})).json()
        ids |= {key["id"] for key in page.get("apiKeys", [])}
        token = page.get("nextPageToken", "")
        if not token:
            return ids


async def _write_until(kill: Callable[[], None], server: Server, count: int) -> set[str]:
    """Let several clients create keys, kill something in the middle, and return what was acknowledged."""
    async with server.clients() as (rest, stubs):
        writer = _Writer(rest, stubs)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(writer.write_over_rest())
                group.create_task(writer.write_over_grpc())
            await until(lambda: len(writer.acknowledged) >= count)
            kill()
        return writer.acknowledged


async def test_a_killed_server_loses_no_acknowledged_key_and_starts_again_at_once(installation: Installation) -> None:
    async with installation.serving() as server:
        acknowledged = await _write_until(lambda: server.signal(signal.SIGKILL), server, 200)
        assert await server.ended() == -signal.SIGKILL

        async with installation.serving() as successor, successor.rest() as rest:
            assert acknowledged <= await _all_ids(rest)
            assert len(children_of(successor.pid)) == 1
        await server.all_gone(5)


async def test_a_killed_server_leaves_no_process_behind(installation: Installation) -> None:
    async with installation.serving() as server:
        assert len(server.processes()) > 2

        server.signal(signal.SIGKILL)

        await server.all_gone(5)


async def test_a_killed_server_and_postgres_lose_no_acknowledged_key(installation: Installation) -> None:
    def pull_the_plug() -> None:
        for pid in sorted(server.processes()):
            with contextlib.suppress(ProcessLookupError):  # PostgreSQL's own die with their postmaster, maybe sooner
                os.kill(pid, signal.SIGKILL)

    async with installation.serving() as server:
        acknowledged = await _write_until(pull_the_plug, server, 200)
        await server.ended()

    async with installation.serving() as successor, successor.rest() as rest:
        assert acknowledged <= await _all_ids(rest)


async def test_a_killed_postgres_loses_no_acknowledged_key(installation: Installation) -> None:
    async with installation.serving() as server, server.clients() as (rest, stubs):
        writer = _Writer(rest, stubs)
        async with asyncio.TaskGroup() as group:
            writers = [group.create_task(writer.write_over_rest()) for _ in range(4)]
            await until(lambda: len(writer.acknowledged) >= 100)
            os.kill(server.postgres, signal.SIGKILL)
            before = len(writer.acknowledged)
            await until(lambda: len(writer.acknowledged) >= before + 100)
            for task in writers:
                task.cancel()

        assert writer.acknowledged <= await _all_ids(rest)


async def test_what_callers_are_told_of_a_fault_says_nothing_of_the_database(installation: Installation) -> None:
    async with installation.serving() as server, server.clients() as (rest, stubs):
        with frozen(server.postgres, *children_of(server.postgres)):
            request = stubs.keys.ListApiKeys(ListApiKeysRequest(), metadata=stubs.metadata)
            over_rest, over_grpc = await asyncio.gather(rest.get(_KEYS), request, return_exceptions=True)

    assert isinstance(over_rest, httpx2.Response)
    assert isinstance(over_grpc, grpc.aio.AioRpcError)
    assert over_rest.json()["code"] == "ERROR_CODE_UNAVAILABLE"
    assert over_rest.json()["message"] == over_grpc.details()
    assert "postgres" not in over_rest.text.lower()
