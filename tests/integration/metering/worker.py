"""A process that counts and flushes and is killed, many times: `python -m tests.integration.metering.worker …`.

It forks a child for each time, so that Python starts once. A child says what it has counted before each flush and what
is flushed after it, and loses the answer of every few statements; the parent kills it with SIGKILL at a random moment.
In the end the parent prints the sums of what its children said last, as JSON. Children end by themselves when the
parent is gone.
"""

import json
import os
import random
import signal
import sys
from collections.abc import Sequence

import uvloop
from prometheus_client import CollectorRegistry

from server.errors import Unavailable
from server.metering import store
from server.metering.counters import Counters, Use
from server.metering.service import MeterService
from server.postgres.pool import Database, Record
from tests.integration.metering.meter import UNPROTECTED

_LIVES = (0.02, 0.25)  # seconds that a child lives after its first word


class Forgetful(Database):
    """A pool that loses every fourth answer."""

    async def fetch(self, statement: str, *arguments: object) -> list[Record]:
        rows = await super().fetch(statement, *arguments)
        if random.random() < 0.25:
            raise Unavailable
        return rows


async def count_and_flush(url: str, uses: Sequence[Use], pipe: int) -> None:
    """Count some calls and flush them, for ever."""
    database = Forgetful(url, size=1, warm=1)
    await database.open()
    counters = Counters()
    service = MeterService(database, counters, CollectorRegistry())
    counted = 0
    while True:
        for _ in range(random.randrange(1, 50)):
            counters.count(random.choice(uses), "search", "valid", 1, "192.0.2.1")
            counted += 1
        os.write(pipe, f"counted {counted}\n".encode())
        while service.unflushed_calls:
            try:
                await service.flush()
            except Unavailable:
                counters.count(uses[0], "", "valid", 1, "")
                counted += 1
                os.write(pipe, f"counted {counted}\n".encode())
        os.write(pipe, f"flushed {counted}\n".encode())


def live_and_die(url: str, uses: Sequence[Use]) -> dict[str, int]:
    """Let a child count for a moment, kill it, and return the last that it said of each kind."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        try:
            random.seed(os.getpid())
            uvloop.run(count_and_flush(url, uses, writing))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as words:
        said = [words.readline()]
        signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, random.uniform(*_LIVES))
        said += words.readlines()
        signal.setitimer(signal.ITIMER_REAL, 0)  # if it has ended by itself: its number may soon be another's
    os.waitpid(child, 0)
    last = {"counted": 0, "flushed": 0}
    for line in said:
        kind, _, number = line.partition(" ")
        if line.endswith("\n"):
            last[kind] = int(number)
    return last


def main(url: str, uses_json: str, times: str, protected: str) -> None:
    """Let so many children live and die, one after the other."""
    if protected != "True":
        store._SQL = UNPROTECTED
    uses = [Use(*fields) for fields in json.loads(uses_json)]
    lives = [live_and_die(url, uses) for _ in range(int(times))]
    print(json.dumps({kind: sum(life[kind] for life in lives) for kind in ("counted", "flushed")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
