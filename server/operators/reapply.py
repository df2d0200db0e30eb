"""Apply again to a restored database what the log tells of revocations and other ends that its backup did not see.

What is applied takes something away and gives nothing, so lines may be read in any order and any number of times.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from server.audit.logged import LoggedEvent, NotUnderstood, find_event
from server.audit.reapplied import Outcome
from server.audit.store import Action, AuditStore
from server.clients.logged import ClientChange, find_client_change
from server.clients.reapply import reapply_to_clients
from server.ids import DeveloperId, new_call_id
from server.keys.logged import KeyChange, find_key_change
from server.keys.reapply import reapply_to_keys
from server.operators.standing import Standing, find_standing, suspend_again
from server.postgres.pool import Connection, Database

Change = KeyChange | ClientChange | Standing

_AT_ONCE = 20
"""Changes in one transaction: few enough for its budget even over a slow network."""
_TOLD_LINES = 500_000
_COUNTED = {
    Action.KEY_REVOCATION_REAPPLIED: "Keys revoked",
    Action.KEY_ROTATION_REAPPLIED: "Rotations applied",
    Action.KEY_GRACE_END_REAPPLIED: "Graces ended",
    Action.CLIENT_DELETION_REAPPLIED: "Clients deleted",
    Action.CLIENT_SECRET_END_REAPPLIED: "Secrets of clients ended",
    Action.CLIENT_UPDATE_REAPPLIED: "Clients narrowed",
    Action.DEVELOPER_SUSPENSION_REAPPLIED: "Developers suspended",
}


class Reapplication:
    """One run over any number of logs: what was read, what was changed, what could not be."""

    def __init__(self, database: Database, tell: Callable[[str], None]) -> None:
        """`tell` takes sentences for the operator."""
        self._database = database
        self._tell = tell
        self._call_id = new_call_id()
        self._standings: dict[DeveloperId, Standing] = {}
        self._suspended: set[DeveloperId] = set()
        self.lines = 0
        self.changes = 0
        self.faults = 0
        self.applied: Counter[Action] = Counter()
        self.unknown: set[str] = set()

    @property
    def summary(self) -> str:
        """Say in one line what came of it."""
        applied = " ".join(f"{told}: {self.applied[action]:,}." for action, told in _COUNTED.items())
        return (
            f"Lines: {self.lines:,}. Changes to apply among them: {self.changes:,}. {applied} "
            f"Not in this database: {len(self.unknown):,}. Lines not understood: {self.faults:,}."
        )

    async def read(self, name: str, lines: Iterable[bytes]) -> None:
        """Apply what one log tells, but for suspensions; `name` is what the operator calls it.

        Raises:
            Unavailable: the database went away; what was applied stays, and all can be read again.
        """
        batch: list[Change] = []
        for number, line in enumerate(lines, 1):
            self.lines += 1
            if self.lines % _TOLD_LINES == 0:
                self._tell(f"{self.lines:,} lines read, {self.changes:,} changes to apply")
            try:
                event = find_event(line)
                change = _find_change(event) if event else None
            except NotUnderstood as fault:
                self.faults += 1
                self._tell(f"{name}, line {number}: {fault}")
                continue
            if isinstance(change, Standing):
                self._note(change)
            elif change is not None:
                batch.append(change)
            if len(batch) == _AT_ONCE:
                await self._apply(batch)
                batch = []
        await self._apply(batch)

    async def finish(self) -> None:
        """Suspend whom all the logs that were read leave suspended. Raises Unavailable as `read` does.

        The log may tell of a change that was then not made. All else that this could do is to take away.
        """
        for standing in self._standings.values():
            let_in = standing.developer_id in self._suspended and not standing.is_suspended
            if let_in and not await AuditStore(self._database).has(standing.event_id):
                self._tell(
                    f"{standing.developer_id}: was suspended and, as the log has it, let in again; see whether so"
                )
        suspended = [standing for standing in self._standings.values() if standing.is_suspended]
        suspended.sort(key=lambda standing: standing.developer_id)
        for begin in range(0, len(suspended), _AT_ONCE):
            await self._apply(suspended[begin : begin + _AT_ONCE])

    def _note(self, standing: Standing) -> None:
        """Keep the latest that was read of a developer's standing, and who was suspended at all."""
        if standing.is_suspended:
            self._suspended.add(standing.developer_id)
        known = self._standings.get(standing.developer_id)
        if known is None or known.at < standing.at:
            self._standings[standing.developer_id] = standing

    async def _apply(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        self.changes += len(changes)
        for outcome in await self._database.transaction(lambda connection: self._write(connection, changes)):
            if outcome.action is not None:
                self.applied[outcome.action] += 1
            if outcome.remark:
                self._tell(outcome.remark)
            if outcome.unknown and outcome.unknown not in self.unknown:
                self.unknown.add(outcome.unknown)
                self._tell(f"{outcome.unknown}: not in this database, so made after its backup, and lost")

    async def _write(self, connection: Connection, changes: Sequence[Change]) -> list[Outcome]:
        of_keys = [change for change in changes if isinstance(change, KeyChange)]
        of_clients = [change for change in changes if isinstance(change, ClientChange)]
        standings = [change for change in changes if isinstance(change, Standing)]
        outcomes = await reapply_to_keys(connection, self._call_id, of_keys)
        outcomes += await reapply_to_clients(connection, self._call_id, of_clients)
        return outcomes + [await suspend_again(connection, self._call_id, standing) for standing in standings]


def _find_change(event: LoggedEvent) -> Change | None:
    """Read what an event tells of something that ends. Raises NotUnderstood."""
    return find_key_change(event) or find_client_change(event) or find_standing(event)
