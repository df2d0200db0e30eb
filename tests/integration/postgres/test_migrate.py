"""Migrations are applied once, in order, whole or not at all; a schema that does not fit the code is told apart."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from server.errors import Unavailable
from server.postgres import migrate as module
from server.postgres.migrate import FOLDER, SchemaError, check, migrate, read_migrations
from server.postgres.pool import Database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a (n integer); INSERT INTO a VALUES (1);")
    (tmp_path / "0002_b.sql").write_text("CREATE TABLE b (n integer);")
    return tmp_path


@pytest_asyncio.fixture(loop_scope="session")
async def empty_database(empty_database_url: str) -> AsyncIterator[Database]:
    database = Database(empty_database_url)
    yield database
    await database.close()


async def test_every_file_is_applied_once_in_order(empty_database_url: str, folder: Path) -> None:
    assert await migrate(empty_database_url, folder) == ["0001_a.sql", "0002_b.sql"]
    assert await migrate(empty_database_url, folder) == []


async def test_our_own_files_apply(empty_database_url: str, empty_database: Database) -> None:
    await migrate(empty_database_url)

    await check(empty_database)


async def test_runners_that_start_together_share_the_work(empty_database_url: str, folder: Path) -> None:
    applied = await asyncio.gather(*(migrate(empty_database_url, folder) for _ in range(8)))

    assert sorted(applied) == [*([[]] * 7), ["0001_a.sql", "0002_b.sql"]]


async def test_a_failing_file_leaves_nothing_and_is_named(
    empty_database_url: str, empty_database: Database, folder: Path
) -> None:
    (folder / "0002_b.sql").write_text("CREATE TABLE b (n integer); SELECT nonsense;")

    with pytest.raises(SchemaError, match=r"0002_b\.sql fails and is undone: .*nonsense.*42703"):
        await migrate(empty_database_url, folder)

    assert await empty_database.fetchrow("SELECT 1 WHERE to_regclass('b') IS NULL AND to_regclass('a') IS NOT NULL")
    (folder / "0002_b.sql").write_text("CREATE TABLE b (n integer);")
    assert await migrate(empty_database_url, folder) == ["0002_b.sql"]


async def test_an_edited_file_is_refused_by_name(
    empty_database_url: str, empty_database: Database, folder: Path
) -> None:
    await migrate(empty_database_url, folder)
    (folder / "0001_a.sql").write_text("CREATE TABLE a (n bigint);")

    with pytest.raises(SchemaError, match=r"0001_a\.sql was edited"):
        await migrate(empty_database_url, folder)
    with pytest.raises(SchemaError, match=r"0001_a\.sql was edited"):
        await check(empty_database, folder)


async def test_a_newer_schema_is_refused(empty_database_url: str, empty_database: Database, folder: Path) -> None:
    await migrate(empty_database_url, folder)
    (folder / "0002_b.sql").unlink()

    with pytest.raises(SchemaError, match=r"0002_b\.sql, which this code does not know: it is newer"):
        await check(empty_database, folder)
    with pytest.raises(SchemaError, match="newer"):
        await migrate(empty_database_url, folder)


async def test_an_older_schema_is_refused_with_the_command_that_helps(
    empty_database_url: str, empty_database: Database, folder: Path
) -> None:
    with pytest.raises(SchemaError, match=r"lacks 2 .*0001_a\.sql.*python -m server migrate"):
        await check(empty_database, folder)

    await migrate(empty_database_url, folder)
    await check(empty_database, folder)


@pytest.mark.parametrize("name", ["0003_gap.sql", "2_short.sql", "0002_Upper.sql", "0001_again.sql"])
def test_a_misnamed_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "0001_a.sql").touch()
    (tmp_path / name).touch()

    with pytest.raises(SchemaError, match="should be migration 0002"):
        read_migrations(tmp_path)


async def test_a_database_out_of_reach_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no such file or directory"):
        await migrate(f"postgresql:///x?host={tmp_path}")


async def test_the_lock_is_free_afterwards(empty_database_url: str, folder: Path) -> None:
    await migrate(empty_database_url, folder)

    connection = await asyncpg.connect(empty_database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    finally:
        await connection.close()


async def test_a_file_outside_a_transaction_keeps_what_it_did_and_starts_anew(
    empty_database_url: str, empty_database: Database, folder: Path
) -> None:
    index = "DROP INDEX CONCURRENTLY IF EXISTS i;\n\nCREATE INDEX CONCURRENTLY i ON a (n);\n\n"
    (folder / "0002_b.sql").write_text(f"-- outside a transaction\n{index}SELECT nonsense;")

    with pytest.raises(SchemaError, match=r"0002_b\.sql stops and will start anew: .*nonsense"):
        await migrate(empty_database_url, folder)
    with pytest.raises(SchemaError, match="lacks 1"):
        await check(empty_database, folder)

    assert await empty_database.fetchrow("SELECT 1 WHERE to_regclass('i') IS NOT NULL")
    (folder / "0002_b.sql").write_text(f"-- outside a transaction\n{index}DO $$ BEGIN COMMIT; END $$;")
    assert await migrate(empty_database_url, folder) == ["0002_b.sql"]
    await check(empty_database, folder)


async def test_runners_that_wait_do_not_hold_up_an_index_built_concurrently(
    empty_database_url: str, folder: Path
) -> None:
    (folder / "0002_b.sql").write_text(
        "-- outside a transaction\nSELECT pg_sleep(0.5);\n\nCREATE INDEX CONCURRENTLY i ON a (n);"
    )

    async with asyncio.timeout(10):
        applied = await asyncio.gather(*(migrate(empty_database_url, folder) for _ in range(4)))

    assert sorted(applied) == [[], [], [], ["0001_a.sql", "0002_b.sql"]]


async def test_a_long_reader_holds_up_a_file_and_the_file_nobody_for_long(
    empty_database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty_database_url, folder)
    (folder / "0003_c.sql").write_text("ALTER TABLE a ADD COLUMN m integer;")
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "_LOCK_TIMEOUT", "SET LOCAL lock_timeout = '100ms'")
    reader, other = await asyncpg.connect(empty_database_url), await asyncpg.connect(empty_database_url)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT * FROM a")
            monkeypatch.setattr(module, "_TRIES", 2)
            with pytest.raises(SchemaError, match=r"0003_c\.sql is not applied: others hold its tables"):
                await migrate(empty_database_url, folder)
            monkeypatch.setattr(module, "_TRIES", 1000)
            migrating = asyncio.create_task(migrate(empty_database_url, folder))
            while not await other.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
                await asyncio.sleep(0.005)
            await other.fetch("SELECT * FROM a", timeout=1)
            assert not migrating.done()
        assert await migrating == ["0003_c.sql"]
    finally:
        await reader.close()
        await other.close()


async def test_existing_keys_are_kept_and_their_replaced_secrets_retired(
    empty_database_url: str, empty_database: Database, tmp_path: Path
) -> None:
    (tmp_path / "0001_developers_and_keys.sql").write_text((FOLDER / "0001_developers_and_keys.sql").read_text())
    await migrate(empty_database_url, tmp_path)
    add_secret = (
        "INSERT INTO api_key_secrets (key_prefix, key_id, version, digest, pepper_version, created_at, expires_at)"
        " VALUES ($1::text, 'key', $2::int, sha256('x'), 1, to_timestamp($2::int), to_timestamp($3))"
    )
    await empty_database.execute("INSERT INTO developers VALUES ('dev', 'i', 's', now())")
    await empty_database.execute("INSERT INTO api_keys VALUES ('key', 'dev', 'n', 'live', '{read}', 'p', now())")
    await empty_database.execute(add_secret, "a", 1, 9)
    await empty_database.execute(add_secret, "b", 2, 9)

    await migrate(empty_database_url)
    await empty_database.execute(add_secret, "c", 3, None)  # as the release before this one does

    rows = await empty_database.fetch(
        "SELECT extract(epoch FROM retired_at)::int AS at FROM api_key_secrets ORDER BY version"
    )
    assert [row["at"] for row in rows] == [2, 3, None]
    row = await empty_database.fetchrow(
        "SELECT bool_and(indisvalid) AND (SELECT bool_and(convalidated) FROM pg_constraint) AS valid FROM pg_index"
    )
    assert row
    assert row["valid"]


async def test_oauths_housekeeping_begins_anew_after_a_run_that_was_broken_off(
    empty_database_url: str, empty_database: Database
) -> None:
    await migrate(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    try:
        for statement in (FOLDER / "0012_oauth_housekeeping.sql").read_text().split("\n\n"):
            await connection.execute(statement)
        assert await connection.fetchval("SHOW lock_timeout") == "0"
    finally:
        await connection.close()

    row = await empty_database.fetchrow(
        "SELECT (SELECT bool_and(indisvalid) FROM pg_index) AND (SELECT bool_and(convalidated) FROM pg_constraint)"
        " AND to_regclass('oauth_refresh_tokens_by_end') IS NOT NULL AS valid"
    )
    assert row
    assert row["valid"]
