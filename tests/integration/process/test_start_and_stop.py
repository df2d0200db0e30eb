"""From an empty folder to "Ready", and back to no process at all, keeping what was acknowledged."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sdk.developer.v1.api_key_pb2 import ApiKey
from sdk.developer.v1.developer_service_pb2 import CreateApiKeyRequest, ListApiKeysRequest, UpdateApiKeyRequest

from server.postgres.pool import Connection

from .installation import ROOT, Installation, Server, Stubs, until

_KEYS = "/v1/developer/keys"


async def _create(client: httpx2.AsyncClient, name: str) -> str:
    response = await client.post(_KEYS, json={"name": name, "scopes": ["read"]})
    assert response.status_code == 200, response.text
    return str(response.json()["apiKey"]["id"])


async def _names(client: httpx2.AsyncClient) -> list[str]:
    return [key["name"] for key in (await client.get(_KEYS)).json()["apiKeys"]]


async def test_it_starts_from_nothing_and_the_printed_token_works(fresh: Installation) -> None:
    async with fresh.serving() as server, server.clients() as (rest, stubs):
        await _create(rest, "Made over REST")
        await stubs.keys.CreateApiKey(
            CreateApiKeyRequest(name="Made over gRPC", scopes=["read"]), metadata=stubs.metadata
        )
        listed = await stubs.keys.ListApiKeys(ListApiKeysRequest(), metadata=stubs.metadata)

        assert [key.name for key in listed.api_keys] == ["Made over gRPC", "Made over REST"]
        assert await _names(rest) == ["Made over gRPC", "Made over REST"]
        assert server.out.startswith("First start: ")
        assert server.complaints == []


async def test_it_prints_lines_to_paste(installation: Installation) -> None:
    async with installation.serving() as server:
        told, addresses = server.out, server.addresses

    assert f"curl -sS http://{addresses.http}{_KEYS} " in told
    assert re.search(rf"^grpcurl -plaintext .* {addresses.grpc} sdk\.developer\.v1\.", told, re.MULTILINE)
    assert "First start" not in told


async def test_secrets_in_the_data_directory_are_private(installation: Installation) -> None:
    kept = {path.name: path.stat().st_mode & 0o777 for path in installation.data_dir.iterdir()}

    assert installation.data_dir.stat().st_mode & 0o777 == 0o700
    assert kept["issuer-key.pem"] == kept["pepper"] == 0o600


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_within_ten_seconds_and_leaves_no_process(
    installation: Installation, sign: signal.Signals
) -> None:
    async with installation.serving() as server, server.rest() as rest:
        await _create(rest, "Kept")
        assert len(server.processes()) > 2

        server.signal(sign)

        assert await server.ended(10) == 0
        await server.all_gone(0)
        assert server.complaints == []

    async with installation.serving() as server, server.rest() as rest:
        assert await _names(rest) == ["Kept"]
        assert server.seconds_to_ready < 10  # the goal is 2; tests share the machine


async def test_an_impatient_second_signal_does_no_harm(installation: Installation) -> None:
    async with installation.serving() as server:
        for _ in range(3):
            os.killpg(server.pid, signal.SIGINT)

        assert await server.ended(10) == 0
        await server.all_gone(0)
        assert server.complaints == []


@contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    """Make a terminal: the side a person types on, and the side programs see."""
    person, program = pty.openpty()
    try:
        yield person, program
    finally:
        os.close(person)
        os.close(program)


async def test_ctrl_c_in_a_terminal_ends_make_run_and_leaves_no_process(installation: Installation) -> None:
    output = installation.folder / "server.out"
    with _terminal() as (person, program), output.open("wb") as stdout:
        make = subprocess.Popen(
            ["setsid", "--ctty", "make", "--silent", "--old-file=setup", "run"],
            cwd=ROOT,
            env=installation.variables(),
            stdin=program,
            stdout=stdout,
            stderr=stdout,
        )
        (installation.folder / "server.err").touch()
        server = Server(installation, make)
        try:
            await server.ready()
            assert len(server.processes()) > 2

            os.write(person, termios.tcgetattr(person)[6][termios.VINTR])

            await server.ended(10)
            await server.all_gone(2)
            assert "Stopping: calls in flight may finish." in server.out
            assert "Traceback" not in server.out
        finally:
            await server.end()


@asynccontextmanager
async def _row_locked(connection: Connection, key_id: str) -> AsyncIterator[None]:
    async with connection.transaction():
        await connection.execute("SELECT 1 FROM api_keys WHERE id = $1 FOR UPDATE", key_id)
        yield


async def _waiting(connection: Connection, count: int) -> None:
    """Wait until so many calls hang on a lock."""
    async with asyncio.timeout(1):
        while count != await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name <> ''"
        ):
            await asyncio.sleep(0.01)


async def _rename_over_grpc(stubs: Stubs, key_id: str) -> ApiKey:
    answer = await stubs.keys.UpdateApiKey(UpdateApiKeyRequest(id=key_id, name="By gRPC"), metadata=stubs.metadata)
    return answer.api_key


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_calls_in_flight_finish_before_it_ends(installation: Installation, sign: signal.Signals) -> None:
    async with (
        installation.serving() as server,
        server.clients() as (rest, stubs),
        installation.database() as connection,
        asyncio.TaskGroup() as calls,
    ):
        key_id = await _create(rest, "Slow")
        async with _row_locked(connection, key_id):
            over_rest = calls.create_task(rest.patch(f"{_KEYS}/{key_id}", json={"name": "By REST"}))
            over_grpc = calls.create_task(_rename_over_grpc(stubs, key_id))
            await _waiting(connection, 2)
            server.signal(sign)
            await until(lambda: "Stopping" in server.out)
            refused = await _is_refused(server.addresses.http)

        assert refused
        assert (await over_rest).json()["apiKey"]["name"] == "By REST"
        assert (await over_grpc).name == "By gRPC"
        assert await server.ended(10) == 0
        await server.all_gone(0)


async def _is_refused(address: str) -> bool:
    """Tell whether new connections are turned away, which begins a moment after the word "Stopping"."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(1):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                return True
            writer.close()
            await asyncio.sleep(0.01)


async def test_who_watches_health_is_told_that_the_server_goes(installation: Installation) -> None:
    async with installation.serving() as server, server.grpc() as stubs:
        health: Any = health_pb2_grpc.HealthStub(stubs.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING

        server.signal(signal.SIGTERM)

        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await server.ended(10) == 0
        await server.all_gone(0)


async def test_a_signal_during_the_start_ends_it_as_well(fresh: Installation) -> None:
    process = fresh.spawn(fresh.command("serve"), output=fresh.folder / "server")
    server = Server(fresh, process)
    try:
        await until(lambda: "First start" in server.out)
        await until(lambda: any(fresh.postgres_dir.glob("data*")))
        server.signal(signal.SIGTERM)

        assert await server.ended(10) == 0
        await server.all_gone(0)
        assert server.complaints == []
    finally:
        await server.end()
