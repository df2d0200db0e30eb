"""Other sites get nothing out of a browser that is signed in, and nothing in: frames, forms, links, old cookies."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio

from server.web.server import HttpServer
from tests.interop.chromium import Guest, Visit

pytestmark = pytest.mark.interop

ELSEWHERE = [
    "https://evil.example/", "//evil.example/", "/\\evil.example/", "\\\\evil.example", "/\t/evil.example/",
    "javascript:alert(1)", "data:text/html,x", "http:evil.example", "/%5cevil.example", "https:/evil.example",
    "/portal/../..//evil.example", " //evil.example", "///evil.example", "/portal@evil.example", "portal",
]  # fmt: skip
HELD = ("__Host-portal", "__Host-signed-in", "__Host-csrf")


class OtherSite:
    """A server of somebody else, which answers every path with one page."""

    def __init__(self) -> None:
        self.page = ""
        self.port = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [(b"content-type", b"text/html; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": self.page.encode()})

    def url(self, host: str) -> str:
        """How a browser reaches it: as the portal's own site at another origin (127.0.0.1), or as another site."""
        return f"http://{host}:{self.port}/"


@pytest_asyncio.fixture(loop_scope="session")
async def other() -> AsyncIterator[OtherSite]:
    site = OtherSite()
    server = HttpServer(site, "127.0.0.1", 0)
    await server.start()
    site.port = server.address.rpartition(":")[2]
    yield site
    await server.stop(1.0)


@pytest.fixture(params=["127.0.0.1", "localhost"])
def host(request: pytest.FixtureRequest) -> str:
    """Where the other site is: at another origin of the same site, to which browsers send cookies, and at another."""
    return str(request.param)


async def test_no_page_is_shown_in_a_frame(alice: Guest, other: OtherSite, host: str) -> None:
    paths = ("/portal/", "/portal/keys", "/sign-in", "/assets/none", "/portal/nowhere")
    frames = "".join(f'<iframe src="{alice.place.url}{path}"></iframe>' for path in paths)
    other.page = f"<!doctype html><title>Other</title>{frames}"

    await alice.page.goto(other.url(host))

    shown = [await frame.content() for frame in alice.page.frames[1:]]
    assert len(shown) == len(paths)
    assert not any("Developer Portal" in page or "csrf" in page for page in shown)
    _expect(alice, "frame-ancestors", "X-Frame-Options", "chrome-error")


async def test_no_form_of_another_site_changes_anything(alice: Guest, other: OtherSite, host: str) -> None:
    token = await alice.page.locator('[name="csrf_token"]').first.input_value()
    for fields in ({"name": "Forged"}, {"name": "Forged", "csrf_token": token}):
        inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
        action = f"{alice.place.url}/portal/keys/new"
        other.page = (
            f'<!doctype html><form method="post" action="{action}">{inputs}<input name="scopes" value="read"><button>'
        )
        await alice.page.goto(other.url(host))

        async with alice.page.expect_response(action) as answering:
            await alice.page.locator("button").click()

        assert (await answering.value).status == 403
    assert (await alice.api("GET", "/v1/developer/keys")).get("apiKeys", []) == []


async def test_no_script_of_another_site_reads_or_changes_anything(alice: Guest, other: OtherSite, host: str) -> None:
    other.page = "<!doctype html><title>Other</title>"
    await alice.page.goto(other.url(host))

    for method in ("GET", "POST"):
        script = """([url, method]) => fetch(url, {method, credentials: "include", body: method === "POST" ? "" : null})
            .then((answer) => answer.text(), () => "nothing")"""
        read = await alice.page.evaluate(script, [f"{alice.place.url}/portal/keys/new", method])
        assert read == "nothing"
    assert (await alice.api("GET", "/v1/developer/keys")).get("apiKeys", []) == []
    _expect(alice, "CORS policy")


