"""Suspend again in a restored database the developers whom the log tells to be suspended."""

from dataclasses import dataclass
from datetime import datetime

from server.accounts.store import AccountStore
from server.audit.logged import LoggedEvent, NotUnderstood
from server.audit.reapplied import Outcome, record_again
from server.audit.store import Action, Actor, AuditStore
from server.ids import DeveloperId, find_developer_id
from server.operators.store import OperatorStore
from server.postgres.pool import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A developer was suspended, or let in again."""

    event_id: str
    developer_id: DeveloperId
    at: datetime
    is_suspended: bool


def find_standing(event: LoggedEvent) -> Standing | None:
    """Read what an event tells of a developer's standing; None when that is nothing.

    Raises:
        NotUnderstood: it tells of it, and something is missing.
    """
    if event.action not in (Action.DEVELOPER_SUSPENDED, Action.DEVELOPER_RESUMED):
        return None
    developer_id = find_developer_id(event.target_id)
    if developer_id is None:
        raise NotUnderstood("an audit event whose target_id names no developer")
    is_suspended = event.action is Action.DEVELOPER_SUSPENDED
    return Standing(event_id=event.id, developer_id=developer_id, at=event.at, is_suspended=is_suspended)


async def suspend_again(connection: Connection, call_id: str, standing: Standing) -> Outcome:
    """Suspend a developer of whom the log knows nothing later, unless the database knows of a later resumption."""
    developer_id = standing.developer_id
    if await AccountStore(connection).hold(developer_id) is None:
        return Outcome(unknown=developer_id)
    resumed = await AuditStore(connection).list_details_after(
        developer_id, developer_id, Action.DEVELOPER_RESUMED, standing.at
    )
    if resumed or not await OperatorStore(connection).suspend(developer_id, standing.at):
        return Outcome()
    actor, action = Actor(developer_id=developer_id, call_id=call_id), Action.DEVELOPER_SUSPENSION_REAPPLIED
    await record_again(connection, actor, action, developer_id, standing.event_id)
    return Outcome(action)
