"""Who may sign in by a password. Guessing is slowed by name and by address, and no answer tells which names exist."""

import math
import secrets
from pathlib import Path
from typing import Protocol

import structlog

from server.errors import Conflict, InvalidRequest, NotFound, RateLimited, Unauthenticated, Violation
from server.postgres.pool import Database
from server.private_file import PrivateFileError, read_or_create
from server.secret import Secret
from server.users.model import User, check_password, check_username, find_username, normalise_password
from server.users.passwords import Passwords
from server.users.store import UserStore

REFUSED = "The user name or the password is not right."
"""The one sentence for every failed sign-in: an unknown name, a wrong password, a disabled user."""

_DEVELOPMENT_USER = "alice"
_DEVELOPMENT_FILE = "development-account"
_LONGEST = 4096  # characters of a password that are looked at; more is no password of ours

_log = structlog.get_logger(__name__)


class Throttle(Protocol):
    """Counts failed sign-ins. Never raises."""

    async def wait_seconds(self, username: str, address: str) -> float:
        """Return in how many seconds this name may be tried from this address; 0 for now."""
        ...

    async def count_failure(self, username: str, address: str) -> None:
        """Count a failure against the name, whether anyone is called so or not, and against the address."""
        ...


class UserService:
    """Adds users and lets them in."""

    def __init__(self, database: Database, passwords: Passwords, throttle: Throttle) -> None:
        self._store = UserStore(database)
        self._passwords = passwords
        self._throttle = throttle

    async def create(self, username: str, password: str) -> User:
        """Add a user.

        Raises:
            InvalidRequest: the name or the password breaks a rule.
            Conflict: the name is taken.
        """
        password = normalise_password(password)
        _refuse(check_username(username), check_password(password, username))
        user = await self._store.create(username, await self._hash(password))
        if user is None:
            raise Conflict("There is a user of this name already.")
        _log.info("user_created", username=username)
        return user

    async def set_password(self, username: str, password: str) -> User:
        """Give a user another password. Sessions that are open stay open: whoever calls this closes them.

        Raises:
            InvalidRequest: the password breaks a rule.
            NotFound: there is no such user.
        """
        password = normalise_password(password)
        _refuse(check_password(password, username))
        user = _existing(await self._store.set_password(username, await self._hash(password)))
        _log.info("user_password_set", username=username)
        return user

    async def is_active(self, username: str) -> bool:
        """Tell whether there is a user of this name in good standing."""
        user = await self._store.find(username)
        return user is not None and user.disabled_at is None

    async def verify(self, username: str, password: str, address: str) -> User:
        """Return the user whose name and password these are; `address` is whence they came.

        The same work is done and the same said for a name that nobody has.

        Raises:
            Unauthenticated: they are nobody's, or the user is disabled.
            RateLimited: too many failures of this name or from this address; right or wrong is not looked at.
            Overloaded: too many people sign in.
        """
        known_as = find_username(username)
        name = known_as or username.strip()[:_LONGEST]
        await self._refuse_throttled(name, address)  # before the queue, in whose places others wait
        async with self._passwords.turn():  # and within: a burst cannot all be let past before one of it has failed
            await self._refuse_throttled(name, address)
            user = await self._store.find(name) if known_as else None
            if user is not None and await self._is_good(user, password) and user.disabled_at is None:
                return user
            if user is None:
                await self._passwords.proves(normalise_password(password[:_LONGEST]), None)
            await self._throttle.count_failure(name, address)
        raise Unauthenticated(REFUSED, sent=True)

    async def ensure_development_user(self, data_dir: Path) -> tuple[str, Secret]:
        """Return the account of a development installation, made on the first start; it can sign in from then on.

        Raises:
            PrivateFileError: the file that keeps its password cannot be used.
        """
        path = data_dir / _DEVELOPMENT_FILE
        drawn = read_or_create(path, _draw_development_account)
        username, _, password = drawn.decode(errors="replace").strip().partition(":")
        if check_username(username) or check_password(password, username):
            raise PrivateFileError(f"{path} holds no NAME:PASSWORD: remove it, and a password is drawn")
        user = await self._store.find(username)
        if user is None:
            await self._store.create(username, await self._hash(password))
        elif not await self._passwords.proves(password, user.password_hash):
            await self._store.set_password(username, await self._hash(password))  # the file is what people are shown
        return username, Secret(password)

    async def _refuse_throttled(self, name: str, address: str) -> None:
        wait = await self._throttle.wait_seconds(name, address)
        if wait > 0:
            raise RateLimited(math.ceil(wait))

    async def _is_good(self, user: User, password: str) -> bool:
        password = normalise_password(password[:_LONGEST])
        if not await self._passwords.proves(password, user.password_hash):
            return False
        if self._passwords.is_outdated(user.password_hash):
            renewed = await self._passwords.hash(password)
            await self._store.renew_hash(user.username, user.password_hash, renewed)
        return True

    async def _hash(self, password: str) -> str:
        async with self._passwords.turn():
            return await self._passwords.hash(password)


def _draw_development_account() -> bytes:
    return f"{_DEVELOPMENT_USER}:{secrets.token_urlsafe(18)}\n".encode()


def _refuse(*violations: Violation | None) -> None:
    if found := [violation for violation in violations if violation]:
        raise InvalidRequest(found)


def _existing(user: User | None) -> User:
    if user is None:
        raise NotFound("There is no such user.")
    return user
