"""An OpenID provider on a loopback port, as good or bad as a test makes it. It signs in whoever it is told to."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.web.server import HttpServer
from tests.unit.identity.forge import Forge, encode

CLIENT_ID = "developer platform"
CLIENT_SECRET = "a secret: with & signs"


@dataclass
class Provider:
    """What it does differently from a good one stands in its fields."""

    url: str = ""
    forge: Forge = field(default_factory=lambda: Forge(key_id="rsa"))
    ec_key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))
    metadata_changes: dict[str, Any] = field(default_factory=dict)
    answer_changes: dict[str, Any] = field(default_factory=dict)
    claim_changes: dict[str, Any] = field(default_factory=dict)
    header_changes: dict[str, Any] = field(default_factory=dict)
    token_status: int = 200
    metadata_status: int = 200
    make_token: Any = None
    faults: list[str] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self.metadata),
            Route("/.well-known/oauth-authorization-server", self.metadata),
            Route("/authorize", self.authorize),
            Route("/token", self.token, methods=["POST"]),
            Route("/jwks", self.jwks),
        ]

    async def metadata(self, request: Request) -> Response:
        good = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
        }
        return JSONResponse(_changed(good, self.metadata_changes), self.metadata_status)

    async def jwks(self, request: Request) -> Response:
        ec = {**ECKey.import_key(self.ec_key).as_dict(private=False), "kid": "ec", "alg": "ES256"}
        return JSONResponse({"keys": [self.forge.jwk(), ec]})

    async def authorize(self, request: Request) -> Response:
        """Sign somebody in without a word."""
        asked = dict(request.query_params)
        self.asked.append(asked)
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        answer = _changed({"code": code, "state": asked["state"]}, self.answer_changes)
        return Response(status_code=303, headers={"location": f"{asked['redirect_uri']}?{urlencode(answer)}"})

    async def token(self, request: Request) -> Response:
        """Check what RFC 6749, RFC 7636 and OpenID Connect ask of a client, and keep what is wrong."""
        if self.token_status != 200:
            return JSONResponse({"error": "invalid_grant"}, self.token_status)
        form = dict(parse_qsl((await request.body()).decode()))
        asked = self._codes.pop(form.get("code", ""), None)
        if asked is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if challenge.decode() != asked["code_challenge"] or asked["code_challenge_method"] != "S256":
            self.faults.append("PKCE")
        if form["redirect_uri"] != asked["redirect_uri"] or form["grant_type"] != "authorization_code":
            self.faults.append("redirect_uri")
        if self._credentials(request, form) != (CLIENT_ID, CLIENT_SECRET):
            self.faults.append("credentials")
        return JSONResponse({"token_type": "Bearer", "access_token": "x", "id_token": self._id_token(asked)})

    def _credentials(self, request: Request, form: dict[str, str]) -> tuple[str, str]:
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        if kind != "Basic":
            return form.get("client_id", ""), form.get("client_secret", "")
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
        return unquote(name), unquote(secret)

    def _id_token(self, asked: dict[str, str]) -> Any:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url,
            "sub": "248289761001",
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "nonce": asked["nonce"],
            "preferred_username": "Jane",
        }
        claims = _changed(claims, self.claim_changes)
        return self.make_token(self, claims) if self.make_token else self.sign(claims)

    def sign(self, claims: dict[str, Any]) -> str:
        header = {"alg": "RS256", "kid": "rsa", "typ": "JWT"}
        return self.forge.sign(_changed(header, self.header_changes), claims)

    def sign_by_ec(self, claims: dict[str, Any]) -> str:
        key = ECKey.import_key(self.ec_key)
        return jwt.encode({"alg": "ES256", "kid": "ec"}, claims, key, algorithms=["ES256"])


def by_ec(provider: Provider, claims: dict[str, Any]) -> str:
    return provider.sign_by_ec(claims)


def by_a_stranger(provider: Provider, claims: dict[str, Any]) -> str:
    """Sign with another key under the provider's key id."""
    return Forge(key_id="rsa").sign({"alg": "RS256", "kid": "rsa"}, claims)


def by_the_client_secret(provider: Provider, claims: dict[str, Any]) -> str:
    key = OctKey.import_key(CLIENT_SECRET.ljust(32, "-"))
    return jwt.encode({"alg": "HS256"}, claims, key, algorithms=["HS256"])


def by_the_public_key(provider: Provider, claims: dict[str, Any]) -> str:
    pem = RSAKey.import_key(provider.forge.key.public_key()).as_pem(private=False)
    signing_input = f"{encode({'alg': 'HS256', 'kid': 'rsa'})}.{encode(claims)}"
    return f"{signing_input}.{encode(hmac.digest(pem, signing_input.encode(), 'sha256'))}"


def by_nobody(provider: Provider, claims: dict[str, Any]) -> str:
    return f"{encode({'alg': 'none'})}.{encode(claims)}."


def with_other_claims(provider: Provider, claims: dict[str, Any]) -> str:
    """Change the claims after the signature was made."""
    header, _, signature = provider.sign(claims).split(".")
    return f"{header}.{encode({**claims, 'sub': 'admin'})}.{signature}"


def not_text(provider: Provider, claims: dict[str, Any]) -> Any:
    return {"claims": claims}


def missing(provider: Provider, claims: dict[str, Any]) -> Any:
    return None


def doubled(provider: Provider, claims: dict[str, Any]) -> str:
    """Name the subject twice."""
    text = json.dumps(claims)
    return provider.forge.sign({"alg": "RS256", "kid": "rsa"}, text[:-1] + ', "sub": "admin"}')


@asynccontextmanager
async def running_provider() -> AsyncIterator[Provider]:
    """Run one for a test."""
    provider = Provider()
    async with serving(provider, 0):
        yield provider


@asynccontextmanager
async def serving(provider: Provider, port: int) -> AsyncIterator[None]:
    """Listen on a port, 0 for any."""
    server = HttpServer(Starlette(routes=provider.routes()), "127.0.0.1", port)
    await server.start()
    provider.url = f"http://{server.address}"
    try:
        yield
    finally:
        await server.stop(grace=0)


def port_of(provider: Provider) -> int:
    return urlsplit(provider.url).port or 0


def _changed(good: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Apply changes; `...` takes a member away."""
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}
