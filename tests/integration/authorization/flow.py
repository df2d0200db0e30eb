"""The authorization server under test, the clients it knows, and the steps of the flow as a client takes them."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from server.authorization.model import (
    AuthorizationRequest,
    ClientCredentials,
    RegisteredClient,
    Tokens,
)
from server.authorization.service import AuthorizationService
from server.identity.jwks import StaticKeySet
from server.identity.local_issuer import LocalIssuer
from server.identity.tokens import TokenVerifier
from server.postgres.pool import Database
from server.secret import Secret

ISSUER, AUDIENCE = "http://127.0.0.1:8080", "urn:test"
REDIRECT_URI = "https://app.example/signed-in?from=us%20all&x"
VERIFIER = "-._~" + "aB3" * 20
SECRET = 'ang_oauth_12345678_it is "quoted", 100 % strange: and = so+on'

PUBLIC = RegisteredClient(
    id="client_01jd3m8r5vf4q9zq5k2t7w6x8y",
    name="Jukebox",
    developer_name="Alice's",
    is_confidential=False,
    redirect_uris=(REDIRECT_URI, "http://127.0.0.1/cb", "com.example.jukebox:/cb"),
    allowed_scopes=frozenset({"read", "stream"}),
)
CONFIDENTIAL = replace(PUBLIC, id="client_01jd3m8r5vf4q9zq5k2t7w6x8z", name="Radio", is_confidential=True)
PORTAL = replace(PUBLIC, id="developer-portal", name="Portal", is_first_party=True)


class Directory:
    """Clients in memory. All confidential ones have one secret."""

    def __init__(self, *clients: RegisteredClient) -> None:
        self.clients = {client.id: client for client in clients}

    async def find(self, client_id: str) -> RegisteredClient | None:
        return self.clients.get(client_id)

    async def authenticate(self, client_id: str, secret: Secret) -> bool:
        return self.clients[client_id].is_confidential and secret.reveal() == SECRET


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def credentials_of(client: RegisteredClient) -> ClientCredentials:
    return ClientCredentials.posted(client.id, SECRET if client.is_confidential else "")


def authorization_parameters(client: RegisteredClient = PUBLIC, **changes: str | None) -> list[tuple[str, str]]:
    """Return a good request to the authorization endpoint, with some parameters changed or (None) left out."""
    good = {
        "client_id": client.id,
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "scope": "read stream",
        "state": "a b&c=d/é+%",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }
    return [(name, value) for name, value in {**good, **changes}.items() if value is not None]


def response_of(url: str) -> dict[str, str]:
    """Return what a redirect tells the client, each parameter once."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=False)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@dataclass(kw_only=True)
class Flow:
    """A server and the steps that users and clients take with it."""

    database: Database
    issuer: LocalIssuer
    directory: Directory = field(default_factory=lambda: Directory(PUBLIC, CONFIDENTIAL))
    server: AuthorizationService = field(init=False)
    verifier: TokenVerifier = field(init=False)

    def __post_init__(self) -> None:
        self.verifier = TokenVerifier(issuer=ISSUER, audience=AUDIENCE, keys=StaticKeySet(self.issuer.jwks()))
        self.server = AuthorizationService(
            self.database,
            self.directory,
            self.issuer,
            issuer_url=ISSUER,
            verify=self.verifier.verify,
            first_party=[PORTAL],
        )

    async def request(self, client: RegisteredClient = PUBLIC, **changes: str | None) -> AuthorizationRequest:
        return await self.server.check_request(authorization_parameters(client, **changes))

    async def code(
        self,
        client: RegisteredClient = PUBLIC,
        *,
        subject: str = "alice",
        scopes: Sequence[str] = ("read", "stream"),
        **changes: str | None,
    ) -> str:
        """Let a user allow a client something, and return the code that the client gets."""
        url = await self.server.approve(await self.request(client, **changes), subject, scopes)
        return response_of(url)["code"]

    async def exchange(self, code: str, client: RegisteredClient = PUBLIC, **changes: str) -> Tokens:
        parameters = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": VERIFIER,
        }
        return await self.server.give_tokens(credentials_of(client), {**parameters, **changes})

    async def tokens(self, client: RegisteredClient = PUBLIC, scopes: Sequence[str] = ("read", "stream")) -> Tokens:
        return await self.exchange(await self.code(client, scopes=scopes), client)

    async def refresh(self, token: Secret, client: RegisteredClient = PUBLIC, **changes: str) -> Tokens:
        parameters = {"grant_type": "refresh_token", "refresh_token": token.reveal()}
        return await self.server.give_tokens(credentials_of(client), {**parameters, **changes})

    async def revoke(self, token: Secret, client: RegisteredClient = PUBLIC, **changes: str) -> None:
        await self.server.revoke(credentials_of(client), {"token": token.reveal(), **changes})

    async def revoked(self) -> list[bool]:
        """Tell of each grant, oldest first, whether it was revoked."""
        rows = await self.database.fetch("SELECT revoked_at IS NOT NULL AS revoked FROM oauth_grants ORDER BY id")
        return [row["revoked"] for row in rows]


def open_issuer(data_dir: Path) -> LocalIssuer:
    return LocalIssuer.open(data_dir, issuer=ISSUER, audience=AUDIENCE)
