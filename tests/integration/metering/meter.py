"""What the tests of metering share: keys to count, a database whose answers get lost, and sums as they stand."""

import itertools
from datetime import datetime

from prometheus_client import CollectorRegistry

from server.errors import Unavailable
from server.ids import DeveloperId, new_key_id
from server.metering.counters import Counters, Use
from server.metering.service import MeterService
from server.metering.store import _SQL
from server.postgres.pool import Database, Record

_numbers = itertools.count()

UNPROTECTED = dict(_SQL) | {
    "add_batch": _SQL["add_batch"].replace("pkey DO NOTHING", "pkey DO UPDATE SET flushed_at = excluded.flushed_at")
}
"""The statements without what keeps a batch that is sent twice from being counted twice."""
assert UNPROTECTED["add_batch"] != _SQL["add_batch"]


class LossyDatabase(Database):
    """A pool that loses answers: as many as `lost` says, after the statement was done, or before it if `refusing`."""

    lost = 0
    refusing = False

    async def fetch(self, statement: str, *arguments: object) -> list[Record]:
        """Run a statement and perhaps say nothing of it."""
        loses, self.lost = self.lost > 0, max(0, self.lost - 1)
        if loses and self.refusing:
            raise Unavailable
        rows = await super().fetch(statement, *arguments)
        if loses:
            raise Unavailable
        return rows


def meter(database: Database, counters: Counters) -> MeterService:
    """Make the service under test."""
    return MeterService(database, counters, CollectorRegistry())


async def add_key(database: Database, developer_id: DeveloperId, *, version: int = 1) -> Use:
    """Add a key with one secret and return what is counted for it."""
    key_id, prefix = new_key_id(), f"ang_test_{next(_numbers):08}"
    await database.execute(
        "INSERT INTO api_keys (id, developer_id, name, environment, scopes, key_prefix, created_at)"
        " VALUES ($1, $2, 'A key', 'test', '{read}', $3, clock())",
        key_id,
        developer_id,
        prefix,
    )
    await database.execute(
        "INSERT INTO api_key_secrets (key_prefix, key_id, version, digest, pepper_version, created_at)"
        " VALUES ($1, $2, $3, decode(repeat('00', 32), 'hex'), 1, clock())",
        prefix,
        key_id,
        version,
    )
    return Use(key_id=key_id, developer_id=developer_id, key_prefix=prefix, secret_version=version)


async def total(database: Database, table: str = "usage_minutes") -> tuple[int, int]:
    """Return all calls and units of a table."""
    row = await database.fetchrow(
        f"SELECT coalesce(sum(calls), 0) AS calls, coalesce(sum(units), 0) AS units FROM {table}"
    )
    assert row
    return int(row["calls"]), int(row["units"])


async def cells(
    database: Database, table: str, point: str
) -> dict[tuple[datetime, str, str, str, int], tuple[int, int]]:
    """Return a table's calls and units by all else."""
    rows = await database.fetch(f"SELECT * FROM {table}")
    return {
        (row[point], row["key_id"], row["operation"], row["outcome"], row["secret_version"]): (
            row["calls"],
            row["units"],
        )
        for row in rows
    }


async def months(database: Database) -> dict[tuple[str, str], int]:
    """Return the units by developer and month."""
    rows = await database.fetch("SELECT developer_id, month::text, units FROM usage_months")
    return {(row["developer_id"], row["month"]): row["units"] for row in rows}
