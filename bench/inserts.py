"""Writes through our pool, and CreateApiKey's whole path below the protocol, against pgbench on the same server."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile

from bench.report import Result, progress, spread
from bench.setting import Setting
from server.audit.store import Actor
from server.ids import DeveloperId, new_call_id, new_developer_id
from server.keys.model import Environment
from server.keys.service import CreateKey, KeyService
from server.postgres.cluster import find_binaries
from server.postgres.pool import Database

_CLIENTS = 8
_ROUNDS = 6
_SECONDS = 2
_TABLE = "CREATE TABLE bench_rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number bigint, label text)"
_INSERT = "INSERT INTO bench_rows (number, label) VALUES ({}, 'one row of the bench')"
_SCRIPT = f"\\set number random(1, 1000000000)\n{_INSERT.format(':number')};\n"
_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)

_CREATE = CreateKey(name="Production", scopes=("read", "stream"), environment=None, expires_at="", request_id="")


async def inserts(setting: Setting) -> Sequence[Result]:
    """Insert in turns, with as many clients each, every transaction flushed to disk."""
    url = await setting.database("inserts")
    database = Database(url, size=_CLIENTS, warm=_CLIENTS)
    await database.open()
    try:
        await database.execute(_TABLE)
        await database.execute("UPDATE tiers SET max_keys = 2000000000")
        developers = cycle([await _register(database, number) for number in range(_CLIENTS)])
        keys = KeyService(
            database, setting.peppers, default_environment=Environment.TEST, rotation_grace=timedelta(hours=1)
        )
        statement = _INSERT.format("$1")

        async def insert() -> None:
            await database.execute(statement, random.randrange(1_000_000_000))

        async def create() -> None:
            await keys.create(Actor(developer_id=next(developers), call_id=new_call_id()), _CREATE)

        return await _in_turns(url, insert, create)
    finally:
        await database.close()


async def _in_turns(
    url: str, insert: Callable[[], Awaitable[None]], create: Callable[[], Awaitable[None]]
) -> Sequence[Result]:
    rates: tuple[list[float], list[float], list[float]] = ([], [], [])
    for number in range(_ROUNDS):
        progress(f"inserts: round {number + 1} of {_ROUNDS}")
        rates[0].append(await _pgbench(url))
        rates[1].append(await _repeated(insert))
        rates[2].append(await _repeated(create))
    bare = rates[0]
    return [
        Result(
            what=f"{what} / pgbench, one row, {_CLIENTS} clients: transactions/s",
            ours=f"{median(ours):,.0f}",
            bare=f"{median(bare):,.0f}",
            ratio=spread([mine / theirs for mine, theirs in zip(ours, bare, strict=True)]),
        )
        for what, ours in (("one row by our pool", rates[1]), ("KeyService.create (3 rows)", rates[2]))
    ]


async def _repeated(work: Callable[[], Awaitable[None]]) -> float:
    """Run the work in a loop by each client for a while and return how often it was done per second."""
    started = time.perf_counter()

    async def client() -> int:
        done = 0
        while time.perf_counter() - started < _SECONDS:
            await work()
            done += 1
        return done

    done = await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return sum(done) / (time.perf_counter() - started)


async def _pgbench(url: str) -> float:
    """Let pgbench insert the same row, by a prepared statement, and return its transactions per second.

    Raises:
        RuntimeError: pgbench failed.
    """
    with NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_SCRIPT)
        script.flush()
        options = f"--no-vacuum --protocol=prepared --client={_CLIENTS} --time={_SECONDS} --file={script.name}"
        process = await asyncio.create_subprocess_exec(
            _program(), *options.split(), url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await process.communicate()
    match = _TPS.search(output.decode())
    if match is None:
        raise RuntimeError(f"pgbench failed: {errors.decode()}")
    return float(match[1])


def _program() -> Path:
    return find_binaries(None) / "pgbench"


async def _register(database: Database, number: int) -> DeveloperId:
    developer_id = new_developer_id()
    await database.execute(
        "INSERT INTO developers (id, issuer, subject, created_at) VALUES ($1, 'bench', $2, clock())",
        developer_id,
        f"bench {number}",
    )
    return developer_id
