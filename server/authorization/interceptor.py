"""The links of the authorization server: access tokens of ended grants are refused, and AuthService is throttled."""

import re
import time
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import unquote

from cachetools import LRUCache

from server.authorization.model import ClientRefused, grant_of
from server.authorization.store import GrantStore
from server.authorization.throttle import AddressLimit
from server.errors import PermissionDenied, Unauthenticated
from server.identity.local_issuer import FIRST_PARTY_CLIENT
from server.identity.principal import AccessToken, current_token
from server.identity.tokens import REFUSED
from server.ids import GrantId
from server.postgres.pool import Database
from server.rpc.call import Call, Proceed

_REMEMBERED = 10_000
_REMEMBERED_SECONDS = 4.0  # counted from before the database is asked
_METHODS = "/sdk.auth.v1.AuthService/"
_PEER = re.compile(r"ipv[46]:(?:\[(?P<six>[^\]]*)\]|(?P<four>[^:]*)):\d+", re.ASCII)


class GrantCheck:
    """Refuses access tokens whose grant has ended. What is known of a grant is remembered for 4 seconds.

    It stands after authentication. Tokens made on the command line have no grant and pass.
    """

    def __init__(self, database: Database, realm: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the realm of the challenge that refused tokens get, as `Authentication` does, and a clock in seconds."""
        self._store = GrantStore(database)
        self._challenge = f'Bearer realm="{realm}", error="invalid_token"'
        self._clock = clock
        self._known: LRUCache[GrantId, tuple[bool, float]] = LRUCache(_REMEMBERED)

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call if its token's grant lives.

        Raises:
            Unauthenticated: it does not; nothing tells that from any other token that is not valid.
            Unavailable: that cannot be found out now.
        """
        if not await self.allows(current_token()):
            call.response_headers["www-authenticate"] = self._challenge
            raise Unauthenticated(REFUSED, sent=True)
        return await proceed(call, request)

    async def allows(self, token: AccessToken) -> bool:
        """Tell whether a verified token was made on the command line or under a live grant. Raises Unavailable."""
        if token.client_id == FIRST_PARTY_CLIENT:
            return True
        grant_id = grant_of(token.token_id)
        return grant_id is not None and await self._lives(grant_id)

    async def _lives(self, grant_id: GrantId) -> bool:
        now = self._clock()
        is_live, until = self._known.get(grant_id, (False, now))
        if now < until:
            return is_live
        grant = await self._store.find(grant_id)
        is_live = grant is not None and grant.is_live
        self._known[grant_id] = is_live, now + _REMEMBERED_SECONDS
        return is_live


class FirstPartyOnly:
    """Keeps some services for clients of our own, such as the portal and the command line.

    Users allow other applications to use their keys (contract section 2), not to change who they are or their clients.
    """

    def __init__(self, services: Collection[str], clients: Collection[str]) -> None:
        self._methods = tuple(f"/{service}/" for service in services)
        self._clients = frozenset(clients)

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call if its token was given to a client of ours.

        Raises:
            PermissionDenied: it is of another client.
        """
        if call.method.startswith(self._methods) and current_token().client_id not in self._clients:
            raise PermissionDenied(
                "Accounts and OAuth clients are managed in the Developer Portal, not by other applications.",
                metadata={"reason": "first_party_only"},
            )
        return await proceed(call, request)


class AddressRateLimit:
    """Limits the calls of AuthService, which need no access token, by the address they come from or their client.

    Every other method passes, and so does a call from inside the process, whose caller answers for it.
    """

    def __init__(self, limit: AddressLimit) -> None:
        self._limit = limit

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call if its address has a place left, and a client that proves itself one of its own.

        Raises:
            RateLimited: there is none; the error says when to retry.
        """
        peer = call.context.peer()
        if not call.method.startswith(_METHODS) or peer.startswith("unix:"):
            return await proceed(call, request)
        async with self._limit.admitting(_address(peer)):
            return await proceed(call, request)


class ClientChallenge:
    """Says how a client can prove itself when one did not: every 401 has a challenge (RFC 9110 section 15.5.2)."""

    def __init__(self, realm: str) -> None:
        self._challenge = f'Basic realm="{realm}", charset="UTF-8"'

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call, and add the challenge to a refusal."""
        try:
            return await proceed(call, request)
        except ClientRefused:
            call.response_headers["www-authenticate"] = self._challenge
            raise


def _address(peer: str) -> str:
    """Read the IP address of a peer as gRPC writes it: `ipv4:127.0.0.1:5000` or `ipv6:[::1]:5000`, escaped or not."""
    match = _PEER.fullmatch(unquote(peer))
    return (match["six"] or match["four"] or "") if match else ""
