"""When keys and secrets were last used: forward only, never waiting for anybody, and no news to verifiers."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs

from server.errors import Unavailable
from server.ids import DeveloperId
from server.keys.model import Environment
from server.keys.secret import draw
from server.metering.batch import SecretUse
from server.metering.counters import Counters, Use
from server.postgres.pool import Connection, Database, Record
from server.secret import Secret
from tests.database import Clock
from tests.integration.keys.vault import PEPPERS
from tests.integration.metering.meter import LossyDatabase, add_key, meter

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Seconds:
    """The clock of one process."""

    def __init__(self, moment: datetime = NOON) -> None:
        self.moment = moment

    def __call__(self) -> float:
        return self.moment.timestamp()


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def counters(seconds: Seconds) -> Counters:
    return Counters(clock=seconds)


@pytest.fixture(autouse=True)
async def evening(clock: Clock) -> None:
    """The database's clock, stopped hours later."""
    await clock.set(NOON + timedelta(hours=8))


async def key_row(database: Database, use: Use) -> Record:
    row = await database.fetchrow("SELECT * FROM api_keys WHERE id = $1", use.key_id)
    assert row
    return row


async def secret_row(database: Database, use: Use) -> Record:
    row = await database.fetchrow("SELECT * FROM api_key_secrets WHERE key_prefix = $1", use.key_prefix)
    assert row
    return row


async def test_a_use_shows_on_the_key_and_on_its_secret(database: Database, counters: Counters, key: Use) -> None:
    counters.count(key, "", "valid", 1, "2001:db8::1")
    await meter(database, counters).note_uses()
    assert (await key_row(database, key))["last_used_at"] == NOON
    secret = await secret_row(database, key)
    assert (secret["last_used_at"], secret["last_client_ip"]) == (NOON, "2001:db8::1")


async def test_an_address_that_is_not_known_is_none(database: Database, counters: Counters, key: Use) -> None:
    counters.count(key, "", "valid", 1, "")
    await meter(database, counters).note_uses()
    assert (await secret_row(database, key))["last_client_ip"] is None


async def test_secrets_of_one_key_are_told_apart(
    database: Database, counters: Counters, seconds: Seconds, key: Use
) -> None:
    await database.execute("UPDATE api_key_secrets SET expires_at = 'infinity'")
    await database.execute(
        "INSERT INTO api_key_secrets (key_prefix, key_id, version, digest, pepper_version, created_at)"
        " SELECT 'newer', key_id, 2, digest, 1, created_at FROM api_key_secrets"
    )
    newer = Use(key_id=key.key_id, developer_id=key.developer_id, key_prefix="newer", secret_version=2)
    counters.count(newer, "", "valid", 1, "192.0.2.2")
    seconds.moment += timedelta(minutes=1)
    counters.count(key, "", "valid", 1, "192.0.2.1")
    await meter(database, counters).note_uses()
    assert (await secret_row(database, newer))["last_used_at"] == NOON
    assert (await secret_row(database, key))["last_used_at"] == NOON + timedelta(minutes=1)
    assert (await key_row(database, key))["last_used_at"] == NOON + timedelta(minutes=1)


async def test_a_replica_that_comes_late_moves_nothing_back(
    database: Database, counters: Counters, seconds: Seconds, key: Use
) -> None:
    late = Counters(clock=Seconds(NOON - timedelta(seconds=30)))
    late.count(key, "", "valid", 1, "192.0.2.9")
    counters.count(key, "", "valid", 1, "192.0.2.1")
    await meter(database, counters).note_uses()
    await meter(database, late).note_uses()
    assert (await key_row(database, key))["last_used_at"] == NOON
    secret = await secret_row(database, key)
    assert (secret["last_used_at"], secret["last_client_ip"]) == (NOON, "192.0.2.1")
    seconds.moment += timedelta(seconds=1)
    counters.count(key, "", "valid", 1, "192.0.2.2")
    await meter(database, counters).note_uses()
    assert (await secret_row(database, key))["last_client_ip"] == "192.0.2.2"


async def test_no_use_lies_in_the_future(
    database: Database, clock: Clock, counters: Counters, seconds: Seconds, key: Use
) -> None:
    seconds.moment += timedelta(days=400)
    counters.count(key, "", "valid", 1, "")
    await meter(database, counters).note_uses()
    assert (await key_row(database, key))["last_used_at"] == await clock.now()


@pytest.mark.parametrize("table", ["api_keys", "api_key_secrets"])
async def test_a_row_that_another_holds_is_passed_over_at_once_and_noted_later(
    database: Database, counters: Counters, alice: DeveloperId, key: Use, table: str
) -> None:
    service = meter(database, counters)
    free = await add_key(database, alice)
    column, value = ("id", key.key_id) if table == "api_keys" else ("key_prefix", key.key_prefix)

    async def note_meanwhile(connection: Connection) -> None:
        await connection.execute(f"SELECT FROM {table} WHERE {column} = $1 FOR UPDATE", value)
        counters.count(key, "", "valid", 1, "")
        counters.count(free, "", "valid", 1, "")
        async with asyncio.timeout(1):
            await service.note_uses()

    await database.transaction(note_meanwhile)
    assert (await key_row(database, free))["last_used_at"] == NOON
    held = key_row if table == "api_keys" else secret_row
    assert (await held(database, key))["last_used_at"] is None
    await service.note_uses()
    assert (await held(database, key))["last_used_at"] == NOON
    assert counters.take_uses() == []


