"""What is billed and what is not (contract section 7), whatever the order in which events arrive."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.ids import DeveloperId
from server.metering.ledger.model import Acquisition, Faulty, Medium, Outcome, Result
from server.metering.ledger.service import StreamLedger
from server.postgres.pool import Database
from tests.database import Clock
from tests.integration.keys.vault import column, register
from tests.integration.ledger.book import HOUR, NOON, acquisition, assert_exact, billable_ids

pytestmark = pytest.mark.usefixtures("evening")

TICK = timedelta(microseconds=1)
BILLABLE, SAME, DUPLICATE, REFUSED = Outcome.BILLABLE, Outcome.SAME_STREAM, Outcome.DUPLICATE, Outcome.REFUSED


def told(results: list[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


def faults(result: Result) -> list[str]:
    assert result.outcome is REFUSED
    assert not result.billable
    return [violation.field for violation in result.violations]


@pytest.mark.parametrize(
    ("second", "outcome"),
    [
        ({"minute": 59}, SAME),
        ({"minute": 60}, BILLABLE),  # the URL is good while now < its end
        ({"minute": 61}, BILLABLE),
        ({"minute": 0}, SAME),  # at the same moment; the smaller id is the earlier one
        ({"minute": 30, "lasts": TICK}, SAME),
        ({"minute": 30, "client_id": "another"}, SAME),
        ({"minute": 30, "content_id": "another"}, BILLABLE),
        ({"minute": 30, "quality": "low"}, BILLABLE),
        ({"minute": 30, "user_id": "another"}, BILLABLE),
        ({"minute": 30, "medium": Medium.VIDEO}, BILLABLE),
    ],
)
@pytest.mark.parametrize("arrival", ["together", "one by one", "late"])
async def test_a_second_acquisition(
    ledger: StreamLedger,
    database: Database,
    alice: DeveloperId,
    second: dict[str, Any],
    outcome: Outcome,
    arrival: str,
) -> None:
    events = [acquisition("1", alice), acquisition("2", alice, **second)]

    if arrival == "together":
        results = await ledger.record(events)
    elif arrival == "one by one":
        results = [(await ledger.record([event]))[0] for event in events]
    else:
        results = [(await ledger.record([event]))[0] for event in reversed(events)][::-1]

    assert told(results) == [BILLABLE, BILLABLE if arrival == "late" else outcome]
    again = await ledger.record(events)
    assert [result.billable for result in again] == [True, outcome is BILLABLE]
    await assert_exact(database, events)


async def test_the_longest_url_is_good_to_its_last_moment(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    first = acquisition("1", alice, -7 * 24 * 60, lasts=timedelta(days=7))
    last = replace(acquisition("2", alice), acquired_at=NOON - TICK, url_expires_at=NOON)
    events = [first, last, acquisition("3", alice)]
    assert told([(await ledger.record([event]))[0] for event in events]) == [BILLABLE, SAME, BILLABLE]
    await assert_exact(database, events)


async def test_another_developers_stream_is_another_stream(
    ledger: StreamLedger, alice: DeveloperId, bob: DeveloperId
) -> None:
    assert told(await ledger.record([acquisition("1", alice), acquisition("2", bob)])) == [BILLABLE, BILLABLE]


async def test_an_acquisition_that_is_not_billed_still_gives_a_url_that_is_good(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    events = [acquisition(str(number), alice, 59 * number) for number in range(4)]
    assert told(await ledger.record(events)) == [BILLABLE, SAME, SAME, SAME]
    await assert_exact(database, events)


async def test_a_late_event_takes_back_what_it_covers_and_nothing_else(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    minutes = {"a": 10, "b": 75, "c": 120, "d": 180}
    known = [acquisition(name, alice, minute) for name, minute in minutes.items()]
    assert told(await ledger.record(known)) == [BILLABLE, BILLABLE, SAME, BILLABLE]
    late = acquisition("0", alice, 0, lasts=2 * HOUR)

    assert told(await ledger.record([late])) == [BILLABLE]

    await assert_exact(database, [*known, late])
    assert [
        tuple(row)
        for row in await database.fetch("SELECT event_id, amount FROM stream_postings ORDER BY event_id, amount DESC")
    ] == [("0", 1), ("a", 1), ("a", -1), ("b", 1), ("b", -1), ("d", 1)]
    assert [result.billable for result in await ledger.record(known)] == [False, False, False, True]


async def test_a_late_event_may_itself_be_covered_and_cover_others(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    known = [acquisition("1", alice, 0), acquisition("3", alice, 90)]
    late = acquisition("2", alice, 50)
    assert told(await ledger.record(known)) == [BILLABLE, BILLABLE]
    assert told(await ledger.record([late])) == [SAME]
    await assert_exact(database, [*known, late])


async def test_an_adjustment_is_made_on_the_day_of_what_it_takes_back(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    tonight = [acquisition("2", alice, -12 * 60), acquisition("1", alice, -12 * 60 - 1)]  # midnight, and the day before
    for event in tonight:
        await ledger.record([event])

    await assert_exact(database, tonight)
    rows = await database.fetch("SELECT day, sum(billable) AS billable FROM stream_days GROUP BY day ORDER BY day")
    assert [(row["day"], row["billable"]) for row in rows] == [(date(2030, 6, 14), 1), (date(2030, 6, 15), 0)]


async def test_a_month_is_recounted_with_what_still_lasts_from_the_month_before(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    first = -14 * 24 * 60 - 12 * 60  # the first of June
    events = [
        acquisition("1", alice, first - 60, lasts=timedelta(days=7)),
        acquisition("2", alice, first),
        acquisition("3", alice, first + 7 * 24 * 60 - 60),
    ]
    await ledger.record(events)

    may, june, july = [await ledger.recount(alice, date(2030, month, 30)) for month in (5, 6, 7)]

    assert (may.acquisitions, may.billable, may.agrees) == (1, 1, True)
    assert (june.acquisitions, june.billable, june.agrees) == (2, 1, True)
    assert (july.acquisitions, july.billable, july.agrees) == (0, 0, True)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE stream_events SET billable = false WHERE event_id = '1'",
        "DELETE FROM stream_postings WHERE event_id = '1'",
        "UPDATE stream_days SET billable = billable + 1",
        "UPDATE stream_days SET acquisitions = acquisitions + 1",
        "UPDATE stream_events SET url_expires_at = acquired_at + interval '1 day' WHERE event_id = '1'",
    ],
)
async def test_a_recount_notices(ledger: StreamLedger, database: Database, alice: DeveloperId, tampering: str) -> None:
    await ledger.record([acquisition("1", alice), acquisition("2", alice, 90)])
    assert (await ledger.recount(alice, NOON.date())).agrees

    await database.execute(tampering)

    assert not (await ledger.recount(alice, NOON.date())).agrees


async def test_the_same_event_again_is_a_duplicate(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    events = [acquisition("1", alice), acquisition("2", alice, 30)]
    await ledger.record(events)

    again = await ledger.record([*reversed(events), *events])

    assert told(again) == [DUPLICATE] * 4
    assert [result.billable for result in again] == [False, True, True, False]
    await assert_exact(database, events)


async def test_a_duplicate_is_told_what_a_late_event_of_its_own_request_makes_of_it(
    ledger: StreamLedger, alice: DeveloperId
) -> None:
    known, late = acquisition("2", alice, 30), acquisition("1", alice)
    await ledger.record([known])
    results = await ledger.record([known, late])
    assert told(results) == [DUPLICATE, BILLABLE]
    assert [result.billable for result in results] == [False, True]


async def test_an_event_of_forty_days_ago_that_is_known_is_a_duplicate_still(
    ledger: StreamLedger, alice: DeveloperId, evening: Clock
) -> None:
    event = acquisition("1", alice)
    await ledger.record([event])
    await evening.advance(timedelta(days=41))
    assert told(await ledger.record([event])) == [DUPLICATE]
    assert faults((await ledger.record([replace(event, event_id="2")]))[0]) == ["acquired_at"]


@pytest.mark.parametrize(
    "other",
    [
        {"client_id": "another"},
        {"user_id": "another"},
        {"content_id": "another"},
        {"quality": "another"},
        {"medium": Medium.VIDEO},
        {"acquired_at": NOON + TICK},
        {"url_expires_at": NOON + TICK},
    ],
    ids=lambda other: next(iter(other)),
)
@pytest.mark.parametrize("together", [True, False])
async def test_an_id_that_was_used_for_another_event_is_refused(
    ledger: StreamLedger, database: Database, alice: DeveloperId, other: dict[str, Any], together: bool
) -> None:
    event = acquisition("1", alice)
    events = [event, replace(event, **other)]

    results = await ledger.record(events) if together else [(await ledger.record([each]))[0] for each in events]

    assert told(results)[0] is BILLABLE
    assert faults(results[1]) == ["event_id"]
    assert "used for another event" in results[1].violations[0].description
    await assert_exact(database, events[:1])


async def test_an_id_that_another_developer_used_is_refused_without_a_word_about_him(
    ledger: StreamLedger, alice: DeveloperId, bob: DeveloperId
) -> None:
    await ledger.record([acquisition("1", alice)])
    (result,) = await ledger.record([acquisition("1", bob)])
    assert faults(result) == ["event_id"]
    assert alice not in repr(result)


async def test_the_first_of_two_events_with_one_id_is_entered_whichever_happened_first(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    later, earlier = acquisition("1", alice, 30), acquisition("1", alice, 0)
    assert told(await ledger.record([later, earlier, later])) == [BILLABLE, REFUSED, DUPLICATE]
    await assert_exact(database, [later])


async def test_a_refused_event_leaves_its_id_to_the_next(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    unknown, fit = acquisition("1", "dev_unknown"), acquisition("1", alice)
    faulty = Faulty(event_id="1", violations=[])
    assert told(await ledger.record([faulty, unknown, fit, unknown])) == [REFUSED, REFUSED, BILLABLE, REFUSED]
    await assert_exact(database, [fit])


async def test_an_unknown_developer_is_refused(ledger: StreamLedger, database: Database, alice: DeveloperId) -> None:
    unknown, known = acquisition("1", "dev_unknown"), acquisition("2", alice)
    results = await ledger.record([unknown, known])
    assert faults(results[0]) == ["developer_id"]
    assert results[1].outcome is BILLABLE
    await assert_exact(database, [known])


async def test_a_suspended_developer_is_billed(ledger: StreamLedger, database: Database, alice: DeveloperId) -> None:
    await database.execute("UPDATE developers SET suspended_at = clock()")
    assert told(await ledger.record([acquisition("1", alice)])) == [BILLABLE]


@pytest.mark.parametrize(
    ("age", "lasts", "fields"),
    [
        (timedelta(days=40), HOUR, []),
        (timedelta(days=40) + TICK, HOUR, ["acquired_at"]),
        (timedelta(minutes=-5), HOUR, []),
        (timedelta(minutes=-5) - TICK, HOUR, ["acquired_at"]),
        (HOUR, timedelta(days=7), []),
        (HOUR, timedelta(days=7) + TICK, ["url_expires_at"]),
        (HOUR, timedelta(0), ["url_expires_at"]),
    ],
)
async def test_limits_of_time_go_by_the_clock_of_the_database(
    ledger: StreamLedger, alice: DeveloperId, evening: Clock, age: timedelta, lasts: timedelta, fields: list[str]
) -> None:
    acquired_at = await evening.now() - age
    event = replace(acquisition("1", alice), acquired_at=acquired_at, url_expires_at=acquired_at + lasts)
    (result,) = await ledger.record([event])
    if fields:
        assert faults(result) == fields
    else:
        assert result.outcome is BILLABLE


async def test_many_faults_of_one_event_are_told_at_once(ledger: StreamLedger) -> None:
    event = acquisition("1", "dev_unknown", -60 * 24 * 50, lasts=timedelta(days=8))
    assert faults((await ledger.record([event]))[0]) == ["developer_id", "acquired_at", "url_expires_at"]


async def test_nothing_is_asked_of_the_database_for_faulty_events(ledger: StreamLedger, database: Database) -> None:
    await database.close()
    assert told(await ledger.record([Faulty(event_id="1", violations=[])])) == [REFUSED]


async def test_answers_of_one_request_agree_though_it_takes_several_transactions(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    events = [acquisition(f"{number:04}", alice, -number / 60) for number in range(1000)]  # the earliest comes last

    results = await ledger.record(events)

    assert {result.event_id for result in results if result.billable} == {"0999"} == billable_ids(events)
    assert await column(database, "SELECT sum(amount) FROM stream_postings") == [1]
    assert await column(database, "SELECT count(*) FROM stream_postings") == [1]
    await assert_exact(database, events)


EVENTS = st.lists(
    st.builds(
        lambda minute, lasts, user, quality, client: {
            "minute": minute,
            "lasts": timedelta(minutes=lasts),
            "user_id": f"user-{user}",
            "quality": f"quality-{quality}",
            "client_id": f"client-{client}",
        },
        st.integers(-15, 15) | st.integers(-20 * 24, 0).map(lambda hour: hour * 60),
        st.sampled_from([1, 5, 10, 60 * 24 * 7]),
        *(st.integers(0, 1),) * 3,
    ),
    min_size=1,
    max_size=12,
)
NUMBERS = count()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=EVENTS, data=st.data())
async def test_no_order_and_no_split_into_requests_changes_the_bill(
    ledger: StreamLedger, database: Database, made: list[dict[str, Any]], data: st.DataObject
) -> None:
    example = next(NUMBERS)
    developer_id = await register(database, f"developer {example}")
    names = data.draw(st.permutations(range(len(made))))
    events = [
        acquisition(f"{example}-{name:02}", developer_id, **fields) for name, fields in zip(names, made, strict=True)
    ]
    sent = data.draw(st.permutations([*events, *data.draw(st.lists(st.sampled_from(events), max_size=4))]))
    seen: list[Acquisition] = []

    while sent:
        size = data.draw(st.integers(1, 6))
        request, sent = sent[:size], sent[size:]
        results = await ledger.record(request)
        fresh = [event.event_id not in {earlier.event_id for earlier in seen} for event in request]
        seen += request
        assert [result.billable for result in results] == [
            event.event_id in billable_ids(set(seen)) for event in request
        ]
        assert all(result.outcome is DUPLICATE for result, is_new in zip(results, fresh, strict=True) if not is_new)

    await assert_exact(database, events)
