"""Fixtures: the authorization server over a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from server.identity.local_issuer import LocalIssuer
from server.postgres.pool import Database
from tests.integration.authorization.flow import Flow, open_issuer


@pytest.fixture(scope="session")
def issuer(data_dir: Path) -> LocalIssuer:
    return open_issuer(data_dir)


@pytest.fixture
def flow(database: Database, issuer: LocalIssuer) -> Flow:
    return Flow(database=database, issuer=issuer)


@pytest_asyncio.fixture(loop_scope="session")
async def wide_flow(database_url: str, issuer: LocalIssuer) -> AsyncIterator[Flow]:
    """The same over a pool of twenty connections, whose calls may wait for one another."""
    database = Database(database_url, size=20, warm=20, budget=60.0)
    await database.open()
    yield Flow(database=database, issuer=issuer)
    await database.close()
