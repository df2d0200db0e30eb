"""Connections to PostgreSQL and transactions over them, each call bounded in time. No SQL of the product lives here.

The pool is ours because asyncpg's costs more than the statement it serves (processor time of a primary-key read by 16
callers: bare connection 18 µs, this pool 26 µs, asyncpg's 48 µs, or 34 µs without its reset query and any deadline) and
because its release may wait on a server that does not answer. Nothing is reset between two uses: code of ours never
changes the state of a session (no SET, LISTEN, cursor, advisory lock); one left inside a transaction is thrown away.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg

from server.errors import Unavailable
from server.postgres.errors import DRIVER_ERRORS, is_retryable, start_up_reason, translate

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Record: TypeAlias = asyncpg.Record
T = TypeVar("T")

_RETRY_PAUSES = (0.01, 0.03, 0.09, 0.2)
"""Seconds before each new try of a transaction that PostgreSQL gave up, before jitter."""

_RECOVERY_SECONDS = 1.0
"""How long a statement that its caller abandoned may take to acknowledge the cancellation."""


class Database:
    """A pool of connections.

    Every method answers within `budget` seconds, waiting for a free connection included, or raises `Unavailable`,
    whatever state the server is in; once the server is back the next call works. Broken constraints raise
    `ConstraintViolation`, refused statements `StatementFault`; no error carries SQL or text of the driver.
    """

    def __init__(
        self, dsn: str, *, size: int = 10, warm: int = 2, budget: float = 1.5, transaction_pooler: bool = False
    ) -> None:
        """Remember the settings; `open` connects.

        `dsn` is a URL, `size` the most connections, `warm` how many `open` makes. Behind a `transaction_pooler` no
        prepared statement outlives its use and no setting is sent, since both would belong to a shared session.
        """
        self._dsn = dsn
        self._warm = min(warm, size)
        self._budget = budget
        self._transaction_pooler = transaction_pooler
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []  # last in, first out: the busiest connections have the warmest caches
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def open(self) -> None:
        """Make the first connections.

        Raises:
            Unavailable: with a sentence for the operator that says why.
        """
        try:
            async with asyncio.timeout(self._budget):
                # The first alone, so that a server which refuses is asked once.
                self._idle.append(await self._connect())
                for _ in range(1, self._warm):
                    self._idle.append(await self._connect())
        except (*DRIVER_ERRORS, ValueError) as error:
            await self._close_idle()
            raise Unavailable(f"PostgreSQL cannot be used: {start_up_reason(error)}. See DATABASE_URL.") from None

    async def close(self) -> None:
        """Let running transactions end, within their budget, and close every connection."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._close_idle()

    async def ready(self) -> bool:
        """Say, within a second, whether the server answers."""
        try:
            async with asyncio.timeout(1.0):
                await self.fetchrow("SELECT 1")
        except (Unavailable, TimeoutError):
            return False
        return True

    async def fetch(self, statement: str, *arguments: object) -> list[Record]:
        """Run one statement and return all its rows."""
        async with self.connection() as connection:
            return await connection.fetch(statement, *arguments)

    async def fetchrow(self, statement: str, *arguments: object) -> Record | None:
        """Run one statement and return its first row, None when there is none."""
        async with self.connection() as connection:
            return await connection.fetchrow(statement, *arguments)

    async def execute(self, statement: str, *arguments: object) -> str:
        """Run one statement and return its command tag, such as `UPDATE 1`."""
        async with self.connection() as connection:
            return await connection.execute(statement, *arguments)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; each statement on it commits by itself. The whole block shares one budget."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._budget) as deadline:
                connection = await self._acquire()
                try:
                    yield connection
                except asyncpg.ReadOnlySQLTransactionError:
                    connection.terminate()  # a standby since a failover: the address may lead to its successor by now
                    raise
                except asyncio.CancelledError:
                    if deadline.expired():
                        connection.terminate()  # the server ends the statement by its own timeout, or is gone
                    else:
                        self._recover(connection)
                        connection = None  # and gives it back later
                    raise
                finally:
                    if connection is not None:
                        self._release(connection)
        except DRIVER_ERRORS as error:
            raise translate(error, connection_lost=connection is not None and connection.is_closed()) from None

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in one READ COMMITTED transaction and return its result; any exception rolls back.

        A serialization failure or deadlock runs it again, so `work` must have no effect outside the database. It is not
        cut short when the caller is cancelled: it ends one way or the other, within the budget.

        Raises:
            Unavailable: also when the connection is lost during COMMIT; the outcome is unknown then.
        """
        return await asyncio.shield(self._spawn(self._transact(work)))

    async def _transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self.connection() as connection:
            for pause in _RETRY_PAUSES:
                try:
                    return await _run_once(connection, work)
                except asyncpg.PostgresError as error:
                    if not is_retryable(error):
                        raise
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            return await _run_once(connection, work)

    async def _acquire(self) -> Connection:
        await self._slots.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    return connection
            return await self._connect()
        except BaseException:
            self._slots.release()
            raise

    def _release(self, connection: Connection) -> None:
        if self._closed or connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)
        self._slots.release()

    def _recover(self, connection: Connection) -> None:
        """Give a connection back once the server has acknowledged that its statement is cancelled.

        Throwing it away would be simpler, and would let callers who give up under load make the load worse.
        """

        async def wait_for_acknowledgement() -> None:
            try:
                async with asyncio.timeout(_RECOVERY_SECONDS):
                    await connection.execute("SELECT 1")  # asyncpg sends it after the cancelled statement has ended
            except DRIVER_ERRORS:
                connection.terminate()
            finally:
                self._release(connection)

        self._spawn(wait_for_acknowledgement())

    def _spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._tasks.discard)
        return task

    async def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*map(close_connection, idle))

    async def _connect(self) -> Connection:
        if self._closed:
            raise Unavailable
        if self._transaction_pooler:
            return await asyncpg.connect(self._dsn, statement_cache_size=0)
        return await asyncpg.connect(
            self._dsn,
            server_settings={
                "application_name": "developer-service",
                # What we gave up on must not go on by itself, nor hold its locks.
                "statement_timeout": str(int(self._budget * 1000)),
                "idle_in_transaction_session_timeout": str(int(self._budget * 2000)),
            },
        )


async def close_connection(connection: Connection) -> None:
    """Say goodbye to the server, or just hang up when it does not react within a second."""
    try:
        async with asyncio.timeout(1.0):
            await connection.close()
    except BaseException as fault:  # in a task that was cancelled, the deadline is a cancellation before Python 3.11.3
        connection.terminate()
        if not isinstance(fault, DRIVER_ERRORS):
            raise


async def _run_once(connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
    await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
    try:
        result = await work(connection)
    except Exception:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    if await connection.execute("COMMIT") != "COMMIT":
        raise RuntimeError("the work swallowed a database error: PostgreSQL rolled back")
    return result
