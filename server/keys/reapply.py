"""Apply again to a restored database what the log tells of revocations and rotations that its backup did not see.

Lines may be read in any order and any number of times: a key is revoked once, and the end of a secret only ever
moves to an earlier time.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from server.audit.store import Action, Actor, record
from server.ids import new_call_id
from server.keys.logged import NotUnderstood, Revocation, Rotation, find_change
from server.keys.model import ApiKey
from server.keys.store import KeyStore
from server.postgres.pool import Connection, Database

Change = Revocation | Rotation

_AT_ONCE = 20
"""Changes in one transaction: few enough for its budget even over a slow network."""
_TOLD_LINES = 500_000


class _Outcome(NamedTuple):
    """Whether a change had to be applied, and what it tells of that the database does not know, empty for nothing."""

    applied: bool
    unknown: str = ""


class Reapplication:
    """One run over any number of logs: what was read, what was changed, what could not be."""

    def __init__(self, database: Database, tell: Callable[[str], None]) -> None:
        """`tell` takes sentences for the operator."""
        self._database = database
        self._tell = tell
        self._call_id = new_call_id()
        self.lines = 0
        self.changes = 0
        self.revoked = 0
        self.rotated = 0
        self.faults = 0
        self.unknown: set[str] = set()

    @property
    def summary(self) -> str:
        """Say in one line what came of it."""
        return (
            f"Lines: {self.lines:,}. Revocations and rotations among them: {self.changes:,}. Keys revoked: "
            f"{self.revoked:,}. Rotations applied: {self.rotated:,}. Keys and versions unknown: {len(self.unknown):,}. "
            f"Lines not understood: {self.faults:,}."
        )

    async def read(self, name: str, lines: Iterable[bytes]) -> None:
        """Apply what one log tells; `name` is what the operator calls it.

        Raises:
            Unavailable: the database went away; what was applied stays, and all can be read again.
        """
        batch: list[Change] = []
        for number, line in enumerate(lines, 1):
            self.lines += 1
            if self.lines % _TOLD_LINES == 0:
                self._tell(f"{self.lines:,} lines read, {self.changes:,} revocations and rotations")
            try:
                change = find_change(line)
            except NotUnderstood as fault:
                self.faults += 1
                self._tell(f"{name}, line {number}: {fault}")
                continue
            if change is not None:
                batch.append(change)
            if len(batch) == _AT_ONCE:
                await self._apply(batch)
                batch = []
        await self._apply(batch)

    async def _apply(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        outcomes = await self._database.transaction(lambda connection: self._write(connection, changes))
        for change, outcome in zip(changes, outcomes, strict=True):
            self.changes += 1
            if outcome.applied and isinstance(change, Revocation):
                self.revoked += 1
            elif outcome.applied:
                self.rotated += 1
            if outcome.unknown and outcome.unknown not in self.unknown:
                self.unknown.add(outcome.unknown)
                self._tell(f"{outcome.unknown}: not in this database, so made after its backup; its secret is lost")

    async def _write(self, connection: Connection, changes: Sequence[Change]) -> list[_Outcome]:
        store = KeyStore(connection)
        held = await store.hold({change.key_id for change in changes})
        outcomes = []
        for change in changes:
            key = held.get(change.key_id)
            if key is None:
                outcomes.append(_Outcome(applied=False, unknown=change.key_id))
                continue
            actor = Actor(developer_id=key.developer_id, call_id=self._call_id)
            if isinstance(change, Revocation):
                outcomes.append(await _revoke(connection, store, actor, key, change))
            else:
                outcomes.append(await _rotate(connection, store, actor, key, change))
        return outcomes


async def _revoke(
    connection: Connection, store: KeyStore, actor: Actor, key: ApiKey, revocation: Revocation
) -> _Outcome:
    if key.revoked_at is not None or not await store.revoke(key.developer_id, key.id, revocation.at):
        return _Outcome(applied=False)
    details = {"key_prefix": key.key_prefix, "reapplied_from": revocation.event_id}
    await record(connection, actor, Action.KEY_REVOCATION_REAPPLIED, key.id, details)
    return _Outcome(applied=True)


async def _rotate(connection: Connection, store: KeyStore, actor: Actor, key: ApiKey, rotation: Rotation) -> _Outcome:
    """End the secrets that were replaced. An older one whose grace was longer ends with them, on the safe side."""
    ended, known = await store.end_older_secrets(key.id, rotation.version, rotation.at, rotation.previous_expires_at)
    if ended:
        details = {
            "version": rotation.version,
            "previous_expires_at": rotation.previous_expires_at.isoformat(),
            "reapplied_from": rotation.event_id,
        }
        await record(connection, actor, Action.KEY_ROTATION_REAPPLIED, key.id, details)
    return _Outcome(applied=bool(ended), unknown="" if known else f"{key.id}, version {rotation.version}")
