"""Why calls were refused: by which limit, when, and what room there is now."""

from datetime import timedelta
from typing import Any

import pytest
from sdk.usage.v1 import usage_pb2
from sdk.usage.v1.usage_service_pb2 import (
    LIMIT_DEVELOPER_RATE,
    LIMIT_KEY_RATE,
    LIMIT_MONTHLY_QUOTA,
    ExplainThrottlingRequest,
    ExplainThrottlingResponse,
    LimitStanding,
    Refusal,
)

from server.errors import InvalidRequest, NotFound
from server.ids import DeveloperId, new_key_id
from server.limits.model import Claim, Rate
from server.limits.service import LocalLimiter
from server.metering.counters import Use
from server.postgres.pool import Database
from server.times import format_time
from server.usage.rpc import UsageService
from tests.database import Clock
from tests.integration.keys.vault import register
from tests.integration.metering.meter import add_key
from tests.integration.usage.desk import NOW, act_as, use

CONTEXT: Any = None
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


async def explain(usage: UsageService, key: Use, **asked: Any) -> ExplainThrottlingResponse:
    act_as(DeveloperId(key.developer_id))
    return await usage.ExplainThrottling(ExplainThrottlingRequest(id=key.key_id, **asked), CONTEXT)


async def test_a_key_that_was_never_used_has_all_its_room(
    usage: UsageService, database: Database, alice: DeveloperId
) -> None:
    told = await explain(usage, await add_key(database, alice))
    minute_later = format_time(NOW + MINUTE)
    assert list(told.limits) == [
        LimitStanding(limit=LIMIT_KEY_RATE, units=600, window_seconds=60, remaining=600, resets_at=minute_later),
        LimitStanding(limit=LIMIT_DEVELOPER_RATE, units=600, window_seconds=60, remaining=600, resets_at=minute_later),
        LimitStanding(
            limit=LIMIT_MONTHLY_QUOTA,
            units=1_000_000,
            remaining=1_000_000,
            resets_at="2030-02-01T00:00:00.000000Z",
        ),
    ]
    assert list(told.refusals) == []
    assert (told.key_calls_per_second, told.developer_calls_per_second) == (0, 0)


async def test_refusals_are_told_by_point_and_limit_newest_first(
    usage: UsageService, database: Database, alice: DeveloperId
) -> None:
    key, other = [await add_key(database, alice) for _ in range(2)]
    for hours, outcomes in (
        (0, {"valid": 4, "rate_limited": 2, "quota_exceeded": 1}),
        (2, {"rate_limited_developer": 3}),
    ):
        for outcome, calls in outcomes.items():
            await use(database, key, calls, outcome, at=NOW - hours * HOUR)
    await use(database, key, 5, at=NOW - HOUR)
    await use(database, other, 7, "rate_limited")
    told = await explain(usage, key)
    assert list(told.refusals) == [
        Refusal(start_time="2030-01-15T12:00:00.000000Z", limit=LIMIT_KEY_RATE, refused_calls=2, calls=7),
        Refusal(start_time="2030-01-15T12:00:00.000000Z", limit=LIMIT_MONTHLY_QUOTA, refused_calls=1, calls=7),
        Refusal(start_time="2030-01-15T10:00:00.000000Z", limit=LIMIT_DEVELOPER_RATE, refused_calls=3, calls=3),
    ]
    assert [limit.refused_calls for limit in told.limits] == [2, 3, 1]


@pytest.mark.parametrize("granularity", ["MINUTE", "HOUR", "DAY"])
async def test_a_span_of_any_granularity_may_be_named(
    usage: UsageService, database: Database, alice: DeveloperId, granularity: str
) -> None:
    key = await add_key(database, alice)
    for minutes in (1, 90):
        await use(database, key, 1, "rate_limited", at=NOW - minutes * MINUTE)
    asked = {"granularity": usage_pb2.Granularity.Value(f"GRANULARITY_{granularity}")}
    wide = await explain(usage, key, **asked, start_time="2030-01-15T00:00:00Z")
    assert wide.limits[0].refused_calls == sum(refusal.refused_calls for refusal in wide.refusals) == 2
    narrow = await explain(usage, key, **asked, end_time="2030-01-15T00:00:00Z")
    assert (narrow.limits[0].refused_calls, len(narrow.refusals)) == (0, 0)


