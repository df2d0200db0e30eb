"""Fixtures: the pages of the authorization server over a database of their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from server.identity.local_issuer import LocalIssuer
from server.postgres.pool import Database
from tests.integration.authorization.flow import Flow, open_issuer
from tests.integration.sign_in.desk import Desk


@pytest.fixture(scope="session")
def issuer(data_dir: Path) -> LocalIssuer:
    return open_issuer(data_dir)


@pytest.fixture
def flow(database: Database, issuer: LocalIssuer) -> Flow:
    return Flow(database=database, issuer=issuer)


@pytest_asyncio.fixture(loop_scope="session")
async def desk(flow: Flow) -> AsyncIterator[Desk]:
    desk = Desk(flow=flow)
    yield desk
    await desk.close()
