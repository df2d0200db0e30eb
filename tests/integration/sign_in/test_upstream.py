"""Signing in by an upstream provider: what it vouches for lets people in, and nothing else does."""

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from server.authorization.sign_in import COOKIES
from server.authorization.upstream import UpstreamProvider
from server.secret import Secret
from tests.browser import Browser, Page
from tests.database import Clock
from tests.integration.authorization.flow import ISSUER, Flow, response_of
from tests.integration.sign_in import provider as forged
from tests.integration.sign_in.desk import Desk, authorize_path
from tests.integration.sign_in.provider import CLIENT_ID, CLIENT_SECRET, Provider, port_of, running_provider, serving

CALLBACK = f"{ISSUER}/sign-in/callback"
CANARY = "248289761001"


@pytest_asyncio.fixture(loop_scope="session")
async def provider() -> AsyncIterator[Provider]:
    async with running_provider() as running:
        yield running


def client_of(provider: Provider, monotonic: Callable[[], float] = time.monotonic) -> UpstreamProvider:
    return UpstreamProvider(
        issuer=provider.url,
        client_id=CLIENT_ID,
        client_secret=Secret(CLIENT_SECRET),
        redirect_uri=CALLBACK,
        monotonic=monotonic,
    )


@pytest_asyncio.fixture(loop_scope="session")
async def desk(flow: Flow, provider: Provider) -> AsyncIterator[Desk]:
    desk = Desk(flow=flow, upstream=client_of(provider))
    yield desk
    await desk.close()


async def sent_back(browser: Browser, at: str = "/sign-in") -> Page:
    """Go to the provider, which signs somebody in at once, and stop before its answer is taken back to us."""
    page = await browser.open(at)
    href = next(href for _, href in page.document.links if href.startswith("/sign-in/upstream"))
    leaving = await browser.open(href)
    return await browser.open(leaving.location) if leaving.location else leaving


async def signed_in(browser: Browser, at: str = "/sign-in") -> Page:
    return await browser.open((await sent_back(browser, at)).location)


def subject_of(provider: Provider, own: str = CANARY) -> str:
    return f"oidc:{hashlib.sha256(provider.url.encode()).hexdigest()[:8]}:{own}"


async def test_the_provider_says_who_it_is(desk: Desk, provider: Provider) -> None:
    browser = desk.browser()
    page = await signed_in(browser, "/sign-in?next=/portal/keys")
    assert (page.status, page.headers["location"]) == (303, "/portal/keys")
    session = await desk.sessions.find("issuer", browser.cookies[COOKIES["issuer"]])
    assert session
    assert (session.subject, session.content) == (subject_of(provider), {"name": "Jane"})
    assert COOKIES["upstream-login"] not in browser.cookies
    assert provider.faults == []


async def test_the_longest_subject_is_told_from_that_of_another_provider(desk: Desk, provider: Provider) -> None:
    provider.claim_changes = {"sub": "x" * 241}
    browser = desk.browser()
    await signed_in(browser)
    session = await desk.sessions.find("issuer", browser.cookies[COOKIES["issuer"]])
    assert session
    assert session.subject == subject_of(provider, "x" * 241)
    assert len(session.subject) == 255
    assert session.subject[:13] != subject_of(Provider(url="https://other.example"))[:13]


async def test_a_client_gets_its_tokens_in_the_end(desk: Desk, provider: Provider) -> None:
    browser = desk.browser()
    asked = await browser.open(authorize_path())
    consent = await browser.follow(await signed_in(browser, asked.location))
    assert "Signed in as Jane" in consent.text
    url = browser.led_to(await browser.submit(consent, "consent", button=("decision", "allow")))
    tokens = await desk.flow.exchange(response_of(url)["code"])
    assert (await desk.flow.verifier.verify(tokens.access_token.reveal())).subject == subject_of(provider)


async def test_there_is_no_password_to_guess(desk: Desk) -> None:
    browser = desk.browser()
    page = await browser.open("/sign-in")
    assert "Continue with 127.0.0.1" in page.text
    assert page.document.forms == []
    assert (await browser.post("/sign-in", [], origin=ISSUER)).status in (403, 405)


