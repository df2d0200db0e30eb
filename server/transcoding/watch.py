"""Ends calls whose clients went away or whose time is up.

Most calls are over before anybody needs to look, and a timer of its own would cost more than many of them: rounds are
made instead, at which every call that has lasted for some time is looked at.
"""

import asyncio
import math
from typing import Any

from server.transcoding.asgi import Event, Receive

ROUND = 0.04
"""Seconds between rounds. A call runs for one to two of them before anybody looks whether its client is there."""


class Rounds:
    """Looks, once, at each call that lasts. For one event loop at a time."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._young: set[Watch] = set()
        self._old: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watch: "Watch", loop: asyncio.AbstractEventLoop) -> None:
        """Have a call looked at, if it is not over by then."""
        if loop is not self._loop:  # the one before is over, and its timer with it
            self._loop, self._young, self._old, self._timer = loop, set(), set(), None
        self._young.add(watch)
        if self._timer is None:
            self._timer = loop.call_later(ROUND, self._go, loop)

    def remove(self, watch: "Watch") -> None:
        """Forget a call that is over."""
        self._young.discard(watch)
        self._old.discard(watch)

    def _go(self, loop: asyncio.AbstractEventLoop) -> None:
        for watch in self._old:
            watch.look()
        self._old, self._young = self._young, set()
        self._timer = loop.call_later(ROUND, self._go, loop) if self._old else None


class Watch:
    """Cancels the task it was made in; `gone` and `late` tell why. `timeout` is in seconds, None for ever."""

    __slots__ = ("_deadline", "_loop", "_receive", "_rounds", "_task", "_timer", "_watcher", "gone", "late")

    def __init__(self, receive: Receive, timeout: float | None, rounds: Rounds) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._receive = receive
        self._rounds = rounds
        self._task: Any = asyncio.current_task(loop)
        self._watcher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = math.inf if timeout is None else loop.time() + timeout
        self.gone = False
        self.late = False
        if timeout is not None and timeout < 2 * ROUND:
            self._timer = loop.call_later(timeout, self.look)
        else:
            rounds.add(self, loop)

    def look(self) -> None:
        """End the call if its time is up; else end it when that comes, or when its client goes."""
        left = self._deadline - self._loop.time()
        if left <= 0:
            self.late = self._task.cancel()
            return
        if self._watcher is None:
            self._watcher = self._loop.create_task(self._watch())
        if left < math.inf:
            self._timer = self._loop.call_later(left, self.look)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = self._task.cancel()

    def stop(self) -> None:
        """Stop watching; the call is over."""
        self._rounds.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()


class Inbox(Watch):
    """Receives, besides, for a call that reads when it likes, at most one event ahead.

    A client is not seen to go while it has sent more than the call reads.
    """

    __slots__ = ("_events",)

    def __init__(self, receive: Receive, timeout: float | None, rounds: Rounds) -> None:
        super().__init__(receive, timeout, rounds)
        self._events: asyncio.Queue[Event] = asyncio.Queue(maxsize=1)
        self._watcher = self._loop.create_task(self._watch())

    async def receive(self) -> Event:
        """Return the next event of the body."""
        return await self._events.get()

    async def _watch(self) -> None:
        ended = False
        while (event := await self._receive())["type"] != "http.disconnect":
            if not ended:
                await self._events.put(event)
                ended = not event.get("more_body", False)
        self.gone = self._task.cancel()
