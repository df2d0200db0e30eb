"""Every event sent three times, in any order, by two processes that are killed again and again: the bill is exact."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.ids import DeveloperId
from server.postgres.pool import Database
from tests.integration.ledger.book import assert_exact
from tests.integration.ledger.sender import Assignment, begun, done

ROOT = Path(__file__).parents[3]
SENDERS = 2


def assign(
    database_url: str, developer_ids: list[str], *, count: int, streams: int, size: int, without: str = ""
) -> list[Assignment]:
    """Shuffle three copies of the same events and share them out in requests of up to `size`."""
    rng = random.Random(count)
    requests: list[list[int]] = []
    for _ in range(3):
        places = list(range(count))
        rng.shuffle(places)
        while places:
            cut = rng.randint(1, size)
            requests.append(places[:cut])
            places = places[cut:]
    rng.shuffle(requests)
    until = datetime.now(UTC).isoformat()
    return [
        Assignment(
            database_url=database_url,
            count=count,
            developer_ids=developer_ids,
            streams=streams,
            until=until,
            seed=count,
            requests=requests[number::SENDERS],
            without=without,
        )
        for number in range(SENDERS)
    ]


class Sender:
    """A process that sends, to be killed and started again."""

    def __init__(self, assignment: Assignment, folder: Path) -> None:
        self.log = folder / "log"
        self.interrupted = 0
        self._total = len(assignment.requests)
        self._folder = folder
        folder.mkdir()
        assignment.write(folder / "assignment")

    @property
    def errors(self) -> str:
        """What all its lives complained of."""
        return (self._folder / "errors").read_text()

    def start(self) -> "subprocess.Popen[bytes]":
        arguments = [str(self._folder / "assignment"), str(self.log)]
        with (self._folder / "errors").open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.integration.ledger.sender", *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}"},
                stderr=errors,
            )

    async def run(self, kills: int, rng: random.Random) -> None:
        """Send everything, killed `kills` times in the middle of requests; each life gets some of them done."""
        for life in range(kills + 1):
            process = self.start()
            try:
                if life < kills:
                    await self._progress(process)
                    await asyncio.sleep(rng.random() * 0.1)  # anywhere in a request, which is what this is about
                else:
                    while process.poll() is None:
                        await asyncio.sleep(0.02)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
            self.interrupted += bool(begun(self.log) - done(self.log))
        assert len(done(self.log)) == self._total

    async def _progress(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until some more requests are done."""
        before = len(done(self.log))
        while process.poll() is None and len(done(self.log)) <= before + 2:
            await asyncio.sleep(0.01)


async def send_all(assignments: list[Assignment], folder: Path, *, kills: int) -> list[Sender]:
    """Send everything by all processes at once."""
    senders = [Sender(assignment, folder / str(number)) for number, assignment in enumerate(assignments)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(sender.run(kills, random.Random(number)) for number, sender in enumerate(senders)))
    return senders


async def test_ten_thousand_events_sent_three_times_by_processes_that_are_killed(
    database_url: str, database: Database, alice: DeveloperId, bob: DeveloperId, tmp_path: Path
) -> None:
    assignments = assign(database_url, [alice, bob], count=10_000, streams=700, size=200)

    senders = await send_all(assignments, tmp_path, kills=10)

    assert all(sender.interrupted >= 5 for sender in senders)
    assert [sender.errors for sender in senders] == ["", ""]
    await assert_exact(database, assignments[0].events())


@pytest.mark.parametrize("without", ["", "locks", "event ids"])
async def test_that_the_protections_are_what_makes_it_exact(
    database_url: str, database: Database, alice: DeveloperId, tmp_path: Path, without: str
) -> None:
    """Fewer events, in fewer logical streams, and nobody is killed: without a protection it goes wrong all the same."""
    assignments = assign(database_url, [alice], count=1500, streams=40, size=40, without=without)
    if without == "event ids":
        await database.execute("ALTER TABLE stream_events DROP CONSTRAINT stream_events_pkey CASCADE")
        await database.execute("ALTER TABLE stream_postings DROP CONSTRAINT stream_postings_pkey")

    await send_all(assignments, tmp_path, kills=0)

    if without:
        with pytest.raises(AssertionError):
            await assert_exact(database, assignments[0].events())
    else:
        await assert_exact(database, assignments[0].events())