async def test_the_request_is_bound_by_pkce_state_and_nonce_new_each_time(desk: Desk, provider: Provider) -> None:
    for _ in range(2):
        await sent_back(desk.browser(), "/sign-in?again=1")
    first, second = provider.asked
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) == 43
        assert first[name] != second[name]
    assert first["code_challenge_method"] == "S256"
    assert first["scope"] == "openid profile email"
    assert first["redirect_uri"] == CALLBACK
    assert first["prompt"] == "login"


async def test_es256_and_a_secret_in_the_body_work_too(desk: Desk, provider: Provider) -> None:
    provider.make_token = forged.by_ec
    provider.metadata_changes = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert (await signed_in(desk.browser())).status == 303
    assert provider.faults == []


NOW = int(time.time())
FORGED: list[tuple[str, dict[str, Any]]] = [
    ("another issuer", {"claim_changes": {"iss": "https://evil.example"}}),
    ("no issuer", {"claim_changes": {"iss": ...}}),
    ("another audience", {"claim_changes": {"aud": "another"}}),
    ("no audience", {"claim_changes": {"aud": ...}}),
    ("two audiences and no azp", {"claim_changes": {"aud": [CLIENT_ID, "another"]}}),
    ("another azp", {"claim_changes": {"azp": "another"}}),
    ("two audiences and another azp", {"claim_changes": {"aud": [CLIENT_ID, "another"], "azp": "another"}}),
    ("an audience that is no text", {"claim_changes": {"aud": [CLIENT_ID, 7], "azp": CLIENT_ID}}),
    ("expired", {"claim_changes": {"exp": NOW - 31}}),
    ("no expiry", {"claim_changes": {"exp": ...}}),
    ("an expiry that is text", {"claim_changes": {"exp": str(NOW + 300)}}),
    ("an expiry that is true", {"claim_changes": {"exp": True}}),
    ("from the future", {"claim_changes": {"iat": NOW + 3600}}),
    ("old", {"claim_changes": {"iat": NOW - 700}}),
    ("no time of issue", {"claim_changes": {"iat": ...}}),
    ("not yet good", {"claim_changes": {"nbf": NOW + 3600}}),
    ("another nonce", {"claim_changes": {"nonce": "x" * 43}}),
    ("no nonce", {"claim_changes": {"nonce": ...}}),
    ("a nonce that is no text", {"claim_changes": {"nonce": 7}}),
    ("no subject", {"claim_changes": {"sub": ...}}),
    ("an empty subject", {"claim_changes": {"sub": ""}}),
    ("a subject with a control", {"claim_changes": {"sub": "a\u0000b"}}),
    ("a subject that is too long", {"claim_changes": {"sub": "x" * 242}}),
    ("a subject that is no text", {"claim_changes": {"sub": 7}}),
    ("an access token", {"header_changes": {"typ": "at+jwt"}}),
    ("an unknown key", {"header_changes": {"kid": "other"}}),
    ("another algorithm of the key", {"header_changes": {"alg": "PS256"}}),
    ("the algorithm of another key", {"header_changes": {"alg": "ES256"}}),
    ("a header that names a key", {"header_changes": {"jwk": {"kty": "RSA"}}}),
    ("a critical header", {"header_changes": {"crit": ["exp"]}}),
    ("a stranger's key", {"make_token": forged.by_a_stranger}),
    ("the client secret as key", {"make_token": forged.by_the_client_secret}),
    ("the public key as secret", {"make_token": forged.by_the_public_key}),
    ("no signature", {"make_token": forged.by_nobody}),
    ("changed claims", {"make_token": forged.with_other_claims}),
    ("a subject named twice", {"make_token": forged.doubled}),
    ("no text", {"make_token": forged.not_text}),
    ("none", {"make_token": forged.missing}),
]


@pytest.mark.parametrize("changes", [case[1] for case in FORGED], ids=[case[0] for case in FORGED])
async def test_a_token_that_is_not_as_it_must_be_lets_nobody_in(
    desk: Desk, provider: Provider, changes: dict[str, Any]
) -> None:
    for name, value in changes.items():
        setattr(provider, name, value)
    browser = desk.browser()
    page = await signed_in(browser, "/sign-in?next=/portal/keys")
    assert page.status == 400
    assert "Signing in did not succeed." in page.text
    assert COOKIES["issuer"] not in browser.cookies
    assert await desk.flow.database.fetch("SELECT 1 FROM sessions") == []
    assert "next=%2Fportal%2Fkeys" in page.html


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("an array of one audience", {"aud": [CLIENT_ID]}),
    ("two audiences and azp", {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}),
    ("just expired", {"exp": NOW + 1 - 20}),
    ("a clock ahead", {"iat": NOW + 20, "nbf": NOW + 20}),
    ("no name", {"preferred_username": ...}),
    ("a name that cannot be shown", {"preferred_username": "a\u202eb"}),
]


