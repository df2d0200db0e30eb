"""Notices a client that goes away while its call runs."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

GRACE = 0.05
"""Seconds a call runs before anybody looks: most are over by then and need no watcher."""


class Disconnect:
    """Cancels the task it was made in when the client disconnects. `gone` tells that from other cancellations."""

    __slots__ = ("_receive", "_task", "_timer", "_watcher", "gone")

    def __init__(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
        self._receive = receive
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(GRACE, self._start)
        self.gone = False

    def _start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._task.cancel()

    def stop(self) -> None:
        """Stop watching; the call is over."""
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
