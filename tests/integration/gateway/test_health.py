"""What counts as the upstream's health: what it says of itself, and what its silence is taken for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse
from structlog.testing import capture_logs

from server.gateway import follower
from server.gateway.follower import Follower
from tests.integration.gateway.upstream import Upstreams, fronted


async def test_readiness_follows_the_upstreams_health(upstreams: Upstreams) -> None:
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)

        await upstreams.health.set("", HealthCheckResponse.NOT_SERVING)
        ready = await front.until(503)
        called = await front.http.get("/v1/books/dune")
        await upstreams.health.set("", HealthCheckResponse.SERVING)
        await front.until(200)

    assert ready.json()["checks"] == {"routes": True, "upstream": False}
    assert called.status_code == 200  # the upstream still answers: whether to send calls is the prober's to decide


async def test_health_of_other_names_alone_says_nothing(upstreams: Upstreams) -> None:
    await upstreams.start()
    await upstreams.health.set("", HealthCheckResponse.SERVICE_UNKNOWN)

    async with fronted(upstreams.address) as front:
        await front.until(200)


async def test_without_a_health_service_the_connection_counts(upstreams: Upstreams) -> None:
    await upstreams.start(with_health=False)
    async with fronted(upstreams.address) as front:
        await front.until(200)

        await upstreams.stop()
        await front.until(503)
        await upstreams.start(with_health=False)
        await front.until(200)


@pytest.mark.parametrize("code", [None, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE], ids=str)
async def test_a_health_stream_that_ends_is_begun_again(upstreams: Upstreams, code: grpc.StatusCode | None) -> None:
    watched = 0

    class Restless(health_pb2_grpc.HealthServicer):
        async def Watch(self, _request: Any, context: Any) -> AsyncIterator[HealthCheckResponse]:
            nonlocal watched
            watched += 1
            yield HealthCheckResponse(status="SERVING" if watched > 2 else "NOT_SERVING")
            if watched > 2:
                await asyncio.Event().wait()
            if code is not None:
                await context.abort(code, "enough")

    await upstreams.start(health=Restless())
    async with fronted(upstreams.address) as front:
        await front.until(200)

    assert watched == 3


@pytest.mark.parametrize(
    "code", [None, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED], ids=str
)
async def test_health_that_never_answers_is_as_good_as_none(upstreams: Upstreams, code: grpc.StatusCode | None) -> None:
    watched = 0

    class Mute(health_pb2_grpc.HealthServicer):
        async def Watch(self, _request: Any, context: Any) -> AsyncIterator[HealthCheckResponse]:
            nonlocal watched
            watched += 1
            if code is not None:
                await context.abort(code, "no")
            silence: list[HealthCheckResponse] = []
            for answer in silence:
                yield answer

    await upstreams.start(health=Mute())
    async with fronted(upstreams.address) as front:
        await front.until(200)
        await upstreams.stop()
        await front.until(503)
        await upstreams.start(health=Mute())
        await front.until(200)

    assert watched == 6


class Hanging(health_pb2_grpc.HealthServicer):
    """Health that says nothing, and nothing but what it is told to say."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.words: asyncio.Queue[HealthCheckResponse] = asyncio.Queue()

    async def Watch(self, _request: Any, _context: Any) -> AsyncIterator[HealthCheckResponse]:
        """Keep the stream open."""
        self.asked.set()
        while True:
            yield await self.words.get()


async def test_health_that_hangs_is_waited_for_and_then_taken_for_good(
    upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_SILENCE_SECONDS", 0.0)
    with capture_logs() as logs:
        await upstreams.start(health=Hanging())
        async with fronted(upstreams.address) as front:
            await front.until(200)
            await upstreams.stop()
            await front.until(503)
            await upstreams.start(health=Hanging())
            await front.until(200)

    told = [line for line in logs if line["event"] == "upstream_without_health"]
    assert [line["code"] for line in told] == ["none in time"] * 2


async def test_health_that_speaks_late_is_heard(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_SILENCE_SECONDS", 0.0)
    health = Hanging()
    await upstreams.start(health=health)
    async with fronted(upstreams.address) as front:
        await front.until(200)
        health.words.put_nowait(HealthCheckResponse(status="NOT_SERVING"))
        await front.until(503)
        health.words.put_nowait(HealthCheckResponse(status="SERVING"))
        await front.until(200)


async def test_silence_after_an_answer_says_nothing(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    really, due = loop.call_later, list[Callable[..., Any]]()

    def call_later(delay: float, work: Any, *given: Any, **context: Any) -> asyncio.TimerHandle:
        due.extend([work] if getattr(work, "__qualname__", "").startswith(Follower.__name__) else ())
        return really(delay, work, *given, **context)

    monkeypatch.setattr(loop, "call_later", call_later)
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)
        await upstreams.health.set("", HealthCheckResponse.NOT_SERVING)
        await front.until(503)
        for work in due:
            work()
        ready = await front.http.get("/readyz")

    assert (len(due), ready.status_code) == (1, 503)


async def test_silence_is_no_health_before_its_time(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_SILENCE_SECONDS", 3600.0)
    health = Hanging()
    await upstreams.start(health=health)
    async with fronted(upstreams.address) as front:
        await front.until(200, "/openapi.json")
        await health.asked.wait()
        ready = await front.http.get("/readyz")

    assert (ready.status_code, ready.json()["checks"]) == (503, {"routes": True, "upstream": False})


async def test_an_upstream_that_says_nothing_at_all_is_not_healthy(
    upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_SILENCE_SECONDS", 0.0)
    await upstreams.start()
    async with fronted(upstreams.address) as front:
        await front.until(200)
        await upstreams.stop()
        await front.until(503)
        health = Hanging()
        await upstreams.start(versions=(), health=health)
        await health.asked.wait()
        ready = await front.http.get("/readyz")

    assert (ready.status_code, ready.json()["checks"]) == (503, {"routes": True, "upstream": False})
