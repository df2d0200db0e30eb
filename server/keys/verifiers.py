"""What a change of a key owes to those who verify keys; they stand above this folder and are passed in."""

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from server.postgres.pool import Connection


class Confirmation(Protocol):
    """Who has heard of one change."""

    async def ask(self, connection: Connection) -> None:
        """Ask every server to confirm the change, inside its transaction."""

    async def everywhere(self) -> None:
        """Wait until none of them can accept the key as it was, a few seconds at most."""


class Verifiers(Protocol):
    """The servers that verify keys, this one among them."""

    def forget(self, changed: str) -> None:
        """Drop at once what this server remembers of a key."""

    def waiting(self) -> AbstractAsyncContextManager[Confirmation]:
        """Take confirmations of a change that is made within the block."""


class NoVerifiers:
    """Stands for the servers where there are none: nothing is remembered anywhere."""

    def forget(self, changed: str) -> None:
        """Nothing is remembered."""

    def waiting(self) -> AbstractAsyncContextManager["NoVerifiers"]:
        """Nobody is waited for."""
        return nullcontext(self)

    async def ask(self, connection: Connection) -> None:
        """Nobody is asked."""

    async def everywhere(self) -> None:
        """Nobody is waited for."""
