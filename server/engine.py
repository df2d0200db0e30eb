"""What every kind of call stands on, opened and closed: databases, limits, counters and the memory of keys."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from server.config import Settings
from server.limits.service import Limiter, LocalLimiter
from server.limits.shared import SharedLimiter
from server.metering.counters import Counters
from server.metering.service import MeterService
from server.peppers import Peppers
from server.postgres.listener import Listener
from server.provisions import Databases, open_databases
from server.verification.cache import KeyCache
from server.verification.replicas import CHANGES, CONFIRMATIONS, Replicas
from server.verification.service import key_reader

_LISTEN_SECONDS = 2.0

_log = structlog.get_logger("server.engine")


class Engine(NamedTuple):
    """What every kind of call stands on."""

    databases: Databases
    limiter: Limiter
    counters: Counters
    cache: KeyCache
    replicas: Replicas
    registry: CollectorRegistry


@asynccontextmanager
async def open_engine(settings: Settings, peppers: Peppers) -> AsyncIterator[Engine]:
    """Open what judges and counts; on leaving, write down what is still uncounted.

    Raises:
        SchemaError, Unavailable: as `open_databases`.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    async with AsyncExitStack() as stack:
        databases = await stack.enter_async_context(open_databases(settings))
        limiter = await stack.enter_async_context(open_limiter(settings, registry))
        counters = await stack.enter_async_context(open_meter(databases, registry))
        cache, replicas = await stack.enter_async_context(open_cache(databases, peppers, counters, registry))
        yield Engine(databases, limiter, counters, cache, replicas, registry)


@asynccontextmanager
async def open_limiter(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[Limiter]:
    """Make the limits of this process, or those that all processes share through Valkey."""
    local = LocalLimiter()
    if settings.valkey_url is None:
        yield local
        return
    shared = SharedLimiter(settings.valkey_url, local, registry)
    try:
        await shared.open()
        yield shared
    finally:
        await shared.close()


@asynccontextmanager
async def open_meter(databases: Databases, registry: CollectorRegistry) -> AsyncIterator[Counters]:
    """Count calls and write the counts down every second; on leaving, whatever is left."""
    counters = Counters()
    meter = MeterService(databases.metering, counters, registry)
    try:
        async with in_background(meter.run()):
            yield counters
    finally:
        await meter.close()


@asynccontextmanager
async def open_cache(
    databases: Databases, peppers: Peppers, counters: Counters, registry: CollectorRegistry
) -> AsyncIterator[tuple[KeyCache, Replicas]]:
    """Remember keys and hear what changes about them, here and on every other server."""
    cache = KeyCache(key_reader(databases.verification, peppers, counters, registry))
    replicas = Replicas(databases.verification, cache)
    channels = {CHANGES: replicas.hear_change, CONFIRMATIONS: replicas.hear_confirmation}
    listening = Gauge(
        "developer_verification_listening",
        "Whether changes of keys are heard: 1, or 0 while keys are remembered for a second only.",
        registry=registry,
        multiprocess_mode="livemin",
    )

    def hear(connected: bool) -> None:
        listening.set(connected)
        cache.hear(connected)

    listener = Listener(databases.direct_dsn, channels, hear)
    async with in_background(listener.run(), replicas.beat()):
        await listener.wait_connected(_LISTEN_SECONDS)
        yield cache, replicas


@asynccontextmanager
async def in_background(*work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run endless work beside the block and cancel it on leaving; work that fails before is told in the log."""
    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(_tell_fault)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tell_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()):
        _log.error("background_work_ended", fault=type(fault).__name__)
