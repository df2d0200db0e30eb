"""The rounds at which calls that last are looked at."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from server.transcoding.watch import ROUND, Rounds


class Loop:
    """An event loop whose time passes round by round."""

    def __init__(self) -> None:
        self.timers: list[Callable[[], object]] = []

    def call_later(self, seconds: float, call: Callable[..., object], *arguments: object) -> object:
        assert seconds == ROUND
        self.timers.append(partial(call, *arguments))
        return object()

    def go(self, rounds: int) -> None:
        for _ in range(rounds):
            due, self.timers = self.timers, []
            assert len(due) <= 1
            for call in due:
                call()


class Call:
    """A call that counts how often it was looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self) -> None:
        self.looks += 1


@pytest.fixture
def loop() -> Any:
    return Loop()


def begin(rounds: Rounds, loop: Any) -> Any:
    call: Any = Call()
    rounds.add(call, loop)
    return call


def test_a_call_that_lasts_is_looked_at_once_and_not_in_its_first_round(loop: Any) -> None:
    rounds = Rounds()
    call = begin(rounds, loop)

    loop.go(1)
    assert call.looks == 0
    loop.go(5)
    assert call.looks == 1


def test_calls_of_one_round_share_its_timer(loop: Any) -> None:
    rounds = Rounds()
    calls = [begin(rounds, loop) for _ in range(3)]
    loop.go(1)
    later = begin(rounds, loop)

    loop.go(1)
    assert ([call.looks for call in calls], later.looks) == ([1, 1, 1], 0)
    loop.go(1)
    assert ([call.looks for call in calls], later.looks) == ([1, 1, 1], 1)


@pytest.mark.parametrize("lasted", [0, 1])
def test_a_call_that_is_over_is_not_looked_at(loop: Any, lasted: int) -> None:
    rounds = Rounds()
    call = begin(rounds, loop)
    loop.go(lasted)
    rounds.remove(call)

    loop.go(3)

    assert call.looks == 0


def test_there_are_no_rounds_without_calls_and_they_begin_again_with_the_next(loop: Any) -> None:
    rounds = Rounds()
    begin(rounds, loop)
    loop.go(3)
    assert loop.timers == []

    call = begin(rounds, loop)
    loop.go(2)

    assert call.looks == 1


def test_another_loop_has_rounds_of_its_own(loop: Any) -> None:
    rounds = Rounds()
    begin(rounds, loop)  # and this loop ends before its timer
    other: Any = Loop()

    call = begin(rounds, other)
    other.go(2)

    assert call.looks == 1
