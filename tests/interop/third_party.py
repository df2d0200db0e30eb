"""Runs a third party's application in Node: the OAuth client of `browser/client.mjs`. Needs node and npm."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent / "browser"
TOOLS = Path(__file__).parents[2] / ".tools" / "browser"


class ThirdParty:
    """An application that runs and waits for its users at `redirect_uri`."""

    def __init__(self, process: asyncio.subprocess.Process, redirect_uri: str) -> None:
        self._process = process
        self.redirect_uri = redirect_uri

    async def begin(self, **settings: Any) -> str:
        """Take settings (issuer, client_id, client_secret, scope, audience) and return where to send the browser."""
        answer = await self._ask(settings)
        return str(answer["authorization_url"])

    async def finish(self) -> dict[str, Any]:
        """Return what the application was given once the browser came back; it has refreshed its tokens once."""
        return await _answer(self._process)

    async def revoke(self, **settings: Any) -> dict[str, Any]:
        """Give a `token` back."""
        return await self._ask(settings)

    async def _ask(self, wish: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wish).encode() + b"\n")
        await self._process.stdin.drain()
        return await _answer(self._process)


@asynccontextmanager
async def running_third_party() -> AsyncIterator[ThirdParty]:
    """Install the packages if needed, run the application, and end it."""
    install()
    process = await asyncio.create_subprocess_exec(
        "node", "client.mjs", cwd=TOOLS, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        greeting = await _answer(process)
        yield ThirdParty(process, greeting["redirect_uri"])
    finally:
        process.terminate()
        await process.wait()


def install() -> None:
    """Copy the sources to `.tools` and run `npm ci` unless the same lock is installed there already."""
    lock = TOOLS / "package-lock.json"
    installed = lock.exists() and lock.read_bytes() == (SOURCE / "package-lock.json").read_bytes()
    TOOLS.mkdir(parents=True, exist_ok=True)
    if not installed or not (TOOLS / "node_modules" / ".package-lock.json").exists():
        shutil.copy(SOURCE / "package.json", TOOLS)
        shutil.copy(SOURCE / "package-lock.json", TOOLS)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=TOOLS, check=True)
    shutil.copy(SOURCE / "client.mjs", TOOLS)


async def _answer(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        line = await process.stdout.readline()
    assert line, "the application ended; its complaint is on stderr"
    answer: dict[str, Any] = json.loads(line)
    return answer
