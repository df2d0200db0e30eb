"""Secret versions of keys and clients in PostgreSQL, as those who find one somewhere ask for them."""

from collections.abc import Collection
from pathlib import Path

from server.audit.store import Action
from server.leaks.model import HeldSecret, Holder
from server.postgres.pool import Connection, Database
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


class LeakStore:
    """Reads over a pool; holds and ends secrets over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def find(self, prefixes: Collection[str]) -> dict[str, HeldSecret]:
        """Read those of some secrets that exist, of any developer, by prefix. A prefix alone proves nothing."""
        rows = await self._connection.fetch(_SQL["find_secrets"], list(prefixes))
        return {row["prefix"]: HeldSecret(**{**row, "holder": Holder(row["holder"])}) for row in rows}

    async def hold(self, secret: HeldSecret) -> None:
        """Hold the row of what a secret belongs to until the transaction ends."""
        statement = "hold_key" if secret.holder is Holder.KEY else "hold_client"
        await self._connection.execute(_SQL[statement], secret.holder_id, secret.developer_id)

    async def end(self, secret: HeldSecret) -> None:
        """End a secret version of a held key (one that retires) or client now, and no other version of it."""
        statement = "end_key_secret" if secret.holder is Holder.KEY else "end_client_secret"
        await self._connection.execute(_SQL[statement], secret.prefix, secret.holder_id)

    async def is_reported(self, secret: HeldSecret, url: str) -> bool:
        """Tell whether a leak of this secret at this place was recorded before."""
        action = Action.KEY_LEAK_REPORTED.value
        row = await self._connection.fetchrow(
            _SQL["find_report"], secret.developer_id, secret.holder_id, action, secret.prefix, url
        )
        return row is not None and bool(row["reported"])
