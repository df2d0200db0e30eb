"""Fixtures: the key service over a database of its own, and two developers."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server.ids import DeveloperId
from server.keys.service import KeyService
from server.postgres.pool import Database
from tests.integration.keys.vault import key_service, register


@pytest.fixture
def keys(database: Database) -> KeyService:
    """The service under test."""
    return key_service(database)


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> DeveloperId:
    """A developer."""
    return await register(database, "alice")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(database: Database) -> DeveloperId:
    """Another developer."""
    return await register(database, "bob")


@pytest_asyncio.fixture(loop_scope="session")
async def wide_database(database_url: str) -> AsyncIterator[Database]:
    """A pool of twenty connections whose calls may wait for one another as long as a slow machine needs."""
    database = Database(database_url, size=20, warm=20, budget=60.0)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def crowd(wide_database: Database) -> KeyService:
    """The service under test, for many calls at once."""
    return key_service(wide_database)
