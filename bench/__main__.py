"""`python -m bench`: everything in one run, of less than a quarter of an hour, that leaves nothing behind."""

import asyncio
import logging
import signal
import sys

import structlog
import uvloop

from bench.bad_keys import SOME, bad_keys
from bench.flush import flushes
from bench.get import get_over_grpc, get_over_rest
from bench.inserts import inserts
from bench.memory import worker_memory
from bench.paging import pages
from bench.portal import portal
from bench.report import Result, machine, progress, table
from bench.setting import Setting, key_id, load_keys
from bench.transcoding import transcoding
from bench.verify import new_key, verify

_FEW = 1_000
_LIMIT_SECONDS = 900.0
"""The transcoder's four servers alone load the machine for two minutes and a half."""


async def run() -> tuple[list[Result], str]:
    """Measure everything; return the results and the machine's description."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(_LIMIT_SECONDS), Setting.prepared() as setting:
        description = machine(await setting.version())
        results = [*await inserts(setting), *await flushes(setting)]
        url = await setting.database("few")
        async with setting.service(url) as service:
            started = service.program.memory()
            async for _ in load_keys(url, service.developer_id, _FEW):
                progress(f"{_FEW:,} keys loaded")
            results = [
                *await get_over_grpc(service, key_id(_FEW // 2)),
                *await get_over_rest(service, key_id(_FEW // 2)),
                *results,
            ]
            secret = await new_key(service, url)
            results += [*await verify(service, secret), *await bad_keys(service, url, SOME)]
            loaded = service.program.memory()
            results[4:4] = await pages(setting, service, _FEW)
        results += await portal(setting)
        results += await transcoding()
        return [*results, *worker_memory(started, loaded)], description


def main() -> int:
    """Run and print; Ctrl-C and SIGTERM end the run and what it started."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        results, description = uvloop.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except TimeoutError:
        progress(f"given up: it took more than {_LIMIT_SECONDS:.0f} s")
        return 1
    print(f"{table(results)}\n\n{description}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
