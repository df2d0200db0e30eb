"""What the schema's functions let a role do that owns nothing: nothing, unless it is granted."""

import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

from server.metering.rollup import RollUp
from server.metering.service import _outlive
from server.postgres.errors import StatementFault
from server.postgres.pool import Connection, Database

_GRANT = "GRANT EXECUTE ON FUNCTION maintain_usage_partitions() TO"

_TRAP = """
    CREATE FUNCTION pg_temp.trap() RETURNS oid LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE 'CREATE TABLE IF NOT EXISTS taken AS SELECT current_user AS who';
        RETURN 1;
    END $$;
    CREATE TEMP VIEW pg_inherits AS SELECT pg_temp.trap() AS inhrelid, 'usage_hours'::regclass::oid AS inhparent;
    CREATE TEMP VIEW pg_class AS SELECT 1::oid AS oid, 'audit_events'::name AS relname;
    GRANT SELECT ON pg_inherits, pg_class TO PUBLIC;
"""


@pytest_asyncio.fixture(loop_scope="session")
async def role(database: Database) -> AsyncIterator[str]:
    """A role that may log in, by the password `x`, and do nothing else."""
    role = f"stranger_{secrets.token_hex(4)}"
    await database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    yield role
    await database.execute(f"DROP OWNED BY {role}")
    await database.execute(f"DROP ROLE {role}")


@pytest.fixture
def stranger_url(database_url: str, role: str) -> str:
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}"))


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(stranger_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(stranger_url)
    yield connection
    await connection.close()


async def _taken(database: Database) -> bool:
    row = await database.fetchrow(
        "SELECT to_regclass('taken') IS NOT NULL OR to_regclass('audit_events') IS NULL AS taken"
    )
    assert row
    return bool(row["taken"])


async def test_a_stranger_may_not_maintain_partitions(stranger: Connection) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await stranger.execute("SELECT maintain_usage_partitions()")


async def test_temporary_objects_of_the_caller_are_not_used_with_the_rights_of_the_owner(
    database: Database, role: str, stranger: Connection
) -> None:
    await database.execute(f"{_GRANT} {role}")
    await stranger.execute(_TRAP)

    await stranger.execute("SELECT maintain_usage_partitions()")

    assert not await _taken(database)


async def test_the_trap_would_have_worked(database: Database, role: str, stranger: Connection) -> None:
    """With the path as it was and names that are looked up along it."""
    await database.execute(f"{_GRANT} {role}")
    await database.execute("ALTER FUNCTION maintain_usage_partitions() SET search_path = public")
    row = await database.fetchrow("SELECT pg_get_functiondef('maintain_usage_partitions'::regproc) AS sql")
    assert row
    await database.execute(row["sql"].replace("pg_catalog.pg_", "pg_"))
    await stranger.execute(_TRAP)

    await stranger.execute("SELECT maintain_usage_partitions()")

    assert await _taken(database)


async def test_a_service_without_the_right_goes_on_and_one_with_it_maintains(
    database: Database, role: str, stranger_url: str
) -> None:
    service = Database(stranger_url)
    try:
        upkeep = RollUp(service)
        with pytest.raises(StatementFault):
            await upkeep.maintain_partitions()
        assert not await _outlive(upkeep.maintain_partitions)

        await database.execute(f"{_GRANT} {role}")

        assert await _outlive(upkeep.maintain_partitions)
    finally:
        await service.close()
