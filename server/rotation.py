"""Give something a new secret while its earlier ones run out: the rules that API keys and OAuth clients share.

A secret is a *version* of its owner: the newest has no deadline of its own, the others end at theirs. Whoever rotates
holds the owner's row until its transaction ends, so that no two rotations cross.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from server.errors import Conflict
from server.peppers import Peppers
from server.postgres.errors import ConstraintViolation
from server.postgres.pool import Connection, Database
from server.secret import Secret, prefix_of

MAXIMUM_LIVE_SECRETS = 5

_DRAWS = 3

T = TypeVar("T")
OwnerT = TypeVar("OwnerT", bound=str)
_OwnerT_contra = TypeVar("_OwnerT_contra", bound=str, contravariant=True)


class SecretVersions(Protocol[_OwnerT_contra]):
    """The secret versions of owners whose rows the caller holds."""

    async def count_live_secrets(self, owner_id: _OwnerT_contra, now: datetime, /) -> int:
        """Count the secrets that work at `now`."""

    async def retire_current_secret(self, owner_id: _OwnerT_contra, deadline: datetime, /) -> None:
        """Give the current secret its deadline."""

    async def end_secrets(self, owner_id: _OwnerT_contra, now: datetime, /) -> None:
        """End every secret at `now`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """What is kept of a secret: where it is found and how it is proved."""

    prefix: str
    digest: bytes
    pepper_version: int

    @classmethod
    def of(cls, secret: Secret, peppers: Peppers) -> "StoredSecret":
        """Digest a secret under the current pepper."""
        version = peppers.current
        return cls(prefix=prefix_of(secret), digest=peppers.digest(secret, version), pepper_version=version)


class Rotation:
    """Says when earlier secrets end."""

    def __init__(self, grace: timedelta, owner: str) -> None:
        """Take how long a replaced secret works on, and what to call its owner in a sentence, e.g. `key`."""
        self._grace = grace
        self._owner = owner

    async def retire(
        self,
        versions: SecretVersions[OwnerT],
        owner_id: OwnerT,
        now: datetime,
        *,
        at_once: bool,
        latest: datetime | None = None,
    ) -> datetime:
        """Give the current secret its deadline, or end every secret `at_once`, and return the deadline.

        It is the end of the grace period, and never after `latest`, when the owner itself ends.

        Raises:
            Conflict: five secrets still work, and are not to end at once.
        """
        if at_once:
            await versions.end_secrets(owner_id, now)
            return now
        if await versions.count_live_secrets(owner_id, now) >= MAXIMUM_LIVE_SECRETS:
            raise Conflict(
                f"{MAXIMUM_LIVE_SECRETS} secrets of this {self._owner} still work. Wait for one to end, "
                "or rotate with expire_previous_now to end them all."
            )
        deadline = now + self._grace if latest is None else min(now + self._grace, latest)
        await versions.retire_current_secret(owner_id, deadline)
        return deadline


async def redrawing(database: Database, work: Callable[[Connection], Awaitable[T]], constraint_name: str) -> T:
    """Run work that draws a secret in a transaction, anew when the drawn prefix is taken.

    `constraint_name` is the one that says so; it does for one draw in 2 * 10^7 at 10^7 secrets.
    """
    for _ in range(_DRAWS - 1):
        try:
            return await database.transaction(work)
        except ConstraintViolation as violation:
            if violation.constraint_name != constraint_name:
                raise
    return await database.transaction(work)
