"""What becomes of a change that is applied again to a restored database."""

from collections.abc import Mapping
from typing import NamedTuple

from server.audit.store import Action, Actor, record
from server.postgres.pool import Connection


class Outcome(NamedTuple):
    """The event that tells of a change applied again, None when nothing was left to do.

    `unknown` names what the change tells of and the database does not have; `remark` is what is left for people to do.
    Both are empty as a rule.
    """

    action: Action | None = None
    unknown: str = ""
    remark: str = ""


async def record_again(
    connection: Connection,
    actor: Actor,
    action: Action,
    target_id: str,
    event_id: str,
    details: Mapping[str, object] | None = None,
) -> None:
    """Record that the change of the event `event_id`, which the database has lost, was applied again."""
    await record(connection, actor, action, target_id, {**(details or {}), "reapplied_from": event_id})
