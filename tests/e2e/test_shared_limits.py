"""Two services that share their limits through Valkey, and what becomes of the limits without it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from sdk.verification.v1 import verdict_pb2
from sdk.verification.v1.verification_service_pb2 import CONSISTENCY_FRESH, VerifyApiKeyRequest
from sdk.verification.v1.verification_service_pb2_grpc import VerificationServiceStub

from server.limits import shared
from server.postgres.pool import Database
from tests.e2e.clients import Client
from tests.e2e.conftest import client_of
from tests.service import Service, serving
from tests.valkey import Valkey

VALID, RATE_LIMITED = verdict_pb2.VERDICT_VALID, verdict_pb2.VERDICT_RATE_LIMITED
LIMIT = 25


@dataclass(frozen=True, slots=True)
class Server:
    """One of two services: its internal port, its REST port and its metrics, as their callers see them."""

    stub: Any
    owner: Client
    metadata: Sequence[tuple[str, str]]
    metrics: str

    async def verify(self, api_key: str, **wish: Any) -> Any:
        """Ask about a key."""
        return await self.stub.VerifyApiKey(VerifyApiKeyRequest(api_key=api_key, **wish), metadata=self.metadata)

    async def metric(self, name: str) -> float:
        """Read a metric that has no labels."""
        async with httpx2.AsyncClient() as http:
            text = (await http.get(self.metrics)).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return next(sample.value for sample in samples if sample.name == name)


@asynccontextmanager
async def serving_twice(database_url: str, data_dir: Path, **settings: Any) -> AsyncIterator[list[Server]]:
    """Run two services over one database."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_server(database_url, data_dir, settings)) for _ in range(2)]


@asynccontextmanager
async def _server(database_url: str, data_dir: Path, settings: dict[str, Any]) -> AsyncIterator[Server]:
    async with AsyncExitStack() as stack:
        service: Service = await stack.enter_async_context(serving(database_url, data_dir, **settings))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.addresses.internal_grpc))
        owner = await stack.enter_async_context(client_of(service, "rest"))
        token = (data_dir / "internal-token").read_text().strip()
        metrics = f"http://{service.addresses.metrics}/metrics"
        yield Server(VerificationServiceStub(channel), owner, [("authorization", f"Bearer {token}")], metrics)


Twice = Callable[..., AbstractAsyncContextManager[list[Server]]]