async def test_another_site_cannot_sign_out(alice: Guest, other: OtherSite, host: str) -> None:
    for path in ("/portal/sign-out", "/sign-out"):
        other.page = f'<!doctype html><form method="post" action="{alice.place.url}{path}"><button>'
        await alice.page.goto(other.url(host))
        async with alice.page.expect_navigation():
            await alice.page.locator("button").click()

    await alice.open("/portal/account")
    assert alice.path == "/portal/account"


async def test_signing_in_leads_to_our_own_pages_only(alice: Guest) -> None:
    name, password = alice.place.account
    for following in ELSEWHERE:
        await alice.context.clear_cookies()
        await alice.open(f"/sign-in?next={quote(following, safe='')}")
        await alice.submit("/sign-in", username=name, password=password)
        assert _origin(alice.page.url) == alice.place.url, following
        for path in ("/portal/sign-in", "/portal/register"):
            await alice.open(f"{path}?next={quote(following, safe='')}")
            assert _origin(alice.page.url) == alice.place.url, following


async def test_registering_leads_to_our_own_pages_only(visit: Visit) -> None:
    async with visit() as guest:
        await guest.sign_in(f"/portal/register?next={quote(ELSEWHERE[0], safe='')}")
        await guest.register()
        assert guest.path == "/portal/"


async def test_cookies_are_for_our_origin_and_not_for_scripts(alice: Guest) -> None:
    await alice.open("/portal/keys/new")
    await alice.submit("/portal/keys/new", name="A key", scopes=["read"])
    cookies = {cookie["name"]: cookie for cookie in await alice.context.cookies()}

    assert set(HELD) <= set(cookies)
    for name, cookie in cookies.items():
        if name in {"tz", "lang", "theme"}:
            continue
        assert name.startswith("__Host-"), name
        assert (cookie["secure"], cookie["httpOnly"], cookie["path"]) == (True, True, "/"), name
        assert cookie["sameSite"] in {"Lax", "Strict"}, name
        assert cookie["domain"] == urlsplit(alice.place.url).hostname, name
    assert "__Host-" not in await alice.page.evaluate("document.cookie")


async def test_the_session_has_another_id_after_signing_in(visit: Visit) -> None:
    async with visit() as guest:
        planted = [
            {"name": name, "value": "A" * 43, "url": guest.place.url.replace("http:", "https:"), "secure": True}
            for name in HELD[:2]
        ]
        await guest.context.add_cookies(planted)  # type: ignore[arg-type]
        await guest.sign_in()
        first = await _held(guest)
        assert "A" * 43 not in first.values()
        await guest.register()

        await guest.submit("/portal/sign-out")
        await guest.sign_in()

        second = await _held(guest)
        assert first["__Host-portal"] != second["__Host-portal"]
        assert first["__Host-signed-in"] != second["__Host-signed-in"]


async def test_an_old_cookie_is_dead_after_signing_out(alice: Guest) -> None:
    held = [cookie for cookie in await alice.context.cookies() if cookie["name"] in HELD]
    await alice.submit("/portal/sign-out")
    await alice.context.clear_cookies()
    await alice.context.add_cookies(held)  # type: ignore[arg-type]

    await alice.open("/portal/account")

    assert alice.path == "/sign-in"


async def test_the_way_back_shows_nothing_after_signing_out(alice: Guest) -> None:
    await alice.open("/portal/account")
    await alice.submit("/portal/sign-out")
    await alice.page.go_back()

    assert "alice@example.com" not in await alice.page.content()


async def _held(guest: Guest) -> dict[str, str]:
    return {cookie["name"]: cookie["value"] for cookie in await guest.context.cookies() if cookie["name"] in HELD}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _expect(guest: Guest, *words: str) -> None:
    """Take what the browser says about its refusals for what it is: the test caused it."""
    others = [fault for fault in guest.watch.faults if not any(word in fault for word in words)]
    assert others == []
    guest.watch.faults.clear()
