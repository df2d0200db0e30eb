"""Say what secrets that were found somewhere are good for, and do with reported ones what the policy demands."""

from collections.abc import Sequence
from typing import assert_never

import structlog

from server.audit.store import Action, Actor, record
from server.ids import KeyId, new_call_id
from server.keys.store import KeyStore
from server.leaks.finder import find_prefix
from server.leaks.model import HeldSecret, Holder, Leak, Policy, State
from server.leaks.store import LeakStore
from server.peppers import Peppers
from server.postgres.pool import Connection, Database
from server.secret import Secret

REPORTER = "leak-report"
"""Who the audit log says it was."""

_AT_ONCE = 500
"""Prefixes in one statement."""

_log = structlog.get_logger(__name__)


class SecretExaminer:
    """Looks secrets up by prefix and proves them by digest."""

    def __init__(self, database: Database, peppers: Peppers) -> None:
        self._database = database
        self._peppers = peppers

    async def examine(self, secrets: Sequence[Secret]) -> list[State]:
        """Tell the state of each, in the order given; UNKNOWN is what was never ours, whatever its checksum.

        Raises:
            Unavailable: the database cannot be reached.
        """
        held = await self.find(secrets)
        return [State.UNKNOWN if secret is None else secret.state for secret in held]

    async def find(self, secrets: Sequence[Secret]) -> list[HeldSecret | None]:
        """Read each as it stands now; None for what was never ours."""
        prefixes = [find_prefix(secret.reveal()) for secret in secrets]
        wanted = sorted({prefix for prefix in prefixes if prefix is not None})
        found: dict[str, HeldSecret] = {}
        for begin in range(0, len(wanted), _AT_ONCE):
            found |= await LeakStore(self._database).find(wanted[begin : begin + _AT_ONCE])
        return [self._proved(secret, found.get(prefix or "")) for secret, prefix in zip(secrets, prefixes, strict=True)]

    def _proved(self, secret: Secret, held: HeldSecret | None) -> HeldSecret | None:
        """Return what is held only if the secret is the one: the prefix is public, so anybody can write the rest."""
        if held is None or not self._peppers.proves(secret, held.digest, held.pepper_version):
            return None
        return held


class LeakReports:
    """Takes reports of leaks whose sender is known. Taking one again changes and records nothing more."""

    def __init__(self, database: Database, peppers: Peppers, policy: Policy) -> None:
        self._database = database
        self._examiner = SecretExaminer(database, peppers)
        self._policy = policy

    async def take(self, leaks: Sequence[Leak]) -> list[bool]:
        """Act on those that open something, each in a transaction of its own; tell of each whether it is ours.

        Ours is a secret that we drew, live or dead. Several places of one secret count as one leak, the first.

        Raises:
            Unavailable: the database cannot be reached; what was done stays, and all can be reported again.
        """
        held = await self._examiner.find([leak.secret for leak in leaks])
        call_id = new_call_id()
        met: set[str] = set()
        for leak, secret in zip(leaks, held, strict=True):
            if secret is not None and secret.prefix not in met:
                met.add(secret.prefix)
                await self._act(leak, secret, call_id)
        return [secret is not None for secret in held]

    async def _act(self, leak: Leak, found: HeldSecret, call_id: str) -> None:
        state, done = found.state, False
        if state.is_live:
            state, done = await self._database.transaction(lambda open_: self._write(open_, leak, found, call_id))
        tell = _log.warning if done else _log.info
        tell(
            "leak_reported",
            key_prefix=found.prefix,
            developer_id=found.developer_id,
            state=state.value,
            outcome=self._policy.value if done else "none",
            call_id=call_id,
        )

    async def _write(self, connection: Connection, leak: Leak, found: HeldSecret, call_id: str) -> tuple[State, bool]:
        """Judge again what is held now, act on it, and return its state before that and whether anything was done."""
        store = LeakStore(connection)
        await store.hold(found)
        secret = (await store.find([found.prefix])).get(found.prefix)
        if secret is None or not secret.state.is_live:
            return State.UNKNOWN if secret is None else secret.state, False
        actor = Actor(developer_id=secret.developer_id, call_id=call_id, name=REPORTER)
        details = {"key_prefix": secret.prefix, "version": secret.version, "url": leak.url, "source": leak.source}
        match self._policy:
            case Policy.REVOKE:
                await _end(connection, actor, secret, details)
            case Policy.NOTIFY:
                if await store.is_reported(secret, leak.url):
                    return secret.state, False
                await record(connection, actor, Action.KEY_LEAK_REPORTED, secret.holder_id, details)
            case _:
                assert_never(self._policy)
        return secret.state, True


async def _end(connection: Connection, actor: Actor, secret: HeldSecret, details: dict[str, object]) -> None:
    """End what leaked and no more: with its current secret a key is revoked, another version only ends its grace.

    Whoever rotated because of the leak keeps the new secret; with the old one nobody can learn it.
    """
    store = LeakStore(connection)
    if secret.holder is Holder.CLIENT:
        await store.end(secret)
        await record(connection, actor, Action.KEY_LEAK_REPORTED, secret.holder_id, {**details, "ended": True})
    elif secret.retires:
        await store.end(secret)
        await record(connection, actor, Action.KEY_GRACE_ENDED, secret.holder_id, details)
    else:
        await KeyStore(connection).revoke(secret.developer_id, KeyId(secret.holder_id))
        await record(connection, actor, Action.KEY_REVOKED, secret.holder_id, details)
