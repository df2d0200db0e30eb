"""Which secrets of a key are in use, and the end of one before its time."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from server.audit.store import Action, Actor, record
from server.errors import Conflict, NotFound
from server.ids import DeveloperId, KeyId, find_key_id
from server.keys.verifiers import NoVerifiers, Verifiers
from server.keys.versions.model import Calls, KeySecret, SecretVersion, Spans, is_safe_to_end, last_use
from server.keys.versions.store import VersionStore
from server.postgres.pool import Connection, Database

_LISTED = 20


class VersionService:
    """Shows developers the secrets of their keys and ends those that are in grace."""

    def __init__(self, database: Database, reports: Database, verifiers: Verifiers | None = None) -> None:
        """Change things in `database`; read the use of keys, which takes longer, in `reports`."""
        self._database = database
        self._reports = reports
        self._verifiers = verifiers or NoVerifiers()

    async def list(self, developer_id: DeveloperId, key_id: str) -> Sequence[SecretVersion]:
        """Return a key's secrets, newest first, 20 at most: all that work and the last ones that ended.

        Raises:
            NotFound: this developer has no such key.
        """
        known = find_key_id(key_id)
        if known is None:
            raise _no_such_key()
        return await self._read(developer_id, known, None)

    async def end_grace(self, actor: Actor, key_id: str, version: int) -> SecretVersion:
        """End a secret that was replaced now, before its grace period is over.

        Raises:
            NotFound: this developer has no such key, or the key no such secret.
            Conflict: the secret is the current one, or it has ended.
        """
        known = find_key_id(key_id)
        if known is None:
            raise _no_such_key()

        async def work(connection: Connection) -> None:
            store = VersionStore(connection)
            prefix = await store.end_grace(actor.developer_id, known, version)
            if prefix is None:
                raise await _refusal(store, actor.developer_id, known, version)
            details = {"key_prefix": prefix, "version": version}
            await record(connection, actor, Action.KEY_GRACE_ENDED, known, details)

        await self._database.transaction(work)
        self._verifiers.forget(known)
        (ended,) = await self._read(actor.developer_id, known, version)
        return ended

    async def _read(self, developer_id: DeveloperId, key_id: KeyId, version: int | None) -> Sequence[SecretVersion]:
        """Read the newest secrets with their use, on one connection; or one `version` alone."""
        async with self._reports.connection() as connection:
            store = VersionStore(connection)
            now = await store.find_key(developer_id, key_id)
            if now is None:
                raise _no_such_key()
            spans = Spans.before(now)
            secrets = await store.list_secrets(key_id, now, _LISTED, version)
            calls = await store.sum_up_calls(key_id, spans)
            hours = await store.list_hours(key_id, spans)
            points = {number: sums.last_point for number, sums in calls.items() if sums.last_point is not None}
            operations = await store.list_last_operations(key_id, spans, points)
        return [
            SecretVersion(
                secret=secret,
                state=secret.state(now),
                calls=calls.get(secret.version, Calls()),
                hours=tuple(hours.get(secret.version, ())),
                last_operation=operations.get(secret.version, ""),
                safe_to_end=_is_safe_to_end(secret, secrets, calls, now),
            )
            for secret in secrets
        ]


def _is_safe_to_end(secret: KeySecret, secrets: Sequence[KeySecret], calls: Mapping[int, Calls], now: datetime) -> bool:
    newer = [last_use(each, calls.get(each.version, Calls())) for each in secrets if each.version > secret.version]
    return is_safe_to_end(secret, calls.get(secret.version, Calls()), newer, now)


async def _refusal(store: VersionStore, developer_id: DeveloperId, key_id: KeyId, version: int) -> NotFound | Conflict:
    """Say why a secret could not be ended."""
    if await store.find_key(developer_id, key_id) is None:
        return _no_such_key()
    is_current = await store.is_current(developer_id, key_id, version)
    if is_current is None:
        return NotFound("This API key has no secret of that version.")
    if is_current:
        return Conflict("This is the current secret. Rotate the key to replace it, or revoke the key.")
    return Conflict("This secret has ended already.")


def _no_such_key() -> NotFound:
    return NotFound("There is no such API key, or it is not yours.")
