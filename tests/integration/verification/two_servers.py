"""Two servers over one database, whose time stands until it is moved, and what can go wrong between them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import uvloop
from prometheus_client import CollectorRegistry

from server.errors import Unavailable
from server.limits.service import LocalLimiter
from server.postgres.pool import Database
from server.verification.cache import EVERYTHING, Entry, Read
from server.verification.model import Presented, Question
from server.verification.replicas import CHANGES
from server.verification.service import Answer, VerificationService
from tests.database import Clock
from tests.integration.verification.platform import Replica, replica

T = TypeVar("T")
START = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = 1_000_000_000
_NOWHERE = "postgresql://127.0.0.1:1/nowhere"
_SEEN = (
    "INSERT INTO replicas SELECT id, clock() FROM unnest($1::text[]) AS id"
    " ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at"
)
_KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = $1"
)


class Source:
    """The database as one server's cache reads it: it may be away, and a read may be held up once it has its row."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._held: asyncio.Event | None = None
        self._has_row = asyncio.Event()
        self.away = False

    async def __call__(self, text: str) -> Entry | None:
        if self.away:
            raise Unavailable
        entry = await self._read(text)
        if self._held is not None:
            self._has_row.set()
            await self._held.wait()
        return entry

    async def hold(self, asking: Awaitable[T]) -> "asyncio.Future[T]":
        """Begin a question and hold up the read that it causes."""
        self._held, self._has_row = asyncio.Event(), asyncio.Event()
        asked = asyncio.ensure_future(asking)
        await self._has_row.wait()
        return asked

    async def release(self, asked: "asyncio.Future[T]") -> T:
        """Let the read go on and return the answer."""
        assert self._held
        self._held.set()
        self._held = None
        return await asked


class Server:
    """One of the servers, with the ears and the source that tests take away."""

    def __init__(self, name: str, running: Replica, limiter: LocalLimiter, elapsed: Callable[[], float]) -> None:
        self.replica = running
        self.source = running.cache._read = Source(running.cache._read)
        running.cache._clock = elapsed
        running.verification = VerificationService(running.cache, limiter, running.counters, CollectorRegistry())
        self._name = name
        self._listener = running.listener
        self._dsn, self._channels = running.listener._dsn, running.listener._channels
        self.deaf = self.cut_off = False

    @property
    def hears(self) -> bool:
        """Whether it is told of changes."""
        return not self.deaf and not self.cut_off

    async def ask(self, text: str, question: Question) -> Answer | None:
        """Ask about a key; None when there is no answer."""
        with suppress(Unavailable):
            return await self.replica.ask(text, question)
        return None

    async def ask_all(self, batch: Sequence[Presented]) -> list[Answer] | None:
        """Ask about several keys at once."""
        with suppress(Unavailable):
            return await self.replica.verification.verify_all(batch)
        return None

    async def ask_each(self, batch: Sequence[Presented]) -> list[Answer | None]:
        """Ask about several keys, one after the other."""
        return [await self.ask(each.text, each.question) for each in batch]

    def deafen(self) -> None:
        """Lose every notice of a change from now on; the connection stands, so nobody knows."""
        self.deaf = True
        self._listener._channels = {**self._channels, CHANGES: lambda message: None}

    async def cut(self) -> None:
        """Kill the connection that notices come over, and let it find no other."""
        self.cut_off = True
        self._listener._dsn = _NOWHERE
        await self.replica.database.execute(_KILL, self._name)
        async with asyncio.timeout(10):
            while self._listener.connected:
                await asyncio.sleep(0.001)

    def empty(self) -> None:
        """Forget all that is remembered."""
        self.replica.cache.forget(EVERYTHING)

    async def heal(self) -> None:
        """Give everything back."""
        self.deaf = self.cut_off = self.source.away = False
        self._listener._channels, self._listener._dsn = self._channels, self._dsn
        assert await self._listener.wait_connected(10)


class World:
    """What outlives one run of a machine: a loop with two servers in it that share their limits, and their time."""

    def __init__(self, run: Callable[[Awaitable[object]], object]) -> None:
        self._run = run
        self.elapsed = 1000.0
        self.limiter = LocalLimiter(clock=lambda: int(self.elapsed * SECOND))

    async def open(self, stack: AsyncExitStack, database_url: str) -> None:
        """Start the servers."""
        self.database = Database(database_url, budget=30.0)
        await self.database.open()
        stack.push_async_callback(self.database.close)
        self._clock = await Clock.install(self.database)
        await self._clock.set(START)
        self.servers: list[Server] = []
        for name in ("one", "other"):
            url = f"{database_url}{'&' if '?' in database_url else '?'}application_name={name}"
            running = await stack.enter_async_context(replica(url))
            self.servers.append(Server(name, running, self.limiter, lambda: self.elapsed))

    @property
    def now(self) -> datetime:
        """The time that SQL sees."""
        return START + timedelta(seconds=self.elapsed - 1000.0)

    def run(self, work: Awaitable[T]) -> T:
        """Run something in the loop."""
        return self._run(work)  # type: ignore[return-value]

    async def advance(self, seconds: float) -> None:
        """Move the time of the database and of the servers alike; all of them have lived on meanwhile."""
        self.elapsed += seconds
        await self._clock.advance(timedelta(seconds=seconds))
        await self.database.execute(_SEEN, [server.replica.replicas._id for server in self.servers])


@contextmanager
def world(database_url: str) -> Iterator[World]:
    """Open the world in a new event loop, for machines that are driven from outside of any."""
    loop = uvloop.new_event_loop()
    stack = AsyncExitStack()

    def run(work: Awaitable[object]) -> object:
        return loop.run_until_complete(asyncio.wait_for(work, 30.0))

    made = World(run)
    try:
        run(made.open(stack, database_url))
        yield made
    finally:
        run(stack.aclose())
        loop.close()
