"""The rules of OAuth, by Authlib, applied to what was read beforehand: no I/O here, and nothing is changed.

Authlib asks and stores through synchronous hooks, PostgreSQL answers asynchronously. So everything that a request can
concern is read first, under the lock of its grant, and given here as a `Situation`; Authlib decides on it; what is to
be changed comes back as an `Outcome` and is done in the same transaction (docs/adr/0017).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    AuthorizationCodeGrant,
    AuthorizationCodeMixin,
    AuthorizationServer,
    ClientMixin,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Request,
    RefreshTokenGrant,
    TokenMixin,
    UnsupportedResponseTypeError,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge

from server.authorization.model import (
    SCOPES,
    AuthenticationMethod,
    AuthorizationCode,
    Grant,
    GrantRefused,
    RefreshToken,
    RegisteredClient,
    Tokens,
    in_order,
    split_scope,
)

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
_ADDRESS = "https://localhost/"  # Authlib insists on one; which transport is good enough is decided elsewhere

_AGAIN = "start again at the authorization endpoint"
_DESCRIPTIONS = {
    ("invalid_grant", "code"): f"is unknown, used, expired or of another client: {_AGAIN}",
    ("invalid_grant", "redirect_uri"): "must be that of the authorization request, character by character",
    ("invalid_grant", "code_verifier"): "does not belong to the code challenge of the authorization request",
    ("invalid_grant", "refresh_token"): f"is unknown, used, expired, revoked or of another client: {_AGAIN}",
    ("invalid_grant", "token"): "is of another client",
    ("invalid_request", "code_verifier"): "must be 43 to 128 of A-Z a-z 0-9 - . _ ~ (RFC 7636 section 4.1)",
    ("invalid_request", "code_challenge"): (
        "must be the base64url SHA-256 of the code verifier, 43 characters, with code_challenge_method S256"
    ),
    ("invalid_scope", "scope"): "must be scopes that the client may have, delimited by spaces",
    ("invalid_scope", "code"): f"allows nothing that the client may still have: {_AGAIN}",
    ("invalid_scope", "refresh_token"): "allows less than that, or nothing that the client may still have",
    ("unsupported_grant_type", "grant_type"): "must be authorization_code or refresh_token",
    ("unsupported_response_type", "response_type"): "must be code",
}
"""What to say of a refusal: by Authlib's code and the parameter under examination, never by Authlib's words."""

Sign = Callable[[Grant, tuple[str, ...]], Tokens]
"""Makes the tokens for a grant with some of its scopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a request can concern. `client` has proved itself by `method`."""

    client: RegisteredClient
    method: AuthenticationMethod = "none"
    grant: Grant | None = None
    code: AuthorizationCode | None = None
    refresh_token: RefreshToken | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is to be done: tokens to give or a refusal; and whether the grant has to end, either way."""

    tokens: Tokens | None = None
    refusal: GrantRefused | None = None
    ends_grant: bool = False


def decide_tokens(situation: Situation, parameters: Mapping[str, str], sign: Sign) -> Outcome:
    """Decide a request to the token endpoint; of each of the `parameters` there is one, and none is empty."""
    if "grant_type" not in parameters:
        return Outcome(refusal=GrantRefused("invalid_request", "grant_type", "is missing"))
    server = _Server(situation, sign)
    server.create_token_response(_Request("POST", parameters))
    return Outcome(tokens=server.tokens, refusal=server.refusal, ends_grant=server.ends_grant)


def decide_revocation(situation: Situation, parameters: Mapping[str, str]) -> Outcome:
    """Decide a request to the revocation endpoint; the situation's grant is the token's, None for an unknown token."""
    if "token" not in parameters:
        return Outcome(refusal=GrantRefused("invalid_request", "token", "is missing"))
    server = _Server(situation)
    request = _Request("POST", parameters)
    server.create_endpoint_response(RevocationEndpoint.ENDPOINT_NAME, request)  # type: ignore[no-untyped-call]
    return Outcome(refusal=server.refusal, ends_grant=server.ends_grant)


