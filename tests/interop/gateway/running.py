"""Processes in a row: a gRPC server that is not ours, the gateway, and curl in front."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from tests.interop.tools import ROOT, run_tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response as curl saw it; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        """The body as one document."""
        return orjson.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        """The body as a document a line."""
        return [orjson.loads(line) for line in self.body.splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that is ready, and the upstream's address."""

    url: str
    upstream: str

    async def curl(self, path: str, *words: str) -> Answer:
        """Call a path."""
        outcome = await run_tool("curl", "-sS", "-i", *words, f"{self.url}{path}")
        assert outcome.exit_code == 0, outcome
        head, _, body = outcome.stdout.partition("\r\n\r\n")
        status, *fields = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        return Answer(status=int(status.split()[1]), headers=headers, body=body)


@asynccontextmanager
async def process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program until the block ends."""
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT)
    try:
        yield program
    finally:
        if program.returncode is None:
            program.terminate()
        await program.communicate()


async def line_of(program: asyncio.subprocess.Process, beginning: str = "") -> str:
    """Return the first line that a program prints with this beginning."""
    assert program.stdout is not None
    async with asyncio.timeout(30):
        while line := (await program.stdout.readline()).decode():
            if line.startswith(beginning):
                return line.strip()
    raise AssertionError(f"{beginning!r} was never said")


@asynccontextmanager
async def fronted(*server: str) -> AsyncIterator[Gateway]:
    """Run a server, which prints its address first, and a gateway in front of it."""
    async with process(*server) as upstream:
        address = await line_of(upstream)
        listen = ("--upstream", address, "--listen", "127.0.0.1:0")
        async with process(sys.executable, "-m", "server", "gateway", *listen) as gateway:
            url = (await line_of(gateway, "  REST")).split()[1]
            yield Gateway(url=url, upstream=address)
