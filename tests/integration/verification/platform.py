"""A server that verifies keys, without its gRPC: two of them over one database make replicas."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from server.audit.store import Actor
from server.ids import DeveloperId
from server.keys.model import Environment
from server.keys.service import CreateKey, KeyService
from server.limits.service import LocalLimiter
from server.metering.counters import Counters
from server.postgres.listener import Listener
from server.postgres.pool import Database
from server.verification.cache import KeyCache
from server.verification.model import Presented, Question
from server.verification.replicas import CHANGES, CONFIRMATIONS, Replicas
from server.verification.service import Answer, VerificationService, key_reader
from server.verification.verdict import Verdict
from tests.integration.keys.vault import GRACE, PEPPERS, acting


@dataclass(slots=True, kw_only=True)
class Replica:
    """One server: verifies keys, manages them, and hears of changes."""

    database: Database
    cache: KeyCache
    counters: Counters
    verification: VerificationService
    keys: KeyService
    replicas: Replicas
    listener: Listener

    async def hear_everything(self) -> None:
        """Wait until all changes that were committed so far are heard on every server."""
        async with self.replicas.waiting() as confirmation:
            await self.database.transaction(confirmation.ask)
            await confirmation.everywhere()

    async def ask(self, text: str, question: Question | None = None) -> Answer:
        """Ask about a key."""
        return await self.verification.verify(Presented(text, question or Question()))

    async def verdict(self, text: str, question: Question | None = None) -> Verdict:
        """Ask about a key for the verdict alone."""
        return (await self.ask(text, question)).verdict


@asynccontextmanager
async def replica(database_url: str) -> AsyncIterator[Replica]:
    """Run a server over a migrated database."""
    database = Database(database_url)
    await database.open()
    registry = CollectorRegistry()
    counters = Counters()
    cache = KeyCache(key_reader(database, PEPPERS, counters, registry))
    replicas = Replicas(database, cache)
    channels = {CHANGES: replicas.hear_change, CONFIRMATIONS: replicas.hear_confirmation}
    listener = Listener(database_url, channels, cache.hear)
    background = [asyncio.create_task(listener.run()), asyncio.create_task(replicas.beat())]
    keys = KeyService(database, PEPPERS, default_environment=Environment.LIVE, rotation_grace=GRACE, verifiers=replicas)
    try:
        assert await listener.wait_connected(10)
        yield Replica(
            database=database,
            cache=cache,
            counters=counters,
            verification=VerificationService(cache, LocalLimiter(), counters, registry),
            keys=keys,
            replicas=replicas,
            listener=listener,
        )
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await database.close()


async def new_key(
    replica: Replica, developer: DeveloperId, *, expires_at: str = "", scopes: tuple[str, ...] = ("read",)
) -> tuple[str, str, Actor]:
    """Create a key; return its id, its secret and its owner."""
    actor = acting(developer)
    wish = CreateKey(name="Production", scopes=scopes, environment=None, expires_at=expires_at, request_id="")
    issued = await replica.keys.create(actor, wish)
    return issued.key.id, issued.secret.reveal(), actor
