"""The product as a person runs it: `python -m server` in a process of its own, over a data directory of its own."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import asyncpg
import grpc
import httpx2
from sdk.developer.v1.developer_service_pb2_grpc import DeveloperServiceStub

from server.app import Addresses
from server.postgres.pool import Connection
from tests.integration.postgres.conftest import children_of, runs

ROOT = Path(__file__).parents[3]
ANYWHERE = "127.0.0.1:0"
PORTS = ("GRPC", "INTERNAL_GRPC", "HTTP", "METRICS")
POLL_SECONDS = 0.02


async def until(condition: Callable[[], bool], seconds: float = 10) -> float:
    """Wait for something to become true and return how many seconds it took; fail the test when it does not."""
    started = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - started


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who runs a server, when it is not ourselves."""

    uid: int
    gid: int
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A folder and the environment of every command that runs over it. Nothing of the caller's settings gets in."""

    folder: Path
    user: User | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        """The product's data directory, absent before the first start."""
        return self.folder / "data"

    @property
    def postgres_dir(self) -> Path:
        """What the embedded PostgreSQL keeps in it: `data/`, and `run/` with its socket."""
        return self.data_dir / "postgres"

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of one of the product's commands."""
        return [self.user.python if self.user else sys.executable, "-m", "server", *arguments]

    def variables(self, **settings: str) -> dict[str, str]:
        """Return the whole environment of a command: drawn ports, our data directory, then `settings`."""
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        ports = {f"DEVELOPER_{name}_ADDRESS": ANYWHERE for name in PORTS}
        chosen = {"DEVELOPER_DATA_DIR": str(self.data_dir), "DEVELOPER_MANAGEMENT_RATE": "100000/1"}
        return {**inherited, **ports, **chosen, **self.environment, **settings}

    def spawn(self, command: Sequence[str], *, output: Path, **settings: str) -> "subprocess.Popen[bytes]":
        """Start a command as the leader of a process group, its output and complaints in two files."""
        user = self.user
        with output.with_suffix(".out").open("wb") as stdout, output.with_suffix(".err").open("wb") as stderr:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.variables(**settings),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
            )

    async def run(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command that ends by itself."""
        return await asyncio.to_thread(
            subprocess.run,
            self.command(*arguments),
            cwd=ROOT,
            env=self.variables(**settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
        )

    @asynccontextmanager
    async def serving(self, **settings: str) -> AsyncIterator["Server"]:
        """Run a server until the block ends, whatever has become of it by then."""
        server = Server(self, self.spawn(self.command("serve"), output=self.folder / "server", **settings))
        try:
            await server.ready()
            yield server
        finally:
            await server.end()

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Connection]:
        """Connect to the embedded PostgreSQL beside the server, as an operator with a shell could."""
        socket = str(self.postgres_dir / "run")
        connection = await asyncpg.connect(host=socket, user="postgres", database="developer")
        try:
            yield connection
        finally:
            await connection.close()


class Server:
    """A server that was started: what it prints, where it listens, which processes belong to it."""

    def __init__(self, installation: Installation, process: "subprocess.Popen[bytes]") -> None:
        self.installation = installation
        self.process = process
        self.seconds_to_ready = 0.0
        self._started = time.monotonic()
        self._family: set[int] = {process.pid}

    @property
    def pid(self) -> int:
        """The number of the server, which is that of its process group too."""
        return self.process.pid

    @property
    def out(self) -> str:
        """Everything printed so far."""
        return (self.installation.folder / "server.out").read_text()

    @property
    def log(self) -> list[dict[str, Any]]:
        """Everything logged so far, an event a line on stderr. That all of it is JSON is a promise to operators."""
        return [json.loads(line) for line in self._err().splitlines()]

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """What was logged above the level of information."""
        return [event for event in self.log if event["level"] not in ("debug", "info")]

    @property
    def postgres(self) -> int:
        """The number of the embedded PostgreSQL's first process."""
        (pid,) = children_of(self.pid)
        return pid

    @property
    def addresses(self) -> Addresses:
        """Where the server says it listens."""
        named = dict(re.findall(r"^  (gRPC|internal|REST|metrics) +(?:http://)?([0-9.:]+)", self.out, re.MULTILINE))
        return Addresses(
            grpc=named["gRPC"], internal_grpc=named["internal"], http=named["REST"], metrics=named["metrics"]
        )

    @property
    def token(self) -> str:
        """The access token among the lines to paste."""
        (token,) = re.findall(r"^TOKEN=(\S+)$", self.out, re.MULTILINE)
        return str(token)

    async def ready(self, seconds: float = 30) -> Self:
        """Wait for the word "Ready" and the lines to paste."""
        await until(lambda: "Ready." in self.out or self.process.poll() is not None, seconds)
        self.seconds_to_ready = time.monotonic() - self._started
        await until(lambda: "\ngrpcurl " in self.out or self.process.poll() is not None, seconds)
        assert self.process.poll() is None, self.out + self._err()
        return self

    def _err(self) -> str:
        return (self.installation.folder / "server.err").read_text()

    def signal(self, sign: signal.Signals) -> None:
        """Send a signal to the server itself, remembering which processes belong to it before it changes them."""
        self.processes()
        self.process.send_signal(sign)

    async def ended(self, seconds: float = 10) -> int:
        """Wait for the end and return the exit status, negative for a signal that killed it."""
        await until(lambda: self.process.poll() is not None, seconds)
        return self.process.returncode

    def processes(self) -> set[int]:
        """Return every process seen so far that belongs to the server and still runs."""
        news = set(self._family)
        while news:
            news = {child for parent in news for child in children_of(parent)} - self._family
            self._family |= news
        return {pid for pid in self._family if runs(pid)}

    async def all_gone(self, seconds: float = 10) -> None:
        """Wait until no process of the server is left."""
        await until(lambda: not self.processes(), seconds)

    async def end(self) -> None:
        """Stop the server, by force if need be, with all that belongs to it."""
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await self.ended()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    @asynccontextmanager
    async def rest(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Connect to REST as alice."""
        headers = {"authorization": f"Bearer {self.token}"}
        async with httpx2.AsyncClient(
            base_url=f"http://{self.addresses.http}", headers=headers, timeout=10, trust_env=False
        ) as client:
            yield client

    @asynccontextmanager
    async def grpc(self) -> AsyncIterator["Stubs"]:
        """Connect to gRPC as alice."""
        async with grpc.aio.insecure_channel(self.addresses.grpc) as channel:
            yield Stubs(channel, self.token)

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[tuple[httpx2.AsyncClient, "Stubs"]]:
        """Connect to both."""
        async with AsyncExitStack() as stack:
            yield await stack.enter_async_context(self.rest()), await stack.enter_async_context(self.grpc())


class Stubs:
    """A gRPC connection with alice's token."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self.channel = channel
        self.keys = DeveloperServiceStub(channel)
        self.metadata = (("authorization", f"Bearer {token}"),)
