"""Apply again to a restored database what the log tells of keys that were revoked and of secrets that were ended.

Changes may come in any order and any number of times: a key is revoked once, and the end of a secret only ever moves to
an earlier time.
"""

from collections.abc import Sequence
from typing import assert_never

from server.audit.reapplied import Outcome, record_again
from server.audit.store import Action, Actor
from server.keys.logged import GraceEnd, KeyChange, Revocation, Rotation
from server.keys.model import ApiKey
from server.keys.store import KeyStore
from server.postgres.pool import Connection


async def reapply_to_keys(connection: Connection, call_id: str, changes: Sequence[KeyChange]) -> list[Outcome]:
    """Apply changes of keys, in this transaction, and tell of each what came of it."""
    if not changes:
        return []
    held = await KeyStore(connection).hold({change.key_id for change in changes})
    outcomes = []
    for change in changes:
        key = held.get(change.key_id)
        outcomes.append(await _apply(connection, call_id, key, change) if key else Outcome(unknown=change.key_id))
    return outcomes


async def _apply(connection: Connection, call_id: str, key: ApiKey, change: KeyChange) -> Outcome:
    actor = Actor(developer_id=key.developer_id, call_id=call_id)
    match change:
        case Revocation():
            return await _revoke(connection, actor, key, change)
        case Rotation():
            return await _rotate(connection, actor, key, change)
        case GraceEnd():
            return await _end_grace(connection, actor, key, change)
        case _:
            assert_never(change)


async def _revoke(connection: Connection, actor: Actor, key: ApiKey, revocation: Revocation) -> Outcome:
    if not await KeyStore(connection).revoke(key.developer_id, key.id, revocation.at):
        return Outcome()
    action, details = Action.KEY_REVOCATION_REAPPLIED, {"key_prefix": key.key_prefix}
    await record_again(connection, actor, action, key.id, revocation.event_id, details)
    return Outcome(action)


async def _rotate(connection: Connection, actor: Actor, key: ApiKey, rotation: Rotation) -> Outcome:
    """End the secrets that were replaced. An older one whose grace was longer ends with them, on the safe side."""
    version, ends_at = rotation.version, rotation.previous_expires_at
    ended, known = await KeyStore(connection).end_older_secrets(key.id, version, rotation.at, ends_at)
    unknown = "" if known else f"{key.id}, version {version}"
    if not ended:
        return Outcome(unknown=unknown)
    action = Action.KEY_ROTATION_REAPPLIED
    details = {"version": version, "previous_expires_at": ends_at.isoformat()}
    await record_again(connection, actor, action, key.id, rotation.event_id, details)
    return Outcome(action, unknown)


async def _end_grace(connection: Connection, actor: Actor, key: ApiKey, end: GraceEnd) -> Outcome:
    """End the secret whether or not its rotation has been applied before; one that is not known has been lost."""
    ended, known = await KeyStore(connection).end_replaced_secret(key.id, end.version, end.key_prefix, end.at)
    if not ended:
        return Outcome(unknown="" if known else f"{key.id}, version {end.version}")
    action, details = Action.KEY_GRACE_END_REAPPLIED, {"key_prefix": end.key_prefix, "version": end.version}
    await record_again(connection, actor, action, key.id, end.event_id, details)
    return Outcome(action)
