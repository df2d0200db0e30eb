"""Sliding windows in memory, on a clock of the test's own and against a list of every call."""

import sys
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from server.limits.model import Claim, Decision
from server.limits.service import LocalLimiter

from .windows import SECOND, Clock, Log, claim

KEY, DEVELOPER = claim(b"k:dev_1:key_1", 3, 60), claim(b"d:dev_1", 4, 60)


def _limiter(remembered: int = 100) -> tuple[LocalLimiter, Clock]:
    clock = Clock()
    return LocalLimiter(remembered=remembered, clock=clock), clock


async def test_exactly_as_many_calls_pass_as_the_rate_says() -> None:
    limiter, _ = _limiter()
    decisions = [await limiter.take([KEY]) for _ in range(5)]
    assert [decision.allowed for decision in decisions] == [True, True, True, False, False]
    assert [decision.remaining for decision in decisions] == [2, 1, 0, 0, 0]
    assert {decision.limit for decision in decisions} == {3}


async def test_the_window_slides_call_by_call() -> None:
    limiter, clock = _limiter()
    two = claim(b"a:1", 2, 60)
    assert (await limiter.take([two])).allowed
    clock.pass_seconds(30)
    assert (await limiter.take([two])).allowed
    clock.pass_seconds(29.999)
    assert not (await limiter.take([two])).allowed
    clock.pass_seconds(0.001)
    assert (await limiter.take([two])).allowed
    assert not (await limiter.take([two])).allowed


async def test_a_refused_call_takes_no_place_and_moves_no_reset() -> None:
    limiter, clock = _limiter()
    one = claim(b"a:1", 1, 10)
    assert (await limiter.take([one])).allowed
    for passed in range(1, 10):
        clock.pass_seconds(1)
        refused = await limiter.take([one])
        assert (refused.allowed, refused.reset_seconds, refused.retry_seconds) == (False, 10 - passed, 10 - passed)
    clock.pass_seconds(1)
    assert (await limiter.take([one])).allowed


async def test_a_call_counts_in_every_window_it_claims_or_in_none() -> None:
    limiter, _ = _limiter()
    assert (await limiter.take([DEVELOPER], cost=2)).allowed
    answers = [await limiter.take([KEY, DEVELOPER]) for _ in range(3)]
    assert [answer.allowed for answer in answers] == [True, True, False]
    assert (answers[2].tightest, answers[2].limit) == (1, 4)
    assert (await limiter.peek([KEY], cost=0)).remaining == 1


async def test_the_answer_is_about_the_window_with_the_smallest_share_left() -> None:
    limiter, _ = _limiter()
    wide, narrow = claim(b"a:1", 1000, 60), claim(b"a:2", 3, 5)
    answer = await limiter.take([wide, narrow])
    assert answer == Decision(True, 3, 2, 5.0, 0.0, 1)
    assert await limiter.take([wide]) == Decision(True, 1000, 998, 60.0, 0.0, 0)


async def test_of_two_windows_that_refuse_the_answer_is_about_the_one_that_does_so_for_longer() -> None:
    limiter, clock = _limiter()
    short, long = claim(b"a:1", 1, 10), claim(b"a:2", 1, 60)
    await limiter.take([short, long])
    clock.pass_seconds(1)
    answer = await limiter.take([short, long])
    assert answer == Decision(False, 1, 0, 59.0, 59.0, 1)


async def test_a_call_that_costs_more_waits_for_as_many_places() -> None:
    limiter, clock = _limiter()
    four = claim(b"a:1", 4, 60)
    for _ in range(4):
        await limiter.take([four])
        clock.pass_seconds(10)
    refused = await limiter.take([four], cost=3)
    assert (refused.remaining, refused.reset_seconds, refused.retry_seconds) == (0, 20, 40)
    clock.pass_seconds(refused.retry_seconds)
    assert (await limiter.take([four], cost=3)).allowed


async def test_a_call_that_costs_more_than_the_limit_is_told_when_the_window_is_empty() -> None:
    limiter, clock = _limiter()
    two = claim(b"a:1", 2, 60)
    assert await limiter.take([two], cost=3) == Decision(False, 2, 2, 60.0, 60.0, 0)
    await limiter.take([two])
    clock.pass_seconds(20)
    await limiter.take([two])
    assert await limiter.take([two], cost=3) == Decision(False, 2, 0, 40.0, 60.0, 0)


async def test_a_new_rate_holds_at_once_for_the_calls_that_were_counted_at_the_old_one() -> None:
    limiter, clock = _limiter()
    for _ in range(3):
        await limiter.take([claim(b"a:1", 3, 60)])
        clock.pass_seconds(10)
    lower = await limiter.take([claim(b"a:1", 2, 60)])
    assert (lower.allowed, lower.remaining, lower.retry_seconds) == (False, 0, 40)
    assert (await limiter.take([claim(b"a:1", 5, 60)])).remaining == 1
    shorter = await limiter.take([claim(b"a:1", 3, 15)])
    assert (shorter.allowed, shorter.remaining) == (True, 0)
    longer = await limiter.take([claim(b"a:1", 3, 3600)])
    assert (longer.allowed, longer.remaining, longer.retry_seconds) == (False, 0, 3590)


async def test_windows_do_not_share_calls() -> None:
    limiter, _ = _limiter()
    claims = [claim(name, 1, 60) for name in (b"a:1", b"a:2", b"a:1", b"a:2")]
    assert [(await limiter.take([each])).allowed for each in claims] == [True, True, False, False]


