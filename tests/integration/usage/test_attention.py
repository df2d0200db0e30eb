"""Which keys are used most, and which ones somebody should look at: exact to the microsecond."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sdk.usage.v1 import usage_pb2
from sdk.usage.v1.usage_service_pb2 import Finding, KeyUsage, ListKeyFindingsRequest, ListKeyUsageRequest

from server.ids import DeveloperId, KeyId
from server.keys.service import RotateKey
from server.metering.counters import Counters, Use
from server.postgres.pool import Database
from server.times import format_time
from server.usage.rpc import UsageService
from server.usage.store import _SQL
from tests.database import Clock
from tests.integration.keys.vault import acting, key_service, wish
from tests.integration.metering.meter import add_key, meter
from tests.integration.usage.desk import NOW, act_as, use

CONTEXT: Any = None
TICK, DAY = timedelta(microseconds=1), timedelta(days=1)
LATER = NOW + 400 * DAY
"""When an expiry is nothing to mention."""


async def change(database: Database, key: Use, **columns: object) -> None:
    """Make a key another than it is."""
    for column, value in columns.items():
        await database.execute(f"UPDATE api_keys SET {column} = $2 WHERE id = $1", key.key_id, value)


async def plain_key(database: Database, developer_id: DeveloperId) -> Use:
    """Add a key about which there is nothing to say."""
    key = await add_key(database, developer_id)
    await change(database, key, created_at=NOW - 300 * DAY, expires_at=LATER, last_used_at=NOW, needed_scopes=["read"])
    return key


async def findings(usage: UsageService, developer_id: DeveloperId) -> list[tuple[str, str, str]]:
    """Return what is found: name, key and time."""
    act_as(developer_id)
    answer = await usage.ListKeyFindings(ListKeyFindingsRequest(), CONTEXT)
    for count in answer.counts:
        listed = sum(finding.finding == count.finding for finding in answer.findings)
        assert listed == min(20, count.keys) > 0
    return [
        (Finding.Name(finding.finding).removeprefix("FINDING_"), finding.key_id, finding.time)
        for finding in answer.findings
    ]


CASES: Sequence[tuple[str, dict[str, Any], datetime | None]] = [
    ("", {}, None),
    ("NEVER_USED", {"last_used_at": None, "created_at": NOW - 7 * DAY}, NOW - 7 * DAY),
    ("", {"last_used_at": None, "created_at": NOW - 7 * DAY + TICK}, None),
    ("NEVER_USED", {"last_used_at": None, "created_at": NOW - 200 * DAY}, NOW - 200 * DAY),
    ("UNUSED", {"last_used_at": NOW - 90 * DAY}, NOW - 90 * DAY),
    ("", {"last_used_at": NOW - 90 * DAY + TICK}, None),
    ("SCOPE_UNUSED", {"needed_scopes": [], "created_at": NOW - 30 * DAY}, NOW - 30 * DAY),
    ("", {"needed_scopes": [], "created_at": NOW - 30 * DAY + TICK}, None),
    ("", {"scopes": ["read", "b"], "needed_scopes": ["b", "read"]}, None),
    ("NO_EXPIRY", {"expires_at": None}, None),
    ("EXPIRES_SOON", {"expires_at": NOW + 14 * DAY}, NOW + 14 * DAY),
    ("", {"expires_at": NOW + 14 * DAY + TICK}, None),
    ("EXPIRES_SOON", {"expires_at": NOW + TICK}, NOW + TICK),
    ("", {"expires_at": NOW, "last_used_at": None}, None),
    ("", {"revoked_at": NOW - DAY, "expires_at": None, "last_used_at": None}, None),
]


@pytest.mark.parametrize(("finding", "columns", "about"), CASES)
async def test_each_threshold_is_exact(
    usage: UsageService,
    database: Database,
    alice: DeveloperId,
    bob: DeveloperId,
    finding: str,
    columns: dict[str, Any],
    about: datetime | None,
) -> None:
    key = await plain_key(database, alice)
    await plain_key(database, alice)
    await change(database, key, **columns)
    assert await findings(usage, alice) == ([(finding, key.key_id, format_time(about))] if finding else [])
    assert await findings(usage, bob) == []


async def test_scopes_that_were_not_needed_are_named(
    usage: UsageService, database: Database, alice: DeveloperId
) -> None:
    key = await plain_key(database, alice)
    await change(database, key, scopes=["write", "read", "admin", "stream"])
    counters = Counters(clock=NOW.timestamp)
    counters.note_scopes(key.key_id, ("stream",))
    await meter(database, counters).note_uses()
    act_as(alice)
    (finding,) = (await usage.ListKeyFindings(ListKeyFindingsRequest(), CONTEXT)).findings
    assert (finding.name, finding.key_prefix, list(finding.scopes)) == ("A key", key.key_prefix, ["admin", "write"])


async def test_scopes_that_were_not_noted_for_a_month_say_nothing(
    usage: UsageService, database: Database, alice: DeveloperId
) -> None:
    """A service that noted none before may have needed them all."""
    key = await plain_key(database, alice)
    await change(database, key, needed_scopes=[])
    for began_at, found in ((NOW - 30 * DAY + TICK, []), (NOW - 30 * DAY, [format_time(NOW - 300 * DAY)])):
        await database.execute("UPDATE recordings SET began_at = $1", began_at)
        assert [time for _, _, time in await findings(usage, alice)] == found


@pytest.mark.parametrize(
    ("used", "asked", "is_in_use"),
    [
        (timedelta(minutes=1), timedelta(minutes=2), True),
        (timedelta(minutes=1), DAY + timedelta(minutes=1) - TICK, True),
        (timedelta(minutes=1), DAY + timedelta(minutes=1), False),
        (timedelta(), timedelta(minutes=1), True),
        (-TICK, timedelta(minutes=1), False),  # before it was replaced
        (timedelta(minutes=1), 2 * DAY, False),  # its grace is over
        (None, timedelta(minutes=1), False),
    ],
)
async def test_a_secret_that_was_replaced_and_is_in_use_is_found_until_its_grace_ends(
    usage: UsageService,
    database: Database,
    clock: Clock,
    alice: DeveloperId,
    used: timedelta | None,
    asked: timedelta,
    is_in_use: bool,
) -> None:
    keys = key_service(database)
    issued = await keys.create(acting(alice), wish(expires_at=format_time(LATER)))
    old, key_id = issued.key.key_prefix, KeyId(issued.key.id)
    await keys.rotate(acting(alice), RotateKey(id=key_id, expire_previous_now=False, request_id=""))
    ends_at = NOW + 2 * DAY
    await database.execute("UPDATE api_key_secrets SET expires_at = $2 WHERE key_prefix = $1", old, ends_at)
    if used is not None:
        await database.execute("UPDATE api_key_secrets SET last_used_at = $2 WHERE key_prefix = $1", old, NOW + used)
    await clock.set(NOW + asked)
    expected = [("OLD_SECRET_IN_USE", key_id, format_time(ends_at))] if is_in_use else []
    assert await findings(usage, alice) == expected


async def test_twenty_keys_of_each_kind_are_listed_and_all_are_counted(
    usage: UsageService, database: Database, alice: DeveloperId
) -> None:
    keys = [await plain_key(database, alice) for _ in range(25)]
    for number, key in enumerate(keys):
        await change(database, key, expires_at=NOW + 13 * DAY - number * TICK)
    for number, key in enumerate(keys[:3]):
        await change(database, key, last_used_at=None, expires_at=None, created_at=NOW - (100 + number) * DAY)
    expected = [
        *[("NEVER_USED", keys[number].key_id, format_time(NOW - (100 + number) * DAY)) for number in (2, 1, 0)],
        *[("NO_EXPIRY", keys[number].key_id, "") for number in (2, 1, 0)],
        *[
            ("EXPIRES_SOON", keys[number].key_id, format_time(NOW + 13 * DAY - number * TICK))
            for number in range(24, 4, -1)
        ],
    ]
    assert await findings(usage, alice) == expected
    answer = await usage.ListKeyFindings(ListKeyFindingsRequest(), CONTEXT)
    assert {Finding.Name(count.finding): count.keys for count in answer.counts} == {
        "FINDING_NEVER_USED": 3,
        "FINDING_NO_EXPIRY": 3,
        "FINDING_EXPIRES_SOON": 22,
    }


async def test_keys_that_are_used_most_come_first(
    usage: UsageService, database: Database, alice: DeveloperId, bob: DeveloperId
) -> None:
    first, second, third = [await add_key(database, alice) for _ in range(3)]
    await use(database, first, 2, cost=5)
    await use(database, second, 4)
    for calls, outcome in enumerate(("rate_limited", "rate_limited_developer", "quota_exceeded", "revoked"), start=1):
        await use(database, second, calls, outcome)
    await use(database, third, 1, at=NOW - 40 * DAY)
    await use(database, await add_key(database, bob), 50)
    act_as(alice)

    def told(key: Use, calls: int, throttled: int, units: int) -> KeyUsage:
        return KeyUsage(
            key_id=key.key_id,
            name="A key",
            key_prefix=key.key_prefix,
            calls=calls,
            throttled_calls=throttled,
            units=units,
        )

    for granularity in usage_pb2.Granularity.values():
        answer = await usage.ListKeyUsage(ListKeyUsageRequest(granularity=granularity), CONTEXT)
        assert list(answer.keys)[:2] == [told(second, 14, 6, 4), told(first, 2, 0, 10)]
    one = await usage.ListKeyUsage(ListKeyUsageRequest(page_size=1), CONTEXT)
    assert [key.key_id for key in one.keys] == [second.key_id]
    before = ListKeyUsageRequest(end_time="2030-01-15T00:00:00Z", start_time="2030-01-14T00:00:00Z")
    assert list((await usage.ListKeyUsage(before, CONTEXT)).keys) == []


async def used_by_day(database: Database, keys: Sequence[Use], days: int) -> None:
    """Write use of keys into the days before now, not every day of each."""
    await database.execute(
        "INSERT INTO usage_days SELECT day, key_id, operation, outcome, 1, $2, 1 + (random() * 9)::integer, number % 5"
        " FROM unnest($1::text[]) WITH ORDINALITY AS key (key_id, number),"
        " generate_series($3::timestamptz, $4, interval '1 day') AS day,"
        " (VALUES ('', 'valid'), ('search', 'valid'), ('', 'quota_exceeded')) AS cell (operation, outcome)"
        " WHERE random() < 0.3",
        [key.key_id for key in keys],
        keys[0].developer_id,
        MIDNIGHT - days * DAY,
        MIDNIGHT,
    )


MIDNIGHT = NOW.replace(hour=0, minute=0, second=0)
FIRST_OF_MONTH = MIDNIGHT.replace(day=1)
SPANS = [
    (FIRST_OF_MONTH, NOW),
    (FIRST_OF_MONTH, NOW + 30 * DAY),
    (FIRST_OF_MONTH - 31 * DAY, FIRST_OF_MONTH),
    (FIRST_OF_MONTH - 29 * DAY, FIRST_OF_MONTH - TICK),
    (FIRST_OF_MONTH - 33 * DAY, FIRST_OF_MONTH + 2 * DAY),
    *[(MIDNIGHT - days * DAY, NOW) for days in (0, 1, 5, 13, 14, 15, 29, 30, 45, 60, 75, 89)],
    *[(MIDNIGHT - days * DAY, MIDNIGHT - days // 3 * DAY + TICK) for days in (3, 15, 45, 60, 75, 89)],
]


async def test_use_is_the_same_whether_months_or_days_are_added_up(
    usage: UsageService, database: Database, alice: DeveloperId
) -> None:
    keys = [await add_key(database, alice) for _ in range(6)]
    await used_by_day(database, keys, 90)
    act_as(alice)
    for start, end in SPANS:
        expected = await database.fetch(
            "SELECT key_id, sum(calls)::bigint AS calls, sum(units)::bigint AS units,"
            " coalesce(sum(calls) FILTER (WHERE outcome = 'quota_exceeded'), 0)::bigint AS throttled_calls"
            " FROM usage_days WHERE day >= $1 AND day < $2 GROUP BY 1 ORDER BY 2 DESC, 1",
            start,
            end,
        )
        asked = ListKeyUsageRequest(
            granularity=usage_pb2.GRANULARITY_DAY, start_time=format_time(start), end_time=format_time(end)
        )
        answer = await usage.ListKeyUsage(asked, CONTEXT)
        told = [(key.key_id, key.calls, key.units, key.throttled_calls) for key in answer.keys]
        assert told == [tuple(row.values()) for row in expected], (start, end)


async def test_a_month_costs_one_row_for_each_key(usage: UsageService, database: Database, alice: DeveloperId) -> None:
    """Its days are not read at all: what they say is changed behind the sums' back."""
    keys = [await add_key(database, alice) for _ in range(3)]
    await used_by_day(database, keys, 90)
    act_as(alice)
    asked = ListKeyUsageRequest(granularity=usage_pb2.GRANULARITY_DAY, start_time=format_time(FIRST_OF_MONTH))
    before = await usage.ListKeyUsage(asked, CONTEXT)
    await database.execute("ALTER TABLE usage_days DISABLE TRIGGER USER")
    await database.execute("UPDATE usage_days SET calls = calls + 1000")
    assert await usage.ListKeyUsage(asked, CONTEXT) == before


PLANNED = {
    "list_most_used_keys_by_day": "'dev', clock() - interval '9 days', clock(), clock() - interval '5 days', now(), 9",
    "read_demand": "'dev', 'key', clock() - interval '2 minutes', clock()",
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
    assert re.search(r"Index (Only )?Scan .*on usage_(key_months|developer_minutes)", plan)
