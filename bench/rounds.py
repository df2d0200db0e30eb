"""Two servers under the same load, in turns: what slows the machine down for a while slows both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.load import ClosedLoop, Connection
from bench.process import Program
from bench.report import Result, progress, spread

_ROUNDS = 8
_SECONDS = 1.0
_WARM_UP_SECONDS = 1.5


@dataclass(slots=True, kw_only=True)
class Side:
    """One of the two servers: its process, connections that repeat the request, and what the rounds gave."""

    program: Program
    connections: Sequence[Connection]
    depth: int
    answer_bytes: int
    rates: list[float] = field(default_factory=list)
    """Calls per second."""
    costs: list[float] = field(default_factory=list)
    """Microseconds of the server's processor time per call."""

    async def load(self, seconds: float) -> None:
        """Run one round.

        Raises:
            RuntimeError: a call failed or was answered with another size.
        """
        loop = ClosedLoop(self.connections, depth=self.depth, expected=self.answer_bytes)
        before = self.program.cpu_seconds()
        tally = await loop.run(seconds)
        if tally.failures:
            raise RuntimeError(f"{tally.failures} of {tally.calls} calls failed")
        self.rates.append(tally.rate)
        self.costs.append((self.program.cpu_seconds() - before) / tally.calls * 1e6)


async def compare(what: str, ours: Side, bare: Side, goal: float | None) -> list[Result]:
    """Load both sides in turns and compare their rates, and their processor time per call. Closes the connections."""
    sides = (ours, bare)
    for side in sides:
        await side.load(_WARM_UP_SECONDS)
        side.rates.clear()
        side.costs.clear()
    for number in range(_ROUNDS):
        progress(f"{what}: round {number + 1} of {_ROUNDS}")
        for side in sides if number % 2 else reversed(sides):
            await side.load(_SECONDS)
    for connection in (*ours.connections, *bare.connections):
        connection.close()
    by_rate = [mine / theirs for mine, theirs in zip(ours.rates, bare.rates, strict=True)]
    by_cost = [theirs / mine for mine, theirs in zip(ours.costs, bare.costs, strict=True)]
    return [
        Result(
            what=f"{what}: calls/s",
            ours=f"{median(ours.rates):,.0f}",
            bare=f"{median(bare.rates):,.0f}",
            ratio=spread(by_rate),
            goal=f">= {goal:.2f}" if goal else "",
        ),
        Result(
            what=f"{what}: server's CPU, us/call",
            ours=f"{median(ours.costs):,.0f}",
            bare=f"{median(bare.costs):,.0f}",
            ratio=spread(by_cost),
            goal=f">= {goal:.2f}" if goal else "",
        ),
    ]
