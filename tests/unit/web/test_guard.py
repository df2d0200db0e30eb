"""Nothing leaks and nothing is left unsecured."""

import asyncio

import pytest
from structlog.testing import capture_logs

from server.web.asgi import Message, Receive, Scope, Send, respond
from server.web.guard import Guard
from tests.unit.web.browser import broken, client_of, hello


async def test_a_failure_is_logged_but_its_text_stays_here() -> None:
    with capture_logs() as logs:
        async with client_of(Guard(broken)) as client:
            answer = await client.get("/v1/developer/keys")
    assert answer.status_code == 500
    assert answer.json()["code"] == "ERROR_CODE_INTERNAL"
    assert "hunter2" not in answer.text
    assert [(line["event"], line["path"], line["log_level"]) for line in logs] == [
        ("http_request_failed", "/v1/developer/keys", "error")
    ]


async def test_a_failure_after_the_response_began_adds_nothing_to_it() -> None:
    sent: list[Message] = []

    async def begins(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    with capture_logs() as logs:
        await Guard(begins)(SCOPE, receive_nothing, collect_into(sent))
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert len(logs) == 1


async def test_a_cancelled_request_is_told_that_the_server_stops() -> None:
    sent: list[Message] = []
    running = asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        running.set()
        await asyncio.Event().wait()

    request = asyncio.ensure_future(Guard(waits)(SCOPE, receive_nothing, collect_into(sent)))
    await running.wait()
    request.cancel()
    await request
    assert [message.get("status") for message in sent] == [503, None]
    assert b"ERROR_CODE_UNAVAILABLE" in sent[1]["body"]


async def test_answers_are_not_sniffed_and_not_stored() -> None:
    async with client_of(Guard(hello)) as client:
        answer = await client.get("/")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("cache_control", ["public, max-age=60", "private"])
async def test_an_answer_may_choose_its_own_caching(cache_control: str) -> None:
    async def cached(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(scope, send, 200, b"", ((b"cache-control", cache_control.encode()),))

    async with client_of(Guard(cached)) as client:
        answer = await client.get("/")
    assert answer.headers["cache-control"] == cache_control


SCOPE: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def receive_nothing() -> Message:
    return {"type": "http.disconnect"}


def collect_into(messages: list[Message]) -> Send:
    async def send(message: Message) -> None:
        messages.append(message)

    return send
