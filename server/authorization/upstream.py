"""Signing in by an upstream OpenID provider: authorization code, PKCE, state and nonce; its ID token says who it is.

OpenID Connect Core 1.0 section 3.1, RFC 7636, RFC 9207. Nothing of a code or token is logged or kept.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import httpx2
import structlog

from server.errors import Unavailable
from server.identity.compact import MAX_TOKEN_SIZE, CompactToken, RefusedError, is_text, parse_compact
from server.identity.discovery import DocumentFetcher, FetchError, check_issuer_url, check_url
from server.identity.jwks import RemoteKeySet
from server.identity.strict_json import JsonObject, parse_object
from server.pages.languages import translatable
from server.secret import Secret

ALGORITHMS: Final = frozenset({"RS256", "ES256"})
LEEWAY: Final = 30.0
"""How far the provider's clock may be off, in seconds."""

_SECONDS = 5.0  # for each step with the provider, whatever it does
_REMEMBERED_SECONDS = 3600.0
_RETRY_SECONDS = 30.0  # pause after metadata could not be had while there is some to go on with
_OLDEST_SECONDS = 600.0  # a token that answers a sign-in is not older than the sign-in may be
_ANSWER_SIZE = 64 * 1024
_END_OF_TIME = 253_402_300_799
_FAILED = translatable("Signing in did not succeed. Nothing is lost: start it again.")
_CANCELLED = translatable("The sign-in was cancelled. You can start it again.")

_log = structlog.get_logger(__name__)


