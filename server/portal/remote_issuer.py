"""An external issuer as the place where the portal's tokens come from: a client of it, over HTTP.

Authorization code with PKCE and refresh tokens (RFC 6749, 7636), metadata (RFC 8414, else OpenID Connect Discovery),
revocation (RFC 7009). No token is logged.
"""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import httpx2
import structlog

from server.errors import Unavailable
from server.identity.compact import MAX_TOKEN_SIZE
from server.identity.discovery import DocumentFetcher, FetchError, check_issuer_url, check_url
from server.identity.strict_json import JsonObject, parse_object
from server.portal.issuer import Endpoint, SignInEndedError, Tokens
from server.secret import Secret

_SECONDS: Final = 5.0
"""How long the issuer may take for one answer."""
_REMEMBERED_SECONDS: Final = 3600.0
_ANSWER_SIZE: Final = 64 * 1024
_LONGEST: Final = 24 * 3600
_SCOPES: Final = ("openid", "offline_access", "read", "stream")
"""What the portal would like to have, as far as the issuer says it has it: `offline_access` gives refresh tokens."""
_USUAL_SCOPES: Final = ("read", "stream")
_REFUSALS: Final = frozenset({400, 401, 403})

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str
    """Empty: tokens cannot be revoked there."""
    names_issuer: bool
    secret_in_body: bool
    scopes: tuple[str, ...]


class RemoteTokens:
    """One issuer, which knows the portal by a client id, and by a secret unless the portal is a public client there."""

    sign_out_path = ""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: Secret | None,
        *,
        audience: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tokens are asked for `audience`, if that is a URI: so RFC 8707 says which methods they are for.

        Raises ValueError when the issuer is no https URL, or http URL of this machine.
        """
        check_issuer_url(issuer)
        self.issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._resource = {"resource": audience} if "://" in audience or audience.startswith("urn:") else {}
        self._monotonic = monotonic
        self._documents = DocumentFetcher()
        self._http: httpx2.AsyncClient | None = None
        self._metadata: _Metadata | None = None
        self._known_until = float("-inf")

    async def close(self) -> None:
        """Close the connections."""
        await self._documents.close()
        if self._http is not None:
            await self._http.aclose()

    async def endpoint(self) -> Endpoint:
        """Return the issuer's authorization endpoint."""
        metadata = await self._discover()
        parameters = {"client_id": self._client_id, "scope": " ".join(metadata.scopes), **self._resource}
        if "offline_access" in metadata.scopes:
            parameters["prompt"] = "consent"  # without it there is no refresh token (OpenID Connect Core section 11)
        return Endpoint(url=metadata.authorization_endpoint, parameters=parameters, names_issuer=metadata.names_issuer)

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Trade an authorization code."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return await self._trade({**form, "code_verifier": verifier})

    async def renew(self, refresh_token: str) -> Tokens:
        """Trade a refresh token."""
        return await self._trade({"grant_type": "refresh_token", "refresh_token": refresh_token})

    async def revoke(self, refresh_token: str) -> None:
        """End a refresh token, if the issuer can."""
        metadata = await self._discover()
        if metadata.revocation_endpoint:
            form = {"token": refresh_token, "token_type_hint": "refresh_token"}
            await self._post(metadata.revocation_endpoint, form, metadata)

    async def _trade(self, form: Mapping[str, str]) -> Tokens:
        metadata = await self._discover()
        body = await self._post(metadata.token_endpoint, {**form, **self._resource}, metadata)
        try:
            return _read_tokens(parse_object(body))
        except ValueError as fault:
            _log.warning("portal_issuer_answer_refused", reason=str(fault))
            raise SignInEndedError from None

    async def _discover(self) -> _Metadata:
        """Return what the issuer publishes about itself, an hour old at most while it can be reached."""
        if self._metadata is not None and self._monotonic() < self._known_until:
            return self._metadata
        faults = []
        for url in _metadata_urls(self.issuer):
            try:
                async with asyncio.timeout(_SECONDS):
                    self._metadata = _read_metadata(await self._documents.fetch(url), self.issuer)
                break
            except (FetchError, TimeoutError) as fault:
                faults.append(str(fault) or "no answer in time")
        else:
            if self._metadata is None:
                raise _away(f"metadata: {'; '.join(faults)}")
        self._known_until = self._monotonic() + _REMEMBERED_SECONDS
        return self._metadata

    async def _post(self, url: str, form: Mapping[str, str], metadata: _Metadata) -> bytes:
        """Send a form as our client and return the answer's body. Raises SignInEndedError when it is refused."""
        fields, headers = self._with_credentials(form, metadata)
        if self._http is None:
            self._http = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=None)
        try:
            async with (
                asyncio.timeout(_SECONDS),
                self._http.stream("POST", url, data=fields, headers=headers) as answer,
            ):
                body = bytearray()
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > _ANSWER_SIZE:
                        raise _away("token endpoint, too much")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
            raise _away(f"token endpoint, {type(error).__name__}") from None
        if answer.status_code in _REFUSALS:
            _log.info("portal_issuer_refused", status=answer.status_code)
            raise SignInEndedError
        if answer.status_code != httpx2.codes.OK:
            raise _away(f"token endpoint, status {answer.status_code}")
        return bytes(body)

    def _with_credentials(self, form: Mapping[str, str], metadata: _Metadata) -> tuple[dict[str, str], dict[str, str]]:
        """Say who we are, and prove it if we have a secret (RFC 6749 section 2.3.1)."""
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        secret = self._client_secret
        if secret is not None and not metadata.secret_in_body:
            pair = f"{quote(self._client_id, safe='')}:{quote(secret.reveal(), safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
            return {**form}, headers
        proof = {} if secret is None else {"client_secret": secret.reveal()}
        return {**form, "client_id": self._client_id, **proof}, headers


