"""One listening HTTP server inside the running event loop: start, address, stop.

Uses uvicorn's HTTP protocol and configuration but not its `Server`, which installs signal handlers, exits the process
when the port is taken and wakes ten times a second. Both the public and the metrics port are one of these.
"""

import asyncio
import errno
import os
import socket
from contextlib import suppress
from email.utils import formatdate

from uvicorn import Config
from uvicorn.server import ServerState

from server.web.asgi import App
from server.web.limits import Limits
from server.web.protocol import GuardedProtocol

_ABANDON_SECONDS = 1.0
_VANISHED = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
"""When a client that vanished without a word is given up, which a stream without news would wait for for ever: a minute
after its last sign of life, or without taking what was written. What the system has not is left out."""


class CannotListenError(OSError):
    """The address cannot be listened on; the text names the address and the system's reason."""

    def __str__(self) -> str:
        return str(self.strerror)


class PortInUseError(CannotListenError):
    """Another process (or another server of this one) listens on the address."""


class HttpServer:
    """An ASGI `app` served on `host`:`port`; port 0 lets the system choose, IPv6 may come with or without brackets.

    Not restartable: make a new one. Signals, logging and lifespan are left to the owner.
    """

    def __init__(
        self, app: App, host: str, port: int, *, limits: Limits | None = None, reuse_port: bool = False
    ) -> None:
        self._host = host.removeprefix("[").removesuffix("]")
        self._port = port
        self._limits = limits or Limits()
        self._reuse_port = reuse_port
        self._config = _configured(app)
        self._state = ServerState()
        self._listener: asyncio.Server | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._drained = asyncio.Event()

    @property
    def address(self) -> str:
        """Return `host:port` (`[::1]:8080` for IPv6) as bound; before `start`, as asked for."""
        if self._listener is None or not self._listener.sockets:
            return _written(self._host, self._port)
        host, port = self._listener.sockets[0].getsockname()[:2]
        return _written(host, port)

    async def start(self) -> None:
        """Bind and accept connections.

        Raises PortInUseError, or CannotListenError for any other reason of the system: no such address, not allowed.
        """
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._accept, self._host, self._port, backlog=2048, reuse_port=self._reuse_port or None
            )
        except OSError as error:
            raise _listen_error(error, self.address) from error
        for listening in self._listener.sockets:
            _look_after_clients(listening)
        self._port = int(self.address.rpartition(":")[2])
        self._tick()

    async def stop(self, grace: float) -> None:
        """Stop accepting, let running requests finish for at most `grace` seconds, then cut off the rest.

        Idle connections close at once; a request cut off before its answer began gets 503. Safe to call twice.
        """
        if self._listener is None:
            return
        self._listener.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if not await self._drain(grace):
            for task in self._state.tasks:
                task.cancel()
            await self._drain(min(grace, _ABANDON_SECONDS))
            for connection in list(self._state.connections):
                connection.transport.abort()
            await self._drain(_ABANDON_SECONDS)
        if self._clock is not None:
            self._clock.cancel()
        listener, self._listener = self._listener, None
        await listener.wait_closed()

    def _accept(self) -> GuardedProtocol:
        return GuardedProtocol(self._config, self._state, self._limits, on_closed=self._connection_closed)

    def _connection_closed(self) -> None:
        if not self._state.connections:
            self._drained.set()

    async def _drain(self, seconds: float) -> bool:
        """Wait for every connection and request task to end. Returns whether they did."""
        try:
            async with asyncio.timeout(seconds):
                while self._state.connections:
                    self._drained.clear()
                    await self._drained.wait()
                while self._state.tasks:
                    await asyncio.wait(set(self._state.tasks))
        except TimeoutError:
            return False
        return True

    def _tick(self) -> None:
        """Renew the Date header (RFC 9110 section 6.6.1) once a second, not once a response."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(1, self._tick)


def _configured(app: App) -> Config:
    """Configure uvicorn to do nothing but HTTP; values it would read from the environment are given.

    A fresh context per request keeps one request's log context out of the next one on the same connection.
    """
    config = Config(
        app,
        interface="asgi3",
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        workers=1,
        proxy_headers=False,
        forwarded_allow_ips=[],
        server_header=False,
        reset_contextvars=True,
    )
    config.load()
    return config


def _look_after_clients(listening: socket.socket) -> None:
    """Have the system ask clients that are silent whether they are there; a connection inherits this."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _VANISHED.items():
        if hasattr(socket, name):
            with suppress(OSError):
                listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _listen_error(error: OSError, address: str) -> CannotListenError:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(error.errno, f"cannot listen on {address}: the port is in use by another process")
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return CannotListenError(error.errno, f"cannot listen on {address}: {reason}")


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
