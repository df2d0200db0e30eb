"""The servers that verify keys: this one says that it lives, and a revocation may wait until all have heard of it.

The revoking transaction tells a token on the channel of changes, behind the change itself; PostgreSQL keeps that order,
so a server that answers the token has dropped the key. Nobody is waited for longer than an entry can live.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from server.errors import Error
from server.ids import new_call_id
from server.postgres.pool import Connection, Database
from server.verification.cache import LIFETIME_SECONDS, KeyCache
from server.verification.store import VerificationStore

CHANGES = "verification"
"""Messages: ids of keys and developers that changed, `*` for all, and `confirm <token>`."""
CONFIRMATIONS = "verification_confirmed"
"""Messages: `<token> <replica>`."""

_CONFIRM = "confirm "
_BEAT_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class Confirmation:
    """Who has confirmed one change."""

    def __init__(self, database: Database) -> None:
        self.token = secrets.token_hex(8)
        self._database = database
        self._confirmed: set[str] = set()
        self._news = asyncio.Event()

    def add(self, replica: str) -> None:
        """Take note that a server has confirmed."""
        self._confirmed.add(replica)
        self._news.set()

    async def ask(self, connection: Connection) -> None:
        """Ask every server to confirm, inside the transaction of the change and behind it."""
        await VerificationStore(connection).tell(CHANGES, f"{_CONFIRM}{self.token}")

    async def everywhere(self) -> None:
        """Wait until every server seen in the last 5 seconds has confirmed, at most 5 seconds from now."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LIFETIME_SECONDS):
                while not (expected := await self._expected()) or not expected <= self._confirmed:
                    self._news.clear()
                    await self._news.wait()

    async def _expected(self) -> set[str]:
        try:
            return await VerificationStore(self._database).list_replicas()
        except Error:
            return set()  # an outage: the time will do


class Replicas:
    """One server among those that verify: passes changes to its cache, confirms them, and waits for the others."""

    def __init__(self, database: Database, cache: KeyCache) -> None:
        self._database = database
        self._cache = cache
        self._id = new_call_id().replace("call", "replica")
        self._waiting: dict[str, Confirmation] = {}
        self._confirming: set[asyncio.Task[None]] = set()

    def forget(self, changed: str) -> None:
        """Drop at once what this server remembers of a key, for a change that was made here."""
        self._cache.forget(changed)

    def hear_change(self, message: str) -> None:
        """Take a message of the channel of changes."""
        if not message.startswith(_CONFIRM):
            self._cache.forget(message)
            return
        task = asyncio.create_task(self._confirm(message.removeprefix(_CONFIRM)))
        self._confirming.add(task)
        task.add_done_callback(self._confirming.discard)

    def hear_confirmation(self, message: str) -> None:
        """Take a message of the channel of confirmations."""
        token, _, replica = message.partition(" ")
        if token in self._waiting:
            self._waiting[token].add(replica)

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator["Confirmation"]:
        """Wait for all servers, within the block, to confirm a change that is made in it."""
        confirmation = Confirmation(self._database)
        self._waiting[confirmation.token] = confirmation
        try:
            yield confirmation
        finally:
            del self._waiting[confirmation.token]

    async def _confirm(self, token: str) -> None:
        try:
            await VerificationStore(self._database).tell(CONFIRMATIONS, f"{token} {self._id}")
        except Error as fault:
            _log.warning("confirmation_failed", fault=type(fault).__name__)

    async def beat(self) -> None:
        """Say every second, until cancelled, that this server lives; then that it is gone."""
        try:
            while True:
                with suppress(Exception):  # an outage shows elsewhere, and no fault may end this
                    await VerificationStore(self._database).note_replica(self._id)
                await asyncio.sleep(_BEAT_SECONDS)
        finally:
            with suppress(Exception):
                await VerificationStore(self._database).forget_replica(self._id)
