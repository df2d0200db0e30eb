"""Reports of usage against a model of a few lines, and the rules around them."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import InvalidRequest, NotFound, Overloaded
from server.ids import DeveloperId
from server.metering.counters import Counters, Use
from server.metering.model import Count, Granularity, Usage
from server.metering.reports import Period, UsageReports
from server.metering.rollup import RollUp
from server.metering.store import Account, UsageStore
from server.postgres.pool import Database
from server.times import format_time
from tests.database import Clock
from tests.integration.keys.vault import key_service, register
from tests.integration.metering.meter import add_key, meter

NOW = datetime(2030, 3, 15, 12, 34, 30, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LENGTHS = {Granularity.MINUTE: MINUTE, Granularity.HOUR: HOUR, Granularity.DAY: DAY}


class Seconds:
    """The clock of one process."""

    def __init__(self, moment: datetime = NOW) -> None:
        self.moment = moment

    def __call__(self) -> float:
        return self.moment.timestamp()


@dataclass(frozen=True)
class Call:
    """A call that was counted: how long ago, by which of the keys, and what became of it."""

    ago: timedelta
    key: int
    operation: str
    outcome: str
    cost: int

    @property
    def units(self) -> int:
        return self.cost if self.outcome == "valid" else 0


CALLS = st.builds(
    Call,
    ago=st.timedeltas(timedelta(), 6 * DAY) | st.timedeltas(timedelta(), 3 * MINUTE),
    key=st.integers(0, 2),
    operation=st.sampled_from(["", "search", "get"]),
    outcome=st.sampled_from(["valid", "valid", "revoked", "rate_limited", "quota_exceeded"]),
    cost=st.integers(1, 5),
)


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def now(database: Database, clock: Clock) -> Clock:
    """The database's clock, stopped, with partitions for it."""
    await clock.set(NOW)
    await RollUp(database).maintain_partitions()
    return clock


@pytest_asyncio.fixture(loop_scope="session")
async def keys(database: Database, alice: DeveloperId, bob: DeveloperId) -> list[Use]:
    """Two keys of alice's and one of bob's."""
    return [await add_key(database, owner) for owner in (alice, alice, bob)]


async def record(database: Database, keys: list[Use], calls: list[Call]) -> None:
    """Count, flush and roll up calls."""
    seconds = Seconds()
    counters = Counters(clock=seconds)
    for call in calls:
        seconds.moment = NOW - call.ago
        counters.count(keys[call.key], call.operation, call.outcome, call.cost, "")
    await meter(database, counters).flush()
    await RollUp(database).roll_up()


def period(granularity: Granularity = Granularity.HOUR, start: str = "", end: str = "") -> Period:
    return Period(granularity=granularity, start_time=start, end_time=end)


def begin(moment: datetime, length: timedelta) -> datetime:
    return moment - (moment - NOW.replace(hour=0, minute=0, second=0)) % length


def most_frequent(names: Counter[str]) -> tuple[Count, ...]:
    return tuple(Count(name, calls) for name, calls in sorted(names.items(), key=lambda item: (-item[1], item[0])))


def assert_tells(usage: Usage, calls: list[Call]) -> None:
    """A report tells of exactly those of some calls that lie in its points."""
    length = LENGTHS[usage.span.granularity]
    points: dict[datetime, list[Call]] = {}
    for call in calls:
        point = begin(NOW - call.ago, length)
        if usage.span.start <= point < usage.span.end:
            points.setdefault(point, []).append(call)
    inside = [call for point in points.values() for call in point]
    totals = usage.totals
    assert [(point.start, point.calls, point.units, point.outcomes) for point in totals.points] == [
        (
            point,
            len(points[point]),
            sum(call.units for call in points[point]),
            most_frequent(Counter(call.outcome for call in points[point])),
        )
        for point in sorted(points)
    ]
    assert (totals.calls, totals.units) == (len(inside), sum(call.units for call in inside))
    assert totals.outcomes == most_frequent(Counter(call.outcome for call in inside))
    assert totals.operations == most_frequent(Counter(call.operation for call in inside))
    recent = [call for call in calls if begin(NOW - call.ago, MINUTE) >= begin(NOW, MINUTE) - MINUTE]
    assert usage.calls_per_second == len(recent) / 90


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(CALLS, max_size=25),
    granularity=st.sampled_from(Granularity),
    end=st.timedeltas(timedelta(), 2 * DAY),
    length=st.timedeltas(MINUTE, DAY),
)
async def test_reports_tell_what_was_counted(
    database: Database, keys: list[Use], calls: list[Call], granularity: Granularity, end: timedelta, length: timedelta
) -> None:
    await database.execute("TRUNCATE usage_minutes, usage_hours, usage_days, usage_months, usage_batches")
    await database.execute(
        "TRUNCATE usage_developer_minutes, usage_developer_hours, usage_developer_days, usage_key_months"
    )
    await record(database, keys, calls)
    asked = period(granularity, format_time(NOW - end - length), format_time(NOW - end))
    reports = UsageReports(database)
    for developer in {key.developer_id for key in keys}:
        own = [call for call in calls if keys[call.key].developer_id == developer]
        assert_tells(await reports.of_developer(developer, period(granularity)), own)
        usage = await reports.of_developer(developer, asked)
        assert_tells(usage, own)
        assert usage.quota
        assert usage.quota.used == sum(call.units for call in own)
    for number, key in enumerate(keys):
        assert_tells(await reports.of_key(key.key_id, asked), [call for call in calls if call.key == number])


