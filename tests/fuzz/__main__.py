"""`python -m tests.fuzz --minutes 10`: fuzz the transcoder behind its real HTTP server; exit 1 on any violation.

HTTP bytes, JSON and protobuf documents, query strings and headers go to a server in a process of its own; rules of
`google.api.http` to routers in this one. Nothing may be answered with a 5xx, take more than a second, leave a traceback
in the log or make the server grow. `--replay FILE` throws what a campaign saved once more, and prints the answers.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.fuzz import templates
from tests.fuzz.campaign import Campaign
from tests.fuzz.cases import Case, case_of
from tests.fuzz.client import throw
from tests.fuzz.target import started


async def fuzz(minutes: float, seed: int, folder: Path, *, over_channel: bool) -> int:
    """Run a campaign; return the exit status."""
    async with started(over_channel=over_channel) as target:
        print(f"seed {seed}, {minutes:g} minutes, server at {target.address}", flush=True)
        tally = await Campaign(target, seed, folder).run(minutes * 60)
    codes = ", ".join(f"{status}: {count:,}" for status, count in sorted(tally.statuses.items()))
    print(f"\n{tally.line()}\nstatuses: {codes}")
    print(f"memory of the server: {tally.warm_memory:.0f} MiB after the warm-up, {tally.memory:.0f} MiB in the end")
    print(f"answers that took more than a second among others, and were asked for again alone: {tally.slow_once}")
    for why, path in tally.violations.items():
        print(f"VIOLATION {why}\n  {path}")
    return 1 if tally.violations else 0


async def replay(cases: list[Case], *, over_channel: bool) -> int:
    """Throw cases one by one and print what became of them; return the exit status."""
    status = 0
    async with started(over_channel=over_channel) as target:
        for case in cases:
            print(f"{case.kind} {case.number}: {b' | '.join(case.pieces)[:2000]!r}")
            ending = await throw(target.address, case)
            log = target.new_log()
            print(f"  {ending.statuses} in {ending.seconds * 1000:.0f} ms {ending.faults or 'as it should be'}\n{log}")
            status |= bool(ending.faults) or "Traceback" in log
    return status


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="the time by default")
    parser.add_argument("--replay", type=Path, help="a file that a campaign saved")
    parser.add_argument("--case", type=int, help="throw this case of the seed alone")
    parser.add_argument("--channel", action="store_true", help="put the handlers behind a gRPC channel")
    parser.add_argument("--save", type=Path, default=Path(tempfile.gettempdir(), "fuzz"), help="where violations go")
    asked = parser.parse_args()
    seed = int(time.time()) if asked.seed is None else asked.seed
    try:
        if asked.replay is not None:
            saved = json.loads(asked.replay.read_text(encoding="utf-8"))
            for trial in saved["trials"]:
                print(templates.faults_of(templates.Trial.of_document(trial)) or "as it should be")
            return uvloop.run(
                replay([Case.of_document(document) for document in saved["cases"]], over_channel=asked.channel)
            )
        if asked.case is not None:
            return uvloop.run(replay([case_of(seed, asked.case)], over_channel=asked.channel))
        return uvloop.run(fuzz(asked.minutes, seed, asked.save, over_channel=asked.channel))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


if __name__ == "__main__":
    sys.exit(main())
