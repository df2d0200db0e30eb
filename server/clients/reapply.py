"""Apply again to a restored database what the log tells of OAuth clients: what was deleted, ended and taken away.

Changes may come in any order and any number of times: a client is deleted once, the end of a secret only ever moves to
an earlier time, and what a client lost stays lost until its owner gives it again.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from server.audit.reapplied import Outcome, record_again
from server.audit.store import Action, Actor, AuditStore
from server.clients.logged import (
    ClientChange,
    Deletion,
    Narrowing,
    SecretEnd,
    SecretRotation,
    given_by,
    names_all,
)
from server.clients.service import changes_between
from server.clients.store import ClientStore
from server.postgres.pool import Connection

_NOTHING_LEFT = "has no redirect URI or no scope left until its owner names others"
_UNCERTAIN = "was given more redirect URIs again than its events name; see whether it has one that was taken from it"
_GRANTS_AT_ONCE = 500
"""How many grants go with a client, so that there is time for many; the others are worth nothing without it."""


async def reapply_to_clients(connection: Connection, call_id: str, changes: Sequence[ClientChange]) -> list[Outcome]:
    """Apply changes of clients, in this transaction, and tell of each what came of it."""
    if not changes:
        return []
    owners = await ClientStore(connection).hold({change.client_id for change in changes})
    outcomes = []
    for change in changes:
        if owner := owners.get(change.client_id):
            actor = Actor(developer_id=owner, call_id=call_id)
            outcomes.append(await _apply(connection, actor, change))
        else:
            outcomes.append(Outcome(unknown=change.client_id))
    return outcomes


async def _apply(connection: Connection, actor: Actor, change: ClientChange) -> Outcome:
    match change:
        case Deletion():
            return await _delete(connection, actor, change)
        case SecretRotation():
            return await _rotate(connection, actor, change)
        case SecretEnd():
            return await _end_secret(connection, actor, change)
        case Narrowing():
            return await _narrow(connection, actor, change)
        case _:
            assert_never(change)


async def _delete(connection: Connection, actor: Actor, deletion: Deletion) -> Outcome:
    store, client_id = ClientStore(connection), deletion.client_id
    deleted = await store.delete(actor.developer_id, client_id, deletion.at, most_grants=_GRANTS_AT_ONCE)
    if deleted is None:
        return Outcome()
    action, details = Action.CLIENT_DELETION_REAPPLIED, {"name": deleted.name, "grants_revoked": deleted.grants}
    await record_again(connection, actor, action, client_id, deletion.event_id, details)
    return Outcome(action)


async def _rotate(connection: Connection, actor: Actor, rotation: SecretRotation) -> Outcome:
    """End the secrets that were replaced. An older one whose grace was longer ends with them, on the safe side."""
    client_id, version, ends_at = rotation.client_id, rotation.version, rotation.previous_expires_at
    ended, known = await ClientStore(connection).end_older_secrets(client_id, version, rotation.at, ends_at)
    unknown = "" if known else f"{client_id}, version {version}"
    if not ended:
        return Outcome(unknown=unknown)
    action = Action.CLIENT_SECRET_END_REAPPLIED
    details = {"version": version, "previous_expires_at": ends_at.isoformat()}
    await record_again(connection, actor, action, client_id, rotation.event_id, details)
    return Outcome(action, unknown)


async def _end_secret(connection: Connection, actor: Actor, end: SecretEnd) -> Outcome:
    ended, known = await ClientStore(connection).end_leaked_secret(
        end.client_id, end.version, end.secret_prefix, end.at
    )
    if not ended:
        return Outcome(unknown="" if known else f"{end.client_id}, version {end.version}")
    action = Action.CLIENT_SECRET_END_REAPPLIED
    details = {"secret_prefix": end.secret_prefix, "version": end.version}
    await record_again(connection, actor, action, end.client_id, end.event_id, details)
    return Outcome(action)


async def _narrow(connection: Connection, actor: Actor, narrowing: Narrowing) -> Outcome:
    """Take from a client what it lost, but for what a later change of its owner that is known here gave it again."""
    store, audit, client_id = ClientStore(connection), AuditStore(connection), narrowing.client_id
    held = await store.lock(actor.developer_id, client_id)
    if held is None:
        return Outcome()  # it has been deleted
    client, _ = held
    has = {*client.redirect_uris, *client.allowed_scopes}
    if narrowing.lost.isdisjoint(has) or await audit.has(narrowing.event_id):
        return Outcome()
    later = await audit.list_details_after(actor.developer_id, client_id, Action.CLIENT_UPDATED, narrowing.at)
    lost, remark = narrowing.lost.difference(*map(given_by, later)), ""
    if not all(map(names_all, later)):
        lost, remark = lost.intersection(client.allowed_scopes), f"{client_id}: {_UNCERTAIN}"
    uris = tuple(uri for uri in client.redirect_uris if uri not in lost)
    scopes = tuple(scope for scope in client.allowed_scopes if scope not in lost)
    if lost.isdisjoint(has):
        return Outcome(remark=remark)
    after = await store.update(replace(client, redirect_uris=uris, allowed_scopes=scopes))
    action = Action.CLIENT_UPDATE_REAPPLIED
    await record_again(connection, actor, action, client_id, narrowing.event_id, changes_between(client, after))
    return Outcome(action, remark=remark if uris and scopes else f"{client_id}: {_NOTHING_LEFT}")
