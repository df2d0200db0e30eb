"""A place for upstream servers."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.gateway.upstream import Upstreams
from tests.loopback import free_port


@pytest.fixture
async def upstreams() -> AsyncIterator[Upstreams]:
    """None runs yet; whichever runs at the end is stopped."""
    upstreams = Upstreams(port=free_port())
    yield upstreams
    await upstreams.stop()
