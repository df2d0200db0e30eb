"""Fixtures: the ledger and its statements over one database, and developers."""

import pytest
import pytest_asyncio

from server.billing.service import Statements
from server.ids import DeveloperId
from server.metering.ledger.service import StreamLedger
from server.postgres.pool import Database
from tests.integration.keys.vault import PEPPERS, register


@pytest.fixture
def ledger(database: Database) -> StreamLedger:
    """What is billed."""
    return StreamLedger(database)


@pytest.fixture
def statements(database: Database) -> Statements:
    """The service under test."""
    return Statements(database, PEPPERS)


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> DeveloperId:
    """A developer."""
    return await register(database, "alice")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(database: Database) -> DeveloperId:
    """Another developer."""
    return await register(database, "bob")
