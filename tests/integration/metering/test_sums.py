"""The sums of developers and of keys' months are those of their parts, however and by whomever these are changed."""

import asyncio
import random
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from server.errors import NotFound
from server.ids import DeveloperId
from server.metering.batch import Batch
from server.metering.counters import Counters, Use
from server.metering.rollup import RollUp
from server.metering.store import _SQL, MeterStore
from server.postgres.migrate import FOLDER, migrate
from server.postgres.pool import Connection, Database
from tests.database import Clock
from tests.integration.metering.meter import add_key, meter, total

NOON = datetime(2030, 3, 3, 12, tzinfo=UTC)
"""Some late calls are of the month before."""
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OUTCOMES = ("valid", "valid", "rate_limited", "rate_limited_developer", "quota_exceeded", "revoked")
SUMS = {
    "usage_developer_minutes": ("usage_minutes", "minute"),
    "usage_developer_hours": ("usage_hours", "hour"),
    "usage_developer_days": ("usage_days", "day"),
}
TRIGGERS = [
    *[(table, f"{table}_{change}") for table in ("usage_minutes", "usage_hours") for change in ("inserted", "updated")],
    *[("usage_days", f"usage_days_{change}") for change in ("inserted", "updated")],
    *[("usage_days", f"usage_days_{change}_by_key") for change in ("inserted", "updated")],
]


@pytest_asyncio.fixture(loop_scope="session")
async def noon(database: Database, clock: Clock) -> Clock:
    """The database's clock, stopped, with partitions for it."""
    await clock.set(NOON)
    await RollUp(database).maintain_partitions()
    return clock


@pytest_asyncio.fixture(loop_scope="session")
async def keys(database: Database, noon: Clock, alice: DeveloperId, bob: DeveloperId) -> list[Use]:
    """Keys of two developers."""
    return [await add_key(database, owner) for owner in (alice, alice, alice, bob, bob)]


async def faults(database: Database) -> list[str]:
    """Name the sums that are not those of their parts."""
    wrong = []
    for sums, (parts, point) in SUMS.items():
        made = (
            f"SELECT developer_id, {point}, operation, outcome, sum(calls)::bigint, sum(units)::bigint"
            f" FROM {parts} GROUP BY 1, 2, 3, 4"
        )
        wrong += await _differing(database, made, sums, f"developer_id, {point}, operation, outcome, calls, units")
    refused = "outcome IN ('rate_limited', 'rate_limited_developer', 'quota_exceeded')"
    months = (
        "SELECT developer_id, date_trunc('month', day, 'UTC'), key_id, sum(calls)::bigint,"
        f" coalesce(sum(calls) FILTER (WHERE {refused}), 0)::bigint, sum(units)::bigint"
        " FROM usage_days GROUP BY 1, 2, 3"
    )
    columns = "developer_id, month, key_id, calls, throttled_calls, units"
    return wrong + await _differing(database, months, "usage_key_months", columns)


async def _differing(database: Database, made: str, table: str, columns: str) -> list[str]:
    kept = f"SELECT {columns} FROM {table}"
    rows = await database.fetch(f"(({made}) EXCEPT ({kept})) UNION ALL (({kept}) EXCEPT ({made}))")
    return [table] if rows else []


def some_calls(keys: Sequence[Use], moments: Sequence[datetime]) -> Batch:
    """Count calls of all kinds, one at each moment."""
    times = [moment.timestamp() for moment in moments]
    counters = Counters(clock=lambda: times[-1])
    while times:
        counters.count(random.choice(keys), random.choice(("", "search")), random.choice(OUTCOMES), 2, "")
        times.pop()
    times.append(NOON.timestamp())
    batch = counters.freeze()
    assert batch
    return batch


def lately() -> datetime:
    return NOON - random.random() * random.choice((MINUTE, HOUR, 6 * DAY))


