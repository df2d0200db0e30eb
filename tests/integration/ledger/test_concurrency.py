"""Many senders at once, over two pools as two servers have: nothing is lost, doubled, or judged without the others."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
import pytest_asyncio

from server.ids import DeveloperId
from server.metering.ledger import store
from server.metering.ledger.model import Outcome
from server.metering.ledger.service import StreamLedger
from server.postgres.pool import Database
from tests.integration.keys.vault import column
from tests.integration.ledger.book import NOON, acquisition, assert_exact, many

pytestmark = pytest.mark.usefixtures("evening")

_WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest_asyncio.fixture(loop_scope="session")
async def replicas(database_url: str) -> AsyncIterator[list[StreamLedger]]:
    """Two ledgers with a pool each, whose calls may wait for one another as long as a slow machine needs."""
    async with AsyncExitStack() as stack:
        pools = [Database(database_url, size=8, warm=8, budget=60.0) for _ in range(2)]
        for pool in pools:
            await pool.open()
            stack.push_async_callback(pool.close)
        yield [StreamLedger(pool) for pool in pools]


async def test_events_of_one_logical_stream_at_once(
    replicas: list[StreamLedger], database: Database, alice: DeveloperId
) -> None:
    events = [acquisition(f"{number:03}", alice, number * 7 % 400) for number in range(400)]
    random.Random(1).shuffle(events)

    await asyncio.gather(*(replicas[number % 2].record(events[number::40]) for number in range(40)))

    await assert_exact(database, events)


async def test_events_of_many_logical_streams_at_once_each_sent_twice(
    replicas: list[StreamLedger], database: Database, alice: DeveloperId, bob: DeveloperId
) -> None:
    events = many(2000, [alice, bob], streams=300, until=NOON, seed=1)
    rng = random.Random(2)
    sent = events * 2
    rng.shuffle(sent)

    results = await asyncio.gather(*(replicas[number % 2].record(sent[number::20]) for number in range(20)))

    told = [result.outcome for request in results for result in request]
    assert told.count(Outcome.DUPLICATE) == len(events)
    assert Outcome.REFUSED not in told
    await assert_exact(database, events)


@pytest.mark.parametrize("locked", [True, False])
async def test_whoever_enters_an_event_waits_for_the_others_of_its_logical_stream(
    replicas: list[StreamLedger],
    database: Database,
    alice: DeveloperId,
    monkeypatch: pytest.MonkeyPatch,
    locked: bool,
) -> None:
    """Without the locks each of two would find the ledger empty, and both would be billed."""
    earlier, later = acquisition("1", alice, 0), acquisition("2", alice, 30)
    settle = store.LedgerStore.settle
    settled, may_commit = asyncio.Event(), asyncio.Event()

    async def settle_and_wait(self: store.LedgerStore, entered: list[str]) -> dict[str, bool]:
        result = await settle(self, entered)
        if "1" in entered:
            settled.set()
            await may_commit.wait()
        return result

    monkeypatch.setattr(store.LedgerStore, "settle", settle_and_wait)
    if not locked:
        unlocked = {"lock": store._SQL["lock"].replace(" FOR NO KEY UPDATE", "")}
        monkeypatch.setattr(store, "_SQL", dict(store._SQL) | unlocked)

    first = asyncio.create_task(replicas[0].record([earlier]))
    await settled.wait()
    second = asyncio.create_task(replicas[1].record([later]))
    while not second.done() and not await column(database, _WAITING):
        await asyncio.sleep(0.01)
    assert second.done() is not locked
    may_commit.set()
    await asyncio.gather(first, second)

    if locked:
        await assert_exact(database, [earlier, later])
    else:
        with pytest.raises(AssertionError):
            await assert_exact(database, [earlier, later])


async def test_one_event_sent_by_everybody_at_once_is_entered_once(
    replicas: list[StreamLedger], database: Database, alice: DeveloperId
) -> None:
    event = acquisition("1", alice)
    results = await asyncio.gather(*(replicas[number % 2].record([event]) for number in range(32)))
    told = [result.outcome for (result,) in results]
    assert (told.count(Outcome.BILLABLE), told.count(Outcome.DUPLICATE)) == (1, 31)
    assert all(result.billable for (result,) in results)
    await assert_exact(database, [event])


async def test_of_different_events_with_one_id_one_is_entered_and_the_others_are_refused(
    replicas: list[StreamLedger], database: Database, alice: DeveloperId
) -> None:
    for round_ in range(30):
        events = [acquisition(f"{round_}", alice, user_id=f"user-{round_}-{number}") for number in range(6)]

        results = await asyncio.gather(*(replicas[number % 2].record([event]) for number, event in enumerate(events)))

        told = [result.outcome for (result,) in results]
        assert (told.count(Outcome.BILLABLE), told.count(Outcome.REFUSED)) == (1, 5)
        (entered,) = await column(database, "SELECT user_id FROM stream_events WHERE event_id = $1", f"{round_}")
        assert events[told.index(Outcome.BILLABLE)].user_id == entered
    assert (await StreamLedger(database).recount(alice, NOON.date())).agrees


async def test_an_id_that_is_used_between_the_survey_and_the_entry(
    ledger: StreamLedger, database: Database, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events that lose their ids must count for nothing, though the batch they came in does."""
    kept = [acquisition("1", alice, 10, user_id="other"), acquisition("2", alice, 10)]
    losing = [acquisition("1", alice, 0), acquisition("2", alice, 10)]
    after = acquisition("3", alice, 30, lasts=timedelta(minutes=1))
    overtaken = store.LedgerStore.lock

    async def overtake(self: store.LedgerStore, logical_streams: list[bytes]) -> None:
        monkeypatch.setattr(store.LedgerStore, "lock", overtaken)
        await ledger.record(kept)
        await overtaken(self, logical_streams)

    monkeypatch.setattr(store.LedgerStore, "lock", overtake)

    results = await ledger.record([*losing, after])

    assert [result.outcome for result in results] == [Outcome.REFUSED, Outcome.DUPLICATE, Outcome.SAME_STREAM]
    assert [violation.field for violation in results[0].violations] == ["event_id"]
    assert results[1].billable
    await assert_exact(database, [*kept, after])


async def test_a_ledger_without_its_locks_enters_nothing(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    await database.execute("DELETE FROM stream_locks")
    with pytest.raises(LookupError):
        await ledger.record([acquisition("1", alice)])
    assert await column(database, "SELECT event_id FROM stream_events") == []
