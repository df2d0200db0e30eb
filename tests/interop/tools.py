"""Runs outside tools beside the service under test, which shares the event loop: never wait for one without `await`."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BUF = Path(sys.prefix) / "bin" / "buf"
"""From the wheel `buf-bin`; grpcurl, curl, node and bash are found by PATH (see conftest.py and `.ci/tools`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a tool said before it ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The standard output as JSON, of a tool that must have succeeded."""
        assert self.exit_code == 0, self
        return json.loads(self.stdout)


async def run_tool(
    *command: str | Path, seconds: float = 20, environment: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Outcome:
    """Run a command to its end, with `environment` on top of ours; fail the test after `seconds`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, 9)  # with whatever it has started: it leads a group of its own
            await process.wait()
    assert process.returncode is not None
    return Outcome(exit_code=process.returncode, stdout=stdout.decode(), stderr=stderr.decode())