@pytest.fixture
def twice(database_url: str, data_dir: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Twice:
    """Run two services with one Valkey, with further settings."""
    monkeypatch.setattr(shared, "_WATCH_SECONDS", 0.02)
    monkeypatch.setattr(shared, "_BUDGET_SECONDS", 10.0)  # so that a slow machine does not make them decide alone
    return partial(serving_twice, database_url, data_dir, valkey_url=valkey.url)


@pytest_asyncio.fixture(loop_scope="session")
async def servers(twice: Twice) -> AsyncIterator[list[Server]]:
    async with twice() as servers:
        yield servers


async def limited_key(servers: Sequence[Server], database: Database, limit: int) -> str:
    """Make a key with a limit of its own that every server knows of."""
    created = await servers[0].owner.new_key()
    change = "UPDATE api_keys SET rate_requests = $2, rate_seconds = 3600 WHERE id = $1"
    await database.execute(change, created["apiKey"]["id"], limit)
    for server in servers:
        answer = await server.verify(created["secret"], consistency=CONSISTENCY_FRESH, explain=True)
        assert answer.rate_limit.limit == limit
    secret: str = created["secret"]
    return secret


async def call_all(servers: Sequence[Server], texts: Sequence[str], calls: int) -> list[Any]:
    """Make calls at once, dealt to the servers and with the keys in turn."""
    wishes = [(servers[number % 2], texts[number // 2 % len(texts)]) for number in range(calls)]
    return await asyncio.gather(*(server.verify(text) for server, text in wishes))


def verdicts(answers: Sequence[Any]) -> dict[int, int]:
    return dict(Counter(answer.verdict for answer in answers))


async def test_exactly_as_many_parallel_calls_pass_as_the_limit_says(servers: list[Server], database: Database) -> None:
    secret = await limited_key(servers, database, LIMIT)

    answers = await call_all(servers, [secret], 4 * LIMIT)

    assert verdicts(answers) == {VALID: LIMIT, RATE_LIMITED: 3 * LIMIT}
    let_in = [answer.rate_limit for answer in answers if answer.verdict == VALID]
    assert sorted(limit.remaining for limit in let_in) == list(range(LIMIT))
    refused = [answer.rate_limit for answer in answers if answer.verdict == RATE_LIMITED]
    assert all((limit.limit, limit.remaining, limit.shared) == (LIMIT, 0, False) for limit in refused)
    assert all(3590 < limit.retry_after <= 3600 for limit in refused)
    assert [await server.metric("developer_limits_local_decisions_total") for server in servers] == [0, 0]


async def test_the_developers_cap_holds_over_all_keys(servers: list[Server], database: Database) -> None:
    await database.execute("UPDATE tiers SET developer_requests = $1, window_seconds = 3600", LIMIT)
    secrets = [await limited_key(servers, database, LIMIT) for _ in range(2)]

    answers = await call_all(servers, secrets, 4 * LIMIT)

    assert verdicts(answers) == {VALID: LIMIT, RATE_LIMITED: 3 * LIMIT}
    assert all(answer.rate_limit.shared for answer in answers if answer.verdict == RATE_LIMITED)
    used = Counter(answer.key_id for answer in answers if answer.verdict == VALID)
    assert len(used) == 2
    for server, secret in zip(servers, secrets, strict=True):
        assert (await server.verify(secret)).verdict == RATE_LIMITED


async def test_servers_that_share_nothing_would_be_noticed(
    database_url: str, data_dir: Path, database: Database
) -> None:
    async with serving_twice(database_url, data_dir) as servers:
        secret = await limited_key(servers, database, LIMIT)

        assert verdicts(await call_all(servers, [secret], 4 * LIMIT)) == {VALID: 2 * LIMIT, RATE_LIMITED: 2 * LIMIT}


async def test_a_token_has_one_window_on_all_rest_ports(twice: Twice) -> None:
    async with twice(management_rate=f"{LIMIT}/3600") as servers:
        token = servers[0].owner.token
        owners = [server.owner.bearing(token) for server in servers]
        answers = await asyncio.gather(
            *(owners[number % 2].call("ListApiKeys", {}) for number in range(4 * LIMIT)),
        )
        other_token = await servers[1].owner.call("ListApiKeys", {})

    assert Counter(answer.code for answer in answers) == {"OK": LIMIT, "ERROR_CODE_RATE_LIMITED": 3 * LIMIT}
    left = [int(answer.headers["x-ratelimit-remaining"]) for answer in answers if answer.code == "OK"]
    assert sorted(left) == list(range(LIMIT))
    assert all(3590 < (answer.retry_after or 0) <= 3600 for answer in answers if answer.code != "OK")
    assert other_token.code == "OK"


async def test_without_valkey_every_server_goes_on_by_itself(
    servers: list[Server], database: Database, valkey: Valkey
) -> None:
    secret = await limited_key(servers, database, 10)
    one, other = servers
    assert [await server.metric("developer_limits_shared") for server in servers] == [1, 1]
    assert [(await one.verify(secret)).verdict for _ in range(6)] == [VALID] * 6

    valkey.kill()
    of_one = [(await one.verify(secret)).verdict for _ in range(6)]
    of_other = [(await other.verify(secret)).verdict for _ in range(12)]

    assert of_one == [VALID] * 4 + [RATE_LIMITED] * 2  # what had passed there counts on
    assert of_other == [VALID] * 10 + [RATE_LIMITED] * 2
    assert [await server.metric("developer_limits_shared") for server in servers] == [0, 0]
    decided = [await server.metric("developer_limits_local_decisions_total") for server in servers]
    assert decided[0] >= 6
    assert decided[1] >= 12
    listed = [await server.owner.call("ListApiKeys", {}) for server in servers]
    assert [answer.code for answer in listed] == ["OK", "OK"]


async def test_a_valkey_that_comes_back_is_shared_again(
    servers: list[Server], database: Database, valkey: Valkey
) -> None:
    secret = await limited_key(servers, database, LIMIT)
    valkey.kill()
    for server in servers:
        assert (await server.verify(secret)).verdict == VALID
        assert await server.metric("developer_limits_shared") == 0

    valkey.start()
    async with asyncio.timeout(10):
        while [await server.metric("developer_limits_shared") for server in servers] != [1, 1]:
            await asyncio.sleep(0.01)
    decided = [await server.metric("developer_limits_local_decisions_total") for server in servers]
    answers = await call_all(servers, [secret], 4 * LIMIT)

    assert verdicts(answers) == {VALID: LIMIT, RATE_LIMITED: 3 * LIMIT}
    assert [await server.metric("developer_limits_local_decisions_total") for server in servers] == decided
