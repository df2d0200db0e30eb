"""Where the portal's tokens come from, and the local authorization server as one such place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from sdk.auth.v1 import auth_service_pb2 as auth

from server.errors import Kind, Unavailable
from server.rpc.in_process import CallFailed, InProcessCaller

PORTAL_CLIENT = "developer-portal"
"""The portal's own `client_id` at the local authorization server: a public client, known there beforehand."""

_AUTH = "/sdk.auth.v1.AuthService"
_OUTAGES = {Kind.UNAVAILABLE, Kind.OVERLOADED, Kind.RATE_LIMITED, Kind.INTERNAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What an issuer gave: an access token, the seconds it is good for, and a refresh token unless it gave none."""

    access_token: str
    expires_in: int
    refresh_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where browsers go to sign in, and what to send along besides the parameters of the flow.

    `names_issuer` says that every answer carries `iss` (RFC 9207), so that one without is not the issuer's.
    """

    url: str
    parameters: Mapping[str, str]
    names_issuer: bool


class SignInEndedError(Exception):
    """The issuer gives no tokens for a code or a refresh token, now or later: people must sign in anew."""


class TokenIssuer(Protocol):
    """An authorization server at which the portal is a client (RFC 6749).

    All methods raise Unavailable in an outage.
    """

    issuer: str
    """The issuer's name, as `iss` of its answers has it."""
    sign_out_path: str
    """Where browsers sign out of the issuer itself, at our own origin. Empty: not with us."""

    async def endpoint(self) -> Endpoint:
        """Return where to sign in."""

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Trade an authorization code. Raises SignInEndedError when it is not good."""

    async def renew(self, refresh_token: str) -> Tokens:
        """Trade a refresh token. Raises SignInEndedError when it is not good any more."""

    async def revoke(self, refresh_token: str) -> None:
        """End a refresh token and what was given with it."""


class LocalTokens:
    """The local authorization server, asked in process by the published methods.

    The portal answers for these calls, so no browser's address counts them: whoever shares an address with others must
    not be able to shut them out of the portal by what it sends to the token endpoint.
    """

    sign_out_path = "/sign-out"

    def __init__(self, caller: InProcessCaller, public_url: str) -> None:
        self._caller = caller
        self.issuer = public_url

    async def endpoint(self) -> Endpoint:
        """Return our own authorization endpoint."""
        parameters = {"client_id": PORTAL_CLIENT, "scope": "read stream"}
        return Endpoint(url=f"{self.issuer}/v1/auth/authorize", parameters=parameters, names_issuer=True)

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Trade an authorization code."""
        request = auth.ExchangeTokenRequest(
            code=code, redirect_uri=redirect_uri, client_id=PORTAL_CLIENT, code_verifier=verifier
        )
        with _refusals():
            answer = await self._caller.call(f"{_AUTH}/ExchangeToken", request, auth.ExchangeTokenResponse, token="")
        return _tokens(answer)

    async def renew(self, refresh_token: str) -> Tokens:
        """Trade a refresh token."""
        request = auth.RefreshTokenRequest(refresh_token=refresh_token, client_id=PORTAL_CLIENT)
        with _refusals():
            answer = await self._caller.call(f"{_AUTH}/RefreshToken", request, auth.RefreshTokenResponse, token="")
        return _tokens(answer)

    async def revoke(self, refresh_token: str) -> None:
        """End a refresh token."""
        request = auth.RevokeTokenRequest(token=refresh_token, client_id=PORTAL_CLIENT)
        with _refusals():
            await self._caller.call(f"{_AUTH}/RevokeToken", request, auth.RevokeTokenResponse, token="")


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn a failed call into what the protocol says."""
    try:
        yield
    except CallFailed as failed:
        raise (Unavailable() if failed.kind in _OUTAGES else SignInEndedError()) from None


def _tokens(answer: auth.ExchangeTokenResponse | auth.RefreshTokenResponse) -> Tokens:
    return Tokens(access_token=answer.access_token, expires_in=answer.expires_in, refresh_token=answer.refresh_token)
