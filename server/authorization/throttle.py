"""How often an address may ask for tokens: where no access token is needed, the address is what can be limited."""

import ipaddress
import math

from server.errors import RateLimited
from server.limits.model import Claim, Rate
from server.limits.service import Limiter

_SIXTY_FOUR = 64
"""How much of an IPv6 address counts: whoever has one address has the whole network of it."""


class AddressLimit:
    """Gives each address a sliding window over everything that can be asked without an access token."""

    def __init__(self, limiter: Limiter, rate: Rate = Rate(60, 60)) -> None:  # noqa: B008 - immutable
        self._limiter = limiter
        self._rate = rate

    async def admit(self, address: str) -> None:
        """Count a request of an IP address. Text that is none shares one window.

        Raises:
            RateLimited: the address has no place left; the error says when to retry.
        """
        decision = await self._limiter.take([Claim(b"a:" + _owner(address), self._rate)])
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
