"""A listener outlives whatever the driver and the event loop throw at it."""

import asyncio
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from server.postgres.listener import Listener


@pytest.mark.parametrize("fault", [RuntimeError("the handler is closed"), EOFError(), ValueError(), OSError()])
async def test_whatever_ends_a_connection_another_follows(
    database_url: str, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    connect, tries, heard = asyncpg.connect, 0, list[bool]()

    async def fail_once(*arguments: Any, **options: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise fault
        return await connect(*arguments, **options)

    monkeypatch.setattr(asyncpg, "connect", fail_once)
    listener = Listener(database_url, {}, heard.append)
    with capture_logs() as logs:
        running = asyncio.create_task(listener.run())
        connected = await listener.wait_connected(5)
        running.cancel()
        await asyncio.wait([running])

    assert (connected, tries, heard) == (True, 2, [True, False])
    assert running.cancelled()
    assert [(line["event"], line["error"]) for line in logs] == [("listener_lost", type(fault).__name__)]
