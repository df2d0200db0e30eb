"""Forward-only migrations: the numbered `.sql` files of `migrations/`, each applied once, in its own transaction.

A file that begins with the line `-- outside a transaction` is for long work beside a running service: its statements,
set apart by blank lines, run and commit one by one. Each must be repeatable: a file that was broken off starts anew.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from server.errors import Unavailable
from server.postgres.errors import DRIVER_ERRORS, start_up_reason
from server.postgres.pool import Connection, Database, close_connection

FOLDER = Path(__file__).with_name("migrations")

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x616E67_6D696772  # any number that nothing else locks: "ang", "migr"
_CONNECT_SECONDS = 10
_POLL_SECONDS = 0.1
_OUTSIDE = "-- outside a transaction\n"
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '1s'"  # whoever comes after us in the queue for a table waits as long
_TRIES = 15
_PAUSE_SECONDS = 2.0
_TABLE = "SELECT to_regclass('schema_migrations') IS NOT NULL AS there"
_NOTE = "INSERT INTO schema_migrations VALUES ($1, $2, $3, clock_timestamp())"
_APPLIED = "SELECT version, name, checksum FROM schema_migrations ORDER BY version"


class SchemaError(Exception):
    """The schema and the code do not fit. The sentence is for the operator and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file. `checksum` is the SHA-256 of its text, as hex."""

    version: int
    name: str
    sql: str
    checksum: str


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """Read all files of a folder, numbered from 1 without a gap.

    Raises:
        SchemaError: a name that is not `NNNN_words.sql`, a repeated or missing number.
    """
    migrations = []
    for number, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or int(match[1]) != number:
            raise SchemaError(f"{path.name} should be migration {number:04}: names are NNNN_words.sql, without a gap.")
        sql = path.read_text(encoding="utf-8")
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        migrations.append(Migration(version=number, name=path.name, sql=sql, checksum=checksum))
    return migrations


async def migrate(dsn: str, folder: Path = FOLDER) -> list[str]:
    """Bring the schema up to date and return the names of the files applied now.

    Any number of runners may start at once: one works, the others wait. `dsn` must not be a transaction pooler's, since
    the lock belongs to a session.

    Raises:
        SchemaError: an applied file was edited, the database is newer than this code, a file fails, or others hold its
            tables for too long.
        Unavailable: the database cannot be reached.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=_CONNECT_SECONDS)
    except (*DRIVER_ERRORS, ValueError) as error:
        raise Unavailable(f"PostgreSQL cannot be used: {start_up_reason(error)}. See DATABASE_URL.") from None
    try:
        await connection.execute("SET statement_timeout = 0")  # the role's own is for the service
        await _wait_for_turn(connection)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            " version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL)"
        )
        pending = _pending(read_migrations(folder), await connection.fetch(_APPLIED))
        for migration in pending:
            await _apply(connection, migration)
        return [migration.name for migration in pending]
    finally:
        await close_connection(connection)  # which gives up the lock


async def check(database: Database, folder: Path = FOLDER) -> None:
    """Make sure that the schema is the one this code was written for.

    Raises:
        SchemaError: older (the sentence names the command that helps), newer, or changed by an edited file.
        Unavailable: the database cannot be reached.
    """
    table = await database.fetchrow(_TABLE)
    applied = await database.fetch(_APPLIED) if table and table["there"] else []
    pending = _pending(read_migrations(folder), applied)
    if pending:
        raise SchemaError(
            f"The database lacks {len(pending)} of our migrations, from {pending[0].name} on."
            " Run `python -m server migrate` first."
        )


def _pending(migrations: Sequence[Migration], applied: Sequence[asyncpg.Record]) -> Sequence[Migration]:
    if len(applied) > len(migrations):
        raise SchemaError(
            f"The database has migration {applied[-1]['name']}, which this code does not know: it is newer."
            " Run the release that brought it, or a later one."
        )
    for migration, row in zip(migrations, applied, strict=False):
        if (row["version"], row["checksum"]) != (migration.version, migration.checksum):
            raise SchemaError(
                f"{migration.name} was edited after the database got it as {row['name']}."
                " Restore the file and put the change into a new one."
            )
    return migrations[len(applied) :]


async def _wait_for_turn(connection: Connection) -> None:
    """Take the lock by asking again and again: an index built meanwhile would wait for a statement that waits."""
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):  # noqa: ASYNC110 - of other processes
        await asyncio.sleep(_POLL_SECONDS)


async def _apply(connection: Connection, migration: Migration) -> None:
    """Apply one file, again for some time while others hold its tables."""
    outside = migration.sql.startswith(_OUTSIDE)
    work = _apply_outside if outside else _apply_inside
    for tries_left in reversed(range(_TRIES)):
        try:
            await work(connection, migration)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if not tries_left:
                raise SchemaError(
                    f"{migration.name} is not applied: others hold its tables for too long, such as a backup."
                    " Let them end and run `python -m server migrate` again."
                ) from error
        except asyncpg.PostgresError as error:  # in full: this is the operator's terminal, and the SQL is in our files
            ends = "stops and will start anew" if outside else "fails and is undone"
            raise SchemaError(f"{migration.name} {ends}: {error} (SQLSTATE {error.sqlstate}).") from error
        else:
            return
        await asyncio.sleep(_PAUSE_SECONDS)


async def _apply_inside(connection: Connection, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(_LOCK_TIMEOUT)
        await connection.execute(migration.sql)
        await connection.execute(_NOTE, migration.version, migration.name, migration.checksum)


async def _apply_outside(connection: Connection, migration: Migration) -> None:
    for statement in migration.sql.split("\n\n"):
        await connection.execute(statement)
    await connection.execute(_NOTE, migration.version, migration.name, migration.checksum)
