"""Our transcoder over a channel beside the same in process: whatever the caller, the same answer to the last value."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.interop.transcoder.case import Case
from tests.interop.transcoder.cases import CASES, IDS
from tests.interop.transcoder.fronts import Answer, Front, ours, ours_over_a_channel

pytestmark = pytest.mark.interop

_UNSPOKEN = "UNKNOWN and INTERNAL of a stranger may hold the text of an exception, so their messages are not passed on."
OTHERWISE = {
    "GET /e/fail/2?message=gone%20wrong": _UNSPOKEN,
    "GET /e/fail/13?message=gone%20wrong": _UNSPOKEN,
    "GET /e/break": "grpc.aio calls an exception UNKNOWN, we call it INTERNAL.",
    "GET /e/missing": "The server that lacks a method has the word.",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def in_process() -> AsyncIterator[Front]:
    async with ours() as front:
        yield front


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def over_a_channel() -> AsyncIterator[Front]:
    async with ours_over_a_channel() as front:
        yield front


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_over_a_channel_the_answer_is_the_same(case: Case, in_process: Front, over_a_channel: Front) -> None:
    request = case.request(case.body if case.to_ours is None else case.to_ours)

    here, there = _settled(await in_process.send(request)), _settled(await over_a_channel.send(request))

    assert (here != there) == (case.name in OTHERWISE), f"{case.name}\nin process: {here}\nover a channel: {there}"
    assert here.status == there.status


def _settled(answer: Answer) -> Answer:
    """Leave out the time of the answer and the order of its maps, which have none."""
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    body = answer.body
    if headers.get("content-type") == "application/json" and body and answer.whole:
        body = json.dumps(json.loads(body), sort_keys=True).encode()
    return answer._replace(headers=headers, body=body)
