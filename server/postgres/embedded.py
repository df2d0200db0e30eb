"""The embedded PostgreSQL: started, adopted, watched and stopped by us; it does not outlive us, and heals by itself."""

import asyncio
import contextlib
import os
import random
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import asyncpg
import structlog

from server.postgres.cluster import DATABASE, ENVIRONMENT, PORT, USER, Cluster, EmbeddedPostgresError
from server.postgres.errors import DRIVER_ERRORS
from server.postgres.launch import NO_USER_NAMESPACE
from server.postgres.pool import Connection, close_connection
from server.postgres.process import Process, find_listener, spawn

_log = structlog.get_logger(__name__)

_START_SECONDS = 30.0  # a crash recovery replays at most one checkpoint interval of log
_POLL_SECONDS = 0.02
_START_PAUSES = (0.3, 1.0)
"""Seconds before new tries of a start that failed: what a killed server leaves behind takes a moment to go."""
_LONGEST_PAUSE = 5.0


class EmbeddedPostgres:
    """A PostgreSQL of our own in a data directory, reached over a Unix socket there."""

    def __init__(
        self, data_dir: Path, *, bin_dir: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        """Choose the folder and the binaries (see `find_binaries`); `settings` are added to PostgreSQL's, for tests.

        Raises:
            EmbeddedPostgresError: there is no PostgreSQL to run, or this is not Linux.
        """
        if sys.platform != "linux":
            raise EmbeddedPostgresError(
                "The embedded PostgreSQL needs Linux. Set DATABASE_URL to a PostgreSQL of your own."
            )
        self._cluster = Cluster(data_dir, bin_dir)
        self._settings = settings or {}
        self._lock: int | None = None
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The number of the running postmaster, None when there is none."""
        return self._process.pid if self._process else None

    async def start(self) -> str:
        """Bring PostgreSQL up, made on the first start, and return its DSN. It is restarted from now on if it dies.

        Call it in the main thread: PostgreSQL dies with the thread that starts it.

        Raises:
            EmbeddedPostgresError: saying why and what to do.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded PostgreSQL must be started from the main thread")
        self._lock = self._cluster.lock()
        try:
            self._cluster.rotate_log()
            await self._cluster.initialize()
            self._process = await self._bring_up()
            await self._create_database()
        except BaseException:
            await self.stop()
            raise
        self._watch = asyncio.create_task(self._keep_up())
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self._cluster.run), safe='')}&port={PORT}"

    async def stop(self) -> None:
        """Stop PostgreSQL in order, within 3.5 seconds, and release the data directory. Harmless when nothing runs."""
        if self._watch:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None
        if self._process:
            process, self._process = self._process, None
            await process.stop()
            process.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _keep_up(self) -> None:
        """Bring PostgreSQL up again whenever it ends, for as long as it takes."""
        while self._process:
            await self._process.wait()
            _log.error("embedded_postgres_died", pid=self._process.pid)
            self._process.close()
            self._process = None
            pause = 0.1
            while self._process is None:
                try:
                    self._process = await self._bring_up()
                except (EmbeddedPostgresError, OSError) as error:
                    _log.error("embedded_postgres_does_not_start", reason=str(error))
                    await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
                    pause = min(2 * pause, _LONGEST_PAUSE)
            _log.info("embedded_postgres_is_back", pid=self._process.pid)

    async def _bring_up(self) -> Process:
        for pause in (*_START_PAUSES, None):
            process = self._running() or self._spawn()
            try:
                async with asyncio.timeout(_START_SECONDS):
                    if await self._answers(process):
                        return process
            except TimeoutError:
                await _abandon(process)
                raise self._cluster.failure(f"no answer within {_START_SECONDS:.0f} s", None) from None
            except BaseException:
                await _abandon(process)
                raise
            process.close()
            if process.exit_code == NO_USER_NAMESPACE:
                break
            if pause:
                await asyncio.sleep(pause)
        raise self._cluster.failure("it ended at once", process.exit_code)

    def _running(self) -> Process | None:
        """Find a PostgreSQL that our predecessor left running or shutting down."""
        try:
            process = find_listener(self._cluster.socket)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"PostgreSQL in {self._cluster.folder} cannot be taken over: {error}."
            ) from None
        if process:
            _log.info("embedded_postgres_found", pid=process.pid)
        return process

    def _spawn(self) -> Process:
        self._cluster.forget_stale_owner()
        with self._cluster.log.open("ab") as output:
            return spawn(self._cluster.start_command(self._settings), output=output, environment=ENVIRONMENT)

    async def _answers(self, process: Process) -> bool:
        """Wait until the server answers; False when it has ended instead, as one does that was shutting down."""
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                with contextlib.suppress(*DRIVER_ERRORS):
                    await self._make_sure_it_is_ours()
                    return True
                await asyncio.wait([ended], timeout=_POLL_SECONDS)
            return False
        finally:
            ended.cancel()
            await asyncio.wait([ended])  # it shares the pidfd's place in the event loop with the next wait

    async def _make_sure_it_is_ours(self) -> None:
        connection = await self._connect("postgres")
        try:
            folder = await connection.fetchval("SELECT current_setting('data_directory')")
        finally:
            await close_connection(connection)
        if not self._cluster.data.samefile(folder):
            raise EmbeddedPostgresError(f"The PostgreSQL on {self._cluster.socket} serves {folder}. Stop it.")

    async def _create_database(self) -> None:
        connection = await self._connect("postgres")
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await close_connection(connection)

    async def _connect(self, database: str) -> Connection:
        return await asyncpg.connect(host=str(self._cluster.run), port=PORT, user=USER, database=database, timeout=2)


async def _abandon(process: Process) -> None:
    if process.is_child:  # what we only found is not known to be ours before it has answered
        await process.stop()
    process.close()
