"""What is remembered of keys that were looked up: found by a digest of the whole key, bounded, and never stale.

An entry lives until the nearest deadline of its key, and 5 seconds at most, counted from before the database was asked;
while changes cannot be heard, 1 second. A change that is heard drops what it concerns, and what is being read of it
just then is not remembered.
"""

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import islice

from server.errors import Unavailable
from server.limits.model import Claim
from server.metering.counters import Use
from server.verification.model import KnownKey

LIFETIME_SECONDS = 5.0
UNHEARD_LIFETIME_SECONDS = 1.0
ABSENT_SECONDS = 1.0
_REFRESH_SECONDS = 1.0
"""How long before an entry ends its use has it read anew, so that a key in use is always remembered."""
_READS = 128
"""Reads under way for keys that are not remembered; more are refused, so that a flood of bad keys holds nothing up."""
_TRIES = 3
EVERYTHING = "*"
"""The message that every key has changed."""


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """A proved key with what each of its uses needs. `good_until` is on the cache's clock."""

    key: KnownKey
    claims: tuple[Claim, Claim]
    use: Use
    good_until: float = 0.0
    refresh_from: float = 0.0
    """From when on a use of it has it read anew; infinite once that was begun."""
    rendered: bytes | None = field(default=None, repr=False)
    """Room for the part of an answer that is the same every time, as the protocol writes it."""


