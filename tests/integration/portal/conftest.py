"""Fixtures: a service that knows its address, and a developer who visits its portal."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.integration.portal.visitor import Visitor, visiting
from tests.loopback import free_port
from tests.service import Service, serving


@pytest_asyncio.fixture(loop_scope="session")
async def service(database_url: str, data_dir: Path) -> AsyncIterator[Service]:
    async with serving(database_url, data_dir, http_port=free_port(), management_rate="100000/1") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def newcomer(service: Service) -> AsyncIterator[Visitor]:
    """Somebody who has not registered."""
    async with visiting(service) as visitor:
        yield visitor


@pytest_asyncio.fixture(loop_scope="session")
async def alice(newcomer: Visitor) -> Visitor:
    """A registered developer, signed in."""
    await newcomer.register()
    page = await newcomer.sign_in("/portal/keys")
    assert page.status == 200, page.text
    return newcomer
