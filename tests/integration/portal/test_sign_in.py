"""Signing in to the portal and out of it, in a browser."""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from server.peppers import Peppers
from server.postgres.pool import Database
from server.provisions import build_peppers
from server.sessions.seal import CarriedSeal
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

    newcomer.browser.cookies.pop(SESSION)
    newcomer.browser.cookies[LOGIN] = login  # it is not kept here, so it is the code that does not work again
    assert refused(await newcomer.browser.open(answer))
    assert SESSION not in newcomer.browser.cookies


def sealed(content: dict[str, str], peppers: Peppers, purpose: str = "portal-login/v1", minutes: int = 10) -> str:
    return CarriedSeal(peppers, purpose).seal(content, timedelta(minutes=minutes))


OTHER = Peppers({1: b"a pepper of somebody else, as long"})
Sealing = Callable[[dict[str, str], Peppers], str]
NOT_OURS: dict[str, Sealing] = {
    "expired": lambda content, ours: sealed(content, ours, minutes=0),
    "of another pepper": lambda content, ours: sealed(content, OTHER),
    "for another purpose": lambda content, ours: sealed(content, ours, "upstream-login/v1"),
    "tampered with": lambda content, ours: f"{sealed(content, ours)[:-8]}AAAAAAAA",
    "of another sign-in": lambda content, ours: sealed({**content, "state": "another"}, ours),
    "with another verifier": lambda content, ours: sealed({**content, "verifier": "another" * 8}, ours),
    "not sealed": lambda content, ours: "A" * 43,
}


@pytest.mark.parametrize("case", NOT_OURS)
async def test_what_the_browser_carries_counts_only_as_we_sealed_it(newcomer: Visitor, case: str) -> None:
    await newcomer.register()
    answer = await answer_of(newcomer)
    ours = build_peppers(newcomer.service.settings)
    content = CarriedSeal(ours, "portal-login/v1").open(newcomer.browser.cookies[LOGIN])
    assert content is not None

    newcomer.browser.cookies[LOGIN] = NOT_OURS[case](dict(content), ours)
    assert refused(await newcomer.browser.open(answer))
    assert SESSION not in newcomer.browser.cookies


async def test_what_the_browser_carries_is_what_a_sign_in_needs(newcomer: Visitor) -> None:
    await newcomer.register()
    answer = await answer_of(newcomer)
    ours = build_peppers(newcomer.service.settings)
    content = CarriedSeal(ours, "portal-login/v1").open(newcomer.browser.cookies[LOGIN])
    assert content is not None

    newcomer.browser.cookies[LOGIN] = sealed(dict(content), ours)
    assert (await newcomer.browser.open(answer)).location == f"{newcomer.service.rest}/portal/keys"


async def test_whoever_begins_to_sign_in_leaves_nothing_with_us(newcomer: Visitor, database: Database) -> None:
    for _ in range(3):
        assert LOGIN not in newcomer.browser.cookies
        assert (await newcomer.browser.open("/portal/sign-in")).status == 303
        assert newcomer.browser.cookies.pop(LOGIN)
    assert await database.fetch("SELECT FROM sessions") == []


async def test_to_ask_for_the_head_of_a_page_does_nothing(newcomer: Visitor) -> None:
    await newcomer.register()
    answer = await answer_of(newcomer)
    carried = {"cookie": f"{LOGIN}={newcomer.browser.cookies[LOGIN]}"}
    async with httpx2.AsyncClient(base_url=newcomer.service.rest, trust_env=False, headers=carried) as client:
        for path in ("/portal/sign-in", answer.removeprefix(newcomer.service.rest)):
            head = await client.head(path)
            assert (head.status_code, head.headers.get_list("set-cookie")) == (200, [])
    assert (await newcomer.browser.open(answer)).status == 303


async def test_the_longest_path_to_go_on_with_fits_a_cookie(newcomer: Visitor) -> None:
    for length, kept in ((2000, True), (2001, False)):
        path = f"/portal/keys?q={'a' * (length - 15)}"
        await newcomer.browser.open(f"/portal/sign-in?{urlencode({'next': path})}")
        cookie = newcomer.browser.cookies[LOGIN]
        assert len(f"{LOGIN}={cookie}") < 4096
        content = CarriedSeal(build_peppers(newcomer.service.settings), "portal-login/v1").open(cookie)
        assert content is not None
        assert content["next"] == (path if kept else "/portal/")


async def test_junk_from_an_address_does_not_keep_its_people_out_of_the_portal(newcomer: Visitor) -> None:
    await newcomer.register()
    async with httpx2.AsyncClient(base_url=newcomer.service.rest, trust_env=False) as client:
        junk = {"grant_type": "refresh_token", "refresh_token": "junk", "client_id": "developer-portal"}
        statuses = [(await client.post("/oauth/token", data=junk)).status_code for _ in range(61)]
    assert statuses[-1] == 429

    assert (await newcomer.sign_in("/portal/keys")).status == 200


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