async def test_noting_holds_up_nobody_who_adds_a_secret(database: Database, counters: Counters, key: Use) -> None:
    async def note(connection: Connection) -> None:
        counters.count(key, "", "valid", 1, "")
        service = meter(database, counters)
        service._store._connection = connection  # within a transaction that stays open
        await service.note_uses()
        async with asyncio.timeout(1), database.connection() as other:
            await other.fetchval("SELECT id FROM api_keys WHERE id = $1 FOR KEY SHARE", key.key_id)

    await database.transaction(note)


async def test_uses_outlive_an_outage(lossy: LossyDatabase, database: Database, counters: Counters, key: Use) -> None:
    counters.count(key, "", "valid", 1, "192.0.2.1")
    service = meter(lossy, counters)
    for refusing in (True, False):
        lossy.lost, lossy.refusing = 1, refusing
        with pytest.raises(Unavailable):
            await service.note_uses()
    await service.note_uses()
    assert (await secret_row(database, key))["last_client_ip"] == "192.0.2.1"


async def test_more_uses_than_one_statement_takes_are_all_noted(
    database: Database, counters: Counters, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.metering.service._USES_AT_ONCE", 2)
    keys = [await add_key(database, alice) for _ in range(5)]
    for key in keys:
        counters.count(key, "", "valid", 1, "")
    await meter(database, counters).note_uses()
    assert [(await key_row(database, key))["last_used_at"] for key in keys] == [NOON] * 5


async def test_a_use_that_the_database_refuses_is_dropped_and_poisons_no_other(
    database: Database, counters: Counters, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [await add_key(database, alice) for _ in range(5)]
    for key in keys:
        counters.count(key, "", "valid", 1, "192.0.2.1")
    poisoned = [
        use._replace(client_ip="secret\0") if use.key_id == keys[1].key_id else use for use in counters.take_uses()
    ]
    monkeypatch.setattr(Counters, "take_uses", lambda _: list[SecretUse](poisoned))
    with capture_logs() as logs:
        await meter(database, counters).note_uses()
    noted = [(await secret_row(database, key))["last_used_at"] for key in keys]
    assert noted == [NOON, None, NOON, NOON, NOON]
    assert [log["event"] for log in logs].count("metering_use_dropped") == 1
    assert "secret" not in str(logs)
    monkeypatch.undo()
    assert counters.take_uses() == []


async def store_digest(database: Database, use: Use, secret: Secret, version: int) -> None:
    await database.execute(
        "UPDATE api_key_secrets SET digest = $2, pepper_version = $3 WHERE key_prefix = $1",
        use.key_prefix,
        PEPPERS.digest(secret, version),
        version,
    )


async def test_a_secret_moves_to_the_current_pepper(database: Database, counters: Counters, key: Use) -> None:
    secret = draw(Environment.TEST)
    await store_digest(database, key, secret, 1)
    counters.redigest(key.key_prefix, PEPPERS.digest(secret, 2), 2, 1)
    await meter(database, counters).note_uses()
    row = await secret_row(database, key)
    assert row["pepper_version"] == 2
    assert PEPPERS.proves(secret, row["digest"], 2)


async def test_a_secret_that_has_left_the_old_pepper_is_let_be(
    database: Database, counters: Counters, key: Use
) -> None:
    secret = draw(Environment.TEST)
    await store_digest(database, key, secret, 2)
    counters.redigest(key.key_prefix, bytes(32), 3, 1)
    await meter(database, counters).note_uses()
    row = await secret_row(database, key)
    assert (row["pepper_version"], PEPPERS.proves(secret, row["digest"], 2)) == (2, True)


async def test_a_secret_that_another_holds_keeps_its_digest_for_now(
    database: Database, counters: Counters, key: Use
) -> None:
    async def renew_meanwhile(connection: Connection) -> None:
        await connection.execute("SELECT FROM api_key_secrets FOR UPDATE")
        counters.redigest(key.key_prefix, bytes(32), 2, 1)
        async with asyncio.timeout(1):
            await meter(database, counters).note_uses()

    await database.transaction(renew_meanwhile)
    assert (await secret_row(database, key))["pepper_version"] == 1


async def test_use_and_new_digests_are_no_news_to_verifiers(
    database: Database, database_url: str, counters: Counters, key: Use
) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()
    listener = await asyncpg.connect(database_url)
    await listener.add_listener("verification", lambda *message: heard.put_nowait(message[-1]))
    counters.count(key, "", "valid", 1, "192.0.2.1")
    counters.redigest(key.key_prefix, bytes(32), 2, 1)
    await meter(database, counters).note_uses()
    await database.execute("UPDATE api_keys SET expires_at = $1", NOON + timedelta(days=1))
    async with asyncio.timeout(5):
        assert await heard.get() == key.key_id
    assert heard.empty()
    assert (await key_row(database, key))["last_used_at"] == NOON
    assert (await secret_row(database, key))["pepper_version"] == 2
    await listener.close()
