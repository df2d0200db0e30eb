"""A second's counters on their way into the database, and what many of them cost."""

import time
from collections.abc import Sequence
from statistics import median

from prometheus_client import CollectorRegistry

from bench.report import Result, progress, spread
from bench.setting import Setting
from server.metering.counters import Counters, Use
from server.metering.service import MeterService
from server.postgres.pool import Database

_CELLS = 1_000
_ROUNDS = 20


async def flushes(setting: Setting) -> Sequence[Result]:
    """Flush a thousand counters again and again, each a key of its own."""
    database = Database(await setting.database("flushes"), size=2)
    await database.open()
    try:
        taken = await flush_times(database)
    finally:
        await database.close()
    return [
        Result(
            what=f"flush of {_CELLS:,} counters: ms",
            ours=f"{median(taken):.1f}",
            ratio=spread(taken).partition(" ")[2],
            goal="<= 10",
        )
    ]


async def flush_times(database: Database) -> list[float]:
    """Measure flushes in milliseconds, the first, which meets an empty table, left out."""
    counters = Counters()
    meter = MeterService(database, counters, CollectorRegistry())
    uses = [
        Use(key_id=f"key_{number:026}", developer_id="dev_bench", key_prefix=f"p{number}", secret_version=1)
        for number in range(_CELLS)
    ]
    taken = []
    for number in range(_ROUNDS + 1):
        progress(f"flushes: {number} of {_ROUNDS}")
        for use in uses:
            counters.count(use, "bench", "valid", 1, "")
        started = time.perf_counter()
        await meter.flush()
        taken.append((time.perf_counter() - started) * 1000)
    return taken[1:]
