"""Signing in to the portal and out of it, in a browser."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.browser import Page
from tests.integration.portal.visitor import Visitor

SESSION = "__Host-portal"
LOGIN = "__Host-portal-login"


async def answer_of(visitor: Visitor, path: str = "/portal/keys") -> str:
    """Sign in as far as the issuer's answer, which is not followed; return its address."""
    await visitor.sign_in("/portal/keys")
    visitor.browser.cookies.pop(SESSION)
    asked = await visitor.browser.open(f"/portal/sign-in?{urlencode({'next': path})}")
    answered = await visitor.browser.open(asked.location)
    assert answered.location.startswith(f"{visitor.service.rest}/portal/signed-in?")
    return answered.location


def changed(address: str, **parameters: str | None) -> str:
    """Return an address with other parameters; None takes one away."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()} | parameters
    kept = {name: value for name, value in query.items() if value is not None}
    return f"{address.partition('?')[0]}?{urlencode(kept)}"


def refused(page: Page) -> bool:
    return page.status == 400 and "You are not signed in" in page.text


async def test_who_is_not_signed_in_signs_in_and_comes_to_the_page_that_was_asked_for(newcomer: Visitor) -> None:
    await newcomer.register()

    page = await newcomer.sign_in("/portal/keys?status=active")

    assert page.status == 200
    assert page.url == f"{newcomer.service.rest}/portal/keys?status=active"
    assert "Alice's Apps" in page.text


async def test_who_has_not_registered_is_sent_to_register_first(newcomer: Visitor) -> None:
    await newcomer.sign_in("/portal/keys")

    page = await newcomer.browser.open("/portal/keys")

    assert page.location == f"{newcomer.service.rest}/portal/register?next=%2Fportal%2Fkeys"


async def test_the_question_to_the_issuer_is_bound_and_asks_for_pkce(newcomer: Visitor) -> None:
    first, second = [await newcomer.browser.open("/portal/sign-in") for _ in range(2)]

    asked = [parse_qs(urlsplit(page.location).query) for page in (first, second)]
    assert asked[0]["client_id"] == ["developer-portal"]
    assert asked[0]["code_challenge_method"] == ["S256"]
    assert len(asked[0]["code_challenge"][0]) == 43
    assert asked[0]["redirect_uri"] == [f"{newcomer.service.rest}/portal/signed-in"]
    assert asked[0]["state"] != asked[1]["state"]
    assert asked[0]["code_challenge"] != asked[1]["code_challenge"]


async def test_signing_in_gives_the_browser_a_new_session(alice: Visitor) -> None:
    before = alice.browser.cookies[SESSION]
    asked = await alice.browser.open("/portal/sign-in")

    await alice.browser.follow(await alice.browser.open(asked.location))

    after = alice.browser.cookies[SESSION]
    assert after != before
    assert LOGIN not in alice.browser.cookies
    alice.browser.cookies[SESSION] = before
    assert (await alice.browser.open("/portal/keys")).status == 303


FORGED = [
    {"state": "forged"},
    {"state": None},
    {"iss": "https://evil.example"},
    {"iss": None},
    {"code": None},
    {"code": "forged"},
    {"error": "access_denied"},
]


@pytest.mark.parametrize("parameters", FORGED, ids=str)
async def test_an_answer_that_is_not_ours_signs_nobody_in(newcomer: Visitor, parameters: dict[str, str | None]) -> None:
    await newcomer.register()
    answer = await answer_of(newcomer)

    page = await newcomer.browser.open(changed(answer, **parameters))

    assert refused(page)
    assert SESSION not in newcomer.browser.cookies


async def test_an_answer_counts_once(newcomer: Visitor) -> None:
    await newcomer.register()
    answer = await answer_of(newcomer)
    login = newcomer.browser.cookies[LOGIN]
    assert (await newcomer.browser.open(answer)).status == 303

    newcomer.browser.cookies[LOGIN] = login
    assert refused(await newcomer.browser.open(answer))


async def test_an_answer_in_another_browser_signs_nobody_in(newcomer: Visitor) -> None:
    await newcomer.register()
    answer = await answer_of(newcomer)
    newcomer.browser.cookies.pop(LOGIN)

    assert refused(await newcomer.browser.open(answer))


NEXT = [
    ("/portal/keys?status=active", "/portal/keys?status=active"),
    ("https://evil.example/", "/portal/"),
    ("//evil.example/", "/portal/"),
    ("/\\evil.example", "/portal/"),
    ("/v1/developer/keys", "/portal/"),
    ("/portal/sign-out", "/portal/"),
    ("/portal/../sign-in", "/portal/"),
    ("", "/portal/"),
]


@pytest.mark.parametrize(("wanted", "led"), NEXT)
async def test_signing_in_leads_to_pages_of_the_portal_only(newcomer: Visitor, wanted: str, led: str) -> None:
    await newcomer.register()
    answer = await answer_of(newcomer, wanted or "/portal/")

    page = await newcomer.browser.open(answer)

    assert page.location == newcomer.service.rest + led


async def test_signing_out_ends_the_session_and_its_tokens(alice: Visitor) -> None:
    page = await alice.open("/portal/keys")
    session = alice.browser.cookies[SESSION]
    form = next(form for form in page.document.forms if form.action == "/portal/sign-out")
    sent, headers = [("csrf_token", form.value("csrf_token"))], {"origin": alice.service.rest}

    out = await alice.browser.post("/portal/sign-out", sent, **headers)
    assert out.status == 307
    assert out.location == f"{alice.service.rest}/sign-out"
    await alice.browser.post(out.location, sent, **headers)

    alice.browser.cookies[SESSION] = session
    again = await alice.open("/portal/keys")
    assert again.form("username")


async def test_a_form_that_comes_after_the_end_of_the_session_says_that_nothing_was_done(alice: Visitor) -> None:
    key_id = (await alice.new_key("Before"))["apiKey"]["id"]
    page = await alice.open(f"/portal/keys/{key_id}/settings")
    alice.browser.cookies.pop(SESSION)

    late = await alice.browser.submit(page, f"/portal/keys/{key_id}/name", name="After")

    assert late.status == 401
    assert "You are not signed in" in late.text
    assert (await alice.rest("GET", f"/v1/developer/keys/{key_id}"))["apiKey"]["name"] == "Before"


async def test_the_root_leads_to_the_portal(newcomer: Visitor) -> None:
    assert (await newcomer.browser.open("/")).location == f"{newcomer.service.rest}/portal/"
