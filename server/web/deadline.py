"""A deadline that moves with every request, at the price of reading the clock."""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable


class Deadline:
    """Calls `missed` when the moment has come. The timer is set anew only when the moment comes nearer."""

    __slots__ = ("_loop", "_missed", "_moment", "_timer")

    def __init__(self, loop: AbstractEventLoop, missed: Callable[[], None]) -> None:
        self._loop = loop
        self._missed = missed
        self._moment = 0.0
        self._timer: TimerHandle | None = None

    def allow(self, seconds: float) -> None:
        """Put the moment `seconds` from now."""
        self._moment = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._moment, self._wake)
        elif self._moment < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(self._moment, self._wake)

    def cancel(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        self._timer = None
        if self._loop.time() < self._moment:
            self._timer = self._loop.call_at(self._moment, self._wake)
        else:
            self._missed()
