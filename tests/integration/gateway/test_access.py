"""The access log of a running gateway: one line for each request of the API, with nothing in it that a client wrote."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.transcoding.options import Options
from tests.integration.gateway.upstream import POLL_SECONDS, Front, Kitchen, Upstreams, fronted
from tests.unit.transcoding.kitchen import message

WATCH, CHAT, GET_BOOK = (f"/kitchen.v1.Kitchen/{name}" for name in ("Watch", "Chat", "GetBook"))
LINES = {"content-type": "application/x-ndjson"}


class Slow(Kitchen):
    """Begins and does not end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def GetBook(self, _request: Any, _context: Any) -> Any:
        """Hang."""
        self.begun.set()
        await asyncio.Event().wait()

    async def Watch(self, _request: Any, _context: Any) -> AsyncIterator[Any]:
        """Give one book and hang."""
        yield message("Book")(title="first")
        await asyncio.Event().wait()


class Lines:
    """The access log's lines so far."""

    def __init__(self, logs: list[Any]) -> None:
        self._logs = logs

    @property
    def all(self) -> list[dict[str, Any]]:
        """Return them without what is of no interest here."""
        return [line for line in self._logs if line["event"] == "call"]

    async def one(self) -> tuple[str, str, int | None]:
        """Wait for one; return its method, outcome and status."""
        async with asyncio.timeout(20):
            while not self.all:
                await asyncio.sleep(POLL_SECONDS)
        (line,) = self.all
        return line["method"], line["outcome"], line.get("status")


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs() as logs:
        yield Lines(logs)


@pytest.fixture
async def front(upstreams: Upstreams, lines: Lines) -> AsyncIterator[Front]:
    """A gateway in front of the kitchen."""
    await upstreams.start()
    async with fronted(upstreams.address, cors_origins=["https://a.example"]) as front:
        await front.until(200)
        yield front


@pytest.mark.parametrize(
    ("verb", "target", "content", "told"),
    [
        ("GET", "/v1/books/dune", None, (GET_BOOK, "OK", 200)),
        ("GET", "/v1/books/missing", None, (GET_BOOK, "NOT_FOUND", 404)),
        ("GET", "/v1/books/broken", None, (GET_BOOK, "UNKNOWN", 500)),
        ("GET", "/v1/books", None, ("/kitchen.v1.Kitchen/Search", "UNIMPLEMENTED", 501)),
        ("GET", "/v1/books/dune?nonsense=1", None, (GET_BOOK, "INVALID_ARGUMENT", 400)),
        ("POST", "/v1/sinks", b"{", ("/kitchen.v1.Kitchen/PutSink", "INVALID_ARGUMENT", 400)),
        ("GET", "/v1/books:watch?pageSize=3", None, (WATCH, "OK", 200)),
        ("GET", "/v1/books:watch?pageSize=1&query=torn", None, (WATCH, "DATA_LOSS", 200)),
        ("GET", "/v1/books:watch?query=torn", None, (WATCH, "DATA_LOSS", 500)),
        ("POST", "/v1/books:chat", b'{"title": "a"}\n{"title": "b"}\n', (CHAT, "OK", 200)),
        ("POST", "/v1/books:chat", b'{"titel": "a"}\n', (CHAT, "INVALID_ARGUMENT", 400)),
        ("GET", "/v1/nothing", None, ("unknown", "NOT_FOUND", 404)),
        ("DELETE", "/v1/sinks", None, ("unknown", "METHOD_NOT_ALLOWED", 405)),
    ],
    ids=str,
)
async def test_every_request_leaves_one_line(
    front: Front, lines: Lines, verb: str, target: str, content: bytes | None, told: tuple[str, str, int]
) -> None:
    await front.http.request(verb, target, content=content, headers=LINES if "chat" in target else {})

    assert await lines.one() == told
    assert lines.all[0]["verb"] == verb
    assert lines.all[0]["peer"].startswith("ipv4:127.0.0.1:")


