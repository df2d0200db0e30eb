"""The sign of life of a server outlives every fault."""

import asyncio
from typing import cast

import pytest

from server.errors import Unavailable
from server.postgres.pool import Database
from server.verification import replicas
from server.verification.cache import KeyCache
from server.verification.replicas import Replicas


async def test_no_fault_ends_the_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[Exception] = [Unavailable(), RuntimeError("the handler is closed"), EOFError()]
    noted, forgotten = asyncio.Event(), asyncio.Event()

    class Store:
        def __init__(self, _: Database) -> None:
            pass

        async def note_replica(self, _: str) -> None:
            if faults:
                raise faults.pop()
            noted.set()

        async def forget_replica(self, _: str) -> None:
            forgotten.set()
            raise RuntimeError("the handler is closed")

    monkeypatch.setattr(replicas, "VerificationStore", Store)
    monkeypatch.setattr(replicas, "_BEAT_SECONDS", 0)
    beating = asyncio.create_task(Replicas(cast("Database", None), cast("KeyCache", None)).beat())
    async with asyncio.timeout(5):
        await noted.wait()
    beating.cancel()
    await asyncio.wait([beating])

    assert beating.cancelled()
    assert forgotten.is_set()
