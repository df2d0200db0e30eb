"""Fixtures: limiters over one Valkey, as servers of one installation have them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from server.limits import shared
from server.limits.service import LocalLimiter
from server.limits.shared import SharedLimiter
from tests.database import short_folder
from tests.valkey import Valkey


class Server:
    """What one server has: its limiter and its metrics."""

    def __init__(self, url: str) -> None:
        """Make a limiter that is yet to be opened."""
        self.registry = CollectorRegistry()
        self.local = LocalLimiter()
        self.limiter = SharedLimiter(url, self.local, self.registry)

    @property
    def is_shared(self) -> bool:
        """What the gauge says."""
        return bool(self.registry.get_sample_value("developer_limits_shared"))

    @property
    def local_decisions(self) -> int:
        """What the counter says."""
        return int(self.registry.get_sample_value("developer_limits_local_decisions_total") or 0)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, 10 seconds at most."""
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.005)


@pytest.fixture
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after Valkey every 20 milliseconds instead of every second."""
    monkeypatch.setattr(shared, "_WATCH_SECONDS", 0.02)


@pytest_asyncio.fixture(loop_scope="session")
async def servers(valkey: Valkey, quick_watch: None) -> AsyncIterator[Callable[[], "Server"]]:
    """Make servers over this test's Valkey, not yet open; all are closed in the end."""
    async with AsyncExitStack() as stack:

        def make() -> Server:
            server = Server(valkey.url)
            stack.push_async_callback(server.limiter.close)
            return server

        yield make


@pytest_asyncio.fixture(loop_scope="session")
async def short_tmp() -> AsyncIterator[Path]:
    """A folder for a Valkey with options of its own."""
    async with short_folder() as folder:
        yield folder


@pytest_asyncio.fixture(loop_scope="session")
async def server(servers: Callable[[], Server]) -> Server:
    """An open one."""
    server = servers()
    await server.limiter.open()
    assert server.is_shared
    return server