def check_authorization(client: RegisteredClient, parameters: Mapping[str, str]) -> tuple[str, ...]:
    """Check a request to the authorization endpoint whose client and redirect URI are good, and return its scopes.

    Raises GrantRefused.
    """
    request = _Request("GET", parameters)
    try:
        if "response_type" not in parameters:
            raise InvalidRequestError
        if parameters["response_type"] != "code":  # Authlib would fail over one that it cannot quote
            raise UnsupportedResponseTypeError("")
        _Server(Situation(client=client)).get_consent_grant(request)  # type: ignore[no-untyped-call]
    except OAuth2Error as error:
        raise _refusal(error, request.examined) from None
    return in_order(split_scope(request.scope))


class _Request(OAuth2Request):
    """Parameters as Authlib takes them, and which of them is being examined."""

    def __init__(self, method: str, parameters: Mapping[str, str]) -> None:
        super().__init__(method, _ADDRESS)
        self._parameters = dict(parameters)
        self.payload = BasicOAuth2Payload(self._parameters)
        self.examined = "grant_type" if method == "POST" else "response_type"

    @property
    def form(self) -> dict[str, str]:
        return self._parameters


class _Client(ClientMixin):
    def __init__(self, client: RegisteredClient) -> None:
        self._client = client

    def get_default_redirect_uri(self) -> str:
        return ""  # it must always be sent

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self._client.redirect_uris

    def get_allowed_scope(self, scope: Any) -> Any:
        """Return what a request asks for, everything if it names nothing; None for more than is allowed, or nothing."""
        wanted, allowed = split_scope(scope or ""), self._client.allowed_scopes
        good = allowed and allowed.issuperset(wanted)
        return " ".join(in_order(wanted or allowed)) if good else None

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in {"authorization_code", "refresh_token"}


class _Code(AuthorizationCodeMixin):
    code_challenge_method = "S256"

    def __init__(self, code: AuthorizationCode, scopes: tuple[str, ...]) -> None:
        self.code_challenge = code.code_challenge
        self._redirect_uri = code.redirect_uri
        self._scopes = scopes

    def get_redirect_uri(self) -> str:
        return self._redirect_uri

    def get_scope(self) -> str:
        return " ".join(self._scopes)


class _Token(TokenMixin):
    def __init__(self, grant: Grant, client: RegisteredClient) -> None:
        self._grant = grant
        self._client = client

    def check_client(self, client: object) -> bool:
        return self._grant.client_id == self._client.id

    def get_scope(self) -> str:
        return " ".join(_still_allowed(self._grant, self._client))


class _S256(CodeChallenge):
    """PKCE for every client, by S256 and nothing else; a request that names no method would mean `plain`."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012 - Authlib's name and type

    def validate_code_challenge(self, grant: Any, redirect_uri: Any) -> None:
        grant.request.examined = "code_challenge"
        sent = grant.request.payload.data
        if sent.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(sent.get("code_challenge", "")):
            raise InvalidRequestError
        super().validate_code_challenge(grant, redirect_uri)

    def validate_code_verifier(self, grant: Any, result: Any) -> None:
        grant.request.examined = "code_verifier"
        if not _VERIFIER.fullmatch(grant.request.form.get("code_verifier", "")):
            raise InvalidRequestError
        super().validate_code_verifier(grant, result)


class _CodeGrant(AuthorizationCodeGrant):
    def validate_authorization_request(self) -> str:
        self.request.examined = "scope"  # type: ignore[attr-defined]
        return super().validate_authorization_request()

    @staticmethod
    def validate_authorization_redirect_uri(request: Any, client: ClientMixin) -> str:
        """Compare to the letter, and require one. Authlib's own would fail over an address that it cannot quote."""
        redirect_uri: str = request.form.get("redirect_uri", "")
        if not client.check_redirect_uri(redirect_uri):
            request.examined = "redirect_uri"
            raise InvalidRequestError
        return redirect_uri

    def query_authorization_code(self, code: str, client: ClientMixin) -> _Code | None:
        """Find the code if it is good; one that was used, or is shown by another client, has leaked."""
        server: _Server = self.server
        grant, found, caller = server.situation.grant, server.situation.code, server.situation.client
        if grant is None or found is None:
            return None
        if found.is_used or grant.client_id != caller.id:
            server.ends_grant = True
            return None
        if not found.is_current or not grant.is_live:
            return None
        scopes = _still_allowed(grant, caller)
        if not scopes:
            raise InvalidScopeError
        self.request.examined = "redirect_uri"  # type: ignore[attr-defined] # it is compared next
        return _Code(found, scopes)

    def authenticate_user(self, authorization_code: object) -> str:
        server: _Server = self.server
        return server.situation.grant.subject if server.situation.grant else ""

    def delete_authorization_code(self, authorization_code: object) -> None:
        """Leave it: what gave tokens is used up by the transaction."""