async def test_room_is_that_of_the_windows_as_they_stand(
    usage: UsageService, database: Database, limiter: LocalLimiter, alice: DeveloperId
) -> None:
    await database.execute("UPDATE tiers SET requests = 100, developer_requests = 500")
    key = await add_key(database, alice)
    await database.execute("UPDATE api_keys SET rate_requests = 7, rate_seconds = 10 WHERE id = $1", key.key_id)
    of_developer = Claim(f"d:{alice}".encode(), Rate(500, 60))
    await limiter.take([Claim(f"k:{alice}:{key.key_id}".encode(), Rate(7, 10)), of_developer], 3)
    await limiter.take([of_developer], 40)
    for _ in range(2):  # to ask uses nothing
        told = await explain(usage, key)
        assert [(limit.units, limit.window_seconds, limit.remaining) for limit in told.limits[:2]] == [
            (7, 10, 4),
            (500, 60, 457),
        ]
        assert [limit.resets_at for limit in told.limits[:2]] == [
            format_time(NOW + timedelta(seconds=10)),
            format_time(NOW + MINUTE),
        ]


async def test_windows_run_out_at_the_pace_of_the_last_minutes(
    usage: UsageService, database: Database, limiter: LocalLimiter, alice: DeveloperId
) -> None:
    """The last full minute and 56 seconds of this one."""
    await database.execute("UPDATE tiers SET requests = 60, developer_requests = 1000")
    key, other = [await add_key(database, alice) for _ in range(2)]
    await use(database, key, 58, at=NOW - MINUTE, cost=2)
    await use(database, key, 116, "rate_limited", at=NOW - MINUTE)  # at 2 units each: 348 in 116 seconds
    await use(database, other, 58, at=NOW)
    await limiter.take([Claim(f"k:{alice}:{key.key_id}".encode(), Rate(60, 60))], 30)
    told = await explain(usage, key)
    assert [limit.exhausted_at for limit in told.limits[:2]] == [format_time(NOW + timedelta(seconds=10)), ""]
    assert told.key_calls_per_second == 174 / 116
    assert told.developer_calls_per_second == 232 / 116
    await limiter.take([Claim(f"k:{alice}:{key.key_id}".encode(), Rate(60, 60))], 30)
    assert (await explain(usage, key)).limits[0].exhausted_at == format_time(NOW)


async def test_the_quota_runs_out_as_forecast(usage: UsageService, database: Database, alice: DeveloperId) -> None:
    await database.execute("UPDATE tiers SET monthly_quota = 100")
    key = await add_key(database, alice)
    await use(database, key, 90, at=NOW - timedelta(days=1))
    act_as(alice)
    told = (await explain(usage, key)).limits[2]
    assert (told.units, told.remaining, told.window_seconds) == (100, 10, 0)
    assert format_time(NOW) < told.exhausted_at < told.resets_at
    await database.execute("UPDATE tiers SET monthly_quota = 80")
    told = (await explain(usage, key)).limits[2]
    assert (told.remaining, told.exhausted_at) == (0, format_time(NOW))


async def test_without_a_quota_there_is_no_such_limit(
    usage: UsageService, database: Database, alice: DeveloperId
) -> None:
    await database.execute("UPDATE tiers SET monthly_quota = NULL")
    told = await explain(usage, await add_key(database, alice))
    assert [limit.limit for limit in told.limits] == [LIMIT_KEY_RATE, LIMIT_DEVELOPER_RATE]


async def test_a_key_that_is_revoked_is_explained_still(
    usage: UsageService, database: Database, alice: DeveloperId
) -> None:
    key = await add_key(database, alice)
    await use(database, key, 3, "rate_limited")
    await database.execute("UPDATE api_keys SET revoked_at = clock()")
    assert (await explain(usage, key)).limits[0].refused_calls == 3


async def test_someone_elses_key_looks_absent(usage: UsageService, database: Database, alice: DeveloperId) -> None:
    others = await add_key(database, await register(database, "carol"))
    act_as(alice)
    for key_id in (others.key_id, new_key_id(), "key", ""):
        with pytest.raises(NotFound, match=r"^There is no such API key, or it is not yours\.$"):
            await usage.ExplainThrottling(ExplainThrottlingRequest(id=key_id), CONTEXT)


async def test_a_span_at_fault_is_refused(
    usage: UsageService, database: Database, clock: Clock, alice: DeveloperId
) -> None:
    key = await add_key(database, alice)
    for asked in ({"start_time": "noon"}, {"end_time": "2030-01-14T00:00:00Z", "start_time": "2030-01-15T00:00:00Z"}):
        with pytest.raises(InvalidRequest):
            await explain(usage, key, **asked)
