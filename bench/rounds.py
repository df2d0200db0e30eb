"""Servers under the same load, in turns: what slows the machine down for a while slows all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from bench.load import ClosedLoop, Connection
from bench.report import Result, progress, spread

_ROUNDS = 8
_SECONDS = 1.0
_WARM_UP_SECONDS = 1.5


class Busy(Protocol):
    """What spends processor time: a program, or several that work together."""

    def cpu_seconds(self) -> float:
        """Return the processor time spent so far."""


@dataclass(slots=True, kw_only=True)
class Side:
    """One of the servers: its process, connections that repeat the request, and what the rounds gave."""

    program: Busy
    connections: Sequence[Connection]
    depth: int
    answer_bytes: int
    rates: list[float] = field(default_factory=list)
    """Calls per second."""
    costs: list[float] = field(default_factory=list)
    """Microseconds of the server's processor time per call."""
    middles: list[float] = field(default_factory=list)
    """The median time of a call, in milliseconds."""
    lates: list[float] = field(default_factory=list)
    """The 99th percentile of that."""

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
        self.middles.append(median(tally.taken) * 1000)
        self.lates.append(tally.taken[int(tally.calls * 0.99)] * 1000)

    def forget(self) -> None:
        """Forget what the rounds gave so far."""
        for figures in (self.rates, self.costs, self.middles, self.lates):
            figures.clear()


async def take_turns(what: str, sides: Sequence[Side], rounds: int = _ROUNDS) -> None:
    """Load all sides, one after the other, for some rounds. Closes the connections."""
    for side in sides:
        await side.load(_WARM_UP_SECONDS)
        side.forget()
    for number in range(rounds):
        progress(f"{what}: round {number + 1} of {rounds}")
        for side in sides if number % 2 else reversed(sides):
            await side.load(_SECONDS)
    for side in sides:
        for connection in side.connections:
            connection.close()


async def compare(what: str, ours: Side, bare: Side, goal: float | None) -> list[Result]:
    """Load both sides in turns and compare their rates, and their processor time per call. Closes the connections."""
    await take_turns(what, (ours, bare))
    return compared(what, ours, bare, goal, cost_goal=goal)


def compared(what: str, ours: Side, bare: Side, goal: float | None, cost_goal: float | None = None) -> list[Result]:
    """Compare the rates and the processor time per call of two sides that took turns."""
    return [
        Result(
            what=f"{what}: calls/s",
            ours=f"{median(ours.rates):,.0f}",
            bare=f"{median(bare.rates):,.0f}",
            ratio=spread([mine / theirs for mine, theirs in zip(ours.rates, bare.rates, strict=True)]),
            goal=f">= {goal:.2f}" if goal else "",
        ),
        Result(
            what=f"{what}: server's CPU, us/call",
            ours=f"{median(ours.costs):,.0f}",
            bare=f"{median(bare.costs):,.0f}",
            ratio=spread([theirs / mine for mine, theirs in zip(ours.costs, bare.costs, strict=True)]),
            goal=f">= {cost_goal:.2f}" if cost_goal else "",
        ),
    ]
