"""What the authorization server speaks of: clients, requests, grants, codes and tokens. No I/O, no OAuth library."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, Protocol
from urllib.parse import urlencode, urlsplit

from server.errors import Error, InvalidRequest, Kind, Unauthenticated, Violation
from server.ids import GrantId
from server.secret import Secret

SCOPES = ("read", "stream")
"""Every scope there is, in the order in which they are written (contract section 6)."""
CODE_LIFETIME = timedelta(seconds=60)
ACCESS_TOKEN_LIFETIME = timedelta(minutes=10)
REFRESH_TOKEN_LIFETIME = timedelta(days=30)
"""How long a refresh token is good for; each use gives a new one."""
GRANT_LIFETIME = timedelta(days=90)
"""How long tokens can be renewed in all, however often."""

_TOKEN_ID = re.compile(r"(grant_[0-7][0-9a-hjkmnp-tv-z]{25})\.[A-Za-z0-9_-]+", re.ASCII)

AuthenticationMethod = Literal["none", "client_secret_basic", "client_secret_post"]
Prompt = Literal["none", "login", "consent"]
Denial = Literal["access_denied", "login_required", "consent_required", "interaction_required"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredClient:
    """An application that may ask users for access. A confidential one has secrets and must show one."""

    id: str
    name: str
    developer_name: str
    """Who made it, for the consent page; empty when that is not known."""
    is_confidential: bool
    redirect_uris: tuple[str, ...]
    allowed_scopes: frozenset[str]
    is_first_party: bool = False
    """A client of our own: users are not asked for their consent."""


class ClientDirectory(Protocol):
    """Where clients are looked up. Deleted ones, and those of suspended developers, are not found."""

    async def find(self, client_id: str) -> RegisteredClient | None:
        """Return a client by its id, which may be any text a caller wrote. Raises Unavailable."""
        ...

    async def authenticate(self, client_id: str, secret: Secret) -> bool:
        """Tell whether a secret is one of a confidential client, now. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """Which client says it calls, and how it proves that."""

    client_id: str
    secret: Secret | None = None
    method: AuthenticationMethod = "none"

    @classmethod
    def posted(cls, client_id: str, secret: str) -> "ClientCredentials":
        """Take credentials from the fields of a request; an empty secret is none."""
        if not secret:
            return cls(client_id=client_id)
        return cls(client_id=client_id, secret=Secret(secret), method="client_secret_post")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """A request for a user's consent that may be shown to the user: all of it has been checked."""

    client: RegisteredClient
    redirect_uri: str
    scopes: tuple[str, ...]
    """What is asked for, in the order of `SCOPES`; never empty and never more than the client may have."""
    state: str
    """Empty when none was sent."""
    code_challenge: str
    prompts: frozenset[Prompt] = frozenset()
    """`none`: no page may be shown. `login`: the user must sign in anew. `consent`: the user must be asked anew."""

    def parameters(self) -> list[tuple[str, str]]:
        """Return the request as it would be written, so that it can be kept in a form or address and checked again."""
        pairs = [
            ("client_id", self.client.id),
            ("redirect_uri", self.redirect_uri),
            ("response_type", "code"),
            ("scope", " ".join(self.scopes)),
            ("state", self.state),
            ("code_challenge", self.code_challenge),
            ("code_challenge_method", "S256"),
            ("prompt", " ".join(sorted(self.prompts))),
        ]
        return [(name, value) for name, value in pairs if value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a redirect URI leads, for people: to a site, to a program on this computer, or to an application."""

    kind: Literal["site", "computer", "application"]
    address: str
    """The host with its port, or the scheme that an application opens, with its colon."""

    @classmethod
    def of(cls, redirect_uri: str) -> "Destination":
        """Read where a registered redirect URI leads."""
        parts = urlsplit(redirect_uri)
        if parts.scheme == "https":
            return cls(kind="site", address=parts.netloc)
        if parts.scheme == "http":
            return cls(kind="computer", address=parts.netloc)
        return cls(kind="application", address=f"{parts.scheme}:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a user allowed a client."""

    id: GrantId
    client_id: str
    subject: str
    scopes: tuple[str, ...]
    is_live: bool
    """Neither ended nor revoked, and neither its client nor its user has been shut out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """What a code stands for, never the code itself."""

    redirect_uri: str
    code_challenge: str
    is_used: bool
    is_current: bool
    """Its time is not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """What a refresh token stands for, never the token itself."""

    is_used: bool
    is_current: bool
    """Its time is not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a client is given."""

    access_token: Secret
    refresh_token: Secret
    scopes: tuple[str, ...]
    expires_in: int = field(default=int(ACCESS_TOKEN_LIFETIME.total_seconds()))
    """How many seconds the access token is good for."""
    token_type: str = "Bearer"  # noqa: S105 - a word


class UntrustedRequest(InvalidRequest):
    """An authorization request whose sender is not known for sure: it is answered by a page, never by a redirect."""

    def __init__(self, parameter: str, description: str) -> None:
        super().__init__([Violation(parameter, description)])


class RefusedRequest(Error):
    """An authorization request of a known client that is answered with an error, by a redirect to `url`.

    A silent one shows the user nothing; any other has the user signed in before (RFC 9700 section 4.11.2).
    """

    kind = Kind.INVALID_REQUEST

    def __init__(self, error: str, message: str, url: str, *, is_silent: bool) -> None:
        super().__init__(message)
        self.error = error
        self.url = url
        self.is_silent = is_silent


class ClientRefused(Unauthenticated):
    """A client did not prove itself; one sentence whatever the fault (RFC 6749 section 5.2, `invalid_client`)."""

    error = "invalid_client"

    def __init__(self, *, sent: bool) -> None:
        super().__init__(
            "The client is not known or did not prove itself: a confidential client must send its current secret,"
            " a public one none.",
            sent=sent,
        )


class GrantRefused(InvalidRequest):
    """A request for tokens is refused; `error` is the code of RFC 6749 section 5.2, `field` the faulty parameter."""

    def __init__(self, error: str, parameter: str, description: str) -> None:
        super().__init__([Violation(parameter, description)])
        self.error = error
        self.sentence = f"{parameter} {description}."


def in_order(scopes: Iterable[str]) -> tuple[str, ...]:
    """Write scopes in the order of `SCOPES`, each once; others are left out."""
    wanted = frozenset(scopes)
    return tuple(scope for scope in SCOPES if scope in wanted)


def split_scope(text: str) -> list[str]:
    """Split the parameter `scope`, which is delimited by spaces alone (RFC 6749 section 3.3)."""
    return [scope for scope in text.split(" ") if scope]


def grant_of(token_id: str | None) -> GrantId | None:
    """Read the grant that a token was given under from the token's `jti`; None when it has none."""
    match = _TOKEN_ID.fullmatch(token_id or "")
    return GrantId(match[1]) if match else None


def response_url(redirect_uri: str, parameters: Sequence[tuple[str, str]]) -> str:
    """Add the parameters of a response to a redirect URI, leaving every character of it as registered.

    RFC 6749 section 3.1.2: a query that is there must be retained.
    """
    start = "" if redirect_uri.endswith(("?", "&")) else "&" if "?" in redirect_uri else "?"
    return f"{redirect_uri}{start}{urlencode(parameters)}"
