"""How often tokens may be asked for, where no access token is needed: by address, or by client once it proved itself.

A backend asks for all of its users from one address. So a request with a client's secret that is good counts for the
client alone, and whatever else comes from an address counts for that: failures, public clients, text that is no form.
A wrong secret is counted once it is known to be wrong; as many as are in flight at once may find the last place.
"""

import hashlib
import ipaddress
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from server.errors import RateLimited
from server.limits.model import Claim, Decision, Rate
from server.limits.service import Limiter

_SIXTY_FOUR = 64
"""How much of an IPv6 address counts: whoever has one address has the whole network of it."""


class Admission:
    """One request, and what it was counted for."""

    def __init__(self, limiter: Limiter, address: Claim, client_rate: Rate) -> None:
        self._limiter = limiter
        self._address = address
        self._client_rate = client_rate
        self._is_counted = False

    async def count_address(self) -> None:
        """Count the request for its address. Raises RateLimited."""
        await self._count(self._address)

    async def check_client(self, client_id: str) -> None:
        """See whether the client that a request names, by an id that may be any text, has a place left.

        And whether its address still has one: others may have come while its body did.

        Raises:
            RateLimited: one of them has none; the request is counted for nobody.
        """
        decision = await self._limiter.peek([self._address, self._of_client(client_id)])
        self._is_counted = not decision.allowed
        _refuse_beyond(decision)

    async def count_client(self, client_id: str) -> None:
        """Count the request for a client that has proved itself by its secret. Raises RateLimited."""
        await self._count(self._of_client(client_id))

    async def close(self) -> None:
        """Count for its address a request that was counted for nobody."""
        if not self._is_counted:
            await self._limiter.take([self._address])

    def _of_client(self, client_id: str) -> Claim:
        return Claim(b"c:" + hashlib.sha256(client_id.encode("utf-8", "replace")).digest()[:16], self._client_rate)

    async def _count(self, claim: Claim) -> None:
        self._is_counted = True
        _refuse_beyond(await self._limiter.take([claim]))


_admission: ContextVar[Admission | None] = ContextVar("admission", default=None)


class AddressLimit:
    """Gives each address and each confidential client a sliding window over everything that needs no access token."""

    def __init__(
        self,
        limiter: Limiter,
        rate: Rate = Rate(60, 60),  # noqa: B008 - immutable
        client_rate: Rate = Rate(3000, 60),  # noqa: B008 - immutable
    ) -> None:
        self._limiter = limiter
        self._rate = rate
        self._client_rate = client_rate

    @asynccontextmanager
    async def admitting(self, address: str) -> AsyncIterator[None]:
        """Admit a request of an IP address, which is handled in the block. Text that is no address shares one window.

        Raises:
            RateLimited: the address has no place left; the error says when to retry.
        """
        claim = Claim(b"a:" + _owner(address), self._rate)
        _refuse_beyond(await self._limiter.peek([claim]))
        admission = Admission(self._limiter, claim, self._client_rate)
        outer = _admission.set(admission)
        try:
            yield
        finally:
            _admission.reset(outer)
            await admission.close()


def current_admission() -> Admission | None:
    """Return the request that is being handled; None for calls from inside, whose caller answers for them."""
    return _admission.get()


def _refuse_beyond(decision: Decision) -> None:
    if not decision.allowed:
        raise RateLimited(retry_after=max(1, math.ceil(decision.retry_seconds)))


def _owner(address: str) -> bytes:
    """Name a window's owner, without the colons that windows' names use themselves."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return b"unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return parsed.packed[: _SIXTY_FOUR // 8].hex().encode()
        parsed = parsed.ipv4_mapped
    return str(parsed).encode()
