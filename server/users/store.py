"""Users in PostgreSQL: one method per named statement of `queries.sql`. No rule is decided here."""

from pathlib import Path

from server.postgres.pool import Connection, Database, Record
from server.postgres.queries import load
from server.users.model import User

_SQL = load(Path(__file__).with_name("queries.sql"))


class UserStore:
    """Reads and writes users over a pool for single statements, or over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def create(self, username: str, password_hash: str) -> User | None:
        """Add a user; None when the name is taken."""
        return _user(await self._connection.fetchrow(_SQL["create_user"], username, password_hash))

    async def find(self, username: str) -> User | None:
        """Read one user."""
        return _user(await self._connection.fetchrow(_SQL["find_user"], username))

    async def set_password(self, username: str, password_hash: str) -> User | None:
        """Give a user another password; None when there is no such user."""
        return _user(await self._connection.fetchrow(_SQL["set_password"], username, password_hash))

    async def renew_hash(self, username: str, old: str, new: str) -> None:
        """Put one hash of a password in the place of another, unless the password has changed meanwhile."""
        await self._connection.execute(_SQL["renew_hash"], username, old, new)

    async def disable(self, username: str) -> User | None:
        """Keep a user from signing in; None when there is no such user in good standing."""
        return _user(await self._connection.fetchrow(_SQL["disable_user"], username))

    async def enable(self, username: str) -> User | None:
        """Let a user sign in again; None when there is no such disabled user."""
        return _user(await self._connection.fetchrow(_SQL["enable_user"], username))


def _user(row: Record | None) -> User | None:
    return User(**dict(row)) if row else None
