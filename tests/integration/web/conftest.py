"""Every test here also fails when the server logs an error of uvicorn's or leaves an exception to the event loop."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
async def _nothing_unhandled(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    unhandled: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    yield
    loop.set_exception_handler(before)
    assert unhandled == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
