"""SIGKILL at any moment: what was acknowledged is there, what was never counted is not, and nothing is there twice."""

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

import pytest

from server.ids import DeveloperId
from server.postgres.pool import Database
from tests.integration.metering.meter import add_key

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("kills", "protected"), [(50, True), (5, False)])
async def test_a_killed_process_leaves_at_least_what_it_flushed_and_at_most_what_it_counted(
    database: Database, database_url: str, alice: DeveloperId, kills: int, protected: bool
) -> None:
    uses = [dataclasses.astuple(await add_key(database, alice)) for _ in range(5)]
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "tests.integration.metering.worker",
            database_url,
            json.dumps(uses),
            str(kills),
            str(protected),
        ),
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    said = json.loads(output)
    row = await database.fetchrow(
        "SELECT sum(calls) AS calls, (SELECT sum(units) FROM usage_months) AS units FROM usage_minutes"
    )
    assert row
    assert row["units"] == row["calls"]
    assert said["flushed"] > kills  # each lived for some flushes
    assert said["flushed"] <= row["calls"]
    assert (row["calls"] <= said["counted"]) == protected
