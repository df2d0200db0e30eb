"""Counting in memory: nothing is lost or doubled, whatever is frozen when, and memory stays bounded."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.metering.batch import Batch, Cell, MonthTotal, Redigest, ScopeUse, SecretUse
from server.metering.counters import Counters, Use

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2030, 2, 1, tzinfo=UTC).timestamp()
JANUARY, FEBRUARY = date(2030, 1, 1), date(2030, 2, 1)
ALICE = Use(key_id="key_a", developer_id="dev_alice", key_prefix="ang_test_aaaaaaaa", secret_version=1)
BOB = Use(key_id="key_b", developer_id="dev_bob", key_prefix="ang_test_bbbbbbbb", secret_version=3)


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def frozen(counters: Counters, most: int = 5_000) -> Batch:
    batch = counters.freeze(most)
    assert batch
    return batch


def sums(*batches: Batch | None) -> dict[tuple[object, ...], tuple[int, int]]:
    """Add up batches by all but their counts."""
    calls: Counter[tuple[object, ...]] = Counter()
    units: Counter[tuple[object, ...]] = Counter()
    for cell in (cell for batch in batches if batch for cell in batch.cells):
        calls[cell[:6]] += cell.calls
        units[cell[:6]] += cell.units
    return {key: (calls[key], units[key]) for key in calls}


def test_calls_of_one_kind_in_one_minute_are_one_cell() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    for _ in range(3):
        counters.count(ALICE, "catalog.search", "valid", 2, "")
        clock.now += 19
    batch = frozen(counters)
    assert batch.cells == (Cell(int(NOON), "key_a", "catalog.search", "valid", 1, "dev_alice", 3, 6),)
    assert batch.calls == 3


def test_what_differs_is_counted_apart() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    counters.count(ALICE, "", "valid", 1, "")
    counters.count(BOB, "", "valid", 1, "")
    counters.count(ALICE, "search", "valid", 1, "")
    counters.count(ALICE, "", "rate_limited", 1, "")
    counters.count(replace(ALICE, secret_version=2), "", "valid", 1, "")
    clock.now += 60
    counters.count(ALICE, "", "valid", 1, "")
    assert len(frozen(counters).cells) == 6


def test_only_good_calls_use_units() -> None:
    counters = Counters(clock=Clock())
    counters.count(ALICE, "", "valid", 5, "")
    counters.count(ALICE, "", "rate_limited", 7, "")
    counters.count(ALICE, "", "quota_exceeded", 7, "")
    assert counters.units_used("dev_alice") == 5
    assert {(cell.outcome, cell.calls, cell.units) for cell in frozen(counters).cells} == {
        ("valid", 1, 5),
        ("rate_limited", 1, 0),
        ("quota_exceeded", 1, 0),
    }


def test_what_was_frozen_is_not_counted_again() -> None:
    counters = Counters(clock=Clock())
    counters.count(ALICE, "", "valid", 1, "")
    first = frozen(counters)
    assert counters.freeze() is None
    counters.count(ALICE, "", "valid", 1, "")
    second = frozen(counters)
    assert [first.calls, second.calls] == [1, 1]
    assert first.id != second.id


def test_a_batch_is_bounded_and_takes_the_oldest_minutes_first() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    for _ in range(3):
        for operation in ("a", "b", "c"):
            counters.count(ALICE, operation, "valid", 1, "")
        clock.now += 60
    batches = [frozen(counters, 4) for _ in range(3)]
    assert [len(batch.cells) for batch in batches] == [4, 4, 1]
    minutes = [cell.minute for batch in batches for cell in batch.cells]
    assert minutes == sorted(minutes)
    assert counters.freeze(4) is None


def test_counting_goes_on_in_a_minute_of_which_a_part_was_frozen() -> None:
    counters = Counters(clock=Clock())
    for operation in ("a", "b", "c"):
        counters.count(ALICE, operation, "valid", 1, "")
    first = frozen(counters, 2)
    for operation in ("a", "b", "c"):
        counters.count(ALICE, operation, "valid", 1, "")
    assert sorted(calls for calls, _ in sums(first, frozen(counters)).values()) == [2, 2, 2]


def test_operations_beyond_the_bound_fall_together() -> None:
    counters = Counters(clock=Clock(), maximum_operations=4)
    for number in range(10):
        counters.count(ALICE, f"operation.{number}", "valid", 1, "")
        counters.count(ALICE, "", "valid", 1, "")
    counted = {cell.operation: cell.calls for cell in frozen(counters).cells}
    assert counted == {"": 10, "operation.0": 1, "operation.1": 1, "operation.2": 1, "other": 7}


@pytest.mark.parametrize("operation", ["a\0b", "a\x1fb", "a\nb", "\ud800"])
def test_an_operation_that_no_service_would_name_falls_to_the_others(operation: str) -> None:
    counters = Counters(clock=Clock())
    counters.count(ALICE, operation, "valid", 1, "")
    assert frozen(counters).cells[0].operation == "other"


def test_known_operations_stay_apart_when_others_fall_together() -> None:
    counters = Counters(clock=Clock(), maximum_operations=2)
    for operation in ("known", "unknown", "known"):
        counters.count(ALICE, operation, "valid", 1, "")
        counters.freeze()
    counters.count(ALICE, "known", "valid", 1, "")
    assert frozen(counters).cells[0].operation == "known"


def test_with_too_many_cells_new_ones_fall_together_and_no_call_is_lost() -> None:
    counters = Counters(clock=Clock(), maximum_cells=10)
    for number in range(50):
        counters.count(ALICE, f"operation.{number}", "valid", 1, "")
    counters.count(ALICE, "operation.0", "valid", 1, "")
    batch = frozen(counters)
    assert len(batch.cells) == 11
    assert batch.calls == 51
    assert {cell.operation: cell.calls for cell in batch.cells}["other"] == 40
    counters.count(ALICE, "operation.49", "valid", 1, "")
    assert frozen(counters).cells[0].operation == "operation.49"


def test_pending_calls_are_those_in_no_batch() -> None:
    counters = Counters(clock=Clock())
    for operation in ("a", "a", "b"):
        counters.count(ALICE, operation, "revoked", 1, "")
    assert counters.pending_calls == 3
    batch = frozen(counters, 1)
    assert counters.pending_calls == 3 - batch.calls


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from([ALICE, BOB]), st.sampled_from(["", "a", "b"]), st.sampled_from(["valid", "revoked"])
            ),
            st.integers(1, 3),
            st.sampled_from([0.5, 20.0, 61.0, -30.0]),
        ),
        max_size=60,
    )
)
def test_batches_hold_what_was_counted_in_any_order_of_things(
    steps: list[tuple[Use, str, str] | int | float],
) -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    expected: Counter[tuple[object, ...]] = Counter()
    batches: list[Batch | None] = []
    for step in steps:
        if isinstance(step, tuple):
            use, operation, outcome = step
            counters.count(use, operation, outcome, 1, "")
            minute = int(clock.now) // 60 * 60
            expected[minute, use.key_id, operation, outcome, use.secret_version, use.developer_id] += 1
        elif isinstance(step, int):
            batches.append(counters.freeze(step))
        else:
            clock.now += step
    while batch := counters.freeze(2):
        batches.append(batch)
    assert {key: calls for key, (calls, _) in sums(*batches).items()} == expected
    assert counters.pending_calls == 0


def test_units_are_those_flushed_by_all_and_our_own_that_are_not() -> None:
    counters = Counters(clock=Clock())
    counters.know_units("dev_alice", 100)
    counters.count(ALICE, "", "valid", 3, "")
    assert counters.units_used("dev_alice") == 103
    batch = frozen(counters)
    counters.count(ALICE, "", "valid", 1, "")
    assert counters.units_used("dev_alice") == 104
    counters.settle(batch, [MonthTotal("dev_alice", JANUARY, 150)])
    assert counters.units_used("dev_alice") == 151


def test_a_read_from_before_a_flush_takes_nothing_back() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    counters.know_units("dev_alice", 0)
    counters.count(ALICE, "", "valid", 3, "")
    counters.settle(frozen(counters), [MonthTotal("dev_alice", JANUARY, 3)])
    counters.know_units("dev_alice", 0)
    assert counters.units_used("dev_alice") == 3


def test_what_others_used_since_a_flush_is_added_at_once() -> None:
    counters = Counters(clock=Clock())
    counters.count(ALICE, "", "valid", 3, "")
    counters.settle(frozen(counters), [MonthTotal("dev_alice", JANUARY, 3)])
    counters.know_units("dev_alice", 10)
    assert counters.units_used("dev_alice") == 10


def test_a_read_that_may_hold_the_batch_under_way_counts_it_once() -> None:
    counters = Counters(clock=Clock())
    counters.count(ALICE, "", "valid", 600, "")
    batch = frozen(counters)
    counters.know_units("dev_alice", 600)
    assert counters.units_used("dev_alice") == 600
    counters.know_units("dev_alice", 650)
    assert counters.units_used("dev_alice") == 650
    counters.settle(batch, [MonthTotal("dev_alice", JANUARY, 650)])
    counters.know_units("dev_alice", 700)
    assert counters.units_used("dev_alice") == 700


def test_a_read_that_may_lack_the_batch_under_way_takes_nothing_back() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    counters.know_units("dev_alice", 100)
    clock.now += 6
    counters.count(ALICE, "", "valid", 50, "")
    frozen(counters)
    counters.know_units("dev_alice", 100)
    assert counters.units_used("dev_alice") == 150


@pytest.mark.parametrize(("month", "used"), [((2030, 1), 0), ((2030, 2), 1_000), ((2029, 2), 0), (None, 1_000)])
def test_units_of_another_month_are_passed_over(month: tuple[int, int] | None, used: int) -> None:
    counters = Counters(clock=Clock(MIDNIGHT))
    counters.know_units("dev_alice", 1_000, month)
    assert counters.units_used("dev_alice") == used


@pytest.mark.parametrize("address", ["", "192.0.2.1", "2001:DB8::1", "::ffff:192.0.2.1"])
def test_the_address_of_a_use_is_kept(address: str) -> None:
    counters = Counters(clock=Clock())
    counters.count(ALICE, "", "valid", 1, address)
    assert [use.client_ip for use in counters.take_uses()] == [address]


@pytest.mark.parametrize("address", ["10.0.0.1\0", "1" * 46, "\ud800", "unix:/run/x", "10.0.0.1\n", "\u0661"])
def test_what_is_no_address_is_left_out(address: str) -> None:
    counters = Counters(clock=Clock())
    counters.count(ALICE, "", "valid", 1, address)
    assert [use.client_ip for use in counters.take_uses()] == [""]


def test_a_credit_is_seen_once_no_flush_can_explain_it() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    counters.count(ALICE, "", "valid", 9, "")
    counters.settle(frozen(counters), [MonthTotal("dev_alice", JANUARY, 9)])
    clock.now += 5.1
    counters.know_units("dev_alice", 2)
    assert counters.units_used("dev_alice") == 2


def test_an_unknown_developer_has_used_nothing() -> None:
    assert Counters(clock=Clock()).units_used("dev_nobody") == 0


def test_a_new_month_begins_at_nothing_even_if_nothing_is_counted() -> None:
    clock = Clock(MIDNIGHT - 1)
    counters = Counters(clock=clock)
    counters.know_units("dev_alice", 100)
    counters.count(ALICE, "", "valid", 1, "")
    clock.now = MIDNIGHT
    assert counters.units_used("dev_alice") == 0
    counters.count(ALICE, "", "valid", 2, "")
    batch = frozen(counters)
    assert batch.units() == {("dev_alice", JANUARY): 1, ("dev_alice", FEBRUARY): 2}
    counters.settle(batch, [MonthTotal("dev_alice", JANUARY, 101), MonthTotal("dev_alice", FEBRUARY, 2)])
    assert counters.units_used("dev_alice") == 2


def test_a_batch_of_last_month_settles_nothing_of_this() -> None:
    clock = Clock(MIDNIGHT - 1)
    counters = Counters(clock=clock)
    counters.count(ALICE, "", "valid", 50, "")
    batch = frozen(counters)
    clock.now = MIDNIGHT + 1
    counters.know_units("dev_alice", 7)
    counters.count(ALICE, "", "valid", 1, "")
    counters.settle(batch, [MonthTotal("dev_alice", JANUARY, 50)])
    assert counters.units_used("dev_alice") == 8


def test_developers_are_forgotten_least_recently_looked_up_first() -> None:
    counters = Counters(clock=Clock(), maximum_standings=3)
    for number in range(3):
        counters.know_units(f"dev_{number}", 10 + number)
    counters.know_units("dev_0", 10)
    counters.know_units("dev_3", 13)
    assert [counters.units_used(f"dev_{number}") for number in range(4)] == [10, 0, 12, 13]


def test_a_developer_with_unflushed_units_is_not_forgotten() -> None:
    counters = Counters(clock=Clock(), maximum_standings=2)
    counters.count(ALICE, "", "valid", 5, "")
    for number in range(4):
        counters.know_units(f"dev_{number}", 1)
    assert counters.units_used("dev_alice") == 5


def test_the_last_use_of_each_secret_is_remembered_with_its_address() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    counters.count(ALICE, "", "valid", 1, "192.0.2.1")
    counters.count(BOB, "", "rate_limited", 1, "")
    clock.now += 1
    counters.count(ALICE, "", "insufficient_scope", 1, "192.0.2.2")
    assert sorted(counters.take_uses()) == [
        SecretUse("ang_test_aaaaaaaa", "key_a", NOON + 1, "192.0.2.2"),
        SecretUse("ang_test_bbbbbbbb", "key_b", NOON, ""),
    ]
    assert counters.take_uses() == []


def test_what_authenticates_nobody_is_no_use() -> None:
    counters = Counters(clock=Clock())
    for outcome in ("revoked", "expired", "rotated_out", "developer_suspended"):
        counters.count(ALICE, "", outcome, 1, "")
    assert counters.take_uses() == []
    assert counters.pending_calls == 4


def test_a_use_that_is_kept_gives_way_to_a_newer_one() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    counters.count(ALICE, "", "valid", 1, "192.0.2.1")
    counters.count(BOB, "", "valid", 1, "192.0.2.3")
    taken = counters.take_uses()
    clock.now += 1
    counters.count(ALICE, "", "valid", 1, "192.0.2.2")
    counters.keep_uses(taken)
    assert {use.key_prefix: use.client_ip for use in counters.take_uses()} == {
        "ang_test_aaaaaaaa": "192.0.2.2",
        "ang_test_bbbbbbbb": "192.0.2.3",
    }


def test_queued_digests_are_taken_once() -> None:
    counters = Counters(clock=Clock())
    counters.redigest("ang_test_aaaaaaaa", b"new", 2, 1)
    counters.redigest("ang_test_aaaaaaaa", b"new", 2, 1)
    assert counters.take_redigests() == [Redigest("ang_test_aaaaaaaa", b"new", 2, 1)]
    assert counters.take_redigests() == []


def test_scopes_are_noted_once_in_an_hour_of_the_clock() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    for _ in range(3):
        counters.note_scopes("key_a", ("read", "stream"))
        counters.count(ALICE, "", "valid", 1, "")
    counters.note_scopes("key_b", ("read",))
    assert sorted(counters.take_scope_uses()) == [
        ScopeUse("key_a", "read", NOON),
        ScopeUse("key_a", "stream", NOON),
        ScopeUse("key_b", "read", NOON),
    ]
    for seconds, is_noted in ((3599, False), (3600, True), (3601, False), (7199, False), (7200, True)):
        clock.now = NOON + seconds
        counters.count(ALICE, "", "valid", 1, "")
        counters.note_scopes("key_b", ("read",))
        assert counters.take_scope_uses() == [ScopeUse("key_b", "read", NOON + seconds)] * is_noted


def test_a_clock_that_is_set_back_does_not_stop_the_noting_of_scopes() -> None:
    clock = Clock()
    counters = Counters(clock=clock)
    counters.count(ALICE, "", "valid", 1, "")
    counters.note_scopes("key_a", ("read",))
    clock.now -= 7200
    counters.count(ALICE, "", "valid", 1, "")
    counters.note_scopes("key_a", ("read",))
    assert counters.take_scope_uses() == [ScopeUse("key_a", "read", NOON - 7200)]


def test_memory_of_scopes_is_bounded() -> None:
    counters = Counters(clock=Clock(), maximum_scopes=3)
    for number in range(10):
        counters.note_scopes(f"key_{number}", ("read",))
    assert [use.key_id for use in counters.take_scope_uses()] == ["key_0", "key_1", "key_2"]
    counters.note_scopes("key_9", ("read",))  # not written so far, so not remembered either
    assert [use.key_id for use in counters.take_scope_uses()] == ["key_9"]
    for number in range(10):
        counters.note_scopes(f"key_{number}", ("write",))
        assert len(counters._scopes_noted) <= 3
        counters.take_scope_uses()


def test_scopes_that_could_not_be_written_give_way_to_newer_ones() -> None:
    counters = Counters(clock=Clock())
    counters.note_scopes("key_a", ("read",))
    kept = [ScopeUse("key_a", "read", NOON - 5), ScopeUse("key_b", "read", NOON - 5)]
    counters.keep_scope_uses(kept)
    assert counters.take_scope_uses() == [ScopeUse("key_a", "read", NOON), kept[1]]
