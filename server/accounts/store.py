"""Developers, their accounts and the tiers they may ask for, in PostgreSQL."""

from collections.abc import Mapping
from pathlib import Path

from server.accounts.model import Account, Developer, Profile, TierOffer
from server.ids import DeveloperId
from server.postgres.pool import Connection, Database, Record
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


class DeveloperStore:
    """Reads and writes developers over a pool for single statements, or over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def find(self, issuer: str, subject: str) -> Developer | None:
        """Read the developer behind a subject of an issuer."""
        return _developer(await self._connection.fetchrow(_SQL["find_developer"], issuer, subject))

    async def register(self, developer_id: DeveloperId, issuer: str, subject: str) -> Developer | None:
        """Add a developer; None when another call just did."""
        return _developer(await self._connection.fetchrow(_SQL["register_developer"], developer_id, issuer, subject))

    async def hold(self, issuer: str, subject: str) -> Developer | None:
        """Read the developer behind a subject and hold its row until the transaction ends."""
        return _developer(await self._connection.fetchrow(_SQL["hold_identity"], issuer, subject))


class AccountStore:
    """Reads and writes accounts, over a pool or over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def hold(self, developer_id: DeveloperId) -> Developer | None:
        """Hold the row of a developer until the transaction ends."""
        return _developer(await self._connection.fetchrow(_SQL["hold_account"], developer_id))

    async def find(self, developer_id: DeveloperId) -> Account | None:
        """Read an account."""
        row = await self._connection.fetchrow(_SQL["find_account"], developer_id)
        return Account(**dict(row)) if row else None

    async def get(self, developer_id: DeveloperId) -> Account:
        """Read an account that exists.

        Raises:
            LookupError: it does not, which is a fault of ours: no developer is ever deleted.
        """
        account = await self.find(developer_id)
        if account is None:
            raise LookupError("the account of an authorised developer was not found")
        return account

    async def complete(self, developer_id: DeveloperId, profile: Profile) -> bool:
        """Write a developer's profile; False when it has one."""
        row = await self._connection.fetchrow(
            _SQL["complete_profile"],
            developer_id,
            profile.display_name,
            profile.contact_email,
            profile.organisation or None,
            profile.terms_version,
        )
        return row is not None

    async def update(self, developer_id: DeveloperId, changes: Mapping[str, str]) -> bool:
        """Change fields of a developer's profile by their names; False when it has none."""
        fields = ("display_name", "contact_email", "organisation", "terms_version")
        row = await self._connection.fetchrow(_SQL["update_profile"], developer_id, *map(changes.get, fields))
        return row is not None

    async def list_tiers(self) -> list[TierOffer]:
        """Read all tiers, the smallest first."""
        return [TierOffer(**dict(row)) for row in await self._connection.fetch(_SQL["list_tiers"])]

    async def settle_tier_request(self, developer_id: DeveloperId, tier: str | None, settlement: str) -> str | None:
        """Settle the wish that waits, if it is for `tier` (None: any), and return its tier, None if there is none."""
        row = await self._connection.fetchrow(_SQL["settle_tier_request"], developer_id, tier, settlement)
        return row["tier"] if row else None

    async def add_tier_request(self, request_id: str, developer_id: DeveloperId, tier: str, reason: str) -> None:
        """Add a wish of a developer who is held and has none that waits."""
        await self._connection.execute(_SQL["add_tier_request"], request_id, developer_id, tier, reason)


def _developer(row: Record | None) -> Developer | None:
    return Developer(**dict(row)) if row else None
