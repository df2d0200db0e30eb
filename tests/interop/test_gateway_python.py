"""The gateway in front of a server made as gRPC's own examples in Python are: threads, v1alpha alone, no health."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop.gateway.running import Gateway, fronted

pytestmark = pytest.mark.interop

LINES = ("-H", "content-type: application/x-ndjson", "--data-binary")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def harbour() -> AsyncIterator[Gateway]:
    """A gateway in front of the harbour."""
    async with fronted(sys.executable, str(Path(__file__).parent / "gateway" / "harbour.py")) as gateway:
        yield gateway


async def test_a_unary_call(harbour: Gateway) -> None:
    answer = await harbour.curl("/v1/berths/2")

    assert (answer.status, answer.json) == (200, {"number": 2, "depth": 15.0, "free": True})


async def test_errors_keep_their_code_and_exceptions_their_secrets(harbour: Gateway) -> None:
    far, lost = await harbour.curl("/v1/berths/3"), await harbour.curl("/v1/berths/13")
    wrong = await harbour.curl("/v1/berths/two")

    assert (far.status, far.json["code"], far.json["message"]) == (400, "OUT_OF_RANGE", "the berths are 1 and 2")
    assert (lost.status, lost.json["code"], "diary" in lost.body) == (500, "UNKNOWN", False)
    assert (wrong.status, wrong.json["violations"][0]["field"]) == (400, "number")


async def test_a_server_stream(harbour: Gateway) -> None:
    answer = await harbour.curl("/v1/ships?flags=NO&flags=IS&limit=2")

    assert answer.lines == [
        {"name": "Aurora", "flag": "NO", "tonnage": "900"},
        {"name": "Borealis", "flag": "IS", "tonnage": "9223372036854775808"},
    ]


async def test_a_client_stream(harbour: Gateway) -> None:
    good = await harbour.curl("/v1/courses:record", *LINES, '{"latitude":1.5}\n{"latitude":2,"longitude":-3}\n')
    bad = await harbour.curl("/v1/courses:record", *LINES, '{"latitude":1.5}\n{"latitude":91}\n')

    assert (good.status, good.json["positions"]) == (200, 2)
    assert good.json["last"] == {"latitude": 2.0, "longitude": -3.0}
    assert (bad.status, bad.json["message"]) == (400, "there is no such latitude")


async def test_streams_both_ways(harbour: Gateway) -> None:
    answer = await harbour.curl("/v1/signals:exchange", *LINES, '{"text":"steer"}\n{"text":"anchor"}\n')

    assert [signal["text"] for signal in answer.lines] == ["steer, aye", "anchor, aye"]


async def test_without_health_the_connection_is_readiness(harbour: Gateway) -> None:
    assert (await harbour.curl("/readyz")).status == 200
