"""What is fuzzed: an address, and what can be seen of the server from outside, its memory and its log."""

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_ROOT = Path(__file__).parent.parent.parent
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


class Target:
    """A server in a process of its own. `address` is `HOST:PORT`."""

    def __init__(self, address: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.address = address
        self._process = process
        self._log = log
        self._read = 0

    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process.returncode is None

    def memory(self) -> float:
        """Return the resident memory in MiB; 0 when the process has ended."""
        if not self.alive():
            return 0.0
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0

    def new_log(self) -> str:
        """Return what was logged since the last time."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        self._read += len(text)
        return text.decode(errors="replace")


@asynccontextmanager
async def started(*, over_channel: bool = False) -> AsyncIterator[Target]:
    """Run the server until the block ends. Raises RuntimeError when it does not start."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.fuzz.server", *(["channel"] if over_channel else [])),
                cwd=_ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        try:
            yield Target(await _address(process, log), process, log)
        finally:
            await _stop(process)


async def _address(process: asyncio.subprocess.Process, log: Path) -> str:
    if process.stdout is None:
        raise RuntimeError("standard output is not ours to read")
    async with asyncio.timeout(_START_SECONDS):
        line = await process.stdout.readline()
    if not line:
        raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
    return line.decode().strip()


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the server by ending its input, which happens by itself when this process dies; by force when need be."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
