"""Fixtures: the service under test on a stopped clock, its limiter, and developers."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server.ids import DeveloperId
from server.limits.service import LocalLimiter
from server.metering.rollup import RollUp
from server.postgres.pool import Database
from server.usage.rpc import UsageService
from tests.database import Clock
from tests.integration.keys.vault import register
from tests.integration.usage.desk import NOW, usage_service


@pytest.fixture
def limiter() -> LocalLimiter:
    """The limiter that verification asks as well; its time stands."""
    return LocalLimiter(clock=lambda: 10**18)


@pytest_asyncio.fixture(loop_scope="session")
async def usage(database: Database, clock: Clock, limiter: LocalLimiter) -> UsageService:
    """The service under test, on a stopped clock."""
    await clock.set(NOW)
    await RollUp(database).maintain_partitions()
    return usage_service(database, limiter)


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> AsyncIterator[DeveloperId]:
    """A developer."""
    yield await register(database, "alice")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(database: Database) -> DeveloperId:
    """Another developer."""
    return await register(database, "bob")
