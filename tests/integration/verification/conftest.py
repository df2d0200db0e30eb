"""Fixtures: servers that verify keys over a database of the test's own, and a developer."""

from collections.abc import AsyncIterator

import pytest_asyncio

from server.ids import DeveloperId
from server.postgres.pool import Database
from tests.integration.keys.vault import register
from tests.integration.verification.platform import Replica, replica


@pytest_asyncio.fixture(loop_scope="session")
async def one(database_url: str) -> AsyncIterator[Replica]:
    """A server."""
    async with replica(database_url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def other(database_url: str) -> AsyncIterator[Replica]:
    """Another server over the same database."""
    async with replica(database_url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> DeveloperId:
    """A developer."""
    return await register(database, "alice")
