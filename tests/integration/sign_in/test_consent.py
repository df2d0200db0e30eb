"""The consent page: who asks for what, what the user makes of it, and that nobody else can."""

from dataclasses import replace
from typing import Any

import pytest

from server.authorization.model import RegisteredClient
from server.authorization.sign_in import COOKIES
from tests.browser import Browser, Page
from tests.integration.authorization.flow import CONFIDENTIAL, ISSUER, PUBLIC, REDIRECT_URI, response_of
from tests.integration.sign_in.desk import OUR_PORTAL, PASSWORD, PORTAL_REDIRECT, Desk, authorize_path, sign_in

ALLOW, DENY = ("decision", "allow"), ("decision", "deny")
STATE = "a b&c=d/é+%"


async def answered(browser: Browser, page: Page, **changes: Any) -> Page:
    """Press Allow, with some of the form changed."""
    return await browser.submit(page, "consent", button=ALLOW, **changes)


async def test_a_user_allows_what_is_asked(desk: Desk) -> None:
    browser = await desk.signed_in()
    url = browser.led_to(await answered(browser, await browser.open(authorize_path())))
    assert url.startswith(REDIRECT_URI)
    answer = response_of(url)
    assert (answer["state"], answer["iss"]) == (STATE, ISSUER)
    tokens = await desk.flow.exchange(answer["code"])
    verified = await desk.flow.verifier.verify(tokens.access_token.reveal())
    assert (verified.subject, verified.scopes) == ("alice", frozenset({"read", "stream"}))


async def test_whoever_is_not_signed_in_signs_in_first_and_loses_nothing(desk: Desk) -> None:
    await desk.users.create("alice", PASSWORD)
    browser = desk.browser()
    page = await browser.follow(await browser.open(authorize_path()))
    page = await browser.follow(await browser.submit(page, username="alice", password=PASSWORD))
    url = browser.led_to(await answered(browser, page))
    assert response_of(url)["state"] == STATE
    await desk.flow.exchange(response_of(url)["code"])


async def test_the_page_says_who_asks_and_who_is_asked(desk: Desk) -> None:
    page = await (await desk.signed_in()).open(authorize_path())
    for text in (
        "Jukebox ( app.example ) asks for access to your account",
        "A third party made this application. This platform has not checked it",
        "Developer Alice's",
        "You will be sent to app.example",
        "Signed in as alice",
        "Browse the catalogue and see your library",
        "Play music and video as you",
        "can also manage its API keys",
    ):
        assert text in page.text
    assert page.form("consent").chosen("allowed") == ["read", "stream"]
    assert page.directive("form-action") == ["'self'", "https://app.example"]


@pytest.mark.parametrize(
    ("redirect_uri", "address", "words", "form_action"),
    [
        ("https://app.example:8443/cb", "app.example:8443", "sent to app.example:8443", "https://app.example:8443"),
        ("http://127.0.0.1/cb", "127.0.0.1", "a program on your own computer ( 127.0.0.1 )", "http://127.0.0.1"),
        ("http://[::1]:9000/cb", "[::1]:9000", "a program on your own computer ( [::1]:9000 )", "http:"),
        (
            "com.example.jukebox:/cb",
            "com.example.jukebox:",
            "the application that opens com.example.jukebox: addresses",
            "com.example.jukebox:",
        ),
    ],
)
async def test_the_page_says_where_the_user_is_sent_and_lets_the_browser_go_there(
    desk: Desk, redirect_uri: str, address: str, words: str, form_action: str
) -> None:
    desk.flow.directory.clients[PUBLIC.id] = replace(PUBLIC, redirect_uris=(redirect_uri,))
    browser = await desk.signed_in()
    page = await browser.open(authorize_path(redirect_uri=redirect_uri))
    assert words in page.text
    assert f"Jukebox ( {address} ) asks" in page.text
    assert page.directive("form-action") == ["'self'", form_action]
    assert browser.led_to(await answered(browser, page)).startswith(redirect_uri)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>\"'", "{{ 7*7 }}", "%(client)s %s", "\u202eevil"])
async def test_a_clients_words_stay_words(desk: Desk, name: str) -> None:
    desk.flow.directory.clients[PUBLIC.id] = replace(PUBLIC, name=name, developer_name=name)
    browser = await desk.signed_in()
    page = await browser.open(authorize_path(state=f'"><b>{name}'))
    assert page.status == 200
    assert page.text.count(name) == 2
    assert page.html.count("<bdi>") >= 3
    assert "<script>alert" not in page.html
    assert page.form("consent").value("state") == f'"><b>{name}'


@pytest.mark.parametrize(("allowed", "scopes"), [(["read"], ("read",)), (["stream"], ("stream",))])
async def test_unticking_narrows_what_is_given(desk: Desk, allowed: list[str], scopes: tuple[str, ...]) -> None:
    browser = await desk.signed_in()
    url = browser.led_to(await answered(browser, await browser.open(authorize_path()), allowed=allowed))
    tokens = await desk.flow.exchange(response_of(url)["code"])
    assert tokens.scopes == scopes
    assert await desk.grants() == [("alice", PUBLIC.id, scopes)]


