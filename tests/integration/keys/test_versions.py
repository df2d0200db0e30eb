"""The secret versions of a key: where each is in its life, who still uses it, and the end of one before its time."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sdk.portal.v1.key_secret_service_pb2 import EndGraceRequest, ListSecretVersionsRequest

from server.errors import Conflict, NotFound
from server.ids import DeveloperId, new_key_id
from server.keys.service import KeyService, UpdateKey
from server.keys.versions.model import HourOfUse, SecretState, SecretVersion
from server.keys.versions.rpc import KeySecretService
from server.keys.versions.service import VersionService
from server.postgres.pool import Database
from server.times import format_time
from tests.database import Clock
from tests.integration.clients.caller import CONTEXT, calling
from tests.integration.keys.vault import GRACE, acting, column, rotation, wish, works

NOON = datetime(2030, 6, 15, 12, 30, 30, tzinfo=UTC)
MICROSECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("microseconds", "minutes", "hours", "days"))


@pytest.fixture
def versions(database: Database) -> VersionService:
    """The service under test."""
    return VersionService(database, database)


@pytest_asyncio.fixture(loop_scope="session")
async def key_id(database: Database, clock: Clock, keys: KeyService, alice: DeveloperId) -> str:
    """A key made at noon, with room for its use at that time."""
    await clock.set(NOON)
    await database.execute("SELECT maintain_usage_partitions()")
    return (await keys.create(acting(alice), wish())).key.id


async def use(
    database: Database, key_id: str, version: int, ago: timedelta = timedelta(), operation: str = "Get", calls: int = 1
) -> None:
    """Count calls with a secret, as a flush does."""
    await database.execute(
        "INSERT INTO usage_minutes"
        " SELECT date_trunc('minute', clock() - $3::interval, 'UTC'), $1, $4, 'valid', $2, 'dev', $5, 0",
        key_id,
        version,
        ago,
        operation,
        calls,
    )
    await database.execute(
        "UPDATE api_key_secrets SET last_used_at = clock() - $3::interval, last_client_ip = '192.0.2.7'"
        " WHERE key_id = $1 AND version = $2 AND coalesce(last_used_at, '-infinity') < clock() - $3::interval",
        key_id,
        version,
        ago,
    )


async def roll_up(database: Database) -> None:
    """Make hours and days from all minutes, as the roll-up does."""
    for table, unit, source, point in (("hours", "hour", "minutes", "minute"), ("days", "day", "hours", "hour")):
        await database.execute(
            f"INSERT INTO usage_{table} SELECT date_trunc('{unit}', {point}, 'UTC'), key_id, operation, outcome,"
            f" secret_version, developer_id, sum(calls), 0 FROM usage_{source} GROUP BY 1, 2, 3, 4, 5, 6"
        )


async def told(versions: VersionService, owner: DeveloperId, key_id: str) -> dict[int, SecretVersion]:
    return {each.secret.version: each for each in await versions.list(owner, key_id)}


async def test_each_secret_is_told_with_where_it_is_in_its_life(
    versions: VersionService, keys: KeyService, clock: Clock, alice: DeveloperId, key_id: str
) -> None:
    await keys.rotate(acting(alice), rotation(key_id, expire_previous_now=True))
    await clock.advance(MINUTE)
    rotated = await keys.rotate(acting(alice), rotation(key_id))
    shown = await versions.list(alice, key_id)
    assert [(each.secret.version, each.state) for each in shown] == [
        (3, SecretState.CURRENT),
        (2, SecretState.IN_GRACE),
        (1, SecretState.ENDED),
    ]
    assert [each.secret.expires_at for each in shown] == [None, NOON + MINUTE + GRACE, NOON]
    assert shown[0].secret.prefix == rotated.key.key_prefix
    assert [each.secret.created_at for each in shown] == [NOON + MINUTE, NOON, NOON]
    await clock.advance(GRACE - MICROSECOND)
    assert (await told(versions, alice, key_id))[2].state is SecretState.IN_GRACE
    await clock.advance(MICROSECOND)
    assert (await told(versions, alice, key_id))[2].state is SecretState.ENDED


async def test_secrets_end_with_their_key(
    versions: VersionService, keys: KeyService, clock: Clock, alice: DeveloperId, key_id: str
) -> None:
    await keys.rotate(acting(alice), rotation(key_id))
    end = NOON + MINUTE
    await keys.update(acting(alice), UpdateKey(id=key_id, name="", expires_at=format_time(end), paths=("expires_at",)))
    shown = await told(versions, alice, key_id)
    assert {each.secret.expires_at for each in shown.values()} == {end}
    assert [shown[version].state for version in (2, 1)] == [SecretState.CURRENT, SecretState.IN_GRACE]
    await clock.advance(MINUTE)
    assert {each.state for each in await versions.list(alice, key_id)} == {SecretState.ENDED}
    for version in (1, 2):
        with pytest.raises(Conflict, match="has ended"):
            await versions.end_grace(acting(alice), key_id, version)


async def test_all_secrets_of_a_revoked_key_have_ended(
    versions: VersionService, keys: KeyService, alice: DeveloperId, key_id: str
) -> None:
    await keys.rotate(acting(alice), rotation(key_id))
    await keys.revoke(acting(alice), key_id)
    assert {each.state for each in await versions.list(alice, key_id)} == {SecretState.ENDED}


async def test_of_many_secrets_those_that_work_and_the_last_others_are_told(
    versions: VersionService, keys: KeyService, alice: DeveloperId, key_id: str
) -> None:
    await keys.rotate(acting(alice), rotation(key_id))
    for version in range(2, 24):
        await keys.rotate(acting(alice), rotation(key_id))
        await versions.end_grace(acting(alice), key_id, version)
    shown = await versions.list(alice, key_id)
    assert [each.secret.version for each in shown] == [*range(24, 5, -1), 1]
    assert [each.state for each in shown if each.state is not SecretState.ENDED] == [
        SecretState.CURRENT,
        SecretState.IN_GRACE,
    ]
    with pytest.raises(Conflict):
        await versions.end_grace(acting(alice), key_id, 2)
    await versions.end_grace(acting(alice), key_id, 1)


async def test_use_is_told_of_each_secret_for_itself(
    versions: VersionService, keys: KeyService, database: Database, alice: DeveloperId, key_id: str
) -> None:
    await keys.rotate(acting(alice), rotation(key_id))
    await use(database, key_id, 1, 3 * HOUR, "List", 7)
    await use(database, key_id, 1, 2 * MINUTE, "Get", 2)
    await use(database, key_id, 1, MINUTE, "Put", 3)
    await use(database, key_id, 2, MINUTE)
    await use(database, new_key_id(), 2, MINUTE, calls=1000)
    await roll_up(database)
    shown = await told(versions, alice, key_id)
    assert (shown[1].calls.counted, shown[1].calls.last_hour, shown[1].last_operation) == (12, 5, "Put")
    assert shown[1].hours == (
        HourOfUse(hour=NOON.replace(hour=9, minute=0, second=0), calls=7),
        HourOfUse(hour=NOON.replace(minute=0, second=0), calls=5),
    )
    assert (shown[1].secret.last_used_at, shown[1].secret.last_client_ip) == (NOON - MINUTE, "192.0.2.7")
    assert (shown[2].calls.counted, shown[2].last_operation) == (1, "Get")


async def test_a_secret_without_use_is_told_with_nothing(
    versions: VersionService, alice: DeveloperId, key_id: str
) -> None:
    (shown,) = await versions.list(alice, key_id)
    assert (shown.calls.counted, shown.calls.last_hour, shown.hours, shown.last_operation) == (0, 0, (), "")
    assert (shown.secret.last_used_at, shown.secret.last_client_ip, shown.safe_to_end) == (None, "", False)


@pytest.mark.parametrize("ago", [timedelta(), 30 * MINUTE, HOUR, 5 * HOUR, 13 * HOUR, 3 * DAY])
async def test_the_last_operation_is_found_whenever_it_was(
    versions: VersionService, database: Database, alice: DeveloperId, key_id: str, ago: timedelta
) -> None:
    await use(database, key_id, 1, ago + 3 * HOUR, "Before", 100)
    await use(database, key_id, 1, ago, "Seldom", 1)
    await use(database, key_id, 1, ago, "Last", 2)
    await use(database, key_id, 1, ago, "", 3)
    await use(database, key_id, 2, timedelta(), "Other", 9)
    await roll_up(database)
    assert (await told(versions, alice, key_id))[1].last_operation == "Last"


@pytest.mark.parametrize("rolled_until", ["now", "an hour ago"])
@pytest.mark.parametrize("moment", ["12:30:30", "00:00:00", "00:07:00", "00:30:00", "01:00:00", "01:10:00", "23:59:59"])
async def test_each_call_of_thirty_days_is_counted_once(
    versions: VersionService,
    database: Database,
    clock: Clock,
    alice: DeveloperId,
    key_id: str,
    moment: str,
    rolled_until: str,
) -> None:
    """One call at the begin of each hour since 40 days; minutes are kept for a week, hours and days may lag."""
    now = datetime.fromisoformat(f"2030-06-15T{moment}+00:00")
    hour = now.replace(minute=0, second=0)
    await clock.set(now)
    last = hour if rolled_until == "now" else hour - HOUR
    for table, begin, end, unit in (
        ("minutes", hour - 7 * DAY, hour, "minute"),
        ("hours", hour - 40 * DAY, last, "hour"),
        ("days", hour - 40 * DAY, last, "day"),
    ):
        await database.execute(
            f"INSERT INTO usage_{table} SELECT date_trunc('{unit}', hour, 'UTC'), $1, 'Get', 'valid', 1, 'dev',"
            " count(*), 0 FROM generate_series($2::timestamptz, $3::timestamptz, interval '1 hour') AS hour GROUP BY 1",
            key_id,
            begin,
            end,
        )
    shown = (await told(versions, alice, key_id))[1]
    assert shown.calls.counted == 30 * 24 + 1
    assert shown.calls.last_hour == (2 if now == hour else 1)
    assert shown.hours == tuple(HourOfUse(hour=hour - ago * HOUR, calls=1) for ago in range(47, -1, -1))


@pytest.mark.parametrize(
    ("old", "new", "is_safe"),
    [
        (None, None, False),
        (None, 20 * MINUTE, True),
        (None, timedelta(), True),
        (20 * MINUTE, None, False),
        (20 * MINUTE, MINUTE, True),
        (20 * MINUTE, 21 * MINUTE, False),
        (20 * MINUTE, 19 * MINUTE, True),
        (15 * MINUTE, MINUTE, True),
        (15 * MINUTE - MICROSECOND, MINUTE, False),
        (2 * MINUTE, MINUTE, False),
        (2 * DAY, DAY, True),
        (DAY, 2 * DAY, False),
    ],
)
async def test_a_secret_is_safe_to_end_once_it_is_quiet_and_a_newer_one_is_used(
    versions: VersionService,
    keys: KeyService,
    database: Database,
    alice: DeveloperId,
    key_id: str,
    old: timedelta | None,
    new: timedelta | None,
    is_safe: bool,
) -> None:
    await keys.rotate(acting(alice), rotation(key_id))
    for version, ago in ((1, old), (2, new)):
        if ago is not None:
            await use(database, key_id, version, ago)
    await roll_up(database)
    shown = await told(versions, alice, key_id)
    assert (shown[1].safe_to_end, shown[2].safe_to_end) == (is_safe, False)


async def test_refused_calls_with_an_old_secret_keep_it_from_being_safe(
    versions: VersionService, keys: KeyService, database: Database, alice: DeveloperId, key_id: str
) -> None:
    """They are no use of the key, but somebody still has the old secret."""
    await keys.rotate(acting(alice), rotation(key_id))
    await use(database, key_id, 2)
    assert (await told(versions, alice, key_id))[1].safe_to_end
    await use(database, key_id, 1, MINUTE)
    await database.execute("UPDATE api_key_secrets SET last_used_at = NULL WHERE version = 1")
    assert not (await told(versions, alice, key_id))[1].safe_to_end


async def test_an_ended_grace_ends_the_secret_alone_and_is_told(
    versions: VersionService, keys: KeyService, database: Database, clock: Clock, alice: DeveloperId
) -> None:
    first = await keys.create(acting(alice), wish())
    second = await keys.rotate(acting(alice), rotation(first.key.id))
    third = await keys.rotate(acting(alice), rotation(first.key.id))
    await clock.advance(MINUTE)
    call = acting(alice)
    ended = await versions.end_grace(call, first.key.id, 1)
    assert await works(database, first.secret, second.secret, third.secret) == [False, True, True]
    assert (ended.secret.version, ended.state, ended.safe_to_end) == (1, SecretState.ENDED, False)
    assert ended.secret.expires_at is not None
    events = await database.fetch("SELECT call_id, target_id, details::text FROM audit_events WHERE action = $1", ENDED)
    assert [(event["call_id"], event["target_id"]) for event in events] == [(call.call_id, first.key.id)]
    assert f'"{first.key.key_prefix}"' in events[0]["details"]


ENDED = "key.grace_ended"


async def test_what_cannot_be_ended_is_refused_and_not_told(
    versions: VersionService, keys: KeyService, database: Database, alice: DeveloperId, bob: DeveloperId, key_id: str
) -> None:
    await keys.rotate(acting(alice), rotation(key_id))
    with pytest.raises(Conflict, match="current secret"):
        await versions.end_grace(acting(alice), key_id, 2)
    with pytest.raises(NotFound, match="no secret of that version"):
        await versions.end_grace(acting(alice), key_id, 3)
    told_ = set()
    for owner, wanted in ((bob, key_id), (alice, new_key_id()), (alice, "key_x"), (alice, "")):
        for call in (versions.end_grace(acting(owner), wanted, 1), versions.list(owner, wanted)):
            with pytest.raises(NotFound) as refused:
                await call
            told_.add(refused.value.message)
    assert told_ == {"There is no such API key, or it is not yours."}
    assert await column(database, "SELECT id FROM audit_events WHERE action = $1", ENDED) == []
    await versions.end_grace(acting(alice), key_id, 1)
    with pytest.raises(Conflict, match="has ended"):
        await versions.end_grace(acting(alice), key_id, 1)
    assert len(await column(database, "SELECT id FROM audit_events WHERE action = $1", ENDED)) == 1


async def test_of_many_who_end_a_grace_one_does(crowd: KeyService, wide_database: Database, alice: DeveloperId) -> None:
    versions = VersionService(wide_database, wide_database)
    first = await crowd.create(acting(alice), wish())
    await crowd.rotate(acting(alice), rotation(first.key.id))
    calls = [versions.end_grace(acting(alice), first.key.id, 1) for _ in range(16)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 15
    assert await works(wide_database, first.secret) == [False]
    assert len(await column(wide_database, "SELECT id FROM audit_events WHERE action = $1", ENDED)) == 1


async def test_an_ended_grace_against_rotations_and_revocations_leaves_no_order_a_living_secret(
    crowd: KeyService, wide_database: Database, alice: DeveloperId
) -> None:
    versions = VersionService(wide_database, wide_database)
    for round_ in range(20):
        first = await crowd.create(acting(alice), wish())
        await crowd.rotate(acting(alice), rotation(first.key.id))
        others: list[Any] = [
            versions.end_grace(acting(alice), first.key.id, 1),
            crowd.rotate(acting(alice), rotation(first.key.id, expire_previous_now=True)),
        ]
        if round_ % 2:
            others.append(crowd.revoke(acting(alice), first.key.id))
        outcomes = await asyncio.gather(*others, return_exceptions=True)
        assert not [fault for fault in outcomes if isinstance(fault, Exception) and not isinstance(fault, Conflict)]
        assert await works(wide_database, first.secret) == [False]


async def test_this_server_forgets_the_key_whose_grace_was_ended(
    database: Database, keys: KeyService, alice: DeveloperId, key_id: str
) -> None:
    forgotten: list[str] = []

    class Memory:
        """Notes what is to be forgotten."""

        def forget(self, changed: str) -> None:
            """Note it."""
            forgotten.append(changed)

        def waiting(self) -> Any:
            """Nobody waits."""
            raise NotImplementedError

    await keys.rotate(acting(alice), rotation(key_id))
    await VersionService(database, database, Memory()).end_grace(acting(alice), key_id, 1)
    assert forgotten == [key_id]


async def test_messages_carry_what_the_service_tells(
    versions: VersionService, keys: KeyService, database: Database, alice: DeveloperId, key_id: str
) -> None:
    calling(alice)
    rpc = KeySecretService(versions)
    await keys.rotate(acting(alice), rotation(key_id))
    await use(database, key_id, 1, 20 * MINUTE, "Get", 3)
    await use(database, key_id, 2, MINUTE, "Put", 4)
    answer = await rpc.ListSecretVersions(ListSecretVersionsRequest(id=key_id), CONTEXT)
    current, old = answer.versions
    assert (current.state, current.expires_at, current.calls, current.last_operation) == (1, "", 4, "Put")
    assert (old.state, old.expires_at) == (2, "2030-06-15T13:30:30.000000Z")
    assert (old.calls, old.calls_last_hour, old.last_operation, old.safe_to_end) == (3, 3, "Get", True)
    assert (old.last_used_at, old.last_client_ip) == ("2030-06-15T12:10:30.000000Z", "192.0.2.7")
    assert [(hour.start_time, hour.calls) for hour in old.uses] == [("2030-06-15T12:00:00.000000Z", 3)]
    ended = (await rpc.EndGrace(EndGraceRequest(id=key_id, version=1), CONTEXT)).version
    assert (ended.version, ended.state, ended.expires_at) == (1, 3, "2030-06-15T12:30:30.000000Z")
    assert ended.prefix == old.prefix
