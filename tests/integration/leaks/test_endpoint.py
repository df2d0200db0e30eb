"""Signed reports over HTTP: what is taken, what is answered, what is refused and that no token is ever repeated."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from server.errors import Unavailable
from server.ids import DeveloperId
from server.keys.service import KeyService
from server.leaks.endpoint import leak_routes
from server.leaks.model import Leak, Policy
from server.leaks.service import LeakReports
from server.leaks.signatures import ReporterKeys
from server.postgres.pool import Database
from server.secret import Secret, draw_secret
from tests.integration.keys.vault import PEPPERS, acting, wish, works
from tests.integration.leaks.leaked import URL, events, forged
from tests.unit.identity.issuer_server import IssuerServer, answer, running_issuer
from tests.unit.leaks.reporter import Reporter, published

PATH = "/leak-reports"
UNSIGNED = "A report must be signed in Github-Public-Key-Signature with a published key."


@pytest.fixture(scope="session")
def reporter() -> Reporter:
    return Reporter()


@pytest_asyncio.fixture(loop_scope="session")
async def publisher(reporter: Reporter) -> AsyncIterator[IssuerServer]:
    async with running_issuer() as server:
        server.answers["/keys"] = answer(published(reporter))
        yield server


def client_of(reports: LeakReports, keys: ReporterKeys) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(Starlette(routes=leak_routes(reports, keys)))
    return httpx2.AsyncClient(transport=transport, base_url="http://api.test")


@pytest_asyncio.fixture(loop_scope="session")
async def http(database: Database, publisher: IssuerServer) -> AsyncIterator[httpx2.AsyncClient]:
    keys = ReporterKeys(f"{publisher.url}/keys")
    async with client_of(LeakReports(database, PEPPERS, Policy.REVOKE), keys) as client:
        yield client
    await keys.close()


def element(token: str, kind: str = "our_api_key", **more: Any) -> dict[str, Any]:
    return {"token": token, "type": kind, "url": URL, "source": "content", **more}


async def post(http: httpx2.AsyncClient, reporter: Reporter, report: Any) -> httpx2.Response:
    """Send a report that is well signed; bytes go as they are."""
    body = report if isinstance(report, bytes) else json.dumps(report).encode()
    return await http.post(PATH, content=body, headers=reporter.headers(body))


def feedback(token: str, *, ours: bool, kind: str = "our_api_key") -> dict[str, str]:
    label = "true_positive" if ours else "false_positive"
    return {"token_hash": hashlib.sha256(token.encode()).hexdigest(), "token_type": kind, "label": label}


async def test_a_signed_report_revokes_and_says_which_tokens_are_ours(
    http: httpx2.AsyncClient, reporter: Reporter, database: Database, keys: KeyService, alice: DeveloperId
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret
    token, stranger, forgery = secret.reveal(), draw_secret("live").reveal(), forged(secret).reveal()
    report = [element(stranger), element(token, url=""), element("é", "other"), element(forgery), element(token)]

    for _ in range(2):
        response = await post(http, reporter, report)

        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "no-store"
        assert response.json() == [
            feedback(stranger, ours=False),
            feedback(token, ours=True),
            feedback("é", ours=False, kind="other"),
            feedback(forgery, ours=False),
            feedback(token, ours=True),
        ]
    assert await works(database, secret) == [False]
    assert [details["url"] for *_, details in await events(database)] == [""]


async def test_url_and_source_may_be_unknown(
    http: httpx2.AsyncClient, reporter: Reporter, database: Database, keys: KeyService, alice: DeveloperId
) -> None:
    secrets = [(await keys.create(acting(alice), wish())).secret for _ in range(2)]
    one, two = (secret.reveal() for secret in secrets)

    response = await post(http, reporter, [{"token": one, "type": "t"}, element(two, url=None, source=None, new=[1])])

    assert response.status_code == 200
    assert await works(database, *secrets) == [False, False]


async def test_what_is_kept_of_a_place_is_bounded_prints_and_holds_no_token(
    http: httpx2.AsyncClient, reporter: Reporter, database: Database, keys: KeyService, alice: DeveloperId
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret
    token = secret.reveal()
    url = f"https://x.test/?k={token}\x00\n\ud83d\ude00" + "a" * 1000

    await post(http, reporter, [element(token, url=url, source="\u202econtent")])

    ((*_, details),) = await events(database)
    assert details["url"].startswith(f"https://x.test/?k={token[:17]}_[masked]\ufffd\ufffd\U0001f600aaa")
    assert len(details["url"]) == 500
    assert details["source"] == "\ufffdcontent"


async def test_a_report_of_a_thousand_tokens_is_taken(
    http: httpx2.AsyncClient, reporter: Reporter, database: Database, keys: KeyService, alice: DeveloperId
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret
    tokens = [draw_secret("test").reveal() for _ in range(999)] + [secret.reveal()]

    response = await post(http, reporter, [element(token) for token in tokens])

    assert [each["label"] for each in response.json()] == ["false_positive"] * 999 + ["true_positive"]
    assert await works(database, secret) == [False]


@pytest.mark.parametrize(
    ("change", "removed"),
    [
        ({}, ["github-public-key-signature"]),
        ({}, ["github-public-key-identifier"]),
        ({}, ["github-public-key-identifier", "github-public-key-signature"]),
        ({"github-public-key-identifier": "another"}, []),
        ({"github-public-key-signature": "MEUCIQ=="}, []),
        ({"github-public-key-signature": ""}, []),
        ({"github-public-key-signature": "é".encode()}, []),
    ],
)
async def test_an_unsigned_or_badly_signed_report_is_refused_with_one_sentence(
    http: httpx2.AsyncClient,
    reporter: Reporter,
    database: Database,
    keys: KeyService,
    alice: DeveloperId,
    change: dict[str, Any],
    removed: list[str],
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret
    body = json.dumps([element(secret.reveal())]).encode()
    headers: dict[str, Any] = {name.lower(): text for name, text in reporter.headers(body).items()} | change
    for name in removed:
        del headers[name]

    response = await http.post(PATH, content=body, headers=headers)

    assert response.status_code == 401
    assert response.json() == {"code": "ERROR_CODE_UNAUTHENTICATED", "message": UNSIGNED}
    assert "www-authenticate" in response.headers
    assert await works(database, secret) == [True]


async def test_a_header_given_twice_is_no_signature(http: httpx2.AsyncClient, reporter: Reporter) -> None:
    body = json.dumps([element("t")]).encode()
    twice = [*reporter.headers(body).items(), *reporter.headers(body).items()]
    assert (await http.post(PATH, content=body, headers=twice)).status_code == 401


async def test_a_signature_is_of_the_very_bytes(http: httpx2.AsyncClient, reporter: Reporter) -> None:
    body = json.dumps([element("t")]).encode()
    assert (await http.post(PATH, content=body + b" ", headers=reporter.headers(body))).status_code == 401


TOKEN = draw_secret("live").reveal()
NO_ARRAY = "body: must be a JSON array in UTF-8, without duplicate members"
NO_TEXT = "must be a string of Unicode characters"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", NO_ARRAY),
        (b"null", NO_ARRAY),
        (b'{"token":"t"}', NO_ARRAY),
        (b'[{"token":"t","token":"u","type":"y"}]', NO_ARRAY),
        (b"[NaN]", NO_ARRAY),
        (b"[1e999]", NO_ARRAY),
        (b"\xef\xbb\xbf[]", NO_ARRAY),
        (b'["\xff"]', NO_ARRAY),
        (b"[" * 100_000, NO_ARRAY),
        (b"[" + b"1" * 100_000 + b"]", NO_ARRAY),
        (b'[],"more":[]', NO_ARRAY),
        (b'[],"reports":[]', NO_ARRAY),
        (b"[]}", NO_ARRAY),
        (b"[]} {", NO_ARRAY),
        (b"[]", "body: must have 1 to 1000 elements"),
        (b"[" + b",".join([b"{}"] * 1001) + b"]", "body: must have 1 to 1000 elements"),
        (b'["t"]', f"[0].token: {NO_TEXT}; [0].type: {NO_TEXT}"),
        (b'[{"token":"t","type":"y"},{"token":1,"type":"y"}]', f"[1].token: {NO_TEXT}"),
        (b'[{"token":"t","type":null}]', f"[0].type: {NO_TEXT}"),
        (b'[{"token":"t","type":"y","url":[]}]', f"[0].url: {NO_TEXT}"),
        (b'[{"token":"t","type":"y","source":0}]', f"[0].source: {NO_TEXT}"),
        (b'[{"token":"\\ud800","type":"y"}]', f"[0].token: {NO_TEXT}"),
        (json.dumps([element(TOKEN, url=1)]).encode(), f"[0].url: {NO_TEXT}"),
    ],
)
async def test_a_faulty_report_is_refused_with_its_faults(
    http: httpx2.AsyncClient, reporter: Reporter, body: bytes, message: str
) -> None:
    response = await post(http, reporter, body)

    assert response.status_code == 400
    told = response.json()
    assert told.keys() == {"code", "message", "violations"}
    assert (told["code"], told["message"]) == ("ERROR_CODE_INVALID_REQUEST", message)
    assert [f"{each['field']}: {each['description']}" for each in told["violations"]] == message.split("; ")
    assert TOKEN not in response.text


async def test_very_many_faults_are_a_short_answer(http: httpx2.AsyncClient, reporter: Reporter) -> None:
    response = await post(http, reporter, [{}] * 1000)
    assert response.status_code == 400
    assert len(response.content) < 5000


async def test_a_body_of_more_than_a_mebibyte_is_refused_before_it_is_judged(
    http: httpx2.AsyncClient, reporter: Reporter, publisher: IssuerServer
) -> None:
    start, end = b'[{"token":"', b'","type":"y"}]'
    allowed = start + b"t" * (1024 * 1024 - len(start) - len(end)) + end

    assert (await post(http, reporter, allowed)).status_code == 200
    response = await post(http, reporter, allowed + b" ")
    assert response.status_code == 413
    assert response.json()["message"] == "A report must be at most 1048576 bytes."


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_post_can_be_used(http: httpx2.AsyncClient, method: str) -> None:
    response = await http.request(method, PATH)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


async def test_while_the_reporters_keys_cannot_be_had_it_is_asked_to_come_again(
    http: httpx2.AsyncClient, reporter: Reporter, publisher: IssuerServer
) -> None:
    publisher.answers["/keys"] = answer(b"", "500 Internal Server Error")

    response = await post(http, reporter, [element("t")])

    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json() == {"code": "ERROR_CODE_UNAVAILABLE", "message": Unavailable().message}


async def test_while_the_database_is_away_it_is_asked_to_come_again(
    database: Database, reporter: Reporter, publisher: IssuerServer
) -> None:
    class Away(LeakReports):
        async def take(self, leaks: Any) -> list[bool]:
            raise Unavailable

    keys = ReporterKeys(f"{publisher.url}/keys")
    async with client_of(Away(database, PEPPERS, Policy.REVOKE), keys) as http:
        assert (await post(http, reporter, [element("t")])).status_code == 503
    await keys.close()


@pytest.fixture(autouse=True)
def quiet_about_tokens(log: list[Any]) -> Iterator[None]:
    """No test leaves a whole token in the log."""
    yield
    assert TOKEN[-49:] not in str(log)


def test_a_leak_does_not_show_its_token() -> None:
    assert TOKEN[-49:] not in repr(Leak(secret=Secret(TOKEN), url="", source=""))
