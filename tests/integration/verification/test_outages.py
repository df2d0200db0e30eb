"""PostgreSQL frozen and restarted under servers that verify: no answer is better than a wrong one."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server.errors import Unavailable
from server.ids import DeveloperId
from server.postgres.embedded import EmbeddedPostgres
from server.postgres.migrate import migrate
from server.postgres.pool import Database
from server.verification.cache import LIFETIME_SECONDS
from server.verification.model import Question
from server.verification.verdict import Verdict
from tests.database import short_folder
from tests.integration.keys.vault import register
from tests.integration.postgres.conftest import children_of, frozen
from tests.integration.verification.platform import Replica, new_key, replica

PEEK = Question(explain=True)


@pytest_asyncio.fixture(loop_scope="session")
async def postgres() -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL to hurt, not started."""
    async with short_folder() as folder:
        postgres = EmbeddedPostgres(folder, settings={"fsync": "off", "max_connections": "60"})
        yield postgres
        await postgres.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def url(postgres: EmbeddedPostgres) -> str:
    """Where it is, started and with our schema."""
    url = await postgres.start()
    await migrate(url)
    return url


@pytest_asyncio.fixture(loop_scope="session")
async def pair(url: str) -> AsyncIterator[tuple[Replica, Replica]]:
    async with replica(url) as one, replica(url) as other:
        yield one, other


@pytest_asyncio.fixture(loop_scope="session")
async def alice(url: str) -> DeveloperId:
    database = Database(url)
    await database.open()
    try:
        return await register(database, "alice")
    finally:
        await database.close()


async def _until_unknown(replica: Replica, secret: str, *, within: float) -> None:
    """Ask until there is no answer; until then the key is good."""
    started = time.monotonic()
    while True:
        try:
            assert await replica.verdict(secret, PEEK) is Verdict.VALID
        except Unavailable:
            return
        assert time.monotonic() - started < within, "an answer from memory outlived its time"
        await asyncio.sleep(0.01)


async def _until_known(replica: Replica, secret: str, *, within: float) -> Verdict:
    started = time.monotonic()
    while True:
        try:
            return await replica.verdict(secret, PEEK)
        except Unavailable:
            assert time.monotonic() - started < within, "the server does not heal"
            await asyncio.sleep(0.05)


async def _process_of(postgres: EmbeddedPostgres, database: Database) -> int:
    row = await database.fetchrow("SELECT pg_backend_pid() AS pid")
    assert row
    with open(f"/proc/{row['pid']}/stat") as status:
        return int(status.read().rpartition(")")[2].split()[1])


async def test_a_frozen_database_gives_no_answer_and_then_the_right_one(
    postgres: EmbeddedPostgres, pair: tuple[Replica, Replica], alice: DeveloperId
) -> None:
    one, other = pair
    key_id, secret, actor = await new_key(one, alice)
    doomed_id, doomed, _ = await new_key(one, alice)
    for each in (secret, doomed):
        assert await other.verdict(each) is Verdict.VALID
    server = await _process_of(postgres, one.database)

    with frozen(server, *children_of(server)):
        revoking = asyncio.create_task(one.keys.revoke(actor, doomed_id))
        await _until_unknown(other, doomed, within=LIFETIME_SECONDS)
        with pytest.raises(Unavailable):
            await other.verdict(secret)
        outcome = (await asyncio.gather(revoking, return_exceptions=True))[0]
        assert isinstance(outcome, Unavailable)

    assert await _until_known(other, secret, within=10) is Verdict.VALID
    row = await one.database.fetchrow("SELECT revoked_at FROM api_keys WHERE id = $1", doomed_id)
    assert row
    expected = Verdict.VALID if row["revoked_at"] is None else Verdict.REVOKED
    assert await _until_known(other, doomed, within=5) is expected
    if expected is Verdict.VALID:
        await one.keys.revoke(actor, doomed_id)
    assert await other.listener.wait_connected(5)
    await one.keys.revoke(actor, key_id, wait=True)
    assert await other.verdict(secret) is Verdict.REVOKED


async def test_a_restarted_database_is_heard_again(
    postgres: EmbeddedPostgres, pair: tuple[Replica, Replica], alice: DeveloperId
) -> None:
    one, other = pair
    key_id, secret, actor = await new_key(one, alice)
    assert await other.verdict(secret) is Verdict.VALID

    await postgres.stop()
    with pytest.raises(Unavailable):
        await other.verdict(secret)
    await postgres.start()
    assert await _until_known(one, secret, within=10) is Verdict.VALID
    assert await _until_known(other, secret, within=10) is Verdict.VALID
    started = time.monotonic()
    await one.keys.revoke(actor, key_id)
    while await other.verdict(secret, PEEK) is Verdict.VALID:
        assert time.monotonic() - started < LIFETIME_SECONDS
        await asyncio.sleep(0.005)

    assert await other.verdict(secret) is Verdict.REVOKED
