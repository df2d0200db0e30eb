"""How many live keys a developer may have, which the tier says."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from server.errors import Conflict
from server.ids import DeveloperId
from server.keys.replay import Issued
from server.keys.service import KeyService
from server.keys.store import KeyStore
from server.postgres.pool import Database
from tests.database import Clock
from tests.integration.keys.vault import acting, column, rotation, wish


@pytest.fixture(autouse=True)
async def three_keys(database: Database) -> None:
    """Every developer may have three live keys."""
    await database.execute("UPDATE tiers SET max_keys = 3")


async def _fill(keys: KeyService, developer: DeveloperId) -> list[Issued]:
    return [await keys.create(acting(developer), wish()) for _ in range(3)]


async def test_one_key_more_than_the_tier_allows_is_a_conflict(
    keys: KeyService, database: Database, alice: DeveloperId
) -> None:
    await _fill(keys, alice)
    with pytest.raises(Conflict, match=r"allows 3 live API keys\. Revoke one, or ask for a higher tier"):
        await keys.create(acting(alice), wish())
    assert len(await column(database, "SELECT id FROM api_keys")) == 3


async def test_everybody_has_a_count_of_their_own(keys: KeyService, alice: DeveloperId, bob: DeveloperId) -> None:
    await _fill(keys, alice)
    await keys.create(acting(bob), wish())


async def test_a_revoked_key_makes_room(keys: KeyService, alice: DeveloperId) -> None:
    issued = await _fill(keys, alice)
    await keys.revoke(acting(alice), issued[0].key.id)
    await keys.create(acting(alice), wish())


async def test_an_expired_key_makes_room_from_the_moment_it_ends(
    keys: KeyService, clock: Clock, alice: DeveloperId
) -> None:
    end = await clock.now() + timedelta(hours=1)
    for _ in range(3):
        await keys.create(acting(alice), wish(expires_at=end.isoformat()))
    await clock.set(end - timedelta(microseconds=1))
    with pytest.raises(Conflict):
        await keys.create(acting(alice), wish())
    await clock.set(end)
    await keys.create(acting(alice), wish())


async def test_rotation_is_no_new_key(keys: KeyService, alice: DeveloperId) -> None:
    issued = await _fill(keys, alice)
    await keys.rotate(acting(alice), rotation(issued[0].key.id))


async def test_a_higher_tier_makes_room(keys: KeyService, database: Database, alice: DeveloperId) -> None:
    await _fill(keys, alice)
    await database.execute("INSERT INTO tiers VALUES ('partner', 50, 1, 200, NULL, 4, 0)")
    await database.execute("UPDATE developers SET tier = 'partner' WHERE id = $1", alice)
    await keys.create(acting(alice), wish())
    with pytest.raises(Conflict, match="allows 4 live"):
        await keys.create(acting(alice), wish())


async def test_a_lower_tier_takes_no_key_away(keys: KeyService, database: Database, alice: DeveloperId) -> None:
    issued = await _fill(keys, alice)
    await database.execute("UPDATE tiers SET max_keys = 2")
    await keys.revoke(acting(alice), issued[0].key.id)
    with pytest.raises(Conflict, match="allows 2 live"):
        await keys.create(acting(alice), wish())
    assert (await keys.get(alice, issued[1].key.id)).revoked_at is None


async def test_a_retry_has_its_answer_at_the_limit_too(keys: KeyService, alice: DeveloperId) -> None:
    request_id = str(uuid4())
    first = await keys.create(acting(alice), wish(request_id=request_id))
    for _ in range(2):
        await keys.create(acting(alice), wish())
    again = await keys.create(acting(alice), wish(request_id=request_id))
    assert (again.key, again.secret.reveal()) == (first.key, first.secret.reveal())


async def test_a_refused_request_may_be_tried_again_once_there_is_room(keys: KeyService, alice: DeveloperId) -> None:
    issued = await _fill(keys, alice)
    request_id = str(uuid4())
    with pytest.raises(Conflict):
        await keys.create(acting(alice), wish(request_id=request_id))
    await keys.revoke(acting(alice), issued[0].key.id)
    await keys.create(acting(alice), wish(request_id=request_id))


async def test_of_many_creates_at_once_only_as_many_happen_as_the_tier_allows(
    crowd: KeyService, database: Database, alice: DeveloperId
) -> None:
    outcomes = await asyncio.gather(*(crowd.create(acting(alice), wish()) for _ in range(30)), return_exceptions=True)
    assert sum(isinstance(outcome, Issued) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 27
    assert len(await column(database, "SELECT id FROM api_keys")) == 3


async def test_without_the_held_row_two_creates_could_take_the_same_last_place(
    crowd: KeyService, database: Database, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        await crowd.create(acting(alice), wish())
    both_counted = asyncio.Barrier(2)
    count = KeyStore.count_live_keys

    async def hold_nothing(self: KeyStore, developer_id: DeveloperId) -> int:
        return 3

    async def count_together(self: KeyStore, developer_id: DeveloperId, limit: int) -> int:
        counted = await count(self, developer_id, limit)
        await both_counted.wait()
        return counted

    monkeypatch.setattr(KeyStore, "hold_developer", hold_nothing)
    monkeypatch.setattr(KeyStore, "count_live_keys", count_together)
    await asyncio.gather(*(crowd.create(acting(alice), wish()) for _ in range(2)))
    assert len(await column(database, "SELECT id FROM api_keys")) == 4
