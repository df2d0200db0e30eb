"""A clock that passes when told, and the simplest thing that could decide: a list of every call let in."""

from collections.abc import Sequence

from server.limits.model import Claim, Rate

SECOND = 1_000_000_000


class Clock:
    """Nanoseconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000 * SECOND

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        """Move on."""
        self.now += round(seconds * SECOND)


class Log:
    """Every unit let in, by window, with its time: what a sliding window is, at any cost of memory."""

    def __init__(self) -> None:
        self._calls: dict[bytes, list[tuple[int, int]]] = {}

    def add(self, claims: Sequence[Claim], cost: int, now: int) -> None:
        """Count a call."""
        for window, _ in claims:
            self._calls.setdefault(window, []).append((now, cost))

    def recent(self, claim: Claim, now: int, *, longer: float = 1.0) -> list[tuple[int, int]]:
        """Return time and cost of the calls that count now, in a window that is so many times as long."""
        horizon = now - round(claim.rate.seconds * SECOND * longer)
        return [(at, cost) for at, cost in self._calls.get(claim.window, []) if at > horizon]

    def used(self, claim: Claim, now: int, *, longer: float = 1.0) -> int:
        """Sum up what counts now."""
        return sum(cost for _, cost in self.recent(claim, now, longer=longer))

    def retry_seconds(self, claim: Claim, cost: int, now: int) -> float:
        """Return when a refused call would fit, by trying every moment at which a call leaves."""
        span = claim.rate.seconds * SECOND
        leaving = [at + span for at, _ in self.recent(claim, now)] or [now + span]
        fits = [moment for moment in leaving if self.used(claim, moment) + cost <= claim.rate.requests]
        return ((fits or leaving[-1:])[0] - now) / SECOND


def claim(window: bytes, requests: int, seconds: int) -> Claim:
    """Claim a window at a rate."""
    return Claim(window, Rate(requests, seconds))
