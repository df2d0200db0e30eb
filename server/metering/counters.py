"""Counters of calls in memory, made for the hot path: `Counters.count` costs about a microsecond and waits for nothing.

What is counted here is in the database a second later (`service.py`); a process that is killed loses that second.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

from uuid_utils.compat import uuid7

from server.metering.batch import OTHER, Batch, Cell, MonthTotal, Redigest, ScopeUse, SecretUse, month_of

BATCH_CELLS = 1_000
"""How many cells a batch holds at most: 10 ms of work for the database, half of it for the event loop."""
_MINUTE, _HOUR = 60, 3600
_DEAD = frozenset({"revoked", "expired", "rotated_out", "developer_suspended"})
"""Outcomes of calls whose secret authenticates nobody any more: they are counted, but are no use of the key."""
_SETTLED_SECONDS = 5.0
"""How old a read of the database may be: one that ends later than this after a flush cannot have begun before it."""
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{0,45}")


@dataclass(frozen=True, slots=True)
class Use:
    """Whose call is counted: a key, by one of its secrets. Made once, when the key is looked up."""

    key_id: str
    developer_id: str
    key_prefix: str
    secret_version: int


class _Standing:
    """A developer's units of this month: `flushed` by all replicas as last heard, `own` not known to be among them.

    `sent` of `own` are in batches under way, which a read of the database may hold or not.
    """

    __slots__ = ("flushed", "heard_at", "own", "sent")

    def __init__(self) -> None:
        self.flushed = 0
        self.own = 0
        self.sent = 0
        self.heard_at = float("-inf")


class _Sums:
    """What a cell adds up."""

    __slots__ = ("calls", "developer_id", "units")

    def __init__(self, developer_id: str) -> None:
        self.developer_id = developer_id
        self.calls = 0
        self.units = 0


_Key = tuple[str, str, str, int]


class Counters:
    """Counts calls by minute, key, operation, outcome and secret version until they are frozen into batches.

    Memory is bounded without losing a call: operations after the first 1,000 of the process, and any new one while
    100,000 cells wait, are counted as `other`. For the event loop's thread only.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        maximum_operations: int = 1_000,
        maximum_cells: int = 100_000,
        maximum_standings: int = 100_000,
        maximum_scopes: int = 100_000,
    ) -> None:
        """Begin at nothing. `clock` gives Unix seconds."""
        self._clock = clock
        self._maximum_operations = maximum_operations
        self._maximum_cells = maximum_cells
        self._maximum_standings = maximum_standings
        self._maximum_scopes = maximum_scopes
        self._operations = {""}
        self._minutes: dict[int, dict[_Key, _Sums]] = {}
        self._size = 0
        self._current: dict[_Key, _Sums] = {}  # the cells of the minute from `begins` to `ends`
        self._begins = self._ends = 0.0
        self._month = date.min
        self._standings: OrderedDict[str, _Standing] = OrderedDict()
        self._uses: dict[str, tuple[str, float, str]] = {}
        self._redigests: dict[str, Redigest] = {}
        self._scopes_noted: set[tuple[str, tuple[str, ...]]] = set()  # during the hour from `_scopes_since`
        self._scopes_since = 0
        self._scope_uses: dict[tuple[str, str], float] = {}
        self.pending_calls = 0
        """Calls that are in no batch yet."""

    def count(self, use: Use, operation: str, outcome: str, cost: int, client_ip: str) -> None:
        """Count a call. `outcome` is the verdict in lower case; only `valid` uses units, `cost` of them."""
        now = self._clock()
        if not self._begins <= now < self._ends:
            self._turn(now)
        sums = self._current.get((use.key_id, operation, outcome, use.secret_version))
        if sums is None:
            sums = self._open(use, operation, outcome)
        sums.calls += 1
        self.pending_calls += 1
        if outcome == "valid":
            sums.units += cost
            standing = self._standings.get(use.developer_id)
            if standing is None:
                standing = self._stand(use.developer_id)
            standing.own += cost
        elif outcome in _DEAD:
            return
        self._uses[use.key_prefix] = use.key_id, now, client_ip

    def note_scopes(self, key_id: str, scopes: tuple[str, ...]) -> None:
        """Note that a good call with a key needed scopes; the same ones of a key once in an hour of the clock."""
        if (key_id, scopes) not in self._scopes_noted:
            self._note_scopes(key_id, scopes)

    def units_used(self, developer_id: str) -> int:
        """Return a developer's units of this month (UTC): those that any replica flushed, and our own besides."""
        now = self._clock()
        if not self._begins <= now < self._ends:
            self._turn(now)
        standing = self._standings.get(developer_id)
        return 0 if standing is None else standing.flushed + standing.own

    def know_units(self, developer_id: str, units: int, month: tuple[int, int] | None = None) -> None:
        """Take over what the database says of a year's month; None: of this one. Another month is passed over.

        A read that may be older than our last flush only raises, and units of ours under way are not counted twice.
        """
        now = self._clock()
        if not self._begins <= now < self._ends:
            self._turn(now)
        if month is not None and month != (self._month.year, self._month.month):
            return  # one of the two clocks has turned already
        standing = self._standings.get(developer_id)
        if standing is None:
            standing = self._stand(developer_id)
        else:
            self._standings.move_to_end(developer_id)
        standing.flushed = max(standing.flushed, units - standing.sent)
        if now - standing.heard_at > _SETTLED_SECONDS:
            standing.flushed = min(standing.flushed, units)

    def redigest(self, key_prefix: str, digest: bytes, pepper_version: int, old_pepper_version: int) -> None:
        """Queue the digest, under the current pepper, of a secret that was just proved under an old one."""
        self._redigests[key_prefix] = Redigest(key_prefix, digest, pepper_version, old_pepper_version)

    def freeze(self, most: int = BATCH_CELLS) -> Batch | None:
        """Take out up to `most` cells, oldest minutes first, as a new batch; None when there are none.

        Its units stay part of `units_used` until it is settled.
        """
        cells: list[Cell] = []
        while self._minutes and len(cells) < most:
            minute = min(self._minutes)
            counted = self._minutes[minute]
            while counted and len(cells) < most:
                (key_id, operation, outcome, version), sums = counted.popitem()
                cells.append(
                    Cell(minute, key_id, operation, outcome, version, sums.developer_id, sums.calls, sums.units)
                )
            if not counted:
                del self._minutes[minute]
        self._ends = 0.0  # the next count finds its minute anew
        self._size -= len(cells)
        if not cells:
            return None
        batch = Batch(id=uuid7(), cells=tuple(cells))
        self.pending_calls -= batch.calls
        for (developer_id, month), units in batch.units().items():
            standing = self._standings.get(developer_id)
            if standing is not None and month == self._month:
                standing.sent += units
        return batch

    def settle(self, batch: Batch, totals: Iterable[MonthTotal]) -> None:
        """Note that a batch is in the database, with the totals of its developers' months that hold it."""
        now = self._clock()
        if not self._begins <= now < self._ends:
            self._turn(now)
        for (developer_id, month), units in batch.units().items():
            standing = self._standings.get(developer_id)
            if standing is not None and month == self._month:
                standing.own = max(0, standing.own - units)
                standing.sent = max(0, standing.sent - units)
        for total in totals:
            standing = self._standings.get(total.developer_id)
            if standing is not None and total.month == self._month:
                standing.flushed, standing.heard_at = total.units, now

    def take_uses(self) -> list[SecretUse]:
        """Take out the last use of each secret that was used since they were last taken.

        What does not look like an IP address is left out: a proxy may pass on whatever its client says.
        """
        uses, self._uses = self._uses, {}
        return [
            SecretUse(key_prefix, key_id, used_at, client_ip if _ADDRESS.fullmatch(client_ip) else "")
            for key_prefix, (key_id, used_at, client_ip) in uses.items()
        ]

    def take_redigests(self) -> list[Redigest]:
        """Take out the queued digests."""
        redigests, self._redigests = self._redigests, {}
        return list(redigests.values())

    def take_scope_uses(self) -> list[ScopeUse]:
        """Take out when keys needed scopes, as far as it was noted since they were last taken."""
        uses, self._scope_uses = self._scope_uses, {}
        return [ScopeUse(key_id, scope, used_at) for (key_id, scope), used_at in uses.items()]

    def keep_scope_uses(self, uses: Iterable[ScopeUse]) -> None:
        """Keep for the next time what could not be written, but for what was noted again."""
        for use in uses:
            self._scope_uses.setdefault((use.key_id, use.scope), use.used_at)

    def keep_uses(self, uses: Iterable[SecretUse]) -> None:
        """Keep for the next time what could not be written, but for secrets that were used again."""
        for use in uses:
            self._uses.setdefault(use.key_prefix, (use.key_id, use.used_at, use.client_ip))

    def _turn(self, now: float) -> None:
        """Begin the minute of `now`, and a new month with it if it is one."""
        minute = int(now) // _MINUTE * _MINUTE
        self._begins, self._ends = float(minute), float(minute + _MINUTE)
        self._current = self._minutes.setdefault(minute, {})
        if minute - self._scopes_since >= _HOUR or minute < self._scopes_since:
            self._scopes_since = minute // _HOUR * _HOUR
            self._scopes_noted.clear()
        month = month_of(minute)
        if month != self._month:
            self._month = month
            self._standings.clear()

    def _note_scopes(self, key_id: str, scopes: tuple[str, ...]) -> None:
        """Queue scopes to be written; while too many wait, they are noted another time."""
        if len(self._scope_uses) >= self._maximum_scopes:
            return
        if len(self._scopes_noted) >= self._maximum_scopes:
            self._scopes_noted.clear()  # what is noted twice in an hour is written once all the same
        self._scopes_noted.add((key_id, scopes))
        now = self._clock()
        self._scope_uses.update({(key_id, scope): now for scope in scopes})

    def _open(self, use: Use, operation: str, outcome: str) -> _Sums:
        """Find the cell for a call whose own does not exist: a new one, or that of `other` when there is no room."""
        key = use.key_id, self._known(operation), outcome, use.secret_version
        sums = self._current.get(key)
        if sums is None:
            sums = self._current[key] = _Sums(use.developer_id)
            self._size += 1
        return sums

    def _known(self, operation: str) -> str:
        if self._size >= self._maximum_cells:
            return OTHER
        if operation not in self._operations:
            if len(self._operations) >= self._maximum_operations or not operation.isprintable():
                return OTHER
            self._operations.add(operation)
        return operation

    def _stand(self, developer_id: str) -> _Standing:
        """Begin a developer's standing, and forget the one least recently looked up when there are too many."""
        if len(self._standings) >= self._maximum_standings:
            oldest, standing = self._standings.popitem(last=False)
            if standing.own:  # not before its units are flushed
                self._standings[oldest] = standing
        standing = self._standings[developer_id] = _Standing()
        return standing