@pytest.mark.parametrize("changes", [case[1] for case in GOOD], ids=[case[0] for case in GOOD])
async def test_a_token_may_be_so(desk: Desk, provider: Provider, changes: dict[str, Any]) -> None:
    drift = int(time.time()) - NOW
    moved = {name: value + drift if isinstance(value, int) else value for name, value in changes.items()}
    provider.claim_changes = moved
    assert (await signed_in(desk.browser())).status == 303


ANSWERS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"state": "x" * 43}, {}, "did not succeed"),
    ({"state": ...}, {}, "did not succeed"),
    ({"code": ...}, {}, "did not succeed"),
    ({"code": ""}, {}, "did not succeed"),
    ({"code": "made up"}, {}, "did not succeed"),
    ({"iss": "https://evil.example"}, {}, "did not succeed"),
    ({}, {"authorization_response_iss_parameter_supported": True}, "did not succeed"),
    ({"code": ..., "error": "access_denied"}, {}, "was cancelled"),
    ({"error": "server_error"}, {}, "did not succeed"),
]


@pytest.mark.parametrize(("answer", "metadata", "words"), ANSWERS)
async def test_an_answer_that_is_not_to_this_sign_in_lets_nobody_in(
    desk: Desk, provider: Provider, answer: dict[str, Any], metadata: dict[str, Any], words: str
) -> None:
    provider.answer_changes, provider.metadata_changes = answer, metadata
    browser = desk.browser()
    page = await signed_in(browser)
    assert page.status == 400
    assert words in page.text
    assert COOKIES["issuer"] not in browser.cookies


async def test_a_provider_that_names_itself_is_believed(desk: Desk, provider: Provider) -> None:
    provider.metadata_changes = {"authorization_response_iss_parameter_supported": True}
    provider.answer_changes = {"iss": provider.url}
    assert (await signed_in(desk.browser())).status == 303


async def test_a_parameter_sent_twice_lets_nobody_in(desk: Desk) -> None:
    browser = desk.browser()
    back = await sent_back(browser)
    state = response_of(back.location)["state"]
    assert (await browser.open(f"{back.location}&state={state}")).status == 400


async def test_an_answer_is_of_no_use_in_another_browser(desk: Desk) -> None:
    """Whoever gets a victim to open the answer to the attacker's own sign-in signs nobody in."""
    attacker, victim = desk.browser(), desk.browser()
    back = await sent_back(attacker)
    await sent_back(victim)
    for browser in (victim, desk.browser()):
        assert (await browser.open(back.location)).status == 400
        assert COOKIES["issuer"] not in browser.cookies
    assert (await attacker.open(back.location)).status == 303


async def test_an_answer_is_of_use_once(desk: Desk) -> None:
    browser = desk.browser()
    back = await sent_back(browser)
    kept = dict(browser.cookies)
    assert (await browser.open(back.location)).status == 303
    browser.cookies.update(kept)
    assert (await browser.open(back.location)).status == 400


async def test_a_sign_in_that_takes_too_long_is_begun_again(desk: Desk, clock: Clock) -> None:
    browser = desk.browser()
    back = await sent_back(browser)
    await clock.advance(timedelta(minutes=10))
    page = await browser.open(back.location)
    assert page.status == 400
    assert "took too long" in page.text


async def test_the_session_is_a_new_one(desk: Desk) -> None:
    browser = desk.browser()
    planted = await desk.sessions.open("issuer", "mallory", {"name": "mallory"}, timedelta(hours=1))
    browser.cookies[COOKIES["issuer"]] = planted
    await signed_in(browser, "/sign-in?again=1")
    assert browser.cookies[COOKIES["issuer"]] != planted
    assert await desk.sessions.find("issuer", planted) is None


