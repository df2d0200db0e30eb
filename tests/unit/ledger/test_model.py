"""Which acquisitions are one logical stream, and how old, early or long one may be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.metering.ledger.model import LOCK_SLOTS, Acquisition, Medium, Recount, lock_slot

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
EVENT = Acquisition(
    event_id="e",
    developer_id="dev",
    client_id="client",
    user_id="user",
    content_id="song",
    medium=Medium.MUSIC,
    quality="high",
    acquired_at=NOW,
    url_expires_at=NOW + timedelta(hours=1),
)
TEXT = st.text("ab\0:,", max_size=3)
STREAM = st.fixed_dictionaries(
    {
        "developer_id": TEXT,
        "user_id": TEXT,
        "content_id": TEXT,
        "quality": TEXT,
        "medium": st.sampled_from(Medium),
    }
)


@given(STREAM, STREAM)
def test_logical_streams_are_equal_when_all_that_makes_one_is_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (replace(EVENT, **one).logical_stream == replace(EVENT, **other).logical_stream) == (one == other)


def test_no_letter_can_move_from_one_field_to_the_next() -> None:
    fields = ("developer_id", "user_id", "content_id", "quality")
    for first, second in pairwise(fields):
        before: Any = {first: "ab", second: "c"}
        after: Any = {first: "a", second: "bc"}
        assert replace(EVENT, **before).logical_stream != replace(EVENT, **after).logical_stream


@pytest.mark.parametrize("field", ["event_id", "client_id", "acquired_at", "url_expires_at"])
def test_what_differs_within_a_logical_stream(field: str) -> None:
    other = NOW + timedelta(minutes=1) if field.endswith("_at") else "other"
    changed: Any = {field: other}
    assert replace(EVENT, **changed).logical_stream == EVENT.logical_stream


def test_the_digest_of_a_logical_stream_stays_what_it_is_in_the_database() -> None:
    assert EVENT.logical_stream.hex() == "1c6c958bde2aa3300412f04393d98e92"


def test_locks_are_spread_over_all_slots() -> None:
    slots = {lock_slot(replace(EVENT, user_id=str(number)).logical_stream) for number in range(20_000)}
    assert slots == set(range(LOCK_SLOTS))


@pytest.mark.parametrize(
    ("acquired", "lasts", "faulty"),
    [
        (timedelta(0), TICK, []),
        (timedelta(0), timedelta(0), ["url_expires_at"]),
        (timedelta(0), -TICK, ["url_expires_at"]),
        (timedelta(0), timedelta(days=7), []),
        (timedelta(0), timedelta(days=7) + TICK, ["url_expires_at"]),
        (-timedelta(days=40), TICK, []),
        (-timedelta(days=40) - TICK, TICK, ["acquired_at"]),
        (timedelta(minutes=5), TICK, []),
        (timedelta(minutes=5) + TICK, TICK, ["acquired_at"]),
        (timedelta(minutes=6), timedelta(0), ["acquired_at", "url_expires_at"]),
    ],
)
def test_limits_of_time(acquired: timedelta, lasts: timedelta, faulty: list[str]) -> None:
    event = replace(EVENT, acquired_at=NOW + acquired, url_expires_at=NOW + acquired + lasts)
    assert [fault.field for fault in event.find_faults(NOW)] == faulty


@pytest.mark.parametrize("wrong", [None, "acquisitions", "billable", "flagged", "balance", "days_acquisitions"])
def test_a_recount_agrees_when_every_way_gives_the_same(wrong: str | None) -> None:
    recount = Recount(acquisitions=3, billable=2, flagged=2, balance=2, days_acquisitions=3, days_billable=2)
    assert (recount if wrong is None else replace(recount, **{wrong: 1})).agrees is (wrong is None)
