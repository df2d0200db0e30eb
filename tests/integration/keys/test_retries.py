"""Request ids over time: ten minutes of the same answer, a day of a conflict, and nothing readable at rest."""

from datetime import timedelta
from uuid import uuid4

import pytest

from server.errors import Conflict, InvalidRequest
from server.ids import DeveloperId
from server.keys.service import KeyService
from server.postgres.pool import Database
from tests.database import Clock
from tests.integration.keys.vault import acting, column, rotation, wish, works

ALMOST_TEN_MINUTES = timedelta(minutes=10) - timedelta(microseconds=1)
A_MICROSECOND = timedelta(microseconds=1)


async def test_for_ten_minutes_a_retry_has_the_first_answer(keys: KeyService, alice: DeveloperId, clock: Clock) -> None:
    await clock.set(await clock.now())
    request_id = str(uuid4())
    first = await keys.create(acting(alice), wish(request_id=request_id))
    await clock.advance(ALMOST_TEN_MINUTES)
    await keys.sweep()
    again = await keys.create(acting(alice), wish(request_id=request_id))
    assert (again.key, again.secret.reveal()) == (first.key, first.secret.reveal())


async def test_the_answer_to_a_retry_is_that_of_the_first_time_whatever_happened_since(
    keys: KeyService, database: Database, alice: DeveloperId
) -> None:
    request_id = str(uuid4())
    first = await keys.create(acting(alice), wish(request_id=request_id))
    await keys.revoke(acting(alice), first.key.id)
    again = await keys.create(acting(alice), wish(request_id=request_id))
    assert again.key == first.key
    assert await works(database, again.secret) == [False]


async def test_after_ten_minutes_a_retry_is_a_conflict_that_names_the_key(
    keys: KeyService, database: Database, alice: DeveloperId, clock: Clock
) -> None:
    await clock.set(await clock.now())
    request_id = str(uuid4())
    first = await keys.create(acting(alice), wish(request_id=request_id))
    await clock.advance(ALMOST_TEN_MINUTES + A_MICROSECOND)
    with pytest.raises(Conflict) as refusal:
        await keys.create(acting(alice), wish(request_id=request_id))
    assert first.key.id in refusal.value.message
    assert refusal.value.metadata == {"keyId": first.key.id}
    assert len(await column(database, "SELECT id FROM api_keys")) == 1


async def test_after_ten_minutes_another_request_under_the_id_is_still_told_so(
    keys: KeyService, alice: DeveloperId, clock: Clock
) -> None:
    request_id = str(uuid4())
    await keys.create(acting(alice), wish("one", request_id=request_id))
    await clock.advance(timedelta(hours=1))
    with pytest.raises(InvalidRequest):
        await keys.create(acting(alice), wish("two", request_id=request_id))


async def test_the_sweep_erases_answers_after_ten_minutes_and_ids_after_a_day(
    keys: KeyService, database: Database, alice: DeveloperId, clock: Clock
) -> None:
    await clock.set(await clock.now())
    key = (await keys.create(acting(alice), wish(request_id=str(uuid4())))).key
    await keys.rotate(acting(alice), rotation(key.id, request_id=str(uuid4())))
    kept: list[tuple[int, int]] = []
    for step in (
        ALMOST_TEN_MINUTES,
        A_MICROSECOND,
        timedelta(hours=24) - timedelta(minutes=10) - A_MICROSECOND,
        A_MICROSECOND,
    ):
        await clock.advance(step)
        await keys.sweep()
        sealed = await column(database, "SELECT sealed FROM request_ids")
        kept.append((len(sealed), len([each for each in sealed if each is not None])))
    assert kept == [(2, 2), (2, 0), (2, 0), (0, 0)]


async def test_the_sweep_catches_up_with_whatever_has_piled_up(
    keys: KeyService, database: Database, alice: DeveloperId
) -> None:
    await database.execute(
        "INSERT INTO request_ids (developer_id, method, request_digest, payload_digest, sealed, created_at)"
        " SELECT $1, 'CreateApiKey', sha256(n::text::bytea), '', 'sealed', clock() - n * interval '1 minute'"
        " FROM generate_series(0, 5999) AS n",
        alice,
    )
    await keys.sweep()
    sealed = await column(database, "SELECT sealed FROM request_ids")
    assert len(sealed) == 24 * 60
    assert len([each for each in sealed if each is not None]) == 10


async def test_a_day_later_a_request_id_is_new_again(keys: KeyService, alice: DeveloperId, clock: Clock) -> None:
    request_id = str(uuid4())
    first = await keys.create(acting(alice), wish(request_id=request_id))
    await clock.advance(timedelta(hours=24))
    await keys.sweep()
    second = await keys.create(acting(alice), wish("another", request_id=request_id))
    assert second.key.id != first.key.id


async def test_neither_the_secret_nor_the_request_id_can_be_read_at_rest(
    keys: KeyService, database: Database, alice: DeveloperId
) -> None:
    request_id = str(uuid4())
    issued = await keys.create(acting(alice), wish(request_id=request_id))
    row = await database.fetchrow("SELECT row_to_json(request_ids)::text AS text, sealed FROM request_ids")
    assert row
    tail = issued.secret.reveal()[-49:]
    assert tail.encode() not in row["sealed"]
    for hidden in (tail, tail.encode().hex(), request_id, request_id.encode().hex()):
        assert hidden not in row["text"]


async def test_whatever_a_request_asks_for_is_part_of_it(keys: KeyService, alice: DeveloperId) -> None:
    request_id = str(uuid4())
    key = (await keys.create(acting(alice), wish())).key
    other = (await keys.create(acting(alice), wish())).key
    await keys.rotate(acting(alice), rotation(key.id, request_id=request_id))
    for different in (
        rotation(other.id, request_id=request_id),
        rotation(key.id, expire_previous_now=True, request_id=request_id),
    ):
        with pytest.raises(InvalidRequest):
            await keys.rotate(acting(alice), different)


async def test_a_change_that_failed_leaves_its_request_id_free(
    keys: KeyService, database: Database, alice: DeveloperId
) -> None:
    request_id = str(uuid4())
    key = (await keys.create(acting(alice), wish())).key
    await keys.revoke(acting(alice), key.id)
    with pytest.raises(Conflict):
        await keys.rotate(acting(alice), rotation(key.id, request_id=request_id))
    assert await column(database, "SELECT method FROM request_ids") == []
