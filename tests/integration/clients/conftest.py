"""Fixtures: the client service and the directory over a database of their own, and two developers."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server.clients.directory.service import ClientDirectory
from server.clients.service import ClientService
from server.ids import DeveloperId
from server.postgres.pool import Database
from tests.integration.clients.register import client_service
from tests.integration.keys.vault import PEPPERS, register


@pytest.fixture
def clients(database: Database) -> ClientService:
    """The service under test."""
    return client_service(database)


@pytest.fixture
def directory(database: Database) -> ClientDirectory:
    """The directory under test."""
    return ClientDirectory(database, PEPPERS)


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> DeveloperId:
    """A developer."""
    return await register(database, "alice")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(database: Database) -> DeveloperId:
    """Another developer."""
    return await register(database, "bob")


@pytest_asyncio.fixture(loop_scope="session")
async def crowd(database_url: str) -> AsyncIterator[ClientService]:
    """The service over twenty connections whose calls may wait for one another as long as a slow machine needs."""
    database = Database(database_url, size=20, warm=20, budget=60.0)
    await database.open()
    yield client_service(database)
    await database.close()
