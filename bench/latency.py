"""How long an answer takes under a load that can be borne: calls leave at fixed times, whatever the answers do."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.load import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What one run came to, in milliseconds from the time at which a call was due."""

    failures: int
    middle: float
    p99: float


async def at_rate(connections: Sequence[Connection], rate: float, seconds: float) -> Latency:
    """Make so many calls per second for some seconds."""
    loop = asyncio.get_running_loop()
    count = int(rate * seconds)
    taken: list[float] = []
    failures = 0
    finished = asyncio.Event()
    started = loop.time()

    def send(number: int) -> None:
        due = started + number / rate

        def done(body: bytes | None) -> None:
            nonlocal failures
            failures += body is None
            taken.append((loop.time() - due) * 1000)
            if len(taken) == count:
                finished.set()

        connections[number % len(connections)].call(done)

    for number in range(count):
        wait = started + number / rate - loop.time()
        if wait > 0.0005 or not number % 64:  # others must run, too
            await asyncio.sleep(max(0.0, wait))
        send(number)
    await finished.wait()
    taken.sort()
    return Latency(failures=failures, middle=median(taken), p99=taken[int(count * 0.99)])
