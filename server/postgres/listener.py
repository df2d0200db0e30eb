"""Hear what PostgreSQL tells (LISTEN), on a connection of its own, and know at once when it can be heard no more.

The connection must lead to the server itself: a transaction pooler forgets who listens. Messages are wake-ups; what is
lost while nobody listens is not repeated, which is why its begin and end are told too.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

from server.postgres.pool import close_connection

_HEARTBEAT_SECONDS = 0.5
_PATIENCE_SECONDS = 1.0
"""How long the server may take for an answer before it counts as lost."""
_CONNECT_SECONDS = 3.0
_PAUSES = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Seconds before each new try to connect; the last one repeats."""

_log = structlog.get_logger(__name__)


class Listener:
    """Passes messages on from the moment `heard(True)` was called until `heard(False)` is; then it connects anew."""

    def __init__(
        self, dsn: str, channels: Mapping[str, Callable[[str], None]], heard: Callable[[bool], None] | None = None
    ) -> None:
        """Remember the settings; `run` connects. `channels` are callbacks by channel; none of them may raise."""
        self._dsn = dsn
        self._channels = channels
        self._heard = heard or (lambda connected: None)
        self._connected = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether messages arrive, as far as is known."""
        return self._connected.is_set()

    async def wait_connected(self, seconds: float) -> bool:
        """Wait until messages arrive, at most so long; say whether they do."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._connected.wait()
        return self.connected

    async def run(self) -> None:
        """Listen until cancelled, through every outage."""
        failures = 0
        while True:
            try:
                await self._listen()
            except Exception as error:  # whatever it is, the next try may succeed
                _log.warning("listener_lost", error=type(error).__name__)
            finally:
                was_connected = self.connected
                self._tell(connected=False)
            failures = 0 if was_connected else failures + 1
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=_CONNECT_SECONDS, statement_cache_size=0)
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: closed.set())
            async with asyncio.timeout(_PATIENCE_SECONDS):
                for channel in self._channels:
                    await connection.add_listener(channel, self._pass_on)
            self._tell(connected=True)
            while not closed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_HEARTBEAT_SECONDS):
                        await closed.wait()
                        return
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await connection.execute("SELECT 1")
        finally:
            self._tell(connected=False)  # before the farewell, which takes a while when the server hangs
            await close_connection(connection)

    def _pass_on(self, _: Any, __: int, channel: str, payload: object) -> None:
        self._channels[channel](str(payload))

    def _tell(self, *, connected: bool) -> None:
        if connected != self.connected:
            (self._connected.set if connected else self._connected.clear)()
            self._heard(connected)
