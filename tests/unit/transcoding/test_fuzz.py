"""The fuzzer (`make fuzz`), for a moment and in this process: that it runs, finds nothing, and would find something."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from server.web.asgi import App
from server.web.guard import Guard
from server.web.server import HttpServer
from tests.fuzz import templates
from tests.fuzz.cases import Case, case_of, health
from tests.fuzz.client import throw
from tests.fuzz.server import LIMITS, app

_SEED = 5


@asynccontextmanager
async def _serving(served: App) -> AsyncIterator[str]:
    server = HttpServer(served, "127.0.0.1", 0, limits=LIMITS)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop(0.0)


async def test_nothing_thrown_at_the_server_is_its_fault(caplog: pytest.LogCaptureFixture) -> None:
    cases = [case_of(_SEED, number) for number in range(200)]
    async with _serving(app()) as address:
        endings = await asyncio.gather(*(throw(address, case) for case in cases))
        well = await throw(address, health())

    assert [(case.number, ending.faults) for case, ending in zip(cases, endings, strict=True) if ending.faults] == []
    assert well.statuses == (200,)
    assert not [record for record in caplog.records if record.exc_info]


def test_no_rule_confuses_a_router() -> None:
    assert [fault for number in range(200) for fault in templates.faults_of(templates.trial_of(_SEED, number))] == []


async def test_a_server_that_fails_is_found_out() -> None:
    async def broken(_scope: object, _receive: object, _send: object) -> None:
        raise RuntimeError

    async with _serving(Guard(broken)) as address:
        ending = await throw(address, health())

    assert ending.statuses == (500,)
    assert "status 500" in ending.faults


def test_a_case_can_be_made_again() -> None:
    for number in range(50):
        case = case_of(_SEED, number)
        assert case == case_of(_SEED, number)
        assert case == Case.of_document(json.loads(json.dumps(case.document())))
