"""Sliding windows shared by all servers through Valkey, and what happens while it does not answer.

Every call is one run of `window.lua`, which decides over all its windows at once by Valkey's clock. Calls that arrive
while others are on their way travel together.

Nothing that was sent is waited for longer than a tenth of a second. When Valkey is away, slow or refuses, the calls
that wait and all that follow are decided in the memory of this process, until a run of the script succeeds again; that
is tried once a second, beside the calls. Time in which this process was too busy to listen is not held against Valkey.
What Valkey lets in is counted in memory too, so an outage gives no window a fresh start: at worst every process lets in
the full limit. `developer_limits_shared` and `developer_limits_local_decisions_total` tell of it.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from server.limits.model import Claim, Decision, Rate
from server.limits.script import Command, WindowScript, command
from server.limits.service import LocalLimiter

_BUDGET_SECONDS = 0.1
_PARTS = 5
_CONNECT_SECONDS = 1.0
_WATCH_SECONDS = 1.0
_SECOND = 1_000_000
_PROBE = command([Claim(b"probe:", Rate(1_000_000, 1))], 1, counted=True)  # counted, since a replica can only look

_log = structlog.get_logger(__name__)


class _Run(NamedTuple):
    """A run of the script that a call waits for. Its answer is None when there is none."""

    command: Command
    answer: "asyncio.Future[list[int] | None]"


class SharedLimiter:
    """Windows in Valkey. Open it before use; before that, after `close` and in an outage it is its local limiter."""

    def __init__(self, url: str, local: LocalLimiter, registry: CollectorRegistry) -> None:
        """Take Valkey's address and the limiter for when it is away.

        Raises:
            ValueError: the URL is none of Valkey's; the sentence does not repeat it.
        """
        self._script = WindowScript(url)
        self._local = local
        self._is_shared = False
        self._waiting: list[_Run] = []
        self._sender: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._shared = Gauge(
            "developer_limits_shared",
            "1 while rate limits are decided in Valkey, 0 while a process decides by itself.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._local_decisions = Counter(
            "developer_limits_local_decisions", "Calls decided locally for want of Valkey.", registry=registry
        )

    async def open(self) -> None:
        """Connect, within some 1.1 seconds; when that fails, begin locally and keep trying."""
        fault = await self._connect()
        if fault is not None:
            _tell_away(fault)
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Hang up; calls that still wait are decided locally."""
        self._is_shared = False
        tasks = [task for task in (self._watcher, self._sender) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._leave()

    async def take(self, claims: Sequence[Claim], cost: int = 1) -> Decision:
        """Count a call of `cost` units in every window claimed if it fits into all of them, else in none."""
        return await self._decide(claims, cost, counted=True)

    async def peek(self, claims: Sequence[Claim], cost: int = 1) -> Decision:
        """Answer as `take` would and count nothing; a cost of 0 tells how the windows stand."""
        return await self._decide(claims, cost, counted=False)

    async def _decide(self, claims: Sequence[Claim], cost: int, *, counted: bool) -> Decision:
        answer = await self._run(command(claims, cost, counted=counted)) if self._is_shared else None
        if answer is None:
            self._local_decisions.inc()
            return self._local.decide(claims, cost, counted=counted)
        allowed, tightest, remaining, reset, retry = answer
        if allowed and counted:
            self._local.decide(claims, cost, counted=True)
        limit = claims[tightest].rate.requests
        return Decision(bool(allowed), limit, remaining, reset / _SECOND, retry / _SECOND, tightest)

    async def _run(self, run: Command) -> list[int] | None:
        """Send a run with the next batch and wait for its answer."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[int] | None] = loop.create_future()
        self._waiting.append(_Run(run, answer))
        if self._sender is None:
            self._sender = loop.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        """Send batch after batch until nobody waits, or one fails."""
        batch: list[_Run] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                answers = await self._ask([run.command for run in batch])
                for run, answer in zip(batch, answers, strict=True):
                    _give(run, answer)
        except Exception as fault:  # whatever it is, callers get an answer
            await self._leave()
            _tell_away(fault)
        finally:
            self._sender = None
            for run in (*batch, *self._waiting):
                _give(run, None)
            self._waiting = []

    async def _ask(self, commands: list[Command]) -> list[list[int]]:
        """Run the script, for no longer than the budget; an answer that has arrived by then is taken."""
        async with asyncio.timeout(None) as wait:
            budget = _Budget(wait)
            try:
                return await self._script.run(commands)
            finally:
                budget.cancel()

    async def _watch(self) -> None:
        """Try to come back; while there is nothing to come back from, notice an outage even when no call does."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if self._is_shared:
                await self._run(_PROBE)
            elif await self._connect() is None:
                _log.info("limits_are_shared_again")

    async def _connect(self) -> Exception | None:
        """Decide in Valkey from now on if a run succeeds there; else return why not."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._script.connect()
            await self._ask([_PROBE])
        except Exception as fault:
            await self._leave()
            return fault
        self._is_shared = True
        self._shared.set(1)
        return None

    async def _leave(self) -> None:
        """Decide locally from now on."""
        self._is_shared = False
        self._shared.set(0)
        await self._script.close()


class _Budget:
    """Ends a wait after a tenth of a second, but spends one part at most in a turn of the loop, however long it is."""

    __slots__ = ("_loop", "_parts", "_timer", "_wait")

    def __init__(self, wait: asyncio.Timeout) -> None:
        self._wait = wait
        self._loop = asyncio.get_running_loop()
        self._parts = _PARTS
        self._timer = self._loop.call_later(_BUDGET_SECONDS / _PARTS, self._spend)

    def cancel(self) -> None:
        self._timer.cancel()

    def _spend(self) -> None:
        self._parts -= 1
        if self._parts:
            self._timer = self._loop.call_later(_BUDGET_SECONDS / _PARTS, self._spend)
        else:
            self._wait.reschedule(self._loop.time())  # it ends behind what has just been read


def _give(run: _Run, answer: list[int] | None) -> None:
    if not run.answer.done():  # its caller may have gone away
        run.answer.set_result(answer)


def _tell_away(fault: Exception) -> None:
    _log.warning("limits_are_local", reason=str(fault)[:200] or "no answer in time")
