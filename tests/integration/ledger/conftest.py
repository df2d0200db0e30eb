"""Fixtures: the ledger over a database of its own, a clock that stands a little after the events, and developers."""

from datetime import timedelta

import pytest
import pytest_asyncio

from server.ids import DeveloperId
from server.metering.ledger.service import StreamLedger
from server.postgres.pool import Database
from tests.database import Clock
from tests.integration.keys.vault import register
from tests.integration.ledger.book import NOON

# Fixtures of the tests of faults: a PostgreSQL of its own for a test that hurts it.
from tests.integration.postgres.conftest import database_files, folder, own_postgres  # noqa: F401


@pytest.fixture
def ledger(database: Database) -> StreamLedger:
    """The service under test."""
    return StreamLedger(database)


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> DeveloperId:
    """A developer."""
    return await register(database, "alice")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(database: Database) -> DeveloperId:
    """Another developer."""
    return await register(database, "bob")


@pytest_asyncio.fixture(loop_scope="session")
async def evening(clock: Clock) -> Clock:
    """The database's clock, stopped in the evening of the day of the events."""
    await clock.set(NOON + timedelta(hours=8))
    return clock