Read = Callable[[str], Awaitable[Entry | None]]
"""Ask the database about a key; None: no key has this secret. Raises Unavailable."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Flight:
    """One read that is under way, and who waits for it."""

    task: "asyncio.Task[Entry | None]"
    number: int


class KeyCache:
    """Remembers keys, and for a second at most that there is none; one read serves all who ask meanwhile.

    Secrets that do not exist have a memory of their own: however many are tried, they push no good key out.
    """

    def __init__(
        self, read: Read, *, size: int = 100_000, absent: int = 20_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._size = size
        self._absent_size = absent
        self._clock = clock
        self._digest_key = secrets.token_bytes(32)
        # Ordered dictionaries, oldest first: to find the first entry of a plain one means to pass by all deleted ones.
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._absent: OrderedDict[bytes, float] = OrderedDict()
        self._flights: dict[bytes, _Flight] = {}
        self._refreshing: set[asyncio.Task[Entry | None]] = set()
        self._reads = 0
        self._by_id: dict[str, set[bytes]] = {}
        self._changes = 0
        self._changed: OrderedDict[str, int] = OrderedDict()  # id -> number of its last change
        self._unknown_before = 0  # of changes up to this number it is not known whom they concerned
        self._heard = False
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def recall(self, text: str) -> Entry | None:
        """Return what is remembered of a key, if that is still good."""
        digest = self._digest(text)
        entry = self._entries.get(digest)
        if entry is None:
            return None
        now = self._clock()
        if now >= entry.refresh_from:
            if now >= entry.good_until:
                return None
            self._refresh(digest, text, entry)
        self.hits += 1
        return entry

    async def find(self, text: str) -> Entry | None:
        """Read a key, together with all who ask for it meanwhile; None when nobody has it, as far as is remembered.

        Raises:
            Unavailable: the database cannot be asked.
        """
        digest = self._digest(text)
        until = self._absent.get(digest)
        if until is not None and self._clock() < until:
            self.hits += 1
            return None
        flight = self._flights.get(digest)
        if flight is None or flight.number != self._changes:
            return await self.read(text)
        return await asyncio.shield(flight.task)

    async def read(self, text: str) -> Entry | None:
        """Ask the database, whatever is remembered, and remember the answer.

        Raises:
            Unavailable: the database cannot be asked, or is asked too much.
        """
        if self._reads >= _READS:
            raise Unavailable
        self.misses += 1
        self._reads += 1
        digest = self._digest(text)
        task = asyncio.create_task(self._read_and_remember(digest, text))
        flight = self._flights[digest] = _Flight(task=task, number=self._changes)
        task.add_done_callback(lambda _: self._land(digest, flight))
        return await asyncio.shield(task)

    def forget(self, changed: str) -> None:
        """Drop what concerns a key or a developer, by id, or everything; reads under way are not remembered."""
        self._changes += 1
        if changed == EVERYTHING:
            self._forget_everything()
            return
        self._changed[changed] = self._changes
        self._changed.move_to_end(changed)
        while len(self._changed) > self._size:
            _, self._unknown_before = self._changed.popitem(last=False)
        for digest in tuple(self._by_id.get(changed, ())):
            self._drop(digest)

    def hear(self, connected: bool) -> None:
        """Take note that changes are heard from now on, or no more; what is remembered was of the time before."""
        self._heard = connected
        self.forget(EVERYTHING)

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16, key=self._digest_key).digest()

    def _forget_everything(self) -> None:
        self._entries.clear()
        self._absent.clear()
        self._by_id.clear()
        self._changed.clear()
        self._unknown_before = self._changes

    def _refresh(self, digest: bytes, text: str, entry: Entry) -> None:
        """Have an entry read anew, beside the call that uses it; if that fails, it just ends in time."""
        entry.refresh_from = entry.good_until
        task = asyncio.create_task(self._read_and_remember(digest, text))
        self._refreshing.add(task)
        task.add_done_callback(self._refreshed)

    def _refreshed(self, task: "asyncio.Task[Entry | None]") -> None:
        self._refreshing.discard(task)
        if not task.cancelled():
            task.exception()  # seen; whoever needs the key next will meet it

    async def _read_and_remember(self, digest: bytes, text: str) -> Entry | None:
        """Read until nothing has changed meanwhile: what was true before a change must not be told after it."""
        for _ in range(_TRIES):
            number = self._changes
            entry = await self._read_once(digest, text, number)
            if entry is None or not self._has_changed(entry, number):
                return entry
        raise Unavailable

    async def _read_once(self, digest: bytes, text: str, number: int) -> Entry | None:
        started = self._clock()
        lifetime = LIFETIME_SECONDS if self._heard else UNHEARD_LIFETIME_SECONDS
        entry = await self._read(text)
        if entry is None:
            if number == self._changes:
                self._remember_absent(digest, started)
            return None
        ends_in = entry.key.ends_in
        entry.good_until = started + (lifetime if ends_in is None else min(lifetime, ends_in))
        entry.refresh_from = entry.good_until - _REFRESH_SECONDS if lifetime > _REFRESH_SECONDS else entry.good_until
        if not self._has_changed(entry, number):
            self._remember(digest, entry)
        return entry

    def _has_changed(self, entry: Entry, number: int) -> bool:
        """Tell whether the key or its developer changed after the change of that number."""
        changed = self._changed.get
        return (
            self._unknown_before > number
            or changed(entry.key.key_id, 0) > number
            or changed(entry.key.developer_id, 0) > number
        )

    def _remember(self, digest: bytes, entry: Entry) -> None:
        self._drop(digest)
        self._absent.pop(digest, None)
        self._entries[digest] = entry
        for owner in (entry.key.key_id, entry.key.developer_id):
            self._by_id.setdefault(owner, set()).add(digest)
        now = self._clock()
        for oldest in tuple(islice(self._entries, 2)):  # more than come in, and never many at once
            if len(self._entries) > self._size or self._entries[oldest].good_until <= now:
                self._drop(oldest)

    def _remember_absent(self, digest: bytes, started: float) -> None:
        self._absent[digest] = started + ABSENT_SECONDS
        self._absent.move_to_end(digest)
        for oldest in tuple(islice(self._absent, 2)):
            if len(self._absent) > self._absent_size or self._absent[oldest] <= started:
                del self._absent[oldest]

    def _drop(self, digest: bytes) -> None:
        entry = self._entries.pop(digest, None)
        if entry is None:
            return
        for owner in (entry.key.key_id, entry.key.developer_id):
            digests = self._by_id.get(owner)
            if digests is not None:
                digests.discard(digest)
                if not digests:
                    del self._by_id[owner]

    def _land(self, digest: bytes, flight: _Flight) -> None:
        self._reads -= 1
        if self._flights.get(digest) is flight:
            del self._flights[digest]
        if not flight.task.cancelled():
            flight.task.exception()  # seen by those who wait, if there are any left
