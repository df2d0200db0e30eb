"""Fixtures: a developer with keys and clients, whose log lines are caught."""

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from server.clients.service import ClientService
from server.ids import DeveloperId
from server.keys.service import KeyService
from server.leaks.service import SecretExaminer
from server.postgres.pool import Database
from tests.integration.clients.register import client_service
from tests.integration.keys.vault import PEPPERS, key_service, register


@pytest.fixture(autouse=True)
def log() -> Iterator[list[Any]]:
    """What was logged during the test; nothing is printed."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def keys(database: Database) -> KeyService:
    """Where keys come from."""
    return key_service(database)


@pytest.fixture
def clients(database: Database) -> ClientService:
    """Where clients come from."""
    return client_service(database)


@pytest.fixture
def examiner(database: Database) -> SecretExaminer:
    """Who judges secrets."""
    return SecretExaminer(database, PEPPERS)


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> DeveloperId:
    """A developer."""
    return await register(database, "alice")