class SignInFailed(Exception):
    """The provider's answer lets nobody in. `sentence` is for the page, `reason` one of a few words for the log.

    `is_over`: the sign-in has had its answer; else this was an answer to another one.
    """

    def __init__(self, reason: str, sentence: str = _FAILED, *, is_over: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sentence = sentence
        self.is_over = is_over


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A sign-in under way: where the browser goes, and what the answer must fit. Only the browser's session has it."""

    url: str = field(repr=False)
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom the provider vouches for. `name` is for people to recognise.

    `subject` is `oidc:`, who the provider is (eight hexadecimal digits) and its own subject: another provider's people
    are others, whatever it calls them.
    """

    subject: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    authorization_endpoint: str
    token_endpoint: str
    names_itself: bool
    """The provider says that it sends `iss` with every answer (RFC 9207 section 3)."""
    secret_in_body: bool


class UpstreamProvider:
    """One provider. `start` it to follow its keys, `close` it in the end."""

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: Secret | None,
        redirect_uri: str,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what the provider knows us by. `clock` gives Unix seconds.

        Raises:
            ValueError: the issuer is no https URL, or http URL of this machine.
        """
        check_issuer_url(issuer)
        self.host = urlsplit(issuer).netloc
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._monotonic = monotonic
        self._documents = DocumentFetcher()
        self._http: httpx2.AsyncClient | None = None
        self._keys = RemoteKeySet(issuer=issuer)
        self._metadata: _Metadata | None = None
        self._known_until = float("-inf")

    def start(self) -> None:
        """Begin to follow the provider's keys in the background."""
        self._keys.start()

    async def close(self) -> None:
        """Close the connections."""
        await self._keys.close()
        await self._documents.close()
        if self._http is not None:
            await self._http.aclose()

    async def begin(self, *, again: bool = False) -> Login:
        """Begin a sign-in; `again` asks the provider to ask the person even if it knows who it is.

        Raises:
            Unavailable: the provider cannot be reached.
        """
        metadata = await self._discover()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid profile email",
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
            **({"prompt": "login"} if again else {}),
        }
        separator = "&" if "?" in metadata.authorization_endpoint else "?"
        url = f"{metadata.authorization_endpoint}{separator}{urlencode(query)}"
        return Login(url=url, state=state, nonce=nonce, verifier=verifier)

    async def finish(self, login: Login, answer: Iterable[tuple[str, str]]) -> Person:
        """Take the provider's answer to a sign-in and return whom it lets in.

        Raises:
            SignInFailed: nobody.
            Unavailable: the provider cannot be reached; the same answer may be tried again.
        """
        metadata = await self._discover()
        code = self._read_answer(login, metadata, list(answer))
        token = await self._redeem(metadata, code, login.verifier)
        try:
            return await self._verify(token, login.nonce)
        except RefusedError as refused:
            raise SignInFailed(f"id_token: {refused}") from None

    def _read_answer(self, login: Login, metadata: _Metadata, answer: list[tuple[str, str]]) -> str:
        """Return the code, if the answer is the provider's and to this sign-in."""
        sent = dict(answer)
        if len(sent) != len(answer):
            raise SignInFailed("repeated parameter")
        if not hmac.compare_digest(sent.get("state", "").encode(), login.state.encode()):
            raise SignInFailed("state", is_over=False)
        if ("iss" in sent or metadata.names_itself) and sent.get("iss") != self._issuer:
            raise SignInFailed("iss")  # a mix-up of providers (RFC 9207 section 2.4)
        if "error" in sent:
            raise SignInFailed("error", _CANCELLED if sent["error"] == "access_denied" else _FAILED)
        if not sent.get("code"):
            raise SignInFailed("code")
        return sent["code"]

    async def _redeem(self, metadata: _Metadata, code: str, verifier: str) -> str:
        """Exchange a code for an ID token."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if self._client_secret is None or metadata.secret_in_body:
            form["client_id"] = self._client_id
        if self._client_secret is not None and metadata.secret_in_body:
            form["client_secret"] = self._client_secret.reveal()
        elif self._client_secret is not None:
            headers["authorization"] = _basic(self._client_id, self._client_secret)
        status, body = await self._post(metadata.token_endpoint, form, headers)
        if status in (400, 401, 403):
            raise SignInFailed("token endpoint refused")
        if status != httpx2.codes.OK:
            raise self._away(f"token endpoint, status {status}")
        try:
            token = parse_object(body).get("id_token")
        except ValueError:
            raise SignInFailed("token endpoint, malformed") from None
        if not isinstance(token, str) or not token.isascii() or len(token) > MAX_TOKEN_SIZE:
            raise SignInFailed("no id_token")
        return token

    async def _verify(self, token: str, nonce: str) -> Person:
        """Check an ID token (OpenID Connect Core section 3.1.3.7), claims before the signature."""
        parsed = parse_compact(token)
        if parsed.algorithm not in ALGORITHMS:
            raise RefusedError("alg")
        if parsed.media_type not in (None, "jwt"):
            raise RefusedError("typ")
        self._check_claims(parsed, nonce)
        key = await self._keys.find_key(parsed.key_id, parsed.algorithm)
        if key is None:
            raise RefusedError("key")
        if not key.has_signed(token, parsed.algorithm):
            raise RefusedError("signature")
        return _person(self._issuer, parsed.claims)

    def _check_claims(self, token: CompactToken, nonce: str) -> None:
        claims = token.claims
        if claims.get("iss") != self._issuer:
            raise RefusedError("iss")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if self._client_id not in audiences or not all(isinstance(each, str) for each in audiences):
            raise RefusedError("aud")
        if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != self._client_id:
            raise RefusedError("azp")
        self._check_times(claims)
        sent = claims.get("nonce")
        if not isinstance(sent, str) or not hmac.compare_digest(sent.encode(errors="replace"), nonce.encode()):
            raise RefusedError("nonce")

    def _check_times(self, claims: JsonObject) -> None:
        now = self._clock()
        if now >= _time(claims, "exp") + LEEWAY:
            raise RefusedError("exp")
        if not now - _OLDEST_SECONDS - LEEWAY <= _time(claims, "iat") <= now + LEEWAY:
            raise RefusedError("iat")
        if "nbf" in claims and _time(claims, "nbf") > now + LEEWAY:
            raise RefusedError("nbf")

    async def _discover(self) -> _Metadata:
        """Return what the provider publishes about itself, an hour old at most while it can be reached."""
        if self._metadata is not None and self._monotonic() < self._known_until:
            return self._metadata
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        remembered = _REMEMBERED_SECONDS
        try:
            async with asyncio.timeout(_SECONDS):
                self._metadata = _read_metadata(await self._documents.fetch(url), self._issuer)
        except (FetchError, TimeoutError) as fault:
            away = self._away(f"metadata, {str(fault) or 'no answer in time'}")
            if self._metadata is None:
                raise away from None
            remembered = _RETRY_SECONDS
        self._known_until = self._monotonic() + remembered
        return self._metadata

    async def _post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, bytes]:
        if self._http is None:
            self._http = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=None)
        try:
            async with asyncio.timeout(_SECONDS), self._http.stream("POST", url, data=form, headers=headers) as answer:
                body = bytearray()
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > _ANSWER_SIZE:
                        raise SignInFailed("token endpoint, too much")
                return answer.status_code, bytes(body)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise self._away(f"token endpoint, {type(error).__name__}") from None

    def _away(self, reason: str) -> Unavailable:
        _log.warning("upstream_provider_unavailable", reason=reason)
        return Unavailable()


def _read_metadata(document: JsonObject, issuer: str) -> _Metadata:
    """Read the provider's metadata (OpenID Connect Discovery section 3). Raises FetchError."""
    if document.get("issuer") != issuer:
        raise FetchError("metadata of another issuer")
    endpoints = []
    for name in ("authorization_endpoint", "token_endpoint"):
        url = document.get(name)
        try:
            if not isinstance(url, str) or not url.isascii() or not url.isprintable():
                raise ValueError("is missing")  # noqa: TRY301 - one fault for whatever is wrong with an endpoint
            check_url(url, plaintext=issuer.startswith("http://"))
        except ValueError as fault:
            raise FetchError(f"{name} {fault}") from None
        endpoints.append(url)
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return _Metadata(
        authorization_endpoint=endpoints[0],
        token_endpoint=endpoints[1],
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        secret_in_body=isinstance(methods, list) and "client_secret_basic" not in methods,
    )


def _person(issuer: str, claims: JsonObject) -> Person:
    provider = hashlib.sha256(issuer.encode()).hexdigest()[:8]
    subject = f"oidc:{provider}:{claims.get('sub')}"
    if not is_text(claims.get("sub")) or not is_text(subject):
        raise RefusedError("sub")
    names = (claims.get(name) for name in ("preferred_username", "email", "name"))
    return Person(subject=subject, name=next((name for name in names if is_text(name)), subject))


def _time(claims: JsonObject, name: str) -> float:
    """Read a NumericDate (RFC 7519 section 2) between 1970 and 9999."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _END_OF_TIME:
        raise RefusedError(name)
    return value


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _basic(client_id: str, secret: Secret) -> str:
    """Write client credentials as RFC 6749 section 2.3.1 has it: each part form-encoded before they are joined."""
    pair = f"{quote(client_id, safe='')}:{quote(secret.reveal(), safe='')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