async def test_the_windows_remembered_are_bounded_and_the_longest_unused_goes_first() -> None:
    limiter, _ = _limiter(remembered=2)
    a, b, c = (claim(name, 1, 60) for name in (b"a:1", b"a:2", b"a:3"))
    for each in (a, b, a, c):
        await limiter.take([each])
    assert not (await limiter.take([a])).allowed
    assert (await limiter.take([b])).allowed
    assert len(limiter._windows) == 2


async def test_windows_that_are_empty_make_room_as_new_ones_come() -> None:
    limiter, clock = _limiter(remembered=1000)
    for number in range(100):
        await limiter.take([claim(b"a:%d" % number, 1, 60)])
    assert len(limiter._windows) == 100
    clock.pass_seconds(60)
    for number in range(100, 200):
        await limiter.take([claim(b"a:%d" % number, 1, 60)])
    assert len(limiter._windows) == 100


async def test_what_is_only_looked_at_or_refused_leaves_no_window_behind() -> None:
    limiter, _ = _limiter()
    await limiter.peek([KEY, DEVELOPER])
    await limiter.take([KEY, DEVELOPER], cost=4)
    await limiter.take([KEY, DEVELOPER], cost=0)
    assert not limiter._windows


async def test_memory_and_groups_do_not_grow_with_the_limit() -> None:
    limiter, clock = _limiter()
    wide = claim(b"a:1", 1_000_000, 60)
    for _ in range(20_000):
        await limiter.take([wide])
        clock.pass_seconds(0.01)
    window = limiter._windows[b"a:1"]
    assert len(window.older) // 2 <= 65
    assert sys.getsizeof(window) + sys.getsizeof(window.older) < 2000


_RATES = st.tuples(st.integers(1, 6), st.integers(1, 5))
_CALL = st.tuples(
    st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),  # which windows, in which order
    st.integers(0, 3),  # cost
    st.integers(0, 2 * SECOND)
    | st.integers(0, SECOND // 20)
    | st.integers(0, 16).map(lambda n: n * SECOND // 4),  # pause
)


def _claims(rates: Sequence[tuple[int, int]], chosen: Sequence[int]) -> list[Claim]:
    return [claim(b"a:%d" % place, *rates[place]) for place in chosen]


@given(rates=st.tuples(_RATES, _RATES, _RATES), calls=st.lists(_CALL, max_size=60))
async def test_never_more_than_the_rate_in_any_window_nor_much_less(
    rates: Sequence[tuple[int, int]], calls: list[tuple[list[int], int, int]]
) -> None:
    limiter, clock = _limiter()
    log = Log()
    for chosen, cost, pause in calls:
        clock.now += pause
        claims = _claims(rates, chosen)
        foreseen = await limiter.peek(claims, cost)
        before = [await limiter.peek([each], 0) for each in claims]
        answer = await limiter.take(claims, cost)
        assert answer == foreseen
        assert 0 < answer.reset_seconds <= claims[answer.tightest].rate.seconds
        if answer.allowed:
            log.add(claims, cost, clock.now)
            assert all(log.used(each, clock.now) <= each.rate.requests for each in claims)
            assert answer.retry_seconds == 0
        else:
            assert any(log.used(each, clock.now, longer=65 / 64) + cost > each.rate.requests for each in claims)
            assert [await limiter.peek([each], 0) for each in claims] == before
            assert answer.retry_seconds > 0


@given(rate=_RATES, calls=st.lists(st.tuples(st.integers(0, 4), st.integers(4, 128)), max_size=60))
async def test_calls_that_are_far_apart_are_counted_exactly(
    rate: tuple[int, int], calls: list[tuple[int, int]]
) -> None:
    limiter, clock = _limiter()
    log = Log()
    only = claim(b"a:1", *rate)
    for cost, pause in calls:
        clock.now += pause * rate[1] * SECOND // 256  # 1/64 of the window or more, and often exactly where calls leave
        used = log.used(only, clock.now)
        answer = await limiter.take([only], cost)
        assert answer.allowed == (used + cost <= rate[0])
        if answer.allowed:
            if cost:
                log.add([only], cost, clock.now)
            assert answer.remaining == rate[0] - used - cost
        else:
            assert answer.retry_seconds == log.retry_seconds(only, cost, clock.now)
        oldest = min([at for at, _ in log.recent(only, clock.now)], default=clock.now)
        assert answer.reset_seconds == (oldest - clock.now) / SECOND + rate[1]


@given(
    rate=_RATES,
    calls=st.lists(st.tuples(st.integers(1, 3), st.integers(0, SECOND) | st.integers(0, SECOND // 50)), max_size=30),
)
async def test_a_refused_call_fits_when_it_was_told_to_come_back_and_not_before(
    rate: tuple[int, int], calls: list[tuple[int, int]]
) -> None:
    limiter, clock = _limiter()
    only = claim(b"a:1", *rate)
    for cost, pause in calls:
        clock.now += pause
        answer = await limiter.take([only], cost)
        if not answer.allowed:
            clock.now += round(answer.retry_seconds * SECOND) - 1
            assert not (await limiter.peek([only], cost)).allowed
            clock.now += 1
            assert (await limiter.peek([only], cost)).allowed == (cost <= rate[0])
