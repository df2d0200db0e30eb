"""The service over a real PgBouncer that lends its few connections for one transaction at a time."""

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
import pytest_asyncio
from sdk.metering.v1.metering_service_pb2 import (
    ACQUISITION_OUTCOME_BILLABLE,
    ACQUISITION_OUTCOME_DUPLICATE,
    GetUsageRequest,
    RecordStreamAcquisitionsRequest,
    StreamAcquisition,
)
from sdk.metering.v1.metering_service_pb2_grpc import MeteringServiceStub
from sdk.usage.v1.usage_pb2 import GRANULARITY_MINUTE, MEDIUM_MUSIC
from sdk.verification.v1.verdict_pb2 import VERDICT_REVOKED, VERDICT_VALID
from sdk.verification.v1.verification_service_pb2 import CONSISTENCY_FRESH, VerifyApiKeyRequest
from sdk.verification.v1.verification_service_pb2_grpc import VerificationServiceStub

from bench.fleet import Daemon, debian_postgres, free_port, give_away, running
from bench.setting import connection
from server.errors import Unavailable
from server.postgres.migrate import migrate
from tests.database import short_folder
from tests.e2e.clients import GrpcClient
from tests.service import serving

pytestmark = pytest.mark.interop

_SERVER_CONNECTIONS = 4
"""What PgBouncer opens at most; the services open some forty to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A database, past the pooler and through it."""

    direct: str
    through: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pooled() -> AsyncIterator[Pooled]:
    """PgBouncer of the distribution before its PostgreSQL, as an operator would configure it."""
    async with short_folder() as folder, debian_postgres(folder) as direct:
        await migrate(direct)
        server, port, place = urlsplit(direct), free_port(), folder / "pgbouncer"
        place.mkdir(mode=0o700)
        users, configuration = place / "userlist.txt", place / "pgbouncer.ini"
        users.write_text(f'"{server.username}" "{server.password}"\n')
        configuration.write_text(
            "[databases]\n"
            f"postgres = host={server.hostname} port={server.port}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\n"
            f"pool_mode = transaction\ndefault_pool_size = {_SERVER_CONNECTIONS}\nmax_client_conn = 200\n"
        )
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        assert Path(program).exists(), "pgbouncer not found: run .ci/tools"
        user = give_away(place, users, configuration)
        pooler = Daemon(program, configuration, log=folder / "log", ready="process up", user=user)
        async with running(pooler):
            through = server._replace(netloc=f"{server.username}:{server.password}@127.0.0.1:{port}").geturl()
            yield Pooled(direct=direct, through=through)


class Caller:
    """A developer and an internal service, both over gRPC, of one server."""

    def __init__(self, owner: GrpcClient, internal: grpc.aio.Channel, token: str) -> None:
        self.owner = owner
        self._metadata = [("authorization", f"Bearer {token}")]
        self._verification: Any = VerificationServiceStub(internal)
        self._metering: Any = MeteringServiceStub(internal)

    async def new_key(self) -> tuple[str, str]:
        """Create a key; return its id and secret."""
        created = await self.owner.new_key()
        return created["apiKey"]["id"], created["secret"]

    async def verdict(self, secret: str, **wish: Any) -> int:
        request = VerifyApiKeyRequest(api_key=secret, **wish)
        return int((await self._verification.VerifyApiKey(request, metadata=self._metadata)).verdict)

    async def record(self, *events: StreamAcquisition) -> list[int]:
        request = RecordStreamAcquisitionsRequest(acquisitions=events)
        answer = await self._metering.RecordStreamAcquisitions(request, metadata=self._metadata)
        return [result.outcome for result in answer.results]

    async def usage(self, **whose: str) -> Any:
        request = GetUsageRequest(granularity=GRANULARITY_MINUTE, **whose)
        return (await self._metering.GetUsage(request, metadata=self._metadata)).usage


@asynccontextmanager
async def server(pooled: Pooled, data_dir: Path, *, listens_at: str = "") -> AsyncIterator[Caller]:
    """Run a server through the pooler; it listens past it unless told to do so elsewhere."""
    settings = {
        "DATABASE_POOLER": "transaction",
        "DATABASE_DIRECT_URL": listens_at or pooled.direct,
        "management_rate": "100000/1",
    }
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(serving(pooled.through, data_dir, **settings))
        public, internal = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address))
            for address in (service.addresses.grpc, service.addresses.internal_grpc)
        ]
        owner = GrpcClient(token=service.token(), channel=public)
        yield Caller(owner, internal, (data_dir / "internal-token").read_text().strip())


