"""The verified caller of the current call, and how handlers get at it. Knows nothing of tokens' encoding or of gRPC."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime

from server.ids import DeveloperId


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """What a verified access token says, never the token itself (claims of RFC 9068 section 2.2)."""

    issuer: str
    subject: str
    client_id: str | None
    """The OAuth client the token was issued to; None only under the token profile `jwt`."""
    token_id: str | None
    """The claim `jti`; None only under the token profile `jwt`."""
    scopes: frozenset[str]
    expires_at: datetime
    """End of validity as the issuer wrote it, aware, in UTC; the verifier's leeway is not in it."""
    digest: bytes = field(repr=False)
    """SHA-256 of the whole token: names its rate-limit bucket without revealing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The developer on whose behalf the current call runs, with the token that proves it."""

    developer_id: DeveloperId
    token: AccessToken


_token: ContextVar[AccessToken] = ContextVar("access_token")
_principal: ContextVar[Principal] = ContextVar("principal")


def bind_token(token: AccessToken) -> None:
    """Make `token` the verified token of the current call: of this task and the tasks it starts from now on."""
    _token.set(token)


def bind_principal(principal: Principal) -> None:
    """Make `principal` the caller of the current call: of this task and the tasks it starts from now on."""
    _principal.set(principal)


def current_token() -> AccessToken:
    """Return the verified token of the current call.

    Raises RuntimeError in a call without one: that is a wiring fault of the server, never a caller's.
    """
    try:
        return _token.get()
    except LookupError:
        raise RuntimeError("an access token is needed here, but nothing has authenticated the call") from None


def current_principal() -> Principal:
    """Return the caller of the current call.

    Raises RuntimeError in a call without one: that is a wiring fault of the server, never a caller's.
    """
    try:
        return _principal.get()
    except LookupError:
        raise RuntimeError("a principal is needed here, but nothing has authorised the call") from None
