"""API keys in PostgreSQL: one method per named statement of `queries.sql`. No rule is decided here."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from server.ids import DeveloperId, KeyId
from server.keys.filter import EVERY_KEY, KeyFilter
from server.keys.model import ApiKey, Environment, Status
from server.postgres.pool import Connection, Database, Record
from server.postgres.queries import load
from server.rotation import StoredSecret

_SQL = load(Path(__file__).with_name("queries.sql"))

SECRET_PREFIX_CONSTRAINT = "api_key_secrets_pkey"  # noqa: S105 - a constraint's name


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key about to be added."""

    id: KeyId
    developer_id: DeveloperId
    name: str
    environment: Environment
    scopes: tuple[str, ...]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedRequest:
    """What an earlier use of a request id left. `sealed` is None once its 10 minutes are over."""

    payload_digest: bytes
    key_id: str | None
    pepper_version: int | None
    sealed: bytes | None


class KeyStore:
    """Reads and writes keys over a pool for single statements, or over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def hold_developer(self, developer_id: DeveloperId) -> int:
        """Hold a developer's row until the transaction ends and return how many live keys its tier allows."""
        row = await self._the_row("hold_developer", developer_id)
        return int(row["max_keys"])

    async def count_live_keys(self, developer_id: DeveloperId, limit: int) -> int:
        """Count the keys of a developer that are neither revoked nor expired, no further than `limit`."""
        row = await self._the_row("count_live_keys", developer_id, limit)
        return int(row["count"])

    async def create(self, key: NewKey, secret: StoredSecret) -> ApiKey | None:
        """Add a key with its first secret; None, and nothing added, when its expiry is not in the future.

        Raises:
            ConstraintViolation: on `SECRET_PREFIX_CONSTRAINT`, the drawn prefix is taken.
        """
        row = await self._connection.fetchrow(
            _SQL["create_key"],
            key.id,
            key.developer_id,
            key.name,
            key.environment.value,
            list(key.scopes),
            secret.prefix,
            key.expires_at,
            secret.digest,
            secret.pepper_version,
        )
        return _key(row) if row else None

    async def find(self, developer_id: DeveloperId, key_id: KeyId) -> ApiKey | None:
        """Read one key of a developer."""
        row = await self._connection.fetchrow(_SQL["find_key"], key_id, developer_id)
        return _key(row) if row else None

    async def lock(self, developer_id: DeveloperId, key_id: KeyId) -> tuple[ApiKey, datetime] | None:
        """Read one key and hold it until the transaction ends; with it, the database's time once it is held."""
        row = await self._connection.fetchrow(_SQL["lock_key"], key_id, developer_id)
        return (_key(row), row["now"]) if row else None

    async def list_newest(
        self,
        developer_id: DeveloperId,
        limit: int,
        after: tuple[datetime, str] | None,
        wanted: KeyFilter = EVERY_KEY,
    ) -> list[ApiKey]:
        """Read up to `limit` of the wanted keys, newest first, from the top or after the (created_at, id) of a key."""
        if not wanted.is_empty:
            revoked = None if wanted.status is None else wanted.status is Status.REVOKED
            environment = wanted.environment and wanted.environment.value
            position = after or (None, None)
            rows = await self._connection.fetch(
                _SQL["list_matching_keys"], developer_id, limit, *position, revoked, environment, wanted.query or None
            )
        elif after is None:
            rows = await self._connection.fetch(_SQL["list_first_keys"], developer_id, limit)
        else:
            rows = await self._connection.fetch(_SQL["list_next_keys"], developer_id, limit, *after)
        return [_key(row) for row in rows]

    async def update(self, key: ApiKey, *, name: str | None, new_expiry: bool, expires_at: datetime | None) -> ApiKey:
        """Change the name (unless None) and the expiry (when `new_expiry`) of a held key."""
        row = await self._the_row(
            "update_key", key.id, key.developer_id, name is not None, name, new_expiry, expires_at
        )
        return _key(row)

    async def revoke(self, developer_id: DeveloperId, key_id: KeyId, at: datetime | None = None) -> ApiKey | None:
        """Revoke a key and end its secrets, now or as of a time before; None when no such key could be revoked.

        Two statements, so that the second sees the secret of a rotation which the first had to wait for.
        """
        row = await self._connection.fetchrow(_SQL["revoke_key"], key_id, developer_id, at)
        if row is None:
            return None
        await self._connection.execute(_SQL["end_secrets"], key_id, row["revoked_at"])
        return _key(row)

    async def _the_row(self, statement: str, *arguments: object) -> Record:
        """Run a statement that always gives a row.

        Raises:
            LookupError: it gave none, which is a fault of ours.
        """
        row = await self._connection.fetchrow(_SQL[statement], *arguments)
        if row is None:
            raise LookupError(f"{statement} gave no row")
        return row

    async def count_live_secrets(self, key_id: KeyId, now: datetime) -> int:
        """Count the secrets of a held key that work at `now`."""
        row = await self._the_row("count_live_secrets", key_id, now)
        return int(row["count"])

    async def retire_current_secret(self, key_id: KeyId, deadline: datetime) -> None:
        """Give the current secret of a held key its deadline."""
        await self._connection.execute(_SQL["retire_current_secret"], key_id, deadline)

    async def end_secrets(self, key_id: KeyId, now: datetime) -> None:
        """End every secret of a held key."""
        await self._connection.execute(_SQL["end_secrets"], key_id, now)

    async def hold(self, key_ids: Collection[KeyId]) -> dict[KeyId, ApiKey]:
        """Read those of some keys that exist, of any developer, and hold them until the transaction ends."""
        rows = await self._connection.fetch(_SQL["hold_keys"], list(key_ids))
        return {row["id"]: _key(row) for row in rows}

    async def end_older_secrets(
        self, key_id: KeyId, version: int, rotated_at: datetime, ends_at: datetime
    ) -> tuple[int, bool]:
        """End what a rotation of a held key to `version` replaced, at `ends_at` or when it ends already, if earlier.

        Return how many secrets that changed, and whether the rotation's own secret exists.
        """
        row = await self._the_row("end_older_secrets", key_id, version, rotated_at, ends_at)
        return row["ended"], row["known"]

    async def end_replaced_secret(
        self, key_id: KeyId, version: int, key_prefix: str, ends_at: datetime
    ) -> tuple[bool, bool]:
        """End a replaced secret of a held key at a past time; tell whether that changed it, and whether it exists."""
        row = await self._the_row("end_replaced_secret", key_id, version, key_prefix, ends_at)
        return row["ended"], row["known"]

    async def add_secret(self, key_id: KeyId, secret: StoredSecret, now: datetime) -> tuple[ApiKey, int]:
        """Add the next secret of a held key and return the key with the version's number.

        Raises:
            ConstraintViolation: on `SECRET_PREFIX_CONSTRAINT`, the drawn prefix is taken.
        """
        row = await self._the_row("add_secret", key_id, secret.prefix, secret.digest, secret.pepper_version, now)
        return _key(row), row["version"]

    async def claim_request(self, developer_id: DeveloperId, method: str, request: bytes, payload: bytes) -> bool:
        """Claim a request id by its digest, with the digest of what is asked; False when it was used before."""
        return bool(await self._connection.fetchrow(_SQL["claim_request"], developer_id, method, request, payload))

    async def find_request(self, developer_id: DeveloperId, method: str, request: bytes) -> UsedRequest | None:
        """Read what the earlier use of a request id left; None when it was forgotten just now."""
        row = await self._connection.fetchrow(_SQL["find_request"], developer_id, method, request)
        return UsedRequest(**dict(row)) if row else None

    async def answer_request(
        self, developer_id: DeveloperId, method: str, request: bytes, key_id: KeyId, sealed: bytes, pepper_version: int
    ) -> None:
        """Leave the sealed answer under a claimed request id."""
        await self._connection.execute(
            _SQL["answer_request"], developer_id, method, request, key_id, sealed, pepper_version
        )

    async def sweep_requests(self, limit: int) -> int:
        """Erase up to `limit` sealed answers after 10 minutes, drop as many request ids after 24 hours; count both."""
        erased = await self._the_row("erase_sealed_answers", limit)
        forgotten = await self._the_row("forget_requests", limit)
        return int(erased["count"]) + int(forgotten["count"])


def _key(row: Record) -> ApiKey:
    return ApiKey(
        id=row["id"],
        developer_id=row["developer_id"],
        name=row["name"],
        environment=Environment(row["environment"]),
        scopes=tuple(row["scopes"]),
        key_prefix=row["key_prefix"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
