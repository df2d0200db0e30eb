"""A postmaster as a process: watched and signalled through a pidfd, which never comes to mean another process."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_LAUNCH = Path(__file__).with_name("launch.py")
_STOP_STEPS = ((signal.SIGINT, 2.0), (signal.SIGQUIT, 0.5), (signal.SIGKILL, 1.0))
"""PostgreSQL's fast shutdown, its immediate one, the last word for a frozen process; each with seconds to wait."""


class Process:
    """A running program, ours or found. Close it when it is over, or no longer of interest."""

    def __init__(self, pid: int, child: "subprocess.Popen[bytes] | None" = None) -> None:
        """Take hold of a process. Raises ProcessLookupError when it is gone."""
        self.pid = pid
        self._child = child
        self._pidfd = os.pidfd_open(pid)

    @property
    def is_child(self) -> bool:
        """Whether we started it, rather than found it."""
        return self._child is not None

    @property
    def exit_code(self) -> int | None:
        """The exit status of a child that has ended; None while it runs, and of a process that we found."""
        return self._child.poll() if self._child else None

    async def wait(self) -> None:
        """Wait until the process has ended; one caller at a time."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._pidfd)
        if self._child:
            self._child.wait()

    async def stop(self) -> None:
        """End the process in order, within 3.5 seconds."""
        for step, seconds in _STOP_STEPS:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, step)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await self.wait()
        return None

    def close(self) -> None:
        """Let go of the process."""
        os.close(self._pidfd)


def spawn(command: Sequence[str], *, output: IO[bytes], environment: Mapping[str, str]) -> Process:
    """Start a program that dies with this thread and, being in a session of its own, does not see Ctrl-C."""
    child = subprocess.Popen(  # noqa: S603 - our own launcher; the command comes from our settings
        [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        start_new_session=True,
    )
    return Process(child.pid, child)


def find_listener(path: Path) -> Process | None:
    """Take hold of the process that listens on a Unix socket; None when nobody does.

    Raises:
        PermissionError: somebody listens whose number we cannot see, as across containers.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if pid <= 0:
        raise PermissionError(f"{path} belongs to a process outside this container")
    try:
        return Process(pid)
    except ProcessLookupError:
        return None
