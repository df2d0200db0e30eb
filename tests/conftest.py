"""Fixtures for every test: real PostgreSQL and the whole service over it, on the event loop it really runs on."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

pytest_plugins = ["tests.database", "tests.service", "tests.valkey"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every asynchronous test on uvloop."""
    return {"uvloop": uvloop.new_event_loop}
