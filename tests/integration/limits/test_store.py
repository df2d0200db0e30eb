"""Tiers as they stand in the database."""

import pytest

from server.ids import DeveloperId, new_developer_id
from server.limits.model import Rate, Tier
from server.limits.store import TierStore
from server.postgres.pool import Database


@pytest.fixture
async def alice(database: Database) -> DeveloperId:
    """A developer of no particular tier."""
    alice = new_developer_id()
    await database.execute(
        "INSERT INTO developers (id, issuer, subject, created_at) VALUES ($1, 'test', 'alice', clock())", alice
    )
    return alice


async def test_a_developer_begins_in_the_standard_tier(database: Database, alice: DeveloperId) -> None:
    assert await TierStore(database).find(alice) == Tier(
        name="standard",
        rate=Rate(600, 60),
        developer_rate=Rate(600, 60),
        monthly_quota=1_000_000,
        max_keys=1000,
        concurrent_streams=10,
    )


async def test_a_developer_moves_to_another_tier(database: Database, alice: DeveloperId) -> None:
    await database.execute("INSERT INTO tiers VALUES ('partner', 50, 1, 200, NULL, 5, 0)")
    await database.execute("UPDATE developers SET tier = 'partner' WHERE id = $1", alice)
    tier = await TierStore(database).find(alice)
    assert tier == Tier(
        name="partner",
        rate=Rate(50, 1),
        developer_rate=Rate(200, 1),
        monthly_quota=None,
        max_keys=5,
        concurrent_streams=0,
    )


async def test_nobody_has_no_tier(database: Database) -> None:
    assert await TierStore(database).find(new_developer_id()) is None