async def test_points_show_up_before_they_are_rolled_up_only_by_minute(
    database: Database, alice: DeveloperId, keys: list[Use]
) -> None:
    counters = Counters(clock=Seconds())
    counters.count(keys[0], "", "valid", 1, "")
    await meter(database, counters).flush()
    reports = UsageReports(database)
    assert (await reports.of_developer(alice, period(Granularity.MINUTE))).totals.calls == 1
    assert (await reports.of_developer(alice, period(Granularity.HOUR))).totals.calls == 0


@pytest.mark.parametrize(
    ("start", "end", "fields"),
    [
        ("yesterday", "", ["start_time"]),
        ("", "2030-03-15", ["end_time"]),
        ("x", "y", ["start_time", "end_time"]),
        ("2030-03-15T00:00:00Z", "2030-03-14T00:00:00Z", ["end_time"]),
        ("2031-01-01T00:00:00Z", "", ["end_time"]),
        ("2029-01-01T00:00:00Z", "", ["start_time"]),
    ],
)
async def test_a_faulty_span_is_refused_by_the_field_s_name(
    database: Database, alice: DeveloperId, keys: list[Use], start: str, end: str, fields: list[str]
) -> None:
    reports = UsageReports(database)
    for report in (
        reports.of_developer(alice, period(start=start, end=end)),
        reports.of_key(keys[0].key_id, period(start=start, end=end)),
    ):
        with pytest.raises(InvalidRequest) as refusal:
            await report
        assert [violation.field for violation in refusal.value.violations] == fields


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00.000001Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("granularity", Granularity)
async def test_the_ends_of_time_are_spans_like_others(
    database: Database, alice: DeveloperId, moment: str, granularity: Granularity
) -> None:
    usage = await UsageReports(database).of_developer(alice, period(granularity, end=moment))
    assert usage.totals.calls == 0


async def test_someone_elses_key_looks_absent_to_the_last_byte(
    database: Database, alice: DeveloperId, keys: list[Use]
) -> None:
    with pytest.raises(NotFound) as absent:
        await key_service(database).get(alice, "key_00000000000000000000000000")
    for key_id in (keys[2].key_id, "key_00000000000000000000000000", "nonsense", "", "key_\0"):
        with pytest.raises(NotFound) as refusal:
            await UsageReports(database).of_key(key_id, period(), developer_id=alice)
        assert refusal.value.message == absent.value.message
    assert (await UsageReports(database).of_key(keys[0].key_id, period(), developer_id=alice)).totals.calls == 0


@pytest.mark.parametrize("developer_id", ["dev_00000000000000000000000000", "", "nonsense", "dev_\0"])
async def test_an_unknown_developer_is_not_found(database: Database, developer_id: str) -> None:
    with pytest.raises(NotFound):
        await UsageReports(database).of_developer(developer_id, period())


async def set_quota(database: Database, quota: int | None) -> None:
    await database.execute("UPDATE tiers SET monthly_quota = $1", quota)


async def test_without_a_quota_there_is_nothing_to_run_out(database: Database, alice: DeveloperId) -> None:
    await set_quota(database, None)
    assert (await UsageReports(database).of_developer(alice, period())).quota is None


async def test_a_key_shows_the_quota_of_all_keys(database: Database, keys: list[Use]) -> None:
    await set_quota(database, 100)
    await record(database, keys, [Call(HOUR, 0, "", "valid", 3), Call(HOUR, 1, "", "valid", 4)])
    quota = (await UsageReports(database).of_key(keys[0].key_id, period())).quota
    assert quota
    assert (quota.limit, quota.used, quota.resets_at) == (100, 7, datetime(2030, 4, 1, tzinfo=UTC))