def _read_tokens(answer: JsonObject) -> Tokens:
    """Read a token response (RFC 6749 section 5.1). Raises ValueError, without anything that was sent."""
    access_token, refresh_token = answer.get("access_token"), answer.get("refresh_token", "")
    expires_in, kind = answer.get("expires_in", 300), answer.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ValueError("token_type")
    for token in (access_token, refresh_token):
        if not isinstance(token, str) or len(token) > MAX_TOKEN_SIZE or not token.isascii():
            raise ValueError("token")
    if (
        isinstance(expires_in, bool)
        or not isinstance(expires_in, int | float)
        or not expires_in > 0
        or not access_token
    ):
        raise ValueError("expires_in")
    return Tokens(
        access_token=str(access_token), expires_in=int(min(expires_in, _LONGEST)), refresh_token=str(refresh_token)
    )


def _read_metadata(document: JsonObject, issuer: str) -> _Metadata:
    """Read the issuer's metadata (RFC 8414 section 2). Raises FetchError."""
    if document.get("issuer") != issuer:
        raise FetchError("metadata of another issuer")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    offered = document.get("scopes_supported")
    scopes = tuple(scope for scope in _SCOPES if scope in offered) if isinstance(offered, list) else ()
    return _Metadata(
        authorization_endpoint=_url(document, "authorization_endpoint", issuer),
        token_endpoint=_url(document, "token_endpoint", issuer),
        revocation_endpoint=_url(document, "revocation_endpoint", issuer) if "revocation_endpoint" in document else "",
        names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        secret_in_body=isinstance(methods, list) and "client_secret_basic" not in methods,
        scopes=scopes or _USUAL_SCOPES,
    )


def _url(document: JsonObject, name: str, issuer: str) -> str:
    url = document.get(name)
    try:
        if not isinstance(url, str) or not url.isascii() or not url.isprintable():
            raise ValueError("is missing")  # noqa: TRY301 - one fault for whatever is wrong with an endpoint
        check_url(url, plaintext=issuer.startswith("http://"))
    except ValueError as fault:
        raise FetchError(f"{name} {fault}") from None
    return url


def _metadata_urls(issuer: str) -> tuple[str, str]:
    """Return where metadata may be: the well-known part goes before the path in RFC 8414 and after it in OpenID."""
    parts = httpx2.URL(issuer)
    origin = f"{parts.scheme}://{parts.netloc.decode()}"
    path = parts.raw_path.decode().rstrip("/")
    return (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )


def _away(reason: str) -> Unavailable:
    _log.warning("portal_issuer_unavailable", reason=reason)
    return Unavailable()