async def test_a_client_that_goes_away_leaves_a_cancelled_call(upstreams: Upstreams, lines: Lines) -> None:
    slow = Slow()
    await upstreams.start(servicer=slow)
    async with fronted(upstreams.address) as front:
        await front.until(200)
        call = asyncio.create_task(front.http.get("/v1/books/dune"))
        await slow.begun.wait()
        call.cancel()

        assert await lines.one() == (GET_BOOK, "CANCELLED", None)


async def test_a_client_that_leaves_a_stream_leaves_one_line_at_its_end(upstreams: Upstreams, lines: Lines) -> None:
    await upstreams.start(servicer=Slow())
    async with fronted(upstreams.address) as front:
        await front.until(200)
        async with front.http.stream("GET", "/v1/books:watch") as response:
            await anext(response.aiter_lines())
            assert lines.all == []

        assert await lines.one() == (WATCH, "CANCELLED", 200)


async def test_a_call_that_takes_too_long_is_late(upstreams: Upstreams, lines: Lines) -> None:
    await upstreams.start(servicer=Slow())
    async with fronted(upstreams.address, Options(timeout=0.05)) as front:
        await front.until(200)
        await front.http.get("/v1/books/dune")

    assert await lines.one() == (GET_BOOK, "DEADLINE_EXCEEDED", 504)


async def test_a_line_that_is_too_long_is_what_a_stream_ends_with(upstreams: Upstreams, lines: Lines) -> None:
    await upstreams.start()
    async with fronted(upstreams.address, Options(max_body=20)) as front:
        await front.until(200)
        await front.http.post("/v1/books:chat", content=b'{"title": "a"}\n' + b"x" * 21, headers=LINES)

    method, outcome, _ = await lines.one()
    assert (method, outcome) == (CHAT, "PAYLOAD_TOO_LARGE")


async def test_before_anything_is_learned_there_are_lines_too(upstreams: Upstreams, lines: Lines) -> None:
    async with fronted(upstreams.address) as front:
        await front.http.get("/v1/books/dune")

    assert await lines.one() == ("unknown", "SERVICE_UNAVAILABLE", 503)


async def test_the_gateways_own_pages_and_preflights_leave_none(front: Front, lines: Lines) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        await front.http.get(path)
    asked = {"origin": "https://a.example", "access-control-request-method": "GET"}
    await front.http.options("/v1/books/dune", headers=asked)

    assert lines.all == []


async def test_no_line_has_a_secret(front: Front, lines: Lines) -> None:
    secret = "hunter2"
    headers = {"authorization": f"Bearer {secret}", "x-api-key": secret, "cookie": secret, "user-agent": secret}
    headers |= {"x-request-id": f"not an id but {secret}", "referer": f"https://a.example/?{secret}"}
    for verb, target in (
        ("GET", f"/v1/books/{secret}?key={secret}"),
        ("GET", f"/v1/{secret}/nothing?key={secret}"),
        ("PUT", f"/v1/books/{secret}"),
        ("POST", f"/v1/books:chat?title={secret}"),
        (secret.upper(), f"/v1/books/{secret}"),
    ):
        await front.http.request(verb, target, content=secret, headers=headers)

    assert len(lines.all) == 4  # a verb that is none is not even HTTP
    assert secret not in json.dumps(lines.all).lower()


async def test_ids_of_the_client_and_of_the_upstream_stand_side_by_side(upstreams: Upstreams, lines: Lines) -> None:
    class Named(Kitchen):
        async def GetBook(self, request: Any, context: Any) -> Any:
            """Name the call."""
            await context.send_initial_metadata((("x-request-id", "call_1"),))
            return message("Book")()

    await upstreams.start(servicer=Named())
    async with fronted(upstreams.address) as front:
        await front.until(200)
        await front.http.get("/v1/books/dune", headers={"x-request-id": "req-7"})

    assert (lines.all[0]["request_id"], lines.all[0]["call_id"]) == ("req-7", "call_1")
