"""Signing in and out: who gets in, what is said to the others, and what a browser holds before and after."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from server.authorization import pages
from server.authorization.sign_in import COOKIES, SignInThrottle, next_of
from server.limits.service import LocalLimiter
from server.users.store import UserStore
from tests.browser import Page
from tests.database import Clock
from tests.integration.authorization.flow import CONFIDENTIAL, ISSUER, PUBLIC, REDIRECT_URI
from tests.integration.sign_in.desk import PASSWORD, Desk, authorize_path, sign_in
from tests.unit.pages.catalogue import faults_of

SIGNED_IN = COOKIES["issuer"]


async def test_a_user_signs_in_and_goes_on(desk: Desk) -> None:
    await desk.users.create("alice", PASSWORD)
    browser = desk.browser()
    page = await sign_in(browser, at="/sign-in?next=/portal/keys?state=revoked")
    assert (page.status, page.headers["location"]) == (303, "/portal/keys?state=revoked")
    session = await desk.sessions.find("issuer", browser.cookies[SIGNED_IN])
    assert session
    assert session.subject == "alice"
    assert session.expires_at - session.created_at == timedelta(hours=12)


async def test_the_cookie_keeps_to_this_site(desk: Desk) -> None:
    await desk.users.create("alice", PASSWORD)
    page = await sign_in(desk.browser())
    (line,) = [line for line in page.headers.get_list("set-cookie") if line.startswith(SIGNED_IN)]
    attributes = {part.strip().lower() for part in line.split(";")[1:]}
    assert attributes == {"path=/", "secure", "httponly", "samesite=lax"}


async def test_whoever_is_signed_in_goes_on_at_once(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await browser.open("/sign-in?next=/portal/keys")
    assert (page.status, page.headers["location"]) == (303, "/portal/keys")
    assert (await browser.open("/sign-in?next=/portal/keys&again=1")).status == 200


def whole_answer(page: Page) -> tuple[object, ...]:
    return page.status, sorted(page.headers.multi_items()), page.html


async def test_an_unknown_name_a_wrong_password_and_a_disabled_user_get_the_same_bytes(desk: Desk) -> None:
    browser = desk.browser()
    await browser.open("/sign-in")
    unknown = await sign_in(browser, "alice", "wrong password")
    await desk.users.create("alice", PASSWORD)
    wrong = await sign_in(browser, "alice", "wrong password")
    await UserStore(desk.flow.database).disable("alice")
    disabled = await sign_in(browser, "alice", PASSWORD)
    assert "The user name or the password is not right." in unknown.text
    assert whole_answer(unknown) == whole_answer(wrong) == whole_answer(disabled)
    assert SIGNED_IN not in browser.cookies


async def test_what_was_typed_is_kept_but_for_the_password(desk: Desk) -> None:
    page = await sign_in(desk.browser(), '"><script>alert(1)</script>', "wrong password", "/sign-in?next=/portal/keys")
    assert page.form().value("username") == '"><script>alert(1)</script>'
    assert page.form().value("next") == "/portal/keys"
    assert "wrong password" not in page.html
    assert "<script>alert" not in page.html


async def test_a_name_is_guessed_ten_times_in_fifteen_minutes_from_one_place(desk: Desk) -> None:
    await desk.users.create("alice", PASSWORD)
    for _ in range(10):
        assert (await sign_in(desk.browser(), "alice", "wrong password")).status == 400
    desk.clock.pass_seconds(60)
    page = await sign_in(desk.browser())
    assert page.status == 429
    assert page.headers["retry-after"] == "840"
    assert "Try again in 14 minutes." in page.text
    assert page.form().value("username") == "alice"
    desk.clock.pass_seconds(840)
    assert (await sign_in(desk.browser())).status == 303


@pytest.mark.parametrize(
    ("guesser", "neighbour", "owner"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
    ],
)
async def test_guesses_of_one_place_do_not_keep_the_right_password_from_another_out(
    desk: Desk, guesser: str, neighbour: str, owner: str
) -> None:
    await desk.users.create("alice", PASSWORD)
    for _ in range(20):
        await sign_in(desk.browser(peer=guesser), "alice", "wrong password")
    assert (await sign_in(desk.browser(peer=neighbour))).status == 429
    assert (await sign_in(desk.browser(peer=owner))).status == 303


async def test_a_name_is_guessed_a_hundred_times_an_hour_from_everywhere(desk: Desk) -> None:
    await desk.users.create("alice", PASSWORD)
    throttle = SignInThrottle(LocalLimiter(clock=desk.clock))
    for number in range(100):
        assert await throttle.wait_seconds("alice", "203.0.113.9") == 0
        await throttle.count_failure("alice", f"192.0.2.{number}")
    assert await throttle.wait_seconds("alice", "203.0.113.9") == 3600
    assert await throttle.wait_seconds("bob", "203.0.113.9") == 0


async def test_being_throttled_does_not_tell_who_exists(desk: Desk) -> None:
    await desk.users.create("alice", PASSWORD)
    browser, pages_seen = desk.browser(), []
    await browser.open("/sign-in")
    for name in ("alice", "carol"):
        for _ in range(10):
            await sign_in(browser, name, "wrong password")
        page = await sign_in(browser, name, "wrong password")
        pages_seen.append((page.status, sorted(page.headers.multi_items()), page.html.replace(name, "NAME")))
    assert pages_seen[0] == pages_seen[1]
    assert pages_seen[0][0] == 429


@pytest.mark.parametrize(
    ("guesser", "neighbour", "stranger"),
    [("192.0.2.1", "192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")],
)
async def test_an_address_guesses_fifty_times_and_a_success_forgives_nothing(
    desk: Desk, guesser: str, neighbour: str, stranger: str
) -> None:
    await desk.users.create("alice", PASSWORD)
    for number in range(50):
        await sign_in(desk.browser(peer=guesser), f"user{number}", "wrong password")
        if number == 48:
            assert (await sign_in(desk.browser(peer=neighbour))).status == 303
    assert (await sign_in(desk.browser(peer=neighbour))).status == 429
    assert (await sign_in(desk.browser(peer=stranger))).status == 303


async def test_the_session_is_a_new_one_whatever_the_browser_had(desk: Desk) -> None:
    await desk.users.create("alice", PASSWORD)
    planted = await desk.sessions.open("issuer", "mallory", {"name": "mallory"}, timedelta(hours=1))
    browser = desk.browser()
    browser.cookies[SIGNED_IN] = planted
    await sign_in(browser, at="/sign-in?again=1")
    first = browser.cookies[SIGNED_IN]
    assert first != planted
    assert await desk.sessions.find("issuer", planted) is None
    await sign_in(browser, at="/sign-in?again=1")
    assert browser.cookies[SIGNED_IN] != first
    assert await desk.sessions.find("issuer", first) is None


@pytest.mark.parametrize("planted", ["A" * 43, "x", ""])
async def test_a_cookie_that_we_did_not_make_is_not_taken_up(desk: Desk, planted: str) -> None:
    await desk.users.create("alice", PASSWORD)
    browser = desk.browser()
    browser.cookies[SIGNED_IN] = planted
    await sign_in(browser)
    assert browser.cookies[SIGNED_IN] != planted
    assert await desk.sessions.find("issuer", planted) is None


async def test_signing_out_kills_what_this_browser_had_and_nothing_else(desk: Desk) -> None:
    browser, other = await desk.signed_in(), await desk.signed_in()
    portal = await desk.sessions.open("portal", "alice", {"refresh_token": "canary"}, timedelta(hours=1))
    browser.cookies[COOKIES["portal"]] = portal
    before = dict(browser.cookies)
    page = await browser.submit(await browser.open(authorize_path()), "other-account", next="/portal/")
    assert (page.status, page.headers["location"]) == (303, "/portal/")
    assert not {SIGNED_IN, COOKIES["portal"]} & browser.cookies.keys()
    browser.cookies.update(before)  # whoever has kept the cookies has nothing
    assert await desk.sessions.find("issuer", before[SIGNED_IN]) is None
    assert await desk.sessions.find("portal", portal) is None
    assert "/sign-in" in (await browser.open(authorize_path())).location
    assert [session.content for session in desk.ended] == [{"refresh_token": "canary"}]
    assert (await other.open(authorize_path())).status == 200


async def test_signing_out_twice_is_signing_out(desk: Desk) -> None:
    browser = desk.browser()
    token = (await browser.open("/sign-in")).form().value("csrf_token")
    for _ in range(2):
        pairs = [("csrf_token", token)]
        page = await browser.post("/sign-out", pairs, origin=ISSUER)
        assert (page.status, page.headers["location"]) == (303, "/portal/")
    assert desk.ended == []


async def test_a_link_does_not_sign_out(desk: Desk) -> None:
    browser = await desk.signed_in()
    assert (await browser.open("/sign-out")).status == 405
    assert (await browser.open(authorize_path())).status == 200


async def test_a_session_ends_without_use_and_after_twelve_hours(desk: Desk, clock: Clock) -> None:
    browser = await desk.signed_in()
    for _ in range(11):
        await clock.advance(timedelta(hours=1))
        assert (await browser.open(authorize_path())).status == 200
    await clock.advance(timedelta(hours=1))
    assert "/sign-in" in (await browser.open(authorize_path())).location
    browser = await desk.signed_in()
    await clock.advance(timedelta(hours=2))
    assert "/sign-in" in (await browser.open(authorize_path())).location


async def test_a_disabled_user_is_out_at_once(desk: Desk) -> None:
    browser = await desk.signed_in()
    await UserStore(desk.flow.database).disable("alice")
    assert "/sign-in" in (await browser.open(authorize_path())).location


FORGERIES = [
    ({"origin": "https://evil.example"}, True),
    ({"origin": "null"}, True),
    ({"origin": "null", "sec_fetch_site": "cross-site"}, True),
    ({}, True),
    ({"sec_fetch_site": "same-site"}, True),
    ({"origin": ISSUER}, False),
    ({"origin": ISSUER, "sec_fetch_site": "same-origin"}, False),
]


@pytest.mark.parametrize(("headers", "with_token"), FORGERIES)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/v1/auth/authorize"])
async def test_what_another_site_sends_changes_nothing(
    desk: Desk, path: str, headers: dict[str, str], with_token: bool
) -> None:
    browser = await desk.signed_in()
    form = (await browser.open(authorize_path())).form("consent")
    pairs = [*form.fill({"csrf_token": form.value("csrf_token") if with_token else "0" * 64}), ("decision", "allow")]
    pairs += [("username", "alice"), ("password", PASSWORD)]
    before = dict(browser.cookies)
    page = await browser.post(path, pairs, **headers)
    assert page.status == 403
    assert browser.cookies == before
    assert await desk.grants() == []
    assert (await browser.open(authorize_path())).status == 200


NEXT = [
    ("/portal/", True),
    ("/portal", True),
    ("/portal/keys?state=active&page=2", True),
    ("/v1/auth/authorize?client_id=x", True),
    ("/v1/auth/authorize", True),
    ("", False),
    ("portal/", False),
    ("/portalx", False),
    ("/sign-out", False),
    ("/v1/auth/authorize/x", False),
    ("/v1/developer/keys", False),
    ("//evil.example/portal/", False),
    ("///evil.example/portal/", False),
    ("/\\evil.example/portal/", False),
    ("\\\\evil.example", False),
    ("https://evil.example/portal/", False),
    (f"{ISSUER}/portal/", False),
    ("javascript:alert(1)", False),
    ("/portal/\r\nset-cookie: a=b", False),
    ("/portal/\tx", False),
    ("/portal/é", False),
    (" /portal/", False),
    ("/portal/../sign-out", False),
    ("/portal/%2e%2E/sign-out", False),
    ("/portal/..%2fsign-out", False),
    ("/portal/%5c..", False),
    ("/portal/" + "x" * 4000, False),
]


@pytest.mark.parametrize(("following", "is_good"), NEXT)
async def test_signing_in_leads_to_our_own_pages_alone(desk: Desk, following: str, is_good: bool) -> None:
    assert next_of(following) == (following if is_good else "/portal/")
    await desk.users.create("alice", PASSWORD)
    browser = desk.browser()
    page = await browser.open("/sign-in?" + urlencode({"next": following}))
    assert page.form().value("next") == (following if is_good else "/portal/")
    answer = await browser.submit(page, username="alice", password=PASSWORD, next=following)
    assert answer.headers["location"] == (following if is_good else "/portal/")


async def test_signing_out_leads_to_our_own_pages_alone(desk: Desk) -> None:
    browser = await desk.signed_in()
    page = await browser.submit(await browser.open(authorize_path()), "other-account", next="//evil.example")
    assert page.headers["location"] == "/portal/"


async def test_the_page_names_the_application_that_it_leads_to(desk: Desk) -> None:
    page = await desk.browser().open("/sign-in?" + urlencode({"next": authorize_path(PUBLIC)}))
    assert "to go on to Jukebox ( app.example )" in page.text
    assert page.directive("form-action") == ["'self'", "https://app.example"]


@pytest.mark.parametrize("following", ["/portal/", authorize_path(PUBLIC, client_id="nobody"), "/v1/auth/authorize"])
async def test_the_page_names_no_other(desk: Desk, following: str) -> None:
    page = await desk.browser().open("/sign-in?" + urlencode({"next": following}))
    assert page.status == 200
    assert page.directive("form-action") == ["'self'"]


@pytest.mark.parametrize("changes", [{"prompt": "none"}, {"scope": "admin"}], ids=["no page", "refused"])
async def test_the_browser_may_go_all_the_way_from_the_form_to_the_client(desk: Desk, changes: dict[str, str]) -> None:
    """A client that gets its answer without a page is at the end of the redirects that the sign-in form begins."""
    await desk.users.create("alice", PASSWORD)
    browser = desk.browser()
    page = await browser.open("/sign-in?" + urlencode({"next": authorize_path(CONFIDENTIAL, **changes)}))
    answer = await browser.submit(page, username="alice", password=PASSWORD)
    assert browser.led_to(await browser.follow(answer)).startswith(REDIRECT_URI)


@pytest.mark.parametrize("path", ["/sign-in", authorize_path(), authorize_path(client_id="nobody")])
async def test_no_page_can_be_framed_or_kept(desk: Desk, path: str) -> None:
    page = await (await desk.signed_in()).open(path.replace("/sign-in", "/sign-in?again=1"))
    assert page.html
    assert page.directive("frame-ancestors") == ["'none'"]
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("language", ["en", "ar"])
async def test_every_field_has_its_label_and_the_page_its_language(desk: Desk, language: str) -> None:
    await desk.users.create("alice", PASSWORD)
    browser = desk.browser(language=language)
    pages_seen = [await browser.open("/sign-in"), await sign_in(browser, "alice", "wrong password")]
    await sign_in(browser)
    pages_seen += [await browser.open(authorize_path()), await browser.open(authorize_path(client_id="x"))]
    for page in pages_seen:
        attributes = page.document.attributes
        labelled = {has.get("for") for tag, has in attributes if tag == "label"}
        shown = {has.get("id") for tag, has in attributes if tag == "input" and has.get("type") != "hidden"}
        assert shown <= labelled
        ((_, root),) = [each for each in attributes if each[0] == "html"]
        assert (root["lang"], root["dir"]) == (language, "rtl" if language == "ar" else "ltr")
        assert len([tag for tag, _ in attributes if tag == "h1"]) == 1
        assert not [has for _, has in attributes if "style" in has or any(name.startswith("on") for name in has)]


def test_the_arabic_catalogue_is_complete() -> None:
    feature = Path(pages.__file__).parent
    assert faults_of(feature, feature.parent / "pages") == []
