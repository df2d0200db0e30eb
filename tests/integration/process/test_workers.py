"""Several workers on the same ports: all serve, one metrics page tells of all, one that dies is replaced."""

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sdk.developer.v1.developer_service_pb2 import ListApiKeysRequest

from server.postgres.pool import Connection
from tests.integration.postgres.conftest import children_of, runs
from tests.valkey import Valkey

from .installation import POLL_SECONDS, PORTS, Installation, Server, until

_KEYS = "/v1/developer/keys"
_LIST = "/sdk.developer.v1.DeveloperService/ListApiKeys"


@asynccontextmanager
async def _two_workers(installation: Installation, valkey: Valkey, **settings: str) -> AsyncIterator[Server]:
    async with installation.serving(DEVELOPER_WORKERS="2", DEVELOPER_VALKEY_URL=valkey.url, **settings) as server:
        yield server


def _workers(server: Server) -> list[int]:
    """Return the workers' process ids."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in children_of(server.pid)}
    return sorted(pid for pid, command in commands.items() if b"worker" in command)


async def _samples(server: Server) -> dict[str, float]:
    """Return what the metrics page says."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        page = await client.get(f"http://{server.addresses.metrics}/metrics")
    assert page.status_code == 200
    return {name: float(value) for name, value in re.findall(r"^([^#]\S*) (\S+)$", page.text, re.MULTILINE)}


async def _list_over_rest(server: Server) -> None:
    """List the keys on a connection of its own."""
    async with server.rest() as rest:
        assert (await rest.get(_KEYS)).status_code == 200


async def _list_over_grpc(server: Server) -> None:
    """List the keys on a connection of its own."""
    async with server.grpc() as stubs:
        await stubs.keys.ListApiKeys(ListApiKeysRequest(), metadata=stubs.metadata)


def _calls(server: Server) -> Counter[int]:
    """Count the calls in the log by the worker that answered."""
    return Counter(event["worker"] for event in server.log if event["event"] == "call")


async def _answerer(server: Server, call: Awaitable[object]) -> int:
    """Make a call and return the worker that answered it."""
    before = _calls(server)
    await call
    await until(lambda: _calls(server) != before)
    (worker,) = _calls(server) - before
    return worker


async def _until_both_answered(server: Server, call: Callable[[Server], Awaitable[None]]) -> int:
    """Call, each time on a new connection, until each worker has answered; return how often it took."""
    answered: list[int] = []
    async with asyncio.timeout(10):
        while set(answered) != {0, 1}:
            answered.append(await _answerer(server, call(server)))
    return len(answered)


async def _client_of_each(server: Server, stack: AsyncExitStack) -> list[httpx2.AsyncClient]:
    """Return a client for each worker, with a connection to it."""
    clients: dict[int, httpx2.AsyncClient] = {}
    async with asyncio.timeout(10):
        while clients.keys() != {0, 1}:
            client = await stack.enter_async_context(server.rest())
            clients[await _answerer(server, client.get(_KEYS))] = client
    return list(clients.values())


async def test_two_workers_answer_on_the_same_ports_and_metrics_tell_of_both(
    fresh: Installation, valkey: Valkey
) -> None:
    async with _two_workers(fresh, valkey) as server:
        over_rest = await _until_both_answered(server, _list_over_rest)
        over_grpc = await _until_both_answered(server, _list_over_grpc)
        samples = await _samples(server)

        assert len(_workers(server)) == 2
        assert server.out.startswith("First start: ")
        assert server.out.count("Ready.") == 1
        assert server.complaints == []
        assert samples["developer_workers"] == 2
        assert samples["developer_workers_ended_total"] == 0
        assert samples[f'developer_calls_total{{method="{_LIST}",outcome="OK"}}'] == over_rest + over_grpc
        assert samples[f'developer_call_seconds_count{{method="{_LIST}"}}'] == over_rest + over_grpc
        for worker in ("", "0", "1"):
            assert samples[f'process_resident_memory_bytes{{worker="{worker}"}}'] > 0


async def test_a_killed_worker_is_replaced_and_calls_go_on(installation: Installation, valkey: Valkey) -> None:
    async with _two_workers(installation, valkey) as server:
        calls = await _until_both_answered(server, _list_over_rest)
        killed, other = _workers(server)

        os.kill(killed, signal.SIGKILL)
        await until(lambda: not runs(killed))
        for _ in range(20):
            await _list_over_rest(server)
            await _list_over_grpc(server)
        async with asyncio.timeout(10):
            while (await _samples(server))["developer_workers"] != 2:
                await asyncio.sleep(POLL_SECONDS)
        calls += 40 + await _until_both_answered(server, _list_over_grpc)

        samples = await _samples(server)
        assert samples[f'developer_calls_total{{method="{_LIST}",outcome="OK"}}'] == calls  # none of the dead forgotten
        assert samples["developer_workers_ended_total"] == 1
        assert [event["event"] for event in server.complaints] == ["worker_ended"]
        assert other in _workers(server)


@asynccontextmanager
async def _row_locked(connection: Connection, key_id: str) -> AsyncIterator[None]:
    async with connection.transaction():
        await connection.execute("SELECT 1 FROM api_keys WHERE id = $1 FOR UPDATE", key_id)
        yield