class _RefreshGrant(RefreshTokenGrant):
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Any:
        """Find the token if it is good; one that was used, or is shown by another client, has leaked."""
        server: _Server = self.server
        grant, found, caller = server.situation.grant, server.situation.refresh_token, server.situation.client
        if grant is None or found is None:
            return None
        if found.is_used or grant.client_id != caller.id:
            server.ends_grant = True
            return None
        if not found.is_current or not grant.is_live:
            return None
        if not _still_allowed(grant, caller):
            raise InvalidScopeError
        return _Token(grant, caller)

    def authenticate_user(self, refresh_token: object) -> str:
        server: _Server = self.server
        return server.situation.grant.subject if server.situation.grant else ""

    def revoke_old_credential(self, refresh_token: object) -> None:
        """Leave it: what gave tokens is used up by the transaction."""


class _Revocation(RevocationEndpoint):
    def check_params(self, request: Any, client: object) -> None:
        """Ignore the hint, as RFC 7009 section 2.1 allows: tokens are told apart by their form."""

    def query_token(self, token_string: str, token_type_hint: object) -> _Token | None:
        situation = self.server.situation
        return _Token(situation.grant, situation.client) if situation.grant else None

    def revoke_token(self, token: object, request: object) -> None:
        self.server.ends_grant = True


class _Server(AuthorizationServer):
    """Authlib's server for one request."""

    def __init__(self, situation: Situation, sign: Sign | None = None) -> None:
        super().__init__(scopes_supported=SCOPES)
        self.situation = situation
        self.tokens: Tokens | None = None
        self.refusal: GrantRefused | None = None
        self.ends_grant = False
        self._sign = sign
        self._caller = _Client(situation.client)
        self.register_grant(_CodeGrant, [_S256(required=True)])
        self.register_grant(_RefreshGrant)
        self.register_endpoint(_Revocation)

    def create_oauth2_request(self, request: Any) -> _Request:
        assert isinstance(request, _Request)  # noqa: S101 - tells the type checker
        return request

    def query_client(self, client_id: str) -> ClientMixin:
        return self._caller

    def authenticate_client(self, request: Any, methods: object, endpoint: str = "token") -> ClientMixin:
        """Return the client, which has proved itself before."""
        request.auth_method = self.situation.method
        request.examined = {"authorization_code": "code", "refresh_token": "refresh_token"}.get(
            request.form.get("grant_type", ""), "token"
        )
        return self._caller

    def generate_token(self, *_: Any, scope: str | None = None, **__: Any) -> dict[str, Any]:
        """Make the tokens. Authlib gets them masked, since it writes what it issues to its log."""
        if self._sign is None or self.situation.grant is None:
            raise RuntimeError("tokens are made for grants alone")
        scopes = in_order(split_scope(scope or ""))
        if not scopes:  # Authlib splits at any white space, and finds no fault in no scope at all
            raise InvalidScopeError
        self.tokens = self._sign(self.situation.grant, scopes)
        return {"access_token": self.tokens.access_token, "refresh_token": self.tokens.refresh_token}

    def save_token(self, token: object, request: object) -> None:
        """Leave it: tokens are stored by the transaction."""

    def send_signal(self, name: object, *args: object, **kwargs: object) -> None:
        """Tell nobody."""

    def handle_response(self, status: int, body: object, headers: object) -> None:
        """Leave it: answers are written where they are sent."""

    def handle_error_response(self, request: Any, error: OAuth2Error) -> None:
        self.tokens = None
        self.refusal = _refusal(error, request.examined)


def _still_allowed(grant: Grant, client: RegisteredClient) -> tuple[str, ...]:
    """Return what was granted, without what the client has lost since."""
    return in_order(client.allowed_scopes.intersection(grant.scopes))


def _refusal(error: OAuth2Error, examined: str) -> GrantRefused:
    code = error.error or InvalidGrantError.error
    return GrantRefused(code, examined, _DESCRIPTIONS.get((code, examined), "is missing or malformed"))
