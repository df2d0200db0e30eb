"""Closing the accounts of people who sign in with a password: with everything that is open in their names, at once."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog

from server.errors import Conflict, InvalidRequest, NotFound
from server.operators.model import UserLine
from server.operators.store import OperatorStore
from server.postgres.pool import Connection, Database
from server.sessions.service import IDLE
from server.sessions.store import SessionStore
from server.times import format_time
from server.users.model import User, check_password, find_username, normalise_password
from server.users.passwords import Passwords
from server.users.store import UserStore

_log = structlog.get_logger(__name__)


class Closed(NamedTuple):
    """How much was open in a user's name and is closed: browser sessions, and grants of clients with their tokens."""

    sessions: int
    grants: int


class UserAccounts:
    """What operators do to users. Each change is one transaction with its consequences, and a line in the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_users(self, limit: int, after: str) -> tuple[list[UserLine], str]:
        """Return users by name, after a name, and the name to go on after (empty at the end)."""
        lines = await OperatorStore(self._database).list_users(limit + 1, after.replace("\0", ""))
        return lines[:limit], lines[limit - 1].username if len(lines) > limit else ""

    async def disable(self, name: str) -> Closed:
        """Keep a user from signing in, and close what is open.

        Raises:
            NotFound: there is no such user.
            Conflict: the user is disabled.
        """
        username = _username(name)

        async def work(connection: Connection) -> Closed:
            if await UserStore(connection).disable(username) is None:
                since = (await _existing(connection, username)).disabled_at
                told = f" since {format_time(since)}" if since else ""
                raise Conflict(f"{username} is disabled{told}; `user enable` ends that.")
            return await _close(connection, username)

        return await self._closing(username, "user_disabled", work)

    async def set_password(self, name: str, password: str, passwords: Passwords) -> Closed:
        """Give a user another password, and close what was opened with the old one; a disabled user stays so.

        Raises:
            NotFound: there is no such user.
            InvalidRequest: the password breaks a rule.
        """
        username = _username(name)
        await _existing(self._database, username)
        password = normalise_password(password)
        if fault := check_password(password, username):
            raise InvalidRequest([fault])
        password_hash = await passwords.hash(password)

        async def work(connection: Connection) -> Closed:
            if await UserStore(connection).set_password(username, password_hash) is None:
                raise _absent(username)
            return await _close(connection, username)

        return await self._closing(username, "user_password_set", work)

    async def enable(self, name: str) -> None:
        """Let a disabled user sign in again.

        Raises:
            NotFound: there is no such user.
            Conflict: the user is in good standing.
        """
        username = _username(name)
        if await UserStore(self._database).enable(username) is None:
            await _existing(self._database, username)
            raise Conflict(f"{username} is in good standing: there is nothing to enable.")
        _log.info("user_enabled", username=username)

    async def _closing(self, username: str, event: str, work: Callable[[Connection], Awaitable[Closed]]) -> Closed:
        closed = await self._database.transaction(work)
        _log.info(event, username=username, sessions=closed.sessions, grants=closed.grants)
        return closed


async def _close(connection: Connection, username: str) -> Closed:
    """Close what is open in a user's name: the subject of sessions and grants is the name."""
    sessions = await SessionStore(connection, IDLE).close_all(username, None)
    return Closed(sessions, await OperatorStore(connection).revoke_grants(username))


async def _existing(connection: "Connection | Database", username: str) -> User:
    user = await UserStore(connection).find(username)
    if user is None:
        raise _absent(username)
    return user


def _username(name: str) -> str:
    username = find_username(name)
    if username is None:
        raise _absent(name)
    return username


def _absent(name: str) -> NotFound:
    return NotFound(f"There is no user {name!r}; `user list` names all.")
