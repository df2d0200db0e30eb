"""`/oauth/token` and `/oauth/revoke` over HTTP, byte by byte: forms, proofs, errors, limits."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx2
import pytest
import pytest_asyncio

from server.authorization.endpoints import FormEndpoint, revocation_endpoint, token_endpoint
from server.authorization.model import RegisteredClient
from server.authorization.throttle import AddressLimit
from server.limits.model import Rate
from server.limits.service import LocalLimiter
from server.postgres.pool import Database
from tests.integration.authorization.flow import (
    CONFIDENTIAL,
    ISSUER,
    PUBLIC,
    REDIRECT_URI,
    SECRET,
    VERIFIER,
    Flow,
)

FORM = {"content-type": "application/x-www-form-urlencoded"}
CHALLENGE = f'Basic realm="{ISSUER}", charset="UTF-8"'


def limit(requests: int = 1000, of_a_client: int = 1000) -> AddressLimit:
    return AddressLimit(LocalLimiter(), Rate(requests, 60), Rate(of_a_client, 60))


@pytest_asyncio.fixture(loop_scope="session")
async def token(flow: Flow) -> AsyncIterator[httpx2.AsyncClient]:
    async with _client(token_endpoint(flow.server, limit(), ISSUER)) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def revocation(flow: Flow) -> AsyncIterator[httpx2.AsyncClient]:
    async with _client(revocation_endpoint(flow.server, limit(), ISSUER)) as client:
        yield client


def _client(endpoint: FormEndpoint, address: str = "192.0.2.1") -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(endpoint, client=(address, 5000))
    return httpx2.AsyncClient(transport=transport, base_url=ISSUER)


def basic(client_id: str, secret: str) -> dict[str, str]:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def exchange(code: str, **more: str) -> dict[str, str]:
    good = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
    return {**good, **more}


def error_of(answer: httpx2.Response, status: int = 400) -> str:
    """Check the shape of an error (RFC 6749 section 5.2) and return its code."""
    assert answer.status_code == status, answer.text
    assert_not_kept(answer)
    told = answer.json()
    assert told.keys() == {"error", "error_description"}
    assert set(map(chr, range(0x20, 0x7F))).difference('"\\').issuperset(told["error_description"])
    assert (answer.headers.get("www-authenticate") == CHALLENGE) == (status == 401)
    return str(told["error"])


def assert_not_kept(answer: httpx2.Response) -> None:
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"


PROOFS: list[tuple[RegisteredClient, Mapping[str, str], Mapping[str, str]]] = [
    (PUBLIC, {"client_id": PUBLIC.id}, {}),
    (PUBLIC, {"client_id": PUBLIC.id, "client_secret": ""}, {}),
    (PUBLIC, {}, basic(PUBLIC.id, "")),
    (CONFIDENTIAL, {"client_id": CONFIDENTIAL.id, "client_secret": SECRET}, {}),
    (CONFIDENTIAL, {}, basic(CONFIDENTIAL.id, SECRET)),
    (CONFIDENTIAL, {"client_id": CONFIDENTIAL.id}, basic(CONFIDENTIAL.id, SECRET)),
]


@pytest.mark.parametrize(("client", "fields", "headers"), PROOFS)
async def test_a_client_gets_renews_and_revokes_tokens(
    flow: Flow,
    token: httpx2.AsyncClient,
    revocation: httpx2.AsyncClient,
    client: RegisteredClient,
    fields: dict[str, str],
    headers: dict[str, str],
) -> None:
    answer = await token.post("/oauth/token", data={**exchange(await flow.code(client)), **fields}, headers=headers)
    assert answer.status_code == 200
    assert_not_kept(answer)
    first = answer.json()
    assert first.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (first["token_type"], first["expires_in"], first["scope"]) == ("Bearer", 600, "read stream")

    renewal = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "scope": "read"}
    second = (await token.post("/oauth/token", data={**renewal, **fields}, headers=headers)).json()
    assert second["scope"] == "read"
    assert (await flow.verifier.verify(second["access_token"])).scopes == {"read"}

    end = {"token": second["access_token"], "token_type_hint": "access_token", **fields}
    answer = await revocation.post("/oauth/revoke", data=end, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {})
    assert_not_kept(answer)
    assert await flow.revoked() == [True]


NO_PROOFS: list[tuple[Mapping[str, str], Mapping[str, str]]] = [
    ({}, {}),
    ({"client_id": "client_0"}, {}),
    ({"client_id": CONFIDENTIAL.id}, {}),
    ({"client_id": CONFIDENTIAL.id, "client_secret": "wrong"}, {}),
    ({"client_id": PUBLIC.id, "client_secret": SECRET}, {}),
    ({}, basic(CONFIDENTIAL.id, "wrong")),
    ({}, basic(CONFIDENTIAL.id, "")),
    ({}, basic(PUBLIC.id, SECRET)),
    ({}, basic("", "")),
    ({"client_id": PUBLIC.id}, {"authorization": "Bearer eyJ"}),
    ({}, {"authorization": "Basic"}),
    ({}, {"authorization": "Basic é"}),
    ({}, {"authorization": "Basic !!!!"}),
    ({}, {"authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()}),
    ({}, {"authorization": "Basic " + base64.b64encode(b"%ff:%ff").decode()}),
    ({}, {"authorization": "Basic " + base64.b64encode(CONFIDENTIAL.id.encode()).decode()}),
    ({}, {"authorization": "Digest " + basic(CONFIDENTIAL.id, SECRET)["authorization"].partition(" ")[2]}),
]


@pytest.mark.parametrize(("fields", "headers"), NO_PROOFS)
async def test_without_a_proof_the_answer_is_401_with_a_challenge(
    flow: Flow, token: httpx2.AsyncClient, fields: dict[str, str], headers: dict[str, str]
) -> None:
    code = await flow.code(CONFIDENTIAL)
    encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    answer = await token.post("/oauth/token", data={**exchange(code), **fields}, headers=encoded)
    assert error_of(answer, 401) == "invalid_client"
    assert await flow.exchange(code, CONFIDENTIAL)


@pytest.mark.parametrize(
    "fields",
    [{"client_secret": SECRET}, {"client_id": PUBLIC.id}, {"client_id": CONFIDENTIAL.id, "client_secret": "x"}],
)
async def test_a_client_proves_itself_in_one_way(flow: Flow, token: httpx2.AsyncClient, fields: dict[str, str]) -> None:
    form = {**exchange(await flow.code(CONFIDENTIAL)), **fields}
    answer = await token.post("/oauth/token", data=form, headers=basic(CONFIDENTIAL.id, SECRET))
    assert error_of(answer) == "invalid_request"


async def test_two_authorization_headers_are_refused(flow: Flow, token: httpx2.AsyncClient) -> None:
    header = basic(CONFIDENTIAL.id, SECRET)["authorization"]
    headers = [("authorization", header), ("authorization", header), *FORM.items()]
    answer = await token.post("/oauth/token", content=urlencode(exchange("x")), headers=headers)
    assert error_of(answer) == "invalid_request"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code": "x"}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"redirect_uri": REDIRECT_URI + "/"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_grant"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"code_verifier": "x" * 42}, "invalid_request"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
    ],
)
async def test_refusals_carry_the_standards_code(
    flow: Flow, token: httpx2.AsyncClient, changes: dict[str, str], error: str
) -> None:
    form = {**exchange(await flow.code()), "client_id": PUBLIC.id, **changes}
    assert error_of(await token.post("/oauth/token", data=form)) == error


@pytest.mark.parametrize("name", ["grant_type", "code", "redirect_uri", "client_id", "code_verifier", "unknown"])
@pytest.mark.parametrize("value", [None, "", "other"])
async def test_a_parameter_sent_twice_is_refused(
    flow: Flow, token: httpx2.AsyncClient, name: str, value: str | None
) -> None:
    form = {**exchange(await flow.code()), "client_id": PUBLIC.id, "unknown": "x"}
    body = urlencode([*form.items(), (name, form[name] if value is None else value)])
    assert error_of(await token.post("/oauth/token", content=body, headers=FORM)) == "invalid_request"
    assert await flow.exchange(form["code"])


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/x-www-form-urlencodedx",
    ],
)
async def test_anything_but_a_form_is_refused(flow: Flow, token: httpx2.AsyncClient, content_type: str | None) -> None:
    body = urlencode({**exchange(await flow.code()), "client_id": PUBLIC.id}).encode()
    headers = {} if content_type is None else {"content-type": content_type}
    assert error_of(await token.post("/oauth/token", content=body, headers=headers)) == "invalid_request"


async def test_a_form_may_say_its_charset(flow: Flow, token: httpx2.AsyncClient) -> None:
    body = urlencode({**exchange(await flow.code()), "client_id": PUBLIC.id})
    headers = {"content-type": "Application/X-WWW-Form-URLencoded; charset=UTF-8"}
    assert (await token.post("/oauth/token", content=body, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "body", [b"a=" + b"x" * 16 * 1024, b"&".join(b"a%d=1" % number for number in range(40)), b"a=%ff", b"a=\xc3\xa9"]
)
async def test_a_form_that_is_too_large_or_malformed_is_refused(token: httpx2.AsyncClient, body: bytes) -> None:
    assert error_of(await token.post("/oauth/token", content=body, headers=FORM)) == "invalid_request"


async def test_parameters_in_the_address_count_for_nothing(flow: Flow, token: httpx2.AsyncClient) -> None:
    form = {**exchange(await flow.code()), "client_id": PUBLIC.id}
    assert error_of(await token.post("/oauth/token?" + urlencode(form), content=b"", headers=FORM), 401)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_only_post_is_served(token: httpx2.AsyncClient, method: str) -> None:
    answer = await token.request(method, "/oauth/token")
    assert error_of(answer, 405) == "invalid_request"
    assert answer.headers["allow"] == "POST"


async def test_revoking_what_nobody_knows_is_no_error(revocation: httpx2.AsyncClient) -> None:
    answer = await revocation.post("/oauth/revoke", data={"client_id": PUBLIC.id, "token": "x"})
    assert (answer.status_code, answer.json()) == (200, {})


async def test_revocation_without_a_token_or_of_anothers_is_refused(flow: Flow, revocation: httpx2.AsyncClient) -> None:
    assert error_of(await revocation.post("/oauth/revoke", data={"client_id": PUBLIC.id})) == "invalid_request"
    token = (await flow.tokens(CONFIDENTIAL)).refresh_token.reveal()
    foreign = {"client_id": PUBLIC.id, "token": token}
    assert error_of(await revocation.post("/oauth/revoke", data=foreign)) == "invalid_grant"


async def test_an_address_that_asks_too_often_is_told_when_to_come_back(flow: Flow) -> None:
    endpoint = token_endpoint(flow.server, limit(2), ISSUER)
    statuses = []
    async with _client(endpoint) as here, _client(endpoint, "192.0.2.2") as there:
        for client in (here, here, here, there):
            answer = await client.post("/oauth/token", data={"client_id": PUBLIC.id})
            statuses.append(answer.status_code)
            if answer.status_code == 429:
                assert error_of(answer, 429) == "temporarily_unavailable"
                assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert statuses == [400, 400, 429, 400]


def refresh(client: RegisteredClient, secret: str = SECRET) -> dict[str, str]:
    """Ask for tokens with a refresh token that nobody knows."""
    proof = {"client_id": client.id, "client_secret": secret}
    return {"grant_type": "refresh_token", "refresh_token": "x", **proof}


async def statuses(client: httpx2.AsyncClient, *forms: Mapping[str, str]) -> list[int]:
    return [(await client.post("/oauth/token", data=dict(form))).status_code for form in forms]


async def test_a_confidential_client_that_proves_itself_is_not_counted_for_its_address(flow: Flow) -> None:
    async with _client(token_endpoint(flow.server, limit(2), ISSUER)) as client:
        assert await statuses(client, *[refresh(CONFIDENTIAL)] * 5) == [400] * 5
        assert await statuses(client, *[{"client_id": PUBLIC.id}] * 3) == [400, 400, 429]


async def test_a_confidential_client_has_a_limit_of_its_own_wherever_it_calls_from(flow: Flow) -> None:
    other = replace(CONFIDENTIAL, id="client_01jd3m8r5vf4q9zq5k2t7w6x90")
    flow.directory.clients[other.id] = other
    endpoint = token_endpoint(flow.server, limit(of_a_client=3), ISSUER)
    async with _client(endpoint) as here, _client(endpoint, "192.0.2.2") as there:
        assert await statuses(here, *[refresh(CONFIDENTIAL)] * 2) == [400, 400]
        assert await statuses(there, *[refresh(CONFIDENTIAL)] * 2) == [400, 429]
        assert await statuses(there, refresh(other)) == [400]


async def test_beyond_its_limit_a_client_is_refused_before_anybody_looks_at_its_secret(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _client(token_endpoint(flow.server, limit(of_a_client=1), ISSUER)) as client:
        assert await statuses(client, refresh(CONFIDENTIAL)) == [400]
        monkeypatch.setattr(flow.directory, "find", None)  # whoever asked for the client would fail
        assert await statuses(client, *[refresh(CONFIDENTIAL)] * 2) == [429, 429]


async def test_whoever_does_not_prove_itself_is_counted_for_its_address(flow: Flow) -> None:
    endpoint = token_endpoint(flow.server, limit(4), ISSUER)
    unknown = replace(CONFIDENTIAL, id="client_01jd3m8r5vf4q9zq5k2t7w6x90")
    failures = refresh(CONFIDENTIAL, "wrong"), refresh(CONFIDENTIAL, ""), refresh(unknown), refresh(PUBLIC)
    async with _client(endpoint) as here, _client(endpoint, "192.0.2.2") as there:
        assert await statuses(here, *failures) == [401, 401, 401, 401]
        assert await statuses(here, refresh(CONFIDENTIAL)) == [429]
        assert await statuses(there, refresh(CONFIDENTIAL)) == [400]


async def test_what_is_no_form_is_counted_for_its_address(flow: Flow) -> None:
    async with _client(token_endpoint(flow.server, limit(2), ISSUER)) as client:
        answers = [await client.post("/oauth/token", content=b"?") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [400, 400, 429]


async def test_an_outage_is_told_as_one(flow: Flow, database: Database, token: httpx2.AsyncClient) -> None:
    code = await flow.code()
    await database.close()
    answer = await token.post("/oauth/token", data={**exchange(code), "client_id": PUBLIC.id})
    assert error_of(answer, 503) == "temporarily_unavailable"
    assert answer.headers["retry-after"] == "1"


async def test_a_fault_of_ours_tells_nothing(
    flow: Flow, token: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise ValueError(f"no key for {SECRET}")

    monkeypatch.setattr(flow.issuer, "issue", fail)
    form = {**exchange(await flow.code()), "client_id": PUBLIC.id}
    answer = await token.post("/oauth/token", data=form)
    assert error_of(answer, 500) == "server_error"
    assert SECRET not in json.dumps(answer.json()) + "".join(capsys.readouterr())


async def test_a_client_that_leaves_is_not_answered(flow: Flow) -> None:
    endpoint = token_endpoint(flow.server, limit(), ISSUER)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", FORM["content-type"].encode())]
    await endpoint({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)
    assert sent == []