async def _waiting(connection: Connection, count: int) -> None:
    """Wait until so many calls hang on a lock. Not inside a transaction, which would see the same again and again."""
    async with asyncio.timeout(2):
        while count != await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name <> ''"
        ):
            await asyncio.sleep(POLL_SECONDS)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_calls_in_flight_finish_in_every_worker_before_it_ends(
    installation: Installation, valkey: Valkey, sign: signal.Signals
) -> None:
    async with (
        _two_workers(installation, valkey) as server,
        installation.database() as locker,
        installation.database() as observer,
        AsyncExitStack() as stack,
        asyncio.TaskGroup() as group,
    ):
        clients = await _client_of_each(server, stack)
        created = await clients[0].post(_KEYS, json={"name": "Slow", "scopes": ["read"]})
        key = f"{_KEYS}/{created.json()['apiKey']['id']}"
        async with _row_locked(locker, key.rpartition("/")[2]):
            calls = [group.create_task(client.patch(key, json={"name": "New"})) for client in clients]
            await _waiting(observer, len(calls))
            os.killpg(server.pid, sign)  # as a terminal does
            await until(lambda: "Stopping" in server.out)

        assert [(await call).status_code for call in calls] == [200, 200]
        assert await server.ended(10) == 0
        await server.all_gone(0)
        assert server.complaints == []

    async with installation.serving() as server, server.rest() as rest:
        assert (await rest.get(key)).json()["apiKey"]["name"] == "New"


async def test_watchers_of_health_learn_of_the_end_from_every_worker(
    installation: Installation, valkey: Valkey
) -> None:
    async with _two_workers(installation, valkey) as server, AsyncExitStack() as stack:
        watches = []
        for _ in range(8):
            stubs = await stack.enter_async_context(server.grpc())
            health: Any = health_pb2_grpc.HealthStub(stubs.channel)
            watches.append(health.Watch(health_pb2.HealthCheckRequest()))
        serving = {(await watch.read()).status for watch in watches}

        server.signal(signal.SIGTERM)

        assert serving == {health_pb2.HealthCheckResponse.SERVING}
        assert {(await watch.read()).status for watch in watches} == {health_pb2.HealthCheckResponse.NOT_SERVING}


async def test_a_killed_parent_leaves_no_process_behind(installation: Installation, valkey: Valkey) -> None:
    async with _two_workers(installation, valkey) as server:
        assert len(server.processes()) > 4

        server.signal(signal.SIGKILL)

        await server.all_gone(10)


async def test_a_parent_killed_while_workers_start_leaves_no_process_behind(
    installation: Installation, valkey: Valkey
) -> None:
    settings = {"DEVELOPER_WORKERS": "2", "DEVELOPER_VALKEY_URL": valkey.url}
    process = installation.spawn(installation.command("serve"), output=installation.folder / "server", **settings)
    server = Server(installation, process)
    try:
        await until(lambda: len(_workers(server)) == 2)

        server.signal(signal.SIGKILL)

        await server.all_gone(10)
        assert "Ready" not in server.out
    finally:
        await server.end()


async def test_a_killed_postgres_is_healed_under_all_workers(installation: Installation, valkey: Valkey) -> None:
    async with _two_workers(installation, valkey) as server:
        (postgres,) = set(children_of(server.pid)) - set(_workers(server))

        os.kill(postgres, signal.SIGKILL)
        await until(lambda: not runs(postgres))

        async with asyncio.timeout(15):
            for _ in range(20):
                await _until_it_lists(server)
        assert len(_workers(server)) == 2


async def _until_it_lists(server: Server) -> None:
    """List the keys, over and over while the server says that it cannot."""
    async with server.rest() as rest:
        while (answer := await rest.get(_KEYS)).status_code != 200:
            assert answer.status_code == 503
            await asyncio.sleep(POLL_SECONDS)


async def _refused(installation: Installation, valkey: Valkey, **settings: str) -> list[str]:
    """Return the faults that the start of two workers names."""
    ended = await installation.run("serve", DEVELOPER_WORKERS="2", DEVELOPER_VALKEY_URL=valkey.url, **settings)
    assert ended.returncode == 1, ended
    assert "Ready" not in ended.stdout
    title, *faults = ended.stderr.splitlines()
    assert title == "Cannot start:"
    return [fault.strip() for fault in faults]


async def test_ports_that_other_workers_share_are_refused(
    installation: Installation, valkey: Valkey, tmp_path: Path
) -> None:
    async with _two_workers(installation, valkey) as server:
        taken = {f"DEVELOPER_{port}_ADDRESS": getattr(server.addresses, port.lower()) for port in PORTS}

        faults = await _refused(installation, valkey, DEVELOPER_DATA_DIR=str(tmp_path / "other"), **taken)

    assert [fault.partition(":")[0] for fault in faults] == list(taken)


async def test_what_no_worker_could_start_with_is_told_once(installation: Installation, valkey: Valkey) -> None:
    (installation.data_dir / "pepper").write_text("spoilt")

    (fault,) = await _refused(installation, valkey)

    assert str(installation.data_dir / "pepper") in fault


async def test_workers_that_share_no_limits_are_refused(fresh: Installation) -> None:
    ended = await fresh.run("serve", DEVELOPER_WORKERS="2")

    assert ended.returncode == 1
    assert "DEVELOPER_VALKEY_URL" in ended.stderr
