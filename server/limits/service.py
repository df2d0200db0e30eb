"""Sliding windows: what every limiter promises, and the one in memory.

A window counts calls in groups: a call joins the newest group during 1/64 of the window after that group's first
call, and a group leaves when its last call is as old as the window is long. So there are some 65 groups however high
the limit is, and never more than `requests` in any `seconds` seconds. Calls farther apart are counted exactly, others
up to 1/64 of the window too long. A refused call leaves no mark.
"""

import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from server.limits.model import Claim, Decision, Rate

_REMEMBERED = 100_000
_SECOND = 1_000_000_000
_GROUP = _SECOND // 64
"""How long a group takes in calls, for each second of its window, in nanoseconds."""


class Limiter(Protocol):
    """Decides whether calls fit into their windows. Never raises; claims are one or more, of different windows."""

    async def take(self, claims: Sequence[Claim], cost: int = 1) -> Decision:
        """Count a call of `cost` units in every window claimed if it fits into all of them, else in none."""
        ...

    async def peek(self, claims: Sequence[Claim], cost: int = 1) -> Decision:
        """Answer as `take` would and count nothing; a cost of 0 tells how the windows stand."""
        ...


class _Window:
    """The calls that a window still counts.

    `first` and `last` are the times of the newest group's first and last call, `units` what it counts; `older` holds
    `last` and `units` of each group before it, oldest first. `used` is the sum of all units, `rate` the latest claim's.
    """

    __slots__ = ("first", "last", "older", "rate", "units", "used")

    def __init__(self, now: int, rate: Rate) -> None:
        self.first = self.last = now
        self.units = self.used = 0
        self.older = array("q")
        self.rate = rate

    def forget(self, horizon: int) -> None:
        """Let the groups go whose last call came at the horizon or before."""
        older = self.older
        gone = 0
        while gone < len(older) and older[gone] <= horizon:
            self.used -= older[gone + 1]
            gone += 2
        del older[:gone]
        if not older and self.last <= horizon:
            self.units = self.used = 0

    def add(self, now: int, cost: int) -> None:
        """Count units in the newest group or, when that has taken in calls for long enough, in a new one."""
        if now - self.first < self.rate.seconds * _GROUP:
            self.last = now
            self.units += cost
        else:
            if self.used:
                self.older.extend((self.last, self.units))
            self.first = self.last = now
            self.units = cost
        self.used += cost

    def oldest(self, now: int, cost: int) -> int:
        """Return when the last call of the oldest group came, were `cost` units counted now."""
        if self.older:
            return self.older[0]
        joins = cost > 0 and now - self.first < self.rate.seconds * _GROUP
        return self.last if self.used and not joins else now

    def last_of(self, units: int, now: int) -> int:
        """Return when the last of the `units` longest in use came, or the last of all if they are fewer."""
        for place in range(0, len(self.older), 2):
            units -= self.older[place + 1]
            if units <= 0:
                return self.older[place]
        return self.last if self.used else now


class LocalLimiter:
    """Windows in the memory of this process.

    The `remembered` windows used last are kept: that bounds memory, and to forget one is to forgive its calls. What a
    call costs grows with neither the limits nor the number of windows.
    """

    def __init__(self, *, remembered: int = _REMEMBERED, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Take the bound and a clock that counts nanoseconds and never goes back."""
        self._remembered = remembered
        self._clock = clock
        self._windows: OrderedDict[bytes, _Window] = OrderedDict()

    async def take(self, claims: Sequence[Claim], cost: int = 1) -> Decision:
        """Count a call of `cost` units in every window claimed if it fits into all of them, else in none."""
        return self.decide(claims, cost, counted=True)

    async def peek(self, claims: Sequence[Claim], cost: int = 1) -> Decision:
        """Answer as `take` would and count nothing; a cost of 0 tells how the windows stand."""
        return self.decide(claims, cost, counted=False)

    def decide(self, claims: Sequence[Claim], cost: int, *, counted: bool) -> Decision:
        """Take or peek, without a coroutine. All in a row, because every verified call pays for it."""
        now = self._clock()
        known = self._windows
        windows: list[_Window] = []
        tightest, least = 0, 2.0
        for name, rate in claims:
            window = known.get(name)
            if window is None:
                window = _Window(now, rate)
            else:
                known.move_to_end(name)
                window.rate = rate
                horizon = now - rate.seconds * _SECOND
                if (window.older[0] if window.older else window.last) <= horizon:
                    window.forget(horizon)
            share = (rate.requests - window.used - cost) / rate.requests
            if share < least:
                tightest, least = len(windows), share
            windows.append(window)
        if least < 0:
            return _refusal(windows, cost, now)
        window = windows[tightest]
        rate = window.rate
        remaining = rate.requests - window.used - cost
        reset = window.oldest(now, cost) + rate.seconds * _SECOND - now
        if counted and cost:
            for window, claim in zip(windows, claims, strict=True):
                is_new = not window.used
                window.add(now, cost)
                if is_new:
                    self._remember(claim.window, window, now)
        return Decision(True, rate.requests, remaining, reset / _SECOND, 0.0, tightest)

    def _remember(self, name: bytes, window: _Window, now: int) -> None:
        """Keep a window and drop up to two of those unused for longest: for room, or because they are empty by now."""
        known = self._windows
        known[name] = window
        for _ in range(2):
            name, longest_unused = next(iter(known.items()))
            if len(known) > self._remembered or longest_unused.last <= now - longest_unused.rate.seconds * _SECOND:
                del known[name]


def _refusal(windows: Sequence[_Window], cost: int, now: int) -> Decision:
    """Tell of the window that refuses for longest."""
    refusals = []
    for place, window in enumerate(windows):
        limit, span = window.rate.requests, window.rate.seconds * _SECOND
        excess = window.used + cost - limit
        if excess > 0:
            retry = (window.last_of(excess, now) + span - now) / _SECOND
            reset = (window.oldest(now, 0) + span - now) / _SECOND
            refusals.append(Decision(False, limit, max(0, limit - window.used), reset, retry, place))
    return max(refusals, key=lambda refusal: refusal.retry_seconds)
