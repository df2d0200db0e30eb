"""Limits as a message."""

from sdk.usage.v1.usage_service_pb2 import GetLimitsResponse, KeyRate, RateRule, RateStanding

from server.limits.model import Rate, Tier
from server.usage.rpc import limits_message
from server.usage.service import Limits

TIER = Tier(
    name="standard",
    rate=Rate(600, 60),
    developer_rate=Rate(900, 60),
    monthly_quota=1_000,
    max_keys=50,
    concurrent_streams=10,
)


def limits(tier: Tier = TIER) -> Limits:
    return Limits(
        tier=tier,
        remaining=890,
        reset_at=1_900_000_000,
        quota_used=70,
        live_keys=3,
        key_rates={"key_b": Rate(5, 1), "key_a": Rate(7, 60)},
    )


def test_every_limit_is_told() -> None:
    assert limits_message(limits()) == GetLimitsResponse(
        tier="standard",
        key_rate=RateRule(requests=600, window_seconds=60),
        developer_rate=RateRule(requests=900, window_seconds=60),
        developer_standing=RateStanding(remaining=890, reset_at=1_900_000_000),
        monthly_quota=1_000,
        quota_used=70,
        max_keys=50,
        live_keys=3,
        concurrent_streams=10,
        key_overrides=[
            KeyRate(key_id="key_b", rate=RateRule(requests=5, window_seconds=1)),
            KeyRate(key_id="key_a", rate=RateRule(requests=7, window_seconds=60)),
        ],
    )


def test_no_quota_is_none() -> None:
    tier = Tier(
        name="free",
        rate=Rate(1, 1),
        developer_rate=Rate(1, 1),
        monthly_quota=None,
        max_keys=1,
        concurrent_streams=0,
    )
    assert limits_message(limits(tier)).monthly_quota == 0
