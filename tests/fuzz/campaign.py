"""A campaign: batch after batch of cases and trials from one seed, with a look at the server's health in between."""

import asyncio
import json
import re
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.fuzz import templates
from tests.fuzz.cases import Case, case_of, health
from tests.fuzz.client import Ending, throw
from tests.fuzz.target import Target

SLOW_SECONDS = 1.0
"""No answer may take longer. One that did is asked for again, alone: the others may have kept the machine busy."""
_AT_A_TIME = 32
_BATCH = 600
_TRIALS = 150
_WARM_UP = 0.25
"""The share of the time after which the server's memory must have found its size."""
_GROWTH, _SLACK_MEBIBYTES = 1.10, 12.0
_EVERY_SECONDS = 10.0
_MOST_FILES = 30
_ERROR = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Refused|Invalid\w+|Refusal)\b.{0,80}", re.MULTILINE)
_ADDRESS = re.compile(r"0x[0-9a-f]+.*")


@dataclass(slots=True)
class Tally:
    """What a campaign came to so far."""

    cases: int = 0
    trials: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    slow_once: int = 0
    warm_memory: float = 0.0
    memory: float = 0.0
    violations: dict[str, Path] = field(default_factory=dict)
    """By what is wrong, the file with the first case of it."""

    def line(self) -> str:
        """Sum it up on one line."""
        classes = Counter(status // 100 for status in self.statuses.elements())
        told = " ".join(f"{group}xx {count:,}" for group, count in sorted(classes.items()))
        return (
            f"{self.cases:,} connections, {self.statuses.total():,} answers ({told}), {self.trials:,} routers, "
            f"slowest {self.slowest * 1000:.0f} ms, server {self.memory:.0f} MiB, {len(self.violations)} violations"
        )


class Campaign:
    """Throws everything that a seed makes at one target; what goes wrong is saved to a folder."""

    def __init__(self, target: Target, seed: int, folder: Path) -> None:
        self._target = target
        self._seed = seed
        self._folder = folder
        self._slow: list[Case] = []
        self.tally = Tally()

    async def run(self, seconds: float) -> Tally:
        """Go on for some seconds, then compare the server's memory with what it was after the warm-up."""
        tally, begun = self.tally, time.monotonic()
        told = begun
        while (passed := time.monotonic() - begun) < seconds and self._target.alive():
            await self.batch()
            tally.memory = self._target.memory()
            if not tally.warm_memory and passed > seconds * _WARM_UP:
                tally.warm_memory = tally.memory
            if time.monotonic() - told > _EVERY_SECONDS:
                told = time.monotonic()
                print(f"[{told - begun:4.0f} s] {tally.line()}", flush=True)
        if not self._target.alive():
            self._note("the server's process has ended")
        elif tally.warm_memory and tally.memory > tally.warm_memory * _GROWTH + _SLACK_MEBIBYTES:
            self._note(f"memory grew from {tally.warm_memory:.0f} to {tally.memory:.0f} MiB")
        return tally

    async def batch(self, size: int = _BATCH, trials: int = _TRIALS) -> None:
        """Throw so many cases, several at a time; then see whether the server is well, and try some routers."""
        first = self.tally.cases
        cases = [case_of(self._seed, number) for number in range(first, first + size)]
        self.tally.cases += size
        waiting = iter(cases)

        async def worker() -> None:
            for case in waiting:
                await self._throw(case, alone=False)

        await asyncio.gather(*(worker() for _ in range(_AT_A_TIME)))
        slow, self._slow = self._slow, []
        self.tally.slow_once += len(slow)
        for case in (*slow, health()):
            await self._throw(case, alone=True)
        await self._read_log(cases)
        for number in range(self.tally.trials, self.tally.trials + trials):
            self._try(number)
        self.tally.trials += trials

    async def _throw(self, case: Case, *, alone: bool) -> None:
        """Throw one case. One that took long while there were others is kept for later, when it is alone."""
        ending = await self._ending(case)
        self.tally.statuses.update(ending.statuses)
        if ending.seconds > SLOW_SECONDS and not alone:
            self._slow.append(case)
        else:
            self.tally.slowest = max(self.tally.slowest, ending.seconds)
        if ending.seconds > SLOW_SECONDS and alone:
            self._note("an answer took more than a second", [case])
        for fault in ending.faults:
            self._note(fault, [case])

    async def _ending(self, case: Case) -> Ending:
        try:
            return await throw(self._target.address, case)
        except OSError as fault:
            return Ending(statuses=(), seconds=0.0, faults=(f"no connection: {fault}",))

    async def _read_log(self, cases: Sequence[Case]) -> None:
        """Look for tracebacks; then throw the cases again, one by one, to see whose they are."""
        log = self._target.new_log()
        if "Traceback" not in log:
            return
        why = f"a traceback in the log: {_error_in(log)}"
        if why in self.tally.violations:
            return
        guilty = []
        for case in cases:
            await self._ending(case)
            if _error_in(self._target.new_log()) == _error_in(log):
                guilty.append(case)
                break
        self._note(why, guilty or cases, log)

    def _try(self, number: int) -> None:
        trial = templates.trial_of(self._seed, number)
        begun = time.perf_counter()
        try:
            faults = templates.faults_of(trial)
        except Exception as raised:
            faults = [(f"a router raised {type(raised).__name__}", traceback.format_exc())]
        if time.perf_counter() - begun > SLOW_SECONDS:
            faults.append(("a router took more than a second", ""))
        for why, particulars in faults:
            self._note(why, log=particulars, trials=[trial])

    def _note(
        self, why: str, cases: Sequence[Case] = (), log: str = "", trials: Sequence[templates.Trial] = ()
    ) -> None:
        """Save the first of a kind of violations, for `--replay`."""
        if why in self.tally.violations or len(self.tally.violations) >= _MOST_FILES:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._seed}-{len(self.tally.violations) + 1}.json"
        document = {
            "why": why,
            "seed": self._seed,
            "log": log,
            "cases": [case.document() for case in cases],
            "trials": [asdict(trial) for trial in trials],
        }
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")
        self.tally.violations[why] = path
        print(f"VIOLATION {why}\n  {path}", flush=True)


def _error_in(log: str) -> str:
    """Return the last line of a log's first traceback, without what differs from time to time; empty for none."""
    start = log.find("Traceback")
    if start < 0:
        return ""
    found = _ERROR.search(log[start:].replace("\\n", "\n"))
    return _ADDRESS.sub("…", found[0]) if found else log[start:][:80]
