"""Fixtures: a developer with a key, counters, and a pool whose answers may get lost."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server.ids import DeveloperId
from server.metering.counters import Counters, Use
from server.postgres.pool import Database
from tests.integration.keys.vault import register
from tests.integration.metering.meter import LossyDatabase, add_key


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> DeveloperId:
    """A developer."""
    return await register(database, "alice")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(database: Database) -> DeveloperId:
    """Another developer."""
    return await register(database, "bob")


@pytest_asyncio.fixture(loop_scope="session")
async def key(database: Database, alice: DeveloperId) -> Use:
    """A key of alice's."""
    return await add_key(database, alice)


@pytest.fixture
def counters() -> Counters:
    """Counters that follow the real time, as the database does."""
    return Counters()


@pytest_asyncio.fixture(loop_scope="session")
async def lossy(database_url: str) -> AsyncIterator[LossyDatabase]:
    """A pool whose answers may get lost."""
    database = LossyDatabase(database_url)
    await database.open()
    yield database
    await database.close()