async def test_a_revocation_is_heard_by_another_server_within_a_second(pooled: Pooled, data_dir: Path) -> None:
    async with server(pooled, data_dir) as one, server(pooled, data_dir) as other:
        key_id, secret = await one.new_key()
        assert [await each.verdict(secret) for each in (one, other)] == [VERDICT_VALID] * 2

        await one.owner.get("RevokeApiKey", id=key_id)
        revoked = time.monotonic()

        assert await one.verdict(secret) == VERDICT_REVOKED
        while await other.verdict(secret) == VERDICT_VALID:
            assert time.monotonic() - revoked < 1.0
        assert await other.verdict(secret) == VERDICT_REVOKED


async def test_a_server_that_listens_through_it_hears_nothing(pooled: Pooled, data_dir: Path) -> None:
    async with server(pooled, data_dir) as one, server(pooled, data_dir, listens_at=pooled.through) as deaf:
        key_id, secret = await one.new_key()
        assert await deaf.verdict(secret) == VERDICT_VALID

        await one.owner.get("RevokeApiKey", id=key_id)
        await asyncio.sleep(1.0)

        assert await deaf.verdict(secret) == VERDICT_VALID  # what DATABASE_DIRECT_URL is there for


async def test_a_server_that_is_not_told_of_it_refuses_to_start(pooled: Pooled, data_dir: Path) -> None:
    with pytest.raises(Unavailable, match="DATABASE_POOLER=transaction"):
        async with serving(pooled.through, data_dir):
            pytest.fail("it serves")


async def test_a_revocation_that_waits_is_confirmed_at_once(pooled: Pooled, data_dir: Path) -> None:
    async with server(pooled, data_dir) as one, server(pooled, data_dir) as other:
        key_id, secret = await one.new_key()
        assert await other.verdict(secret) == VERDICT_VALID

        async with asyncio.timeout(2):
            await one.owner.get("RevokeApiKey", id=key_id, wait=True)

        assert await other.verdict(secret) == VERDICT_REVOKED


async def test_many_share_few_connections(pooled: Pooled, data_dir: Path) -> None:
    async with server(pooled, data_dir) as one, server(pooled, data_dir) as other:
        keys = await asyncio.gather(*(caller.new_key() for caller in (one, other) * 15))
        asked = [
            caller.verdict(secret, consistency=CONSISTENCY_FRESH) for _, secret in keys for caller in (one, other) * 3
        ]

        assert set(await asyncio.gather(*asked)) == {VERDICT_VALID}
        assert await _connections(pooled) <= _SERVER_CONNECTIONS + 2  # and two that listen


async def test_calls_are_counted_and_streams_are_billed_once(pooled: Pooled, data_dir: Path) -> None:
    async with server(pooled, data_dir) as one, server(pooled, data_dir) as other:
        key_id, secret = await one.new_key()
        for caller in (one, other, other):
            assert await caller.verdict(secret) == VERDICT_VALID
        stream = _stream(await _owner(pooled, key_id))

        outcomes = [await caller.record(stream) for caller in (one, other)]

        assert outcomes == [[ACQUISITION_OUTCOME_BILLABLE], [ACQUISITION_OUTCOME_DUPLICATE]]
        async with asyncio.timeout(5):
            while (usage := await one.usage(key_id=key_id)).calls < 3:
                await asyncio.sleep(0.05)
        assert (usage.calls, usage.units) == (3, 3)


async def test_when_a_key_was_last_used_is_written_down(pooled: Pooled, data_dir: Path) -> None:
    async with server(pooled, data_dir) as one:
        async with server(pooled, data_dir) as other:
            key_id, secret = await one.new_key()
            assert await other.verdict(secret) == VERDICT_VALID
        key = await one.owner.get("GetApiKey", id=key_id)  # the other has ended, and written what it had

        used = datetime.fromisoformat(key["apiKey"]["lastUsedAt"])
        assert abs(datetime.now(UTC) - used) < timedelta(seconds=30)


def _stream(developer_id: str) -> StreamAcquisition:
    now = datetime.now(UTC)
    return StreamAcquisition(
        event_id=secrets.token_hex(8),
        developer_id=developer_id,
        client_id="client",
        user_id="user",
        content_id="track",
        medium=MEDIUM_MUSIC,
        quality="high",
        acquired_at=now.isoformat(),
        url_expires_at=(now + timedelta(hours=1)).isoformat(),
    )


async def _owner(pooled: Pooled, key_id: str) -> str:
    async with connection(pooled.direct) as database:
        return str(await database.fetchval("SELECT developer_id FROM api_keys WHERE id = $1", key_id))


async def _connections(pooled: Pooled) -> int:
    """Count the connections that PostgreSQL has with clients, but for the one that asks."""
    statement = (
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    async with connection(pooled.direct) as database:
        return int(await database.fetchval(statement))
