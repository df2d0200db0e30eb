"""Many callers at once over real connections: nothing is lost, doubled or left alive."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from uuid import uuid4

import pytest

from server.errors import Conflict, InvalidRequest
from server.ids import DeveloperId
from server.keys.replay import Issued
from server.keys.service import KeyService, UpdateKey
from server.postgres.pool import Database
from tests.integration.keys.vault import acting, column, live_secrets, rotation, wish, works


async def test_identical_creates_with_one_request_id_make_one_key(
    crowd: KeyService, database: Database, alice: DeveloperId
) -> None:
    request_id = str(uuid4())
    issued = await asyncio.gather(*(crowd.create(acting(alice), wish(request_id=request_id)) for _ in range(32)))
    assert {each.key for each in issued} == {issued[0].key}
    assert {each.secret.reveal() for each in issued} == {issued[0].secret.reveal()}
    assert await column(database, "SELECT id FROM api_keys") == [issued[0].key.id]
    assert await column(database, "SELECT action FROM audit_events") == ["key.created"]
    assert await works(database, issued[0].secret) == [True]


async def test_of_different_creates_with_one_request_id_one_wins(
    crowd: KeyService, database: Database, alice: DeveloperId
) -> None:
    request_id = str(uuid4())
    outcomes = await asyncio.gather(
        *(crowd.create(acting(alice), wish(f"name {number % 4}", request_id=request_id)) for number in range(32)),
        return_exceptions=True,
    )
    winners = [outcome for outcome in outcomes if isinstance(outcome, Issued)]
    losers = [outcome for outcome in outcomes if not isinstance(outcome, Issued)]
    assert len({winner.secret.reveal() for winner in winners}) == 1
    assert len(winners) == 8
    assert all(isinstance(loser, InvalidRequest) for loser in losers)
    assert {loser.violations[0].field for loser in losers if isinstance(loser, InvalidRequest)} == {"request_id"}
    assert len(await column(database, "SELECT id FROM api_keys")) == 1


async def test_identical_rotations_with_one_request_id_rotate_once(
    crowd: KeyService, database: Database, alice: DeveloperId
) -> None:
    key = (await crowd.create(acting(alice), wish())).key
    request_id = str(uuid4())
    issued = await asyncio.gather(
        *(crowd.rotate(acting(alice), rotation(key.id, request_id=request_id)) for _ in range(32))
    )
    assert len({each.secret.reveal() for each in issued}) == 1
    assert await column(database, "SELECT version FROM api_key_secrets ORDER BY version") == [1, 2]


async def test_a_hundred_rotations_that_end_the_others_all_happen(
    crowd: KeyService, database: Database, alice: DeveloperId
) -> None:
    first = await crowd.create(acting(alice), wish())
    wishes = [rotation(first.key.id, expire_previous_now=True) for _ in range(100)]
    issued = await asyncio.gather(*(crowd.rotate(acting(alice), each) for each in wishes))
    assert await column(database, "SELECT version FROM api_key_secrets ORDER BY version") == list(range(1, 102))
    assert len({each.secret.reveal() for each in issued}) == 100
    assert sum(await works(database, first.secret, *(each.secret for each in issued))) == 1
    assert await column(database, "SELECT key_prefix FROM api_keys") == await column(
        database, "SELECT key_prefix FROM api_key_secrets WHERE expires_at IS NULL"
    )
    assert len(await column(database, "SELECT id FROM audit_events WHERE action = 'key.rotated'")) == 100


async def test_of_a_hundred_rotations_with_grace_only_so_many_happen_that_five_secrets_live(
    crowd: KeyService, database: Database, alice: DeveloperId
) -> None:
    first = await crowd.create(acting(alice), wish())
    outcomes = await asyncio.gather(
        *(crowd.rotate(acting(alice), rotation(first.key.id)) for _ in range(100)), return_exceptions=True
    )
    issued = [outcome for outcome in outcomes if isinstance(outcome, Issued)]
    assert len(issued) == 4
    assert all(isinstance(outcome, Conflict) for outcome in outcomes if not isinstance(outcome, Issued))
    assert await works(database, first.secret, *(each.secret for each in issued)) == [True] * 5
    assert await column(database, "SELECT version FROM api_key_secrets ORDER BY version") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("expire_previous_now", [False, True])
async def test_a_rotation_against_a_revocation_leaves_no_living_secret(
    crowd: KeyService, database: Database, alice: DeveloperId, expire_previous_now: bool
) -> None:
    for round_ in range(40):
        first = await crowd.create(acting(alice), wish())
        rotations = [rotation(first.key.id, expire_previous_now=expire_previous_now) for _ in range(2)]
        calls: list[Awaitable[object]] = [crowd.rotate(acting(alice), each) for each in rotations]
        calls.insert(round_ % 3, crowd.revoke(acting(alice), first.key.id))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        issued = [outcome for outcome in outcomes if isinstance(outcome, Issued)]
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 2 - len(issued)
        assert not any(await works(database, first.secret, *(each.secret for each in issued)))
        assert await live_secrets(database, first.key.id) == 0


async def test_of_many_revocations_one_happens(crowd: KeyService, database: Database, alice: DeveloperId) -> None:
    key = (await crowd.create(acting(alice), wish())).key
    outcomes = await asyncio.gather(*(crowd.revoke(acting(alice), key.id) for _ in range(16)), return_exceptions=True)
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 15
    assert len(await column(database, "SELECT id FROM audit_events WHERE action = 'key.revoked'")) == 1


async def test_a_new_name_and_a_new_secret_do_not_undo_one_another(
    crowd: KeyService, database: Database, alice: DeveloperId
) -> None:
    for number in range(10):
        key = (await crowd.create(acting(alice), wish())).key
        change = UpdateKey(id=key.id, name=f"name {number}", expires_at="", paths=("name",))
        renamed, rotated = await asyncio.gather(
            crowd.update(acting(alice), change), crowd.rotate(acting(alice), rotation(key.id))
        )
        now = await crowd.get(alice, key.id)
        assert (now.name, now.key_prefix) == (renamed.name, rotated.key.key_prefix)


async def test_a_scan_sees_every_key_once_while_others_come_and_go(crowd: KeyService, alice: DeveloperId) -> None:
    there = {(await crowd.create(acting(alice), wish())).key.id for _ in range(30)}
    doomed = sorted(there)[::3]
    seen: list[str] = []
    token = ""
    while token or not seen:
        changes: list[Awaitable[object]] = [crowd.create(acting(alice), wish())]
        if doomed:
            changes.append(crowd.revoke(acting(alice), doomed.pop()))
        (page, token), _ = await asyncio.gather(crowd.list(alice, 4, token), asyncio.gather(*changes))
        seen += [key.id for key in page]
    assert len(seen) == len(set(seen))
    assert there <= set(seen)


async def test_a_rotation_that_waits_counts_its_time_from_the_end_of_the_wait(
    crowd: KeyService, wide_database: Database, database: Database, alice: DeveloperId
) -> None:
    key = (await crowd.create(acting(alice), wish())).key
    async with wide_database.connection() as holder:
        await holder.execute("BEGIN")
        await holder.execute("SELECT FROM api_keys WHERE id = $1 FOR UPDATE", key.id)
        rotating = asyncio.create_task(crowd.rotate(acting(alice), rotation(key.id, expire_previous_now=True)))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not (await column(database, waiting))[0]:
            await asyncio.sleep(0.01)
        (released_at,) = await column(database, "SELECT clock()")
        await holder.execute("ROLLBACK")
        rotated = await rotating
    assert isinstance(released_at, datetime)
    assert rotated.previous_expires_at is not None
    assert rotated.previous_expires_at >= released_at
