"""A database that is put back as it was at a moment, and the log that tells what has been done to it since."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from structlog.testing import capture_logs

from server.operators.reapply import Reapplication
from server.postgres.pool import Database
from tests.integration.keys.vault import column

_TABLES = (
    "developers",
    "api_keys",
    "api_key_secrets",
    "oauth_clients",
    "oauth_client_secrets",
    "oauth_grants",
    "audit_events",
)


class Backup:
    """What the database held at a moment, to be put back."""

    def __init__(self, database: Database, rows: dict[str, list[str]]) -> None:
        self._database = database
        self._rows = rows

    @classmethod
    async def take(cls, database: Database) -> "Backup":
        rows = {table: await column(database, f"SELECT to_jsonb(t)::text FROM {table} AS t") for table in _TABLES}
        return cls(database, {table: [str(row) for row in each] for table, each in rows.items()})

    async def restore(self) -> None:
        """Put it back, and nothing else; revocation is final, but not for who drops the tables."""
        tables = f"{', '.join(_TABLES)}, request_ids, stream_events, stream_postings"
        await self._database.execute(f"TRUNCATE {tables} CASCADE")
        for table in _TABLES:
            insert = f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb)"
            await self._database.execute(insert, f"[{','.join(self._rows[table])}]")


class Log:
    """What the server has logged."""

    def __init__(self, events: list[Any]) -> None:
        self._events = events

    @property
    def lines(self) -> list[bytes]:
        """Everything logged so far, as lines, with much else between them."""
        lines = [json.dumps(event, default=str).encode() + b"\n" for event in self._events]
        return [line for event in lines for line in (event, b'{"event":"call"}\n', b"Ready.\n")]

    @property
    def changes(self) -> list[bytes]:
        """The lines of audit events alone."""
        return [line for line in self.lines if b'"audit"' in line]


@contextmanager
def logging() -> Iterator[Log]:
    """Keep what is logged meanwhile."""
    with capture_logs() as events:
        yield Log(events)


class Reapplied(NamedTuple):
    """One run, and what it said."""

    reapplication: Reapplication
    told: list[str]

    @property
    def applied(self) -> dict[str, int]:
        """Count what was done, by the action that is recorded of it."""
        return {action.value: count for action, count in self.reapplication.applied.items()}


async def reapply(database: Database, lines: Sequence[bytes]) -> Reapplied:
    """Apply what lines tell, as the command does."""
    told: list[str] = []
    reapplication = Reapplication(database, told.append)
    await reapplication.read("old.log", lines)
    await reapplication.finish()
    return Reapplied(reapplication, told)
