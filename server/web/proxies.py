"""Who is calling, when trusted reverse proxies stand in between.

Only a trusted peer's word counts; everybody else's X-Forwarded-* headers are as if they had not been sent.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from server.web.asgi import App, Receive, Scope, Send, header_values

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class TrustedProxies:
    """Set `scope["client"]` and `scope["scheme"]` from X-Forwarded-For and -Proto of peers inside `networks`."""

    def __init__(self, app: App, networks: Sequence[Network]) -> None:
        self._app = app
        self._networks = tuple(networks)
        self._address = lru_cache(maxsize=4096)(_address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request under the client's own address; its port is unknown then, so 0."""
        if scope.get("client") and self._trusts(peer := self._address(scope["client"][0])):
            caller = self._caller(peer, header_values(scope, b"x-forwarded-for"))
            if caller != peer:
                scope["client"] = (str(caller), 0)
            if (scheme := _last(header_values(scope, b"x-forwarded-proto")).lower()) in ("http", "https"):
                scope["scheme"] = scheme
        await self._app(scope, receive, send)

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)

    def _caller(self, peer: Address | None, forwarded: list[bytes]) -> Address | None:
        """Walk the hops from the right; the first that is not a trusted proxy is the caller. Stop at nonsense."""
        caller = peer
        for hop in reversed(b",".join(forwarded).decode("latin-1").split(",")):
            address = self._address(hop.strip())
            if address is None:
                break
            caller = address
            if not self._trusts(address):
                break
        return caller


def _last(values: list[bytes]) -> str:
    return b",".join(values).decode("latin-1").rpartition(",")[2].strip()


def _address(text: str) -> Address | None:
    """Read an address as proxies write them: bare, `1.2.3.4:5678`, `[::1]:5678`; IPv4 inside IPv6 becomes IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
