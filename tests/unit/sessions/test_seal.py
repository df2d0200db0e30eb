"""What browsers carry sealed: it opens whole, in time, for its purpose, under its pepper, and otherwise not at all."""

from base64 import urlsafe_b64decode
from datetime import timedelta

import pytest

from server.peppers import Peppers
from server.sessions.seal import CarriedSeal

OLD, NEW = b"an old pepper of sufficient length", b"the current one, which is as long."
PURPOSE = "portal-login/v1"
CONTENT = {"state": "s", "next": "/portal/keys?q=\u00e9"}
MINUTES = timedelta(minutes=10)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def sealing(peppers: Peppers | None = None, purpose: str = PURPOSE, clock: Clock | None = None) -> CarriedSeal:
    return CarriedSeal(peppers or Peppers({1: OLD}), purpose, clock=clock or Clock())


def test_what_was_sealed_opens_and_cannot_be_read_by_others() -> None:
    carried = sealing().seal(CONTENT, MINUTES)
    assert sealing().open(carried) == CONTENT
    assert b"portal" not in urlsafe_b64decode(carried + "==")


def test_no_two_seals_are_alike() -> None:
    assert len({sealing().seal(CONTENT, MINUTES) for _ in range(3)}) == 3


@pytest.mark.parametrize(("later", "opens"), [(0.0, True), (599.9, True), (600.0, False), (1e9, False)])
def test_it_opens_until_its_time_is_over(later: float, opens: bool) -> None:
    clock = Clock()
    carried = sealing(clock=clock).seal(CONTENT, MINUTES)
    clock.now += later
    assert (sealing(clock=clock).open(carried) is not None) is opens


def test_every_changed_character_is_noticed() -> None:
    carried = sealing().seal({}, MINUTES)
    whole = urlsafe_b64decode(carried + "==")
    for position, letter in enumerate(carried):
        changed = carried[:position] + ("A" if letter != "A" else "B") + carried[position + 1 :]
        if urlsafe_b64decode(changed + "==") != whole:  # the last character has bits that mean nothing
            assert sealing().open(changed) is None


@pytest.mark.parametrize("text", ["", "A", "AAAA", "AAAAAQ", "A" * 43, "é" * 80, "====", "A" * 80, "a b", "AAAAAQ\n"])
def test_what_is_none_of_ours_does_not_open(text: str) -> None:
    assert sealing().open(text) is None


def test_it_is_cut_short_by_nobody() -> None:
    carried = sealing().seal(CONTENT, MINUTES)
    assert all(sealing().open(carried[:length]) is None for length in range(len(carried) - 1))


def test_another_purpose_or_pepper_opens_nothing() -> None:
    carried = sealing().seal(CONTENT, MINUTES)
    assert sealing(purpose="upstream-login/v1").open(carried) is None
    assert sealing(Peppers({1: NEW})).open(carried) is None
    assert sealing(Peppers({2: OLD})).open(carried) is None


def test_it_opens_while_its_pepper_is_held() -> None:
    carried = sealing().seal(CONTENT, MINUTES)
    assert sealing(Peppers({1: OLD, 2: NEW})).open(carried) == CONTENT
