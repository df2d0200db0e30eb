"""What developers are told of their limits and use: their own, as it stands."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sdk.usage.v1.usage_service_pb2 import GetKeyUsageRequest, GetLimitsRequest, GetLimitsResponse, GetUsageRequest

from server.errors import NotFound
from server.ids import DeveloperId, new_developer_id
from server.limits.model import Claim, Rate
from server.limits.service import LocalLimiter
from server.postgres.pool import Database
from server.usage.rpc import UsageService
from tests.database import Clock
from tests.integration.metering.meter import add_key
from tests.integration.usage.desk import NOW, act_as, use

CONTEXT: Any = None


async def limits_of(usage: UsageService, developer_id: DeveloperId) -> GetLimitsResponse:
    act_as(developer_id)
    return await usage.GetLimits(GetLimitsRequest(), CONTEXT)


async def test_limits_are_those_of_the_tier(usage: UsageService, database: Database, alice: DeveloperId) -> None:
    await database.execute("INSERT INTO tiers VALUES ('large', 100, 10, 500, NULL, 7, 3)")
    await database.execute("UPDATE developers SET tier = 'large'")
    limits = await limits_of(usage, alice)
    assert limits.tier == "large"
    assert (limits.key_rate.requests, limits.key_rate.window_seconds) == (100, 10)
    assert (limits.developer_rate.requests, limits.developer_rate.window_seconds) == (500, 10)
    assert (limits.monthly_quota, limits.max_keys, limits.concurrent_streams) == (0, 7, 3)


async def test_a_developer_that_has_done_nothing_has_everything_left(usage: UsageService, alice: DeveloperId) -> None:
    limits = await limits_of(usage, alice)
    assert limits.developer_standing.remaining == 600
    assert limits.developer_standing.reset_at == NOW.timestamp() + 60
    assert (limits.monthly_quota, limits.quota_used, limits.live_keys) == (1_000_000, 0, 0)


async def test_the_standing_is_that_of_all_keys_and_asking_uses_none_of_it(
    usage: UsageService, limiter: LocalLimiter, alice: DeveloperId, bob: DeveloperId
) -> None:
    await limiter.take([Claim(f"d:{alice}".encode(), Rate(600, 60))], 5)
    for _ in range(3):
        standing = (await limits_of(usage, alice)).developer_standing
        assert (standing.remaining, standing.reset_at) == (595, math.ceil(NOW.timestamp() + 60))
    assert (await limits_of(usage, bob)).developer_standing.remaining == 600


async def test_the_quota_is_that_of_this_month(
    usage: UsageService, database: Database, clock: Clock, alice: DeveloperId, bob: DeveloperId
) -> None:
    await use(database, await add_key(database, alice), 2)
    await use(database, await add_key(database, alice), 3)
    await use(database, await add_key(database, bob), 7)
    assert (await limits_of(usage, alice)).quota_used == 5
    await clock.set(datetime(2030, 2, 1, tzinfo=UTC))
    assert (await limits_of(usage, alice)).quota_used == 0


async def test_live_keys_are_neither_revoked_nor_expired(
    usage: UsageService, database: Database, alice: DeveloperId, bob: DeveloperId
) -> None:
    revoked, expired, later, _ = [await add_key(database, alice) for _ in range(4)]
    await add_key(database, bob)
    await database.execute("UPDATE api_keys SET revoked_at = clock() WHERE id = $1", revoked.key_id)
    await database.execute("UPDATE api_keys SET expires_at = clock() WHERE id = $1", expired.key_id)
    await database.execute(
        "UPDATE api_keys SET expires_at = clock() + interval '1 microsecond' WHERE id = $1", later.key_id
    )
    assert (await limits_of(usage, alice)).live_keys == 2


async def test_limits_of_single_live_keys_are_listed_newest_first(
    usage: UsageService, database: Database, clock: Clock, alice: DeveloperId, bob: DeveloperId
) -> None:
    keys = []
    for owner in (alice, alice, alice, bob):
        keys.append(await add_key(database, owner))
        await clock.advance(timedelta(seconds=1))
    await add_key(database, alice)
    await database.execute(
        "UPDATE api_keys SET rate_requests = 5, rate_seconds = 10 WHERE id = ANY($1)", [key.key_id for key in keys]
    )
    await database.execute("UPDATE api_keys SET revoked_at = clock() WHERE id = $1", keys[1].key_id)
    overrides = (await limits_of(usage, alice)).key_overrides
    assert [override.key_id for override in overrides] == [keys[2].key_id, keys[0].key_id]
    assert {(override.rate.requests, override.rate.window_seconds) for override in overrides} == {(5, 10)}


async def test_a_developer_that_is_gone_is_not_found(usage: UsageService) -> None:
    with pytest.raises(NotFound):
        await limits_of(usage, new_developer_id())


async def test_developers_see_their_own_use_only(
    usage: UsageService, database: Database, alice: DeveloperId, bob: DeveloperId
) -> None:
    mine, too, others = [await add_key(database, owner) for owner in (alice, alice, bob)]
    for key, calls in ((mine, 2), (too, 3), (others, 7)):
        await use(database, key, calls)
    act_as(alice)
    assert (await usage.GetUsage(GetUsageRequest(), CONTEXT)).usage.calls == 5
    assert (await usage.GetKeyUsage(GetKeyUsageRequest(id=mine.key_id), CONTEXT)).usage.calls == 2
    with pytest.raises(NotFound, match=r"^There is no such API key, or it is not yours\.$"):
        await usage.GetKeyUsage(GetKeyUsageRequest(id=others.key_id), CONTEXT)
