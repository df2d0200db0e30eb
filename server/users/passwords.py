"""Passwords at rest: Argon2id, computed beside the event loop and by few at a time."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from server.errors import Overloaded

_AT_A_TIME = 2  # 64 MiB each
_WAITING = 64  # some seconds' work; whoever comes then is better told to try again
T = TypeVar("T")


class Passwords:
    """Hashes and proves passwords by the low-memory profile of RFC 9106, at most two at a time in this process."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """Take a hasher other than the profile's, for tests."""
        self._hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._threads = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="passwords")
        self._slots = asyncio.Semaphore(_AT_A_TIME)
        self._waiting = 0
        self._dummy = self._unprovable()

    def close(self) -> None:
        """Let the threads go once they are done."""
        self._threads.shutdown(wait=False)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one of the two turns; what is decided within it, no third caller decides meanwhile.

        Raises:
            Overloaded: too many wait already.
        """
        if self._waiting >= _WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def hash(self, password: str) -> str:
        """Hash a password with a salt of its own; the text names its parameters."""
        return await self._run(lambda: self._hasher.hash(password))

    async def proves(self, password: str, password_hash: str | None) -> bool:
        """Tell whether a hash is of this password. None costs as much as a hash, and is of no password."""
        return await self._run(lambda: self._verify(password_hash or self._dummy, password))

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether a hash was made with other parameters than are used now."""
        return self._hasher.check_needs_rehash(password_hash)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def _unprovable(self) -> str:
        """Write a hash that nobody has computed, with today's parameters: to refute it takes as long as any."""
        salt, tail = (
            base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()
            for size in (self._hasher.salt_len, self._hasher.hash_len)
        )
        cost = f"m={self._hasher.memory_cost},t={self._hasher.time_cost},p={self._hasher.parallelism}"
        return f"$argon2id$v=19${cost}${salt}${tail}"
