"""Sliding windows in memory: exact, bounded, and of a cost that does not grow with the number of credentials."""

import time
from collections import deque
from collections.abc import Callable

from cachetools import LRUCache

from server.limits.model import Decision, Rate

_TRACKED = 10_000


class SlidingWindow:
    """Counts the calls of each credential over the last window. A refused call takes no place and delays nothing.

    The `tracked` most recently seen credentials are remembered: that bounds memory, and to forget one is to forgive it.
    """

    def __init__(self, rate: Rate, *, tracked: int = _TRACKED, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._calls: LRUCache[bytes, deque[float]] = LRUCache(tracked)

    def take(self, credential: bytes) -> Decision:
        """Take a place for one call of a credential, if its window has one."""
        now = self._clock()
        calls = self._calls.get(credential)
        if calls is None:
            calls = self._calls[credential] = deque()
        while calls and calls[0] <= now - self._rate.seconds:
            calls.popleft()
        allowed = len(calls) < self._rate.requests
        if allowed:
            calls.append(now)
        return Decision(
            allowed=allowed,
            limit=self._rate.requests,
            remaining=self._rate.requests - len(calls),
            reset_seconds=calls[0] + self._rate.seconds - now,
        )