async def test_allowing_nothing_is_asked_about(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await answered(browser, await browser.open(authorize_path()), allowed=[])
    assert page.status == 400
    assert "Tick at least one box" in page.text
    assert page.form("consent").chosen("allowed") == []
    assert await desk.grants() == []
    browser.led_to(await answered(browser, page, allowed=["read"]))


async def test_a_user_denies(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await browser.submit(await browser.open(authorize_path()), "consent", button=DENY)
    url = browser.led_to(page)
    assert url.startswith(REDIRECT_URI)
    assert response_of(url) | {"from": "", "x": ""} == {
        "error": "access_denied",
        "state": STATE,
        "iss": ISSUER,
        "from": "",
        "x": "",
    }
    assert await desk.grants() == []


async def test_a_form_without_a_decision_decides_nothing(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await browser.submit(await browser.open(authorize_path()), "consent")
    assert (page.status, await desk.grants()) == (400, [])


UNTRUSTED = [{"client_id": "nobody"}, {"redirect_uri": "https://evil.example/"}, {"redirect_uri": REDIRECT_URI + "x"}]
REFUSED = [
    ({"scope": "read admin"}, "invalid_scope"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge": ""}, "invalid_request"),
]


@pytest.mark.parametrize("changes", UNTRUSTED)
async def test_a_request_that_cannot_be_trusted_is_answered_by_a_page(desk: Desk, changes: Any) -> None:
    browser = await desk.signed_in()
    page = await browser.open(authorize_path(**changes))
    assert (page.status, page.location) == (400, "")
    assert next(iter(changes)) in page.text
    assert not {"evil.example"} & set(page.directive("form-action"))


@pytest.mark.parametrize("changes", UNTRUSTED)
async def test_a_form_that_was_changed_to_a_request_that_cannot_be_trusted_gives_nothing(
    desk: Desk, changes: Any
) -> None:
    browser = await desk.signed_in()
    page = await answered(browser, await browser.open(authorize_path()), **changes)
    assert (page.status, page.location, await desk.grants()) == (400, "", [])


@pytest.mark.parametrize(("changes", "error"), REFUSED)
async def test_other_faults_are_told_to_the_client(desk: Desk, changes: Any, error: str) -> None:
    browser = await desk.signed_in()
    for page in (
        await browser.open(authorize_path(**changes)),
        await answered(browser, await browser.open(authorize_path()), **changes),
    ):
        assert response_of(page.location)["error"] == error
        assert page.location.startswith(REDIRECT_URI)
    assert await desk.grants() == []


@pytest.mark.parametrize(("changes", "error"), REFUSED)
async def test_nobody_is_led_to_an_application_by_a_fault_before_signing_in(
    desk: Desk, changes: Any, error: str
) -> None:
    await desk.users.create("alice", PASSWORD)
    stranger = desk.browser()
    page = await stranger.open(authorize_path(**changes))
    assert page.location.startswith(f"{ISSUER}/sign-in?")
    page = await stranger.submit(await stranger.follow(page), username="alice", password=PASSWORD)
    assert response_of(stranger.led_to(await stranger.follow(page)))["error"] == error
    silent = await desk.browser().open(authorize_path(prompt="none", **changes))
    assert response_of(silent.location)["error"] == error


async def test_a_parameter_sent_twice_is_a_fault_in_a_form_too(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await browser.open(authorize_path())
    answer = await browser.submit(page, "consent", button=ALLOW, adding=[("scope", "read")])
    assert response_of(answer.location)["error"] == "invalid_request"
    answer = await browser.submit(page, "consent", button=ALLOW, adding=[("client_id", CONFIDENTIAL.id)])
    assert (answer.status, await desk.grants()) == (400, [])


@pytest.mark.parametrize("smuggled", ["stream", "admin", "write"])
async def test_no_more_is_allowed_than_was_asked_for(desk: Desk, smuggled: str) -> None:
    browser = await desk.signed_in()
    page = await browser.open(authorize_path(scope="read"))
    answer = await browser.submit(page, "consent", button=ALLOW, adding=[("allowed", smuggled)])
    assert (answer.status, answer.location, await desk.grants()) == (400, "", [])


async def test_a_page_shown_to_one_user_is_not_answered_by_another(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await browser.open(authorize_path())
    await desk.users.create("bob", PASSWORD)
    await sign_in(browser, "bob", at="/sign-in?again=1")
    answer = await answered(browser, page)
    assert answer.status == 409
    assert "Signed in as bob" in answer.text
    assert await desk.grants() == []
    browser.led_to(await answered(browser, answer))
    assert [subject for subject, _, _ in await desk.grants()] == ["bob"]


async def test_a_page_whose_session_has_ended_leads_back_through_the_sign_in(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await browser.open(authorize_path())
    del browser.cookies[COOKIES["issuer"]]
    answer = await browser.follow(await answered(browser, page))
    assert "to go on to Jukebox ( app.example )" in answer.text
    assert await desk.grants() == []


async def test_not_me(desk: Desk) -> None:
    browser = await desk.signed_in()
    await desk.users.create("bob", PASSWORD)
    page = await browser.follow(await browser.submit(await browser.open(authorize_path()), "other-account"))
    page = await browser.follow(await browser.submit(page, username="bob", password=PASSWORD))
    assert "Signed in as bob" in page.text
    assert page.form("consent").value("state") == STATE


async def test_a_public_client_always_asks(desk: Desk) -> None:
    browser = await desk.signed_in()
    browser.led_to(await answered(browser, await browser.open(authorize_path())))
    page = await browser.open(authorize_path())
    assert page.status == 200
    assert "Jukebox ( app.example ) asks" in page.text


async def test_a_confidential_client_asks_each_time_and_what_is_new_is_marked(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await browser.open(authorize_path(CONFIDENTIAL, scope="read"))
    assert "New" not in page.text.split()
    browser.led_to(await answered(browser, page))
    again = await browser.open(authorize_path(CONFIDENTIAL, scope="read"))
    assert (again.status, again.location) == (200, "")
    assert "read New" not in again.text
    more = await browser.open(authorize_path(CONFIDENTIAL))
    assert more.status == 200
    assert "Play music and video as you stream New" in more.text
    assert "your library read New" not in more.text


async def test_what_one_user_allowed_another_has_not(desk: Desk) -> None:
    await desk.flow.code(CONFIDENTIAL, subject="bob")
    page = await (await desk.signed_in()).open(authorize_path(CONFIDENTIAL))
    assert page.status == 200


async def test_a_client_of_our_own_is_not_asked_about(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await browser.open(authorize_path(OUR_PORTAL, redirect_uri=PORTAL_REDIRECT))
    assert page.location.startswith(f"{PORTAL_REDIRECT}?code=")


Prompted = tuple[str, RegisteredClient, bool, str]
PROMPTS: list[Prompted] = [
    ("none", PUBLIC, False, "login_required"),
    ("none", PUBLIC, True, "consent_required"),
    ("none", CONFIDENTIAL, False, "login_required"),
    ("none", CONFIDENTIAL, True, "consent_required"),
    ("none", OUR_PORTAL, False, "login_required"),
    ("none", OUR_PORTAL, True, "code"),
    ("", CONFIDENTIAL, True, "page"),
    ("consent", CONFIDENTIAL, True, "page"),
    ("login", CONFIDENTIAL, True, "sign-in"),
    ("login", PUBLIC, False, "sign-in"),
]


@pytest.mark.parametrize(("prompt", "client", "is_signed_in", "outcome"), PROMPTS)
async def test_prompts(desk: Desk, prompt: str, client: RegisteredClient, is_signed_in: bool, outcome: str) -> None:
    browser = await desk.signed_in() if is_signed_in else desk.browser()
    redirect_uri = client.redirect_uris[0]
    await desk.flow.code(client, redirect_uri=redirect_uri)
    page = await browser.open(authorize_path(client, prompt=prompt, redirect_uri=redirect_uri))
    if outcome == "page":
        assert page.status == 200
    elif outcome == "sign-in":
        assert page.location.startswith(f"{ISSUER}/sign-in?")
    elif outcome == "code":
        assert response_of(page.location)["code"]
    else:
        assert response_of(page.location)["error"] == outcome
        assert response_of(page.location)["state"] == STATE


async def test_prompt_login_asks_once_for_the_password_and_then_goes_on(desk: Desk) -> None:
    browser = await desk.signed_in()
    first = browser.cookies[COOKIES["issuer"]]
    page = await browser.follow(await browser.open(authorize_path(prompt="login")))
    assert page.form().names >= {"username", "password"}
    page = await browser.follow(await browser.submit(page, username="alice", password=PASSWORD))
    assert page.form("consent").value("state") == STATE
    assert browser.cookies[COOKIES["issuer"]] != first


async def test_prompt_consent_outlives_the_sign_in(desk: Desk) -> None:
    await desk.users.create("alice", PASSWORD)
    await desk.flow.code(CONFIDENTIAL)
    browser = desk.browser()
    page = await browser.follow(await browser.open(authorize_path(CONFIDENTIAL, prompt="login consent")))
    page = await browser.follow(await browser.submit(page, username="alice", password=PASSWORD))
    assert "Radio ( app.example ) asks" in page.text


async def test_a_request_that_cannot_be_kept_is_refused_and_not_forgotten(desk: Desk) -> None:
    page = await desk.browser().open(authorize_path(state="x" * 4000))
    assert page.status == 400
    assert "too long" in page.text
    assert (await (await desk.signed_in()).open(authorize_path(state="x" * 4000))).status == 200


async def test_choosing_a_language_keeps_the_request(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await browser.open(authorize_path())
    arabic = await browser.follow(await browser.open(page.link("العربية")))
    assert "يطلب Jukebox ( app.example ) الوصول إلى حسابك" in arabic.text
    assert arabic.form("consent").value("state") == STATE