async def test_a_provider_that_cannot_be_reached_is_told_and_tried_again(flow: Flow, provider: Provider) -> None:
    provider.metadata_status = 500
    desk = Desk(flow=flow, upstream=client_of(provider))
    browser = desk.browser()
    page = await sent_back(browser, "/sign-in?next=/portal/keys")
    assert page.status == 503
    assert page.headers["retry-after"]
    assert "does not answer" in page.text
    provider.metadata_status = 200
    leaving = await browser.open(page.link("Try again"))
    page = await browser.open((await browser.open(leaving.location)).location)
    assert page.headers["location"] == "/portal/keys"
    await desk.close()


@pytest.mark.parametrize("status", [500, 502, 429, 302])
async def test_an_outage_at_the_token_endpoint_loses_nothing(desk: Desk, provider: Provider, status: int) -> None:
    browser = desk.browser()
    back = await sent_back(browser, "/sign-in?next=/portal/keys")
    provider.token_status = status
    page = await browser.open(back.location)
    assert page.status == 503
    assert page.link("Try again") == back.location
    provider.token_status = 200
    assert (await browser.open(page.link("Try again"))).headers["location"] == "/portal/keys"


async def test_a_provider_that_went_away_meanwhile_loses_nothing(flow: Flow) -> None:
    provider = Provider()
    async with serving(provider, 0):
        desk = Desk(flow=flow, upstream=client_of(provider))
        browser = desk.browser()
        back = await sent_back(browser)
    assert (await browser.open(back.location)).status == 503
    async with serving(provider, port_of(provider)):
        assert (await browser.open(back.location)).status == 303
    await desk.close()


async def test_metadata_is_asked_for_every_hour_and_outlives_an_outage(provider: Provider) -> None:
    now = 0.0
    upstream = client_of(provider, lambda: now)
    first = await upstream.begin()
    provider.metadata_changes = {"authorization_endpoint": f"{provider.url}/moved"}
    now = 3599.0
    assert (await upstream.begin()).url.partition("?")[0] == first.url.partition("?")[0]
    provider.metadata_status = 500
    now = 3600.0
    assert (await upstream.begin()).url.partition("?")[0] == first.url.partition("?")[0]
    provider.metadata_status = 200
    now = 3630.0
    assert (await upstream.begin()).url.startswith(f"{provider.url}/moved?")
    await upstream.close()


BAD_METADATA: list[dict[str, Any]] = [
    {"issuer": "https://evil.example"},
    {"issuer": ...},
    {"authorization_endpoint": ...},
    {"authorization_endpoint": "javascript:alert(1)"},
    {"authorization_endpoint": "http://evil.example/authorize"},
    {"authorization_endpoint": "https://user@evil.example/"},
    {"authorization_endpoint": "https://evil.example/\r\nx: y"},
    {"token_endpoint": "http://evil.example/token"},
    {"token_endpoint": ["https://evil.example/token"]},
]


@pytest.mark.parametrize("changes", BAD_METADATA)
async def test_metadata_that_is_not_as_it_must_be_is_an_outage(
    flow: Flow, provider: Provider, changes: dict[str, Any]
) -> None:
    provider.metadata_changes = changes
    desk = Desk(flow=flow, upstream=client_of(provider))
    page = await sent_back(desk.browser())
    assert (page.status, page.location) == (503, "")
    await desk.close()


@pytest.mark.parametrize("issuer", ["http://issuer.example", "ftp://issuer.example", "issuer", "https://u@x.example"])
def test_an_issuer_must_be_safe_to_ask(issuer: str) -> None:
    with pytest.raises(ValueError):
        UpstreamProvider(issuer=issuer, client_id="x", client_secret=None, redirect_uri=CALLBACK)


async def test_neither_log_nor_database_holds_what_was_exchanged(
    desk: Desk, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    browser = desk.browser()
    provider.claim_changes = {"nonce": "x" * 43}
    back = await sent_back(browser)
    rows = await desk.flow.database.fetch("SELECT * FROM sessions")
    await browser.open(back.location)
    asked, answer = provider.asked[0], response_of(back.location)
    seen = "".join(capsys.readouterr()) + repr([tuple(row.values()) for row in rows])
    for secret in (asked["state"], asked["nonce"], answer["code"], CLIENT_SECRET):
        assert secret not in seen
