"""Sliding windows, on a clock of the test's own and against a model that remembers everything."""

from hypothesis import given
from hypothesis import strategies as st

from server.limits.model import Rate
from server.limits.service import SlidingWindow


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _window(requests: int, seconds: int, tracked: int = 100) -> tuple[SlidingWindow, Clock]:
    clock = Clock()
    return SlidingWindow(Rate(requests, seconds), tracked=tracked, clock=clock), clock


def test_exactly_as_many_calls_pass_as_the_rate_says() -> None:
    window, _ = _window(3, 60)
    decisions = [window.take(b"a") for _ in range(5)]
    assert [decision.allowed for decision in decisions] == [True, True, True, False, False]
    assert [decision.remaining for decision in decisions] == [2, 1, 0, 0, 0]
    assert {decision.limit for decision in decisions} == {3}


def test_the_window_slides_call_by_call() -> None:
    window, clock = _window(2, 60)
    assert window.take(b"a").allowed
    clock.now += 30
    assert window.take(b"a").allowed
    clock.now += 29.999
    assert not window.take(b"a").allowed
    clock.now += 0.001
    assert window.take(b"a").allowed
    assert not window.take(b"a").allowed


def test_a_refused_call_takes_no_place_and_delays_nothing() -> None:
    window, clock = _window(1, 10)
    assert window.take(b"a").allowed
    for _ in range(9):
        clock.now += 1
        assert not window.take(b"a").allowed
    clock.now += 1
    assert window.take(b"a").allowed


def test_the_reset_is_when_the_next_place_is_free() -> None:
    window, clock = _window(2, 60)
    assert window.take(b"a").reset_seconds == 60
    clock.now += 10
    assert window.take(b"a").reset_seconds == 50
    clock.now += 10
    refused = window.take(b"a")
    assert (refused.allowed, refused.reset_seconds) == (False, 40)
    clock.now += refused.reset_seconds
    assert window.take(b"a").allowed


def test_credentials_do_not_share_a_window() -> None:
    window, _ = _window(1, 60)
    assert [window.take(credential).allowed for credential in (b"a", b"b", b"a", b"b")] == [True, True, False, False]


def test_the_credentials_remembered_are_bounded_and_the_longest_unseen_goes_first() -> None:
    window, _ = _window(1, 60, tracked=2)
    for credential in (b"a", b"b", b"a", b"c"):
        window.take(credential)
    assert not window.take(b"a").allowed
    assert window.take(b"b").allowed
    assert len(window._calls) == 2


@given(
    rate=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    calls=st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.integers(0, 24)), max_size=60),
)
def test_windows_decide_like_a_naive_model(rate: tuple[int, int], calls: list[tuple[bytes, int]]) -> None:
    requests, seconds = rate
    window, clock = _window(requests, seconds)
    history: list[tuple[bytes, float]] = []
    for credential, quarters in calls:
        clock.now += quarters / 4  # exact in binary, so that windows end exactly at a call
        recent = [at for who, at in history if who == credential and clock.now - at < seconds]
        decision = window.take(credential)
        assert decision.allowed == (len(recent) < requests)
        if decision.allowed:
            history.append((credential, clock.now))
            recent.append(clock.now)
        assert decision.remaining == requests - len(recent)
        assert decision.reset_seconds == min(recent) + seconds - clock.now
        assert decision.reset_seconds > 0
