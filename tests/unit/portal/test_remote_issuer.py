"""An external issuer as the place where tokens come from: discovery, the forms we send, and answers we do not take."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from server.errors import Unavailable
from server.portal.issuer import SignInEndedError, Tokens
from server.portal.remote_issuer import RemoteTokens
from server.secret import Secret

ISSUER = "https://issuer.test/tenant"
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "authorization_response_iss_parameter_supported": True,
    "scopes_supported": ["openid", "read", "profile"],
}
GIVEN = {"access_token": "access", "token_type": "Bearer", "expires_in": 600, "refresh_token": "refresh"}

Respond = Callable[[httpx2.Request], httpx2.Response]


class Issuer:
    """Answers requests, and keeps them."""

    def __init__(self, **metadata: Any) -> None:
        document = {name: value for name, value in {**METADATA, **metadata}.items() if value is not None}
        self.answers: dict[str, Respond] = {
            "/.well-known/oauth-authorization-server/tenant": lambda _: httpx2.Response(200, json=document),
            "/tenant/token": lambda _: httpx2.Response(200, json=GIVEN),
            "/tenant/revoke": lambda _: httpx2.Response(200),
        }
        self.requests: list[httpx2.Request] = []

    def tokens(self, *, secret: str = "", audience: str = "") -> RemoteTokens:
        tokens = RemoteTokens(ISSUER, "portal", Secret(secret) if secret else None, audience=audience)
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        tokens._http = tokens._documents._client = client
        return tokens

    def sent(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.requests[-1].content.decode()).items()}

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.get(request.url.path)
        return _streamed(answer(request) if answer else httpx2.Response(404))


def _streamed(answer: httpx2.Response) -> httpx2.Response:
    """Return the same answer as it comes over a network, which can be read once."""

    async def body() -> AsyncIterator[bytes]:
        yield answer.content

    headers = {name: value for name, value in answer.headers.items() if name == "location"}
    return httpx2.Response(answer.status_code, headers=headers, content=body())


async def exchange(tokens: RemoteTokens) -> Tokens:
    return await tokens.exchange("code", "v" * 43, "https://portal.test/portal/signed-in")


async def test_the_endpoint_comes_from_the_metadata() -> None:
    endpoint = await Issuer().tokens(audience="https://api.test").endpoint()

    assert endpoint.url == f"{ISSUER}/authorize"
    assert endpoint.names_issuer
    assert endpoint.parameters == {"client_id": "portal", "scope": "openid read", "resource": "https://api.test"}


async def test_openid_metadata_will_do() -> None:
    issuer = Issuer()
    document = issuer.answers.pop("/.well-known/oauth-authorization-server/tenant")
    issuer.answers["/tenant/.well-known/openid-configuration"] = document

    assert (await issuer.tokens().endpoint()).url == f"{ISSUER}/authorize"


async def test_offline_access_is_asked_for_with_consent_where_it_is_offered() -> None:
    parameters = (await Issuer(scopes_supported=["openid", "offline_access"]).tokens().endpoint()).parameters

    assert (parameters["scope"], parameters["prompt"]) == ("openid offline_access", "consent")


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.test"},
        {"token_endpoint": None},
        {"token_endpoint": "http://issuer.test/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
    ids=str,
)
async def test_other_metadata_is_an_outage(metadata: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        await Issuer(**metadata).tokens().endpoint()


async def test_a_code_is_traded() -> None:
    issuer = Issuer()

    given = await exchange(issuer.tokens())

    assert given == Tokens(access_token="access", expires_in=600, refresh_token="refresh")
    assert issuer.sent() == {
        "grant_type": "authorization_code",
        "code": "code",
        "redirect_uri": "https://portal.test/portal/signed-in",
        "code_verifier": "v" * 43,
        "client_id": "portal",
    }


async def test_a_secret_goes_into_the_header_each_part_encoded() -> None:
    issuer = Issuer()

    await exchange(issuer.tokens(secret="a:b c"))

    kind, _, proof = issuer.requests[-1].headers["authorization"].partition(" ")
    assert (kind, base64.b64decode(proof)) == ("Basic", b"portal:a%3Ab%20c")
    assert "client_secret" not in issuer.sent()


async def test_a_secret_goes_into_the_body_where_the_issuer_wants_it_there() -> None:
    issuer = Issuer(token_endpoint_auth_methods_supported=["client_secret_post"])

    await exchange(issuer.tokens(secret="hidden"))

    assert (issuer.sent()["client_id"], issuer.sent()["client_secret"]) == ("portal", "hidden")


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refusal_ends_the_sign_in(status: int) -> None:
    issuer = Issuer()
    issuer.answers["/tenant/token"] = lambda _: httpx2.Response(status, json={"error": "invalid_grant"})

    with pytest.raises(SignInEndedError):
        await issuer.tokens().renew("refresh")


@pytest.mark.parametrize("status", [302, 429, 500, 503])
async def test_anything_else_is_an_outage(status: int) -> None:
    issuer = Issuer()
    issuer.answers["/tenant/token"] = lambda _: httpx2.Response(status, headers={"location": "https://evil.test"})

    with pytest.raises(Unavailable):
        await issuer.tokens().renew("refresh")


@pytest.mark.parametrize(
    "answer",
    [
        b"[]",
        b"not json",
        json.dumps({**GIVEN, "access_token": ""}).encode(),
        json.dumps({**GIVEN, "access_token": 7}).encode(),
        json.dumps({**GIVEN, "token_type": "mac"}).encode(),
        json.dumps({**GIVEN, "expires_in": -1}).encode(),
        json.dumps({**GIVEN, "expires_in": True}).encode(),
        json.dumps({**GIVEN, "refresh_token": ["refresh"]}).encode(),
        json.dumps({**GIVEN, "access_token": "x" * 9000}).encode(),
    ],
)
async def test_an_answer_that_is_no_token_is_not_taken(answer: bytes) -> None:
    issuer = Issuer()
    issuer.answers["/tenant/token"] = lambda _: httpx2.Response(200, content=answer)

    with pytest.raises(SignInEndedError):
        await exchange(issuer.tokens())


async def test_an_endless_answer_is_cut_off() -> None:
    issuer = Issuer()
    issuer.answers["/tenant/token"] = lambda _: httpx2.Response(200, content=b" " * 100_000)

    with pytest.raises(Unavailable):
        await exchange(issuer.tokens())


async def test_a_refresh_token_is_revoked_where_that_is_possible() -> None:
    issuer = Issuer()
    await issuer.tokens().revoke("refresh")
    assert issuer.sent()["token"] == "refresh"

    silent = Issuer(revocation_endpoint=None)
    await silent.tokens().revoke("refresh")
    assert [request.method for request in silent.requests] == ["GET"]


async def test_what_was_known_serves_while_the_issuer_is_away() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    await tokens.endpoint()
    issuer.answers.pop("/.well-known/oauth-authorization-server/tenant")
    tokens._known_until = float("-inf")

    assert (await tokens.endpoint()).url == f"{ISSUER}/authorize"
