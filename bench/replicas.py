"""`python -m bench.replicas`: two replicas behind Envoy under load, one of them killed: no answer may be wrong.

Over a PostgreSQL of the distribution, reached by DATABASE_URL, and a Valkey. ghz loads VerifyApiKey while `checker.py`
asks about keys whose state it knows. One replica is killed (SIGKILL) and started again; in the end both are stopped in
order and what they counted is compared with what was answered. Takes less than a minute and leaves nothing behind.
"""

import asyncio
import re
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit, urlunsplit

import httpx2
import uvloop

from bench import ghz
from bench.balancer import Balancer
from bench.checker import Calls, Checker, End
from bench.fleet import Fleet, Replica, debian_postgres, replicas, valkey
from bench.ghz import Ghz, Phase
from bench.report import machine, progress
from bench.setting import connection

_LOADED_KEYS = 20
_KILLED = 1
_LOSS_SECONDS = 1.5
"""A server that is killed loses what it counted since its last flush: a second, and what the flush itself takes."""
_PATIENCE_SECONDS = 90.0
"""How much longer than the load a run may take."""
_SHOWN = 20
_LOCAL_DECISIONS = re.compile(r"^developer_limits_local_decisions_total ([0-9.e+]+)$", re.MULTILINE)
_NO_LIMITS = (
    "UPDATE tiers SET requests = 999999999, developer_requests = 999999999, monthly_quota = NULL, max_keys = 2000000000"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long, in seconds, and how hard."""

    both: float = 10.0
    """With both replicas, before one is killed."""
    one: float = 10.0
    """With one, before the other is started again."""
    again: float = 10.0
    """With both again, from the moment that both are sent calls."""
    at_a_time: int = 16
    """ghz's calls."""
    burst: int = 50
    """The limit that four times as many calls try at once, before and after."""
    apart: bool = False
    """Whether the replicas neither share limits nor hear of changes: the checker must see that."""

    @property
    def most_seconds(self) -> float:
        """How long all of it may take, starts included."""
        return self.both + self.one + self.again + _PATIENCE_SECONDS


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run came to."""

    phases: Sequence[Phase]
    calls: Mapping[str, Calls]
    """What was sent and answered, by operation, ghz's among them."""
    failures: Counter[str]
    """Calls of the checker that failed, by status code."""
    ends: Mapping[str, Sequence[End]]
    """The secrets that were ended, by how."""
    served: Sequence[int]
    """Calls that were sent to each replica."""
    failed: Sequence[int]
    """Those of them that each replica refused or did not answer."""
    at_risk: int
    """Calls that were sent to the killed replica in its last second and a half, whose count it may have lost."""
    local_decisions: int
    """Calls whose limits were decided without Valkey."""
    wrong: list[str]
    machine: str
    counted: Mapping[str, Counter[str]] = field(default_factory=dict)
    """What usage says after the end: calls by operation and outcome."""

    @property
    def answers(self) -> int:
        """How many answers were compared with the truth."""
        return sum(calls.verdicts.total() for operation, calls in self.calls.items() if operation != ghz.OPERATION)

    @property
    def uncounted(self) -> dict[str, int]:
        """Answers that usage does not know of, by operation; negative: it knows of calls whose answer was lost."""
        return {name: calls.counted - self.counted.get(name, Counter()).total() for name, calls in self.calls.items()}

    def judge(self) -> None:
        """Blame failures that must not be, and counts that are more than was sent or less than could be lost."""
        codes = self.failures.keys() | {code for phase in self.phases for code in phase.failures}
        self.wrong += [f"a call failed as {code}" for code in sorted(codes - {"UNAVAILABLE"})]
        for name, uncounted in self.uncounted.items():
            may_lose = self.at_risk if name in (ghz.OPERATION, "check.both") else 0
            if uncounted > may_lose:
                self.wrong.append(f"{name}: {uncounted} answers were not counted; at most {may_lose} may be lost")
            sent, counted = self.calls[name].sent, self.counted.get(name, Counter()).total()
            if counted > sent:
                self.wrong.append(f"{name}: {counted} calls were counted, {sent} were sent")
        if strange := self.counted.get(ghz.OPERATION, Counter()).keys() - {"valid"}:
            self.wrong.append(f"{ghz.OPERATION}: good keys were counted as {', '.join(sorted(strange))}")


class Drill:
    """What happens to servers that are up: load, questions, the end of one of them and its return."""

    def __init__(self, fleet: Fleet, balancer: Balancer, checker: Checker, plan: Plan) -> None:
        self._fleet = fleet
        self._balancer = balancer
        self._checker = checker
        self._plan = plan
        self._moments: list[tuple[str, float]] = []
        self.at_risk = 0
        self.local_decisions = 0

    async def go(self, folder: Path) -> list[Phase]:
        """Do all of it, within the plan's time and some seconds; return what the load saw."""
        plan, checker = self._plan, self._checker
        secrets = [(await checker.new_key()).secret for _ in range(_LOADED_KEYS)]
        loading = Ghz.loading(
            self._balancer.internal,
            secrets,
            self._fleet.service_token,
            folder,
            most_seconds=plan.most_seconds,
            at_a_time=plan.at_a_time,
        )
        async with loading as load:
            async with asyncio.TaskGroup() as group:
                group.create_task(checker.run(self._fleet.database_url))
                group.create_task(self._kill_and_start())
            calls = await load.calls()
        self.local_decisions += await self._decided_locally(self._fleet.replicas)
        answered = Counter({"VERDICT_VALID": sum(call.code == "OK" for call in calls)})
        checker.calls[ghz.OPERATION] = Calls(len(calls), answered.total(), answered)
        return ghz.phases(calls, self._moments, max(call.ended for call in calls))

    async def _kill_and_start(self) -> None:
        plan, victim = self._plan, self._fleet.replicas[_KILLED]
        started = time.monotonic()
        self._begin("both")
        await self._checker.burst(self._fleet.database_url, plan.burst)
        await _sleep_until(started + plan.both - _LOSS_SECONDS)
        served = (await self._balancer.served())[_KILLED]
        self.local_decisions += await self._decided_locally([victim])
        await _sleep_until(started + plan.both)
        killed = time.time()
        victim.daemon.kill()
        self._begin("one", killed)
        self.at_risk = (await self._balancer.served())[_KILLED] - served
        await self._balancer.wait_until(_KILLED, well=False)
        await _sleep_until(started + plan.both + plan.one)
        progress("starting it again")
        await victim.daemon.start()
        await self._balancer.wait_until(_KILLED, well=True)
        self._begin("again")
        started = time.monotonic()
        self._checker.end_in(plan.again - 1)
        await self._checker.burst(self._fleet.database_url, plan.burst)
        await _sleep_until(started + plan.again)

    def _begin(self, name: str, moment: float | None = None) -> None:
        progress(f"replicas: {name}")
        self._moments.append((name, moment or time.time()))
        self._checker.phase(f"check.{name}")

    async def _decided_locally(self, replicas: Sequence[Replica]) -> int:
        """Read from metrics how many calls replicas have limited without Valkey."""
        async with httpx2.AsyncClient(trust_env=False) as http:
            pages = [await http.get(f"http://127.0.0.1:{replica.metrics}/metrics") for replica in replicas]
        return sum(int(float(count)) for page in pages for count in _LOCAL_DECISIONS.findall(page.text))


async def run(plan: Plan) -> Report:
    """Start everything, go through the plan, stop everything, and judge.

    Raises:
        RuntimeError: a program that is needed is not installed or does not start.
    """
    async with asyncio.timeout(plan.most_seconds), AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        url = await stack.enter_async_context(debian_postgres(folder))
        settings = {"DEVELOPER_VALKEY_URL": await stack.enter_async_context(valkey(folder))}
        if plan.apart:  # messages stay within a database
            settings = {"DATABASE_DIRECT_URL": urlunsplit(urlsplit(url)._replace(path="/template1"))}
        fleet = await stack.enter_async_context(replicas(folder, url, 2, settings))
        balancer = await stack.enter_async_context(Balancer.before(fleet.replicas, folder))
        async with connection(url) as database:
            await database.execute(_NO_LIMITS)
            where = machine(await database.fetchval("SHOW server_version"))
        checker = Checker(
            balancer.internal,
            balancer.public,
            service_token=fleet.service_token,
            developer_token=fleet.developer_token,
        )
        stack.push_async_callback(checker.close)
        drill = Drill(fleet, balancer, checker, plan)
        report = Report(
            phases=await drill.go(folder),
            calls=checker.calls,
            failures=checker.failures,
            ends=checker.ends,
            served=await balancer.served(),
            failed=await balancer.failed(),
            at_risk=drill.at_risk,
            local_decisions=drill.local_decisions,
            wrong=checker.wrong,
            machine=where,
        )
        await asyncio.gather(*(replica.daemon.stop() for replica in fleet.replicas))
        report.counted = await _counted(url)
    report.judge()
    return report


async def _counted(database_url: str) -> dict[str, Counter[str]]:
    """Read what usage knows of, by operation and outcome."""
    statement = "SELECT operation, outcome, sum(calls)::bigint AS calls FROM usage_minutes GROUP BY operation, outcome"
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    async with connection(database_url) as database:
        for row in await database.fetch(statement):
            counted[row["operation"]][row["outcome"]] = row["calls"]
    return counted


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


def told(report: Report) -> str:
    """Write a report for people."""
    rows = [("replicas", "seconds", "calls/s", "p50 ms", "p99 ms", "failures")]
    rows += [
        (
            phase.name,
            f"{phase.seconds:.1f}",
            f"{phase.rate:,.0f}",
            f"{phase.percentile(50):.1f}",
            f"{phase.percentile(99):.1f}",
            ", ".join(f"{count} {code}" for code, count in phase.failures.items()) or "0",
        )
        for phase in report.phases
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.append("")
    for how, ends in report.ends.items():
        took, late = (_spread([each[part] for each in ends]) for part in (0, 1))
        lines.append(f"{how}: {len(ends)} secrets, acknowledged after {took}, last VALID after that for {late}")
    uncounted = ", ".join(f"{name} {count}" for name, count in report.uncounted.items())
    lines += [
        f"calls to each replica: {_each(report.served)}; of these failed: {_each(report.failed)}",
        f"answers that usage does not know of: {uncounted}; what the killed one may have lost: {report.at_risk}",
        f"limits decided without Valkey: {report.local_decisions}",
        f"calls of the checker: {report.answers:,} answered, {dict(report.failures) or 'none'} failed",
        f"wrong answers: {len(report.wrong)}",
        *(f"  {what}" for what in report.wrong[:_SHOWN]),
        "",
        report.machine,
    ]
    return "\n".join(lines)


def _each(counts: Sequence[int]) -> str:
    return ", ".join(f"{count:,}" for count in counts)


def _spread(seconds: Sequence[float]) -> str:
    return f"{median(seconds) * 1e3:.0f} ms (median) to {max(seconds) * 1e3:.0f} ms" if seconds else "-"


def main() -> int:
    """Run and print; the status is 1 when an answer was wrong. Ctrl-C and SIGTERM end the run and what it started."""
    try:
        report = uvloop.run(_interruptible(run(Plan())))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except TimeoutError:
        progress("given up: it took too long")
        return 1
    except RuntimeError as error:  # something is missing or did not start
        progress(str(error))
        return 1
    print(told(report))
    return 1 if report.wrong else 0


async def _interruptible(work: Coroutine[object, object, Report]) -> Report:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


if __name__ == "__main__":
    sys.exit(main())
