"""Work in the background, and what is told when it ends before its time."""

import asyncio

from structlog.testing import capture_logs

from server.engine import in_background


async def test_work_that_fails_is_told_and_the_rest_goes_on() -> None:
    failed, ended = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        failed.set()
        raise EOFError("a text that may hold anything")

    async def go_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with capture_logs() as logs:
        async with in_background(fail(), go_on()):
            await failed.wait()
            assert not ended.is_set()

    assert ended.is_set()
    assert logs == [{"event": "background_work_ended", "fault": "EOFError", "log_level": "error"}]
