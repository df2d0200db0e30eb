"""Changes of rows tell each id once, very many of them `*`, and use of keys nothing."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from server.postgres.pool import Connection, Database

_KEYS = 1_001


@pytest_asyncio.fixture(loop_scope="session")
async def keys(database: Database) -> Database:
    """Keys `key1` and so on of as many developers, with a secret each."""
    numbers = f"FROM generate_series(1, {_KEYS}) AS n"
    await database.execute(f"INSERT INTO developers SELECT 'dev' || n, 'i', n::text, now() {numbers}")
    await database.execute(
        "INSERT INTO api_keys (id, developer_id, name, environment, scopes, key_prefix, created_at)"
        f" SELECT 'key' || n, 'dev' || n, 'n', 'live', '{{read}}', 'p' || n, now() {numbers}"
    )
    await database.execute(
        "INSERT INTO api_key_secrets (key_prefix, key_id, version, digest, pepper_version, created_at)"
        f" SELECT 'p' || n, 'key' || n, 1, sha256('x'), 1, now() {numbers}"
    )
    return database


@pytest_asyncio.fixture(loop_scope="session")
async def listener(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def _told(listener: Connection, database: Database, statement: str) -> list[str]:
    told: list[str] = []
    end = asyncio.Event()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        end.set() if payload == "end" else told.append(str(payload))

    await listener.add_listener("verification", hear)
    await database.execute(statement)
    await database.execute("NOTIFY verification, 'end'")
    async with asyncio.timeout(5):
        await end.wait()
    await listener.remove_listener("verification", hear)
    return sorted(told)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE developers SET tier = tier", []),
        ("UPDATE developers SET suspended_at = now() WHERE id IN ('dev1', 'dev2')", ["dev1", "dev2"]),
        ("UPDATE developers SET suspended_at = now()", ["*"]),
        ("UPDATE api_keys SET last_used_at = now(), name = 'm'", []),
        ("UPDATE api_keys SET revoked_at = CASE WHEN id = 'key3' THEN now() END", ["key3"]),
        ("UPDATE api_keys SET scopes = '{write}'", ["*"]),
        ("UPDATE api_key_secrets SET last_used_at = now(), last_client_ip = 'x', digest = sha256('y')", []),
        ("UPDATE api_key_secrets SET expires_at = now() WHERE key_id = 'key1'", ["key1"]),
        ("UPDATE api_key_secrets SET expires_at = now()", ["*"]),
        ("DELETE FROM api_key_secrets WHERE key_id = 'key1'", ["key1"]),
        ("DELETE FROM api_key_secrets", ["*"]),
        ("UPDATE tiers SET requests = 7", ["*"]),
    ],
)
async def test_a_statement_tells_what_it_changed(
    keys: Database, listener: Connection, statement: str, told: list[str]
) -> None:
    assert await _told(listener, keys, statement) == told


async def test_a_thousand_are_told_one_by_one(keys: Database, listener: Connection) -> None:
    told = await _told(listener, keys, "UPDATE api_keys SET revoked_at = now() WHERE id <> 'key1'")

    assert told == sorted(f"key{number}" for number in range(2, _KEYS + 1))
