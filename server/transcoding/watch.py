"""Ends calls whose clients went away or whose time is up. One timer serves both: a timer costs more than most calls."""

import asyncio
import math
from typing import Any, cast

from server.transcoding.asgi import Event, Receive

GRACE = 0.05
"""Seconds a call runs before anybody looks whether its client is there: most are over by then and need no watcher."""


class Watch:
    """Cancels the task it was made in; `gone` and `late` tell why. `timeout` is in seconds, None for ever."""

    def __init__(self, receive: Receive, timeout: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._watcher: asyncio.Task[None] | None = None
        timeout = math.inf if timeout is None else timeout
        self._deadline = self._loop.time() + timeout
        self._timer = self._loop.call_later(min(GRACE, timeout), self._look)
        self.gone = False
        self.late = False

    def _look(self) -> None:
        left = self._deadline - self._loop.time()
        if left <= 0:
            self.late = self._task.cancel()
            return
        if self._watcher is None:
            self._watcher = self._loop.create_task(self._watch())
        if left < math.inf:
            self._timer = self._loop.call_later(left, self._look)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = self._task.cancel()

    def stop(self) -> None:
        """Stop watching; the call is over."""
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()


class Inbox(Watch):
    """Receives, besides, for a call that reads when it likes, at most one event ahead.

    A client is not seen to go while it has sent more than the call reads.
    """

    def __init__(self, receive: Receive, timeout: float | None) -> None:
        super().__init__(receive, timeout)
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