async def test_a_month_whose_use_just_began_is_forecast_by_that(
    database: Database, alice: DeveloperId, keys: list[Use]
) -> None:
    await record(database, keys, [Call(34 * MINUTE + 30 * SECOND + HOUR, 0, "", "valid", 5)] * 18)
    quota = (await UsageReports(database).of_developer(alice, period())).quota
    assert quota
    rest = datetime(2030, 4, 1, tzinfo=UTC) - NOW
    assert quota.forecast == pytest.approx(90 + 90 * (rest / (NOW - NOW.replace(hour=11, minute=0, second=0))), abs=1)


async def test_a_month_in_use_for_long_is_forecast_by_its_last_seven_days(
    database: Database, now: Clock, alice: DeveloperId, keys: list[Use]
) -> None:
    await now.set(NOW - 9 * DAY)
    await RollUp(database).maintain_partitions()
    await record(database, keys, [Call(9 * DAY, 0, "", "valid", 5)] * 100)
    await now.set(NOW)
    await RollUp(database).maintain_partitions()
    await record(database, keys, [Call(DAY, 0, "", "valid", 5)] * 14)
    await set_quota(database, 600)
    quota = (await UsageReports(database).of_developer(alice, period())).quota
    assert quota
    per_day = 70 / ((NOW - NOW.replace(minute=0, second=0) + 7 * DAY) / DAY)
    assert quota.used == 570
    assert quota.forecast == pytest.approx(570 + per_day * ((datetime(2030, 4, 1, tzinfo=UTC) - NOW) / DAY), abs=1)
    assert quota.exhausted_at
    assert abs(quota.exhausted_at - (NOW + 30 / per_day * DAY)) < SECOND


async def test_last_month_is_no_part_of_the_pace(
    database: Database, now: Clock, alice: DeveloperId, keys: list[Use]
) -> None:
    first = datetime(2030, 4, 2, tzinfo=UTC)
    await now.set(first)
    await RollUp(database).maintain_partitions()
    seconds = Seconds(first - 2 * DAY)
    counters = Counters(clock=seconds)
    for moment, cost in ((first - 2 * DAY, 1000), (first - DAY, 24)):
        seconds.moment = moment
        counters.count(keys[0], "", "valid", cost, "")
    await meter(database, counters).flush()
    await RollUp(database).roll_up()
    quota = (await UsageReports(database).of_developer(alice, period())).quota
    assert quota
    assert (quota.used, quota.forecast) == (24, 24 + 24 * 29)


async def test_streams_are_counted_by_medium_over_whole_days(
    database: Database, alice: DeveloperId, keys: list[Use]
) -> None:
    rows = [
        ("2030-03-12", "music", 0, 100, 100),
        ("2030-03-13", "music", 0, 5, 4),
        ("2030-03-13", "music", 1, 3, 1),
        ("2030-03-14", "video", 0, 2, 2),
        ("2030-03-15", "video", 0, 50, 50),
    ]
    for row in rows:
        await database.execute(
            "INSERT INTO stream_days (developer_id, day, client_id, medium, shard, acquisitions, billable)"
            " VALUES ($1, $2::text::date, 'client', $3, $4, $5, $6)",
            alice,
            *row,
        )
    reports = UsageReports(database)
    asked = period(Granularity.HOUR, "2030-03-13T12:00:00Z", "2030-03-15T00:00:00Z")
    assert (await reports.of_developer(alice, asked)).streams == (("music", 8, 5), ("video", 2, 2))
    assert (await reports.of_key(keys[0].key_id, asked)).streams == ()
    assert (await reports.of_developer(await register(database, "carol"), asked)).streams == ()


async def test_two_reports_are_made_at_once_and_a_third_waits_for_a_while(
    database: Database, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.metering.reports._PATIENCE", 0.05)
    find, begun, gate = UsageStore.find_account, asyncio.Semaphore(0), asyncio.Event()

    async def find_later(store: UsageStore, developer_id: str) -> Account | None:
        begun.release()
        await gate.wait()
        return await find(store, developer_id)

    monkeypatch.setattr(UsageStore, "find_account", find_later)
    reports, period = UsageReports(database), Period(granularity=Granularity.HOUR, start_time="", end_time="")
    async with asyncio.timeout(5):
        two = [asyncio.create_task(reports.of_developer(alice, period)) for _ in range(2)]
        for _ in two:
            await begun.acquire()
        with pytest.raises(Overloaded):
            await reports.of_developer(alice, period)
        with pytest.raises(Overloaded):
            await reports.of_key("key_" + "0" * 26, period)
        gate.set()
        assert len(await asyncio.gather(*two)) == 2
        await reports.of_developer(alice, period)  # their turns are given back
