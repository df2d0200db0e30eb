"""A program that is measured, in a process of its own: started, asked for processor time and memory, stopped."""

import asyncio
import ctypes
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

_START_SECONDS = 30.0
_STOP_SECONDS = 12.0
_PR_SET_PDEATHSIG = 1
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a process keeps in memory, in MiB. `proportional` (PSS) counts shared pages by their share."""

    resident: float
    proportional: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A running program and what the pattern found in its first lines, by group name."""

    pid: int
    found: Mapping[str, str]

    def cpu_seconds(self) -> float:
        """Return the processor time of all its threads so far, in user and system mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK  # utime and stime, proc(5)

    def memory(self) -> Memory:
        """Read how much memory it has now."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        try:
            rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="utf-8")
        except OSError:
            rollup = ""
        return Memory(resident=_mebibytes("VmRSS", status) or 0.0, proportional=_mebibytes("Pss", rollup))


@asynccontextmanager
async def program(
    *arguments: str, ready: re.Pattern[str], environment: Mapping[str, str] | None = None
) -> AsyncIterator[Program]:
    """Run `python` with arguments until the block ends; enter it once standard output has matched `ready`.

    Standard error is thrown away, so that a log is written but not kept.

    Raises:
        RuntimeError: it did not become ready.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env={**_inherited(), **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=_die_with_parent,
    )
    try:
        found = await _wait_until_ready(process, ready)
        yield Program(pid=process.pid, found=found)
    finally:
        await _stop(process)


async def _wait_until_ready(process: asyncio.subprocess.Process, ready: re.Pattern[str]) -> Mapping[str, str]:
    if process.stdout is None:
        raise RuntimeError("standard output is not ours to read")
    text = ""
    async with asyncio.timeout(_START_SECONDS):
        async for line in process.stdout:
            text += line.decode()
            match = ready.search(text)
            if match:
                return match.groupdict()
    raise RuntimeError(f"a measured program did not start; it said: {text or 'nothing'}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End a program in order, or by force when that takes too long."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()


def _die_with_parent() -> None:
    """Ask Linux to end this process when the bench is killed and cannot."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _inherited() -> dict[str, str]:
    """Return our environment without what would configure the service."""
    ours = ("DEVELOPER_", "DATABASE_", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _mebibytes(name: str, text: str) -> float | None:
    match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) / 1024 if match else None