async def test_sums_are_those_of_their_parts_after_any_batches_and_roll_ups(
    database: Database, noon: Clock, keys: list[Use], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.metering.rollup._KEYS_AT_ONCE", 2)
    store = MeterStore(database)
    for _ in range(8):
        batches = [some_calls(keys, [lately() for _ in range(20)]) for _ in range(3)]
        await asyncio.gather(*(store.add(batch) for batch in batches), RollUp(database).roll_up())
        await store.add(batches[0])  # its answer was lost
        await asyncio.gather(*(RollUp(database).roll_up() for _ in range(3)))
        assert await faults(database) == []
        await noon.advance(20 * MINUTE)
    await RollUp(database).roll_up()
    assert await faults(database) == []
    assert [await total(database, table) for table in ("usage_key_months", *SUMS)] == [await total(database)] * 4
    assert (await total(database))[0] == 8 * 3 * 20


@pytest.mark.parametrize(("table", "trigger"), TRIGGERS)
async def test_without_any_of_its_triggers_a_sum_is_found_wrong(
    database: Database, keys: list[Use], table: str, trigger: str
) -> None:
    await database.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
    for _ in range(2):
        await MeterStore(database).add(some_calls(keys[:1], [NOON] * 20))
        await RollUp(database).roll_up()
    sums = {parts: sums for sums, (parts, _) in SUMS.items()}
    assert await faults(database) == ["usage_key_months" if trigger.endswith("by_key") else sums[table]]


async def test_what_did_not_change_is_not_added_up_again(database: Database, keys: list[Use]) -> None:
    await MeterStore(database).add(some_calls(keys, [lately() for _ in range(20)]))
    await RollUp(database).roll_up()
    rows = " UNION ALL ".join(f"SELECT ctid, xmin FROM {table}" for table in ("usage_key_months", *SUMS))
    before = await database.fetch(rows)
    await RollUp(database).roll_up()
    assert before == await database.fetch(rows)


async def test_a_batch_that_is_undone_leaves_no_sum(database: Database, keys: list[Use]) -> None:
    batch = some_calls(keys, [NOON])

    async def work(connection: Connection) -> None:
        await MeterStore(connection).add(batch)
        raise NotFound("Something else.")

    with pytest.raises(NotFound):
        await database.transaction(work)
    assert await total(database, "usage_developer_minutes") == (0, 0)
    await MeterStore(database).add(batch)
    assert await faults(database) == []


async def test_servers_that_flush_at_once_wait_for_one_another_and_never_in_a_circle(
    database: Database, noon: Clock
) -> None:
    """Calls that were all refused have no units: the month's row is locked nevertheless."""

    async def serve() -> None:
        for _ in range(15):
            counters = Counters(clock=NOON.timestamp)
            for _ in range(200):
                owner = random.randrange(50)
                key_id = f"key_{random.randrange(1000)}_{owner}"  # some are known by then and some are new
                use = Use(key_id=key_id, developer_id=f"dev_{owner}", key_prefix="p", secret_version=1)
                counters.count(use, "", "rate_limited", 1, "")
            batch = counters.freeze()
            assert batch
            await MeterStore(database).add(batch)

    await asyncio.gather(*(serve() for _ in range(6)))
    assert await faults(database) == []
    assert await total(database) == (6 * 15 * 200, 0)


async def test_a_role_without_rights_to_the_sums_counts_as_before(
    database: Database, database_url: str, keys: list[Use]
) -> None:
    """That of the release before this one, until it is granted more."""
    role, connection = f"meter_{secrets.token_hex(4)}", await asyncpg.connect(database_url)
    try:
        await connection.execute(f"CREATE ROLE {role}")
        tables = "usage_minutes, usage_hours, usage_days, usage_months, usage_batches"
        await connection.execute(f"GRANT SELECT, INSERT, UPDATE ON {tables}, test_clock TO {role}")
        await connection.execute(f"SET ROLE {role}")
        store = MeterStore(connection)
        for _ in range(2):
            await store.add(some_calls(keys, [NOON] * 20))
            await store.roll(NOON, [key.key_id for key in keys])
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM usage_key_months")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="function add_up_usage"):
            await connection.execute(
                "CREATE TEMP TABLE mine (day timestamptz); CREATE TRIGGER mine AFTER INSERT ON mine"
                " REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION add_up_usage('day', 'usage_days')"
            )
    finally:
        await connection.execute("RESET ROLE")
        await connection.execute(f"DROP OWNED BY {role}")
        await connection.execute(f"DROP ROLE {role}")
        await connection.close()
    assert await faults(database) == []
    assert (await total(database, "usage_key_months"))[0] == 40


PLANNED = {
    "sum_up_developer": "'dev', 'day', clock() - interval '30 days', clock()",
    "read_pace": "'dev', clock() - interval '7 days', date_trunc('month', clock())",
}


@pytest.mark.parametrize("name", PLANNED)
async def test_a_plan_made_while_the_tables_were_empty_reads_no_whole_table(database_url: str, name: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE planned AS {_SQL[name]}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE planned({PLANNED[name]})")
    finally:
        await connection.close()
    plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan" not in plan
    assert re.search(r"Index (Only )?Scan .*on usage_developer_days", plan)


def release_before(folder: Path, last: int) -> Path:
    """Copy the migrations up to one; those that go in steps of thousands go in steps of three."""
    folder.mkdir()
    for path in sorted(FOLDER.glob("*.sql"))[:last]:
        (folder / path.name).write_text(path.read_text().replace("LIMIT 20000", "LIMIT 3"))
    return folder


async def add_up(database: Database, key_ids: Sequence[str], days: int) -> None:
    """Write use of a developer's keys into all tables, as if it had been counted over days."""
    for table, step in (("usage_minutes", "1 minute"), ("usage_hours", "1 hour"), ("usage_days", "1 day")):
        await database.execute(
            f"INSERT INTO {table} SELECT begun, key_id, operation, outcome, version, left(key_id, 3), 2, version"
            " FROM unnest($1::text[]) AS key_id,"
            " (SELECT date_trunc('day', clock(), 'UTC') AS today) AS moment,"
            f" generate_series(today - $2 * interval '{step}', today, interval '{step}') AS begun,"
            " (VALUES ('', 'valid', 1), ('search', 'valid', 1), ('search', 'valid', 2), ('', 'rate_limited', 1))"
            " AS cell (operation, outcome, version)",
            key_ids,
            days,
        )


KEY_IDS = [f"{developer}/{number}" for developer in ("one", "two", "six") for number in range(3)]


async def test_what_was_used_before_there_were_sums_is_added_up(empty_database_url: str, tmp_path: Path) -> None:
    await migrate(empty_database_url, release_before(tmp_path / "before", 9))
    database = Database(empty_database_url)
    try:
        await add_up(database, KEY_IDS, 7)
        await migrate(empty_database_url, release_before(tmp_path / "now", 11))
        assert await faults(database) == []
        assert await total(database, "usage_key_months") == await total(database, "usage_developer_days") == (576, 360)
        for statement in (tmp_path / "now" / "0011_usage_sums_backfill.sql").read_text().split("\n\n"):
            await database.execute(statement)  # broken off and started anew
        assert await faults(database) == []
    finally:
        await database.close()


async def test_calls_that_are_counted_meanwhile_are_added_up_once(empty_database_url: str, tmp_path: Path) -> None:
    """By the release before this one: it knows of no sums, and its statements are those of this one."""
    await migrate(empty_database_url, release_before(tmp_path / "before", 9))
    database = Database(empty_database_url)
    try:
        await add_up(database, KEY_IDS, 7)
        uses = [Use(key_id=key_id, developer_id=key_id[:3], key_prefix="p", secret_version=1) for key_id in KEY_IDS]

        async def serve() -> None:
            while not migrating.done():
                counters = Counters()
                for use in random.sample(uses, 5):
                    counters.count(use, "search", "valid", 1, "")
                await meter(database, counters).flush()
                await RollUp(database).roll_up()

        migrating = asyncio.create_task(migrate(empty_database_url, release_before(tmp_path / "now", 11)))
        await asyncio.gather(migrating, serve())
        assert (await total(database))[0] > 576
        assert await faults(database) == []
    finally:
        await database.close()
