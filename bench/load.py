"""The load generator: a closed loop over raw connections, the same for every server that is compared.

The connections speak just enough HTTP to repeat one request, because a complete client costs as much as the server and
would hide what is measured: on two cores the slower of the two sets the pace.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

Done = Callable[[bytes | None], None]
"""Told how a call ended: the answer's body, or None when it failed."""


class Connection(Protocol):
    """One open connection that repeats requests."""

    def call(self, done: Done) -> None:
        """Send the request once more."""

    def close(self) -> None:
        """Hang up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one round came to."""

    calls: int
    failures: int
    seconds: float
    taken: Sequence[float]
    """Seconds that each call took, shortest first."""

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds


class ClosedLoop:
    """Keeps `depth` calls in flight on each connection. An answer that has not `expected` bytes is a failure."""

    def __init__(self, connections: Sequence[Connection], *, depth: int, expected: int) -> None:
        self._connections = connections
        self._depth = depth
        self._expected = expected
        self._time = asyncio.get_running_loop().time
        self._calls = self._failures = self._in_flight = 0
        self._end = 0.0
        self._taken: list[float] = []
        self._finished = asyncio.Event()

    async def run(self, seconds: float) -> Tally:
        """Call for some seconds, then let the calls in flight end."""
        self._calls = self._failures = 0
        self._taken = []
        self._finished.clear()
        started = self._time()
        self._end = started + seconds
        for connection in self._connections:
            for _ in range(self._depth):
                self._in_flight += 1
                self._call(connection)
        await self._finished.wait()
        seconds = self._time() - started
        return Tally(calls=self._calls, failures=self._failures, seconds=seconds, taken=sorted(self._taken))

    def _call(self, connection: Connection) -> None:
        sent = perf_counter()  # uvloop's own clock counts whole milliseconds

        def done(body: bytes | None) -> None:
            nonlocal sent
            now = perf_counter()
            self._taken.append(now - sent)
            sent = now
            self._calls += 1
            self._failures += body is None or len(body) != self._expected
            if self._time() < self._end:
                connection.call(done)
                return
            self._in_flight -= 1
            if not self._in_flight:
                self._finished.set()

        connection.call(done)


def call_once(connection: Connection) -> Awaitable[bytes]:
    """Make one call and return the answer's body; a failed call raises ConnectionError."""
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def done(body: bytes | None) -> None:
        if body is None:
            future.set_exception(ConnectionError("the server answered with an error"))
        else:
            future.set_result(body)

    connection.call(done)
    return future
