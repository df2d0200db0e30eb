"""A process that sends events to the ledger until all are acknowledged, however often it is killed and started again.

Run as `python -m tests.integration.ledger.sender ASSIGNMENT LOG`. The log gets a line for each request begun and each
done; a request that is not done there is sent (again).
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import uvloop

from server.errors import Unavailable
from server.metering.ledger import store
from server.metering.ledger.model import Acquisition
from server.metering.ledger.service import StreamLedger
from server.postgres.pool import Database
from tests.integration.ledger.book import many

_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Which events to send, and how. `requests` are places in the events; `without` names a protection to remove."""

    database_url: str
    count: int
    developer_ids: list[str]
    streams: int
    until: str
    seed: int
    requests: list[list[int]]
    without: str

    def events(self) -> list[Acquisition]:
        """Make the events."""
        until = datetime.fromisoformat(self.until)
        return many(self.count, self.developer_ids, streams=self.streams, until=until, seed=self.seed)

    def write(self, path: Path) -> None:
        """Save it for a process."""
        path.write_text(json.dumps(asdict(self)))


def done(log: Path) -> set[int]:
    """Read which requests were acknowledged."""
    return _logged(log, "done")


def begun(log: Path) -> set[int]:
    """Read which requests were sent."""
    return _logged(log, "begun")


def _logged(log: Path, what: str) -> set[int]:
    """The last line may be half written."""
    lines = log.read_text().rpartition("\n")[0].splitlines() if log.exists() else []
    return {int(number) for word, number in map(str.split, lines) if word == what}


def remove(protection: str) -> None:
    """Take a protection out of this process, so that a test can show that it is noticed."""
    changes = {
        "": [],
        "locks": [("lock", " FOR NO KEY UPDATE", "")],
        "event ids": [
            ("survey", "WHERE event_id = sent.event_id", "WHERE false"),
            ("enter", "ON CONFLICT ON CONSTRAINT stream_events_pkey DO NOTHING", ""),
        ],
    }
    statements = dict(store._SQL)
    for name, text, replacement in changes[protection]:
        assert text in statements[name]
        statements[name] = statements[name].replace(text, replacement)
    store._SQL = statements


async def send(assignment: Assignment, log: Path) -> None:
    """Send what is not done yet, a few requests at a time."""
    events = assignment.events()
    database = Database(assignment.database_url, size=_IN_FLIGHT)
    ledger = StreamLedger(database)
    finished = done(log)
    with log.open("a", buffering=1) as lines:

        async def work(numbers: Iterator[int]) -> None:
            for number in numbers:
                lines.write(f"begun {number}\n")
                await _deliver(ledger, [events[place] for place in assignment.requests[number]])
                lines.write(f"done {number}\n")

        numbers = iter([number for number in range(len(assignment.requests)) if number not in finished])
        await asyncio.gather(*(work(numbers) for _ in range(_IN_FLIGHT)))
    await database.close()


async def _deliver(ledger: StreamLedger, events: list[Acquisition]) -> None:
    """Send until there is an answer. Any other error than UNAVAILABLE is final, as it is for every caller."""
    while True:
        try:
            await ledger.record(events)
        except Unavailable:
            continue
        except Exception as error:
            print(type(error).__name__, file=sys.stderr)
        return


if __name__ == "__main__":
    chosen = Assignment(**json.loads(Path(sys.argv[1]).read_text()))
    remove(chosen.without)
    uvloop.run(send(chosen, Path(sys.argv[2])))
