"""A secret is revealed once: nothing that a browser keeps, or asks for again, shows it a second time."""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.interop.chromium import Guest, Place, visiting

pytestmark = pytest.mark.interop

KEPT = """() => JSON.stringify([document.title, document.cookie, history.state, location.href, window.name,
                  Object.entries(localStorage), Object.entries(sessionStorage), performance.getEntries()])"""


async def _reload(guest: Guest) -> Page:
    await guest.page.reload()
    return guest.page


async def _back(guest: Guest) -> Page:
    await guest.submit(guest.path)
    await guest.page.go_back(wait_until="commit")
    return guest.page


async def _back_and_forward(guest: Guest) -> Page:
    here = guest.page.url
    await guest.page.go_back(wait_until="commit")
    await guest.page.evaluate("history.forward()")  # Playwright's own way fails at times while a page comes back
    await guest.page.wait_for_url(here, wait_until="commit")
    return guest.page


async def _another_tab(guest: Guest) -> Page:
    tab = await guest.context.new_page()
    await tab.goto(guest.page.url)
    return tab


async def _a_link_and_back(guest: Guest) -> Page:
    await guest.page.locator('a[href="/portal/keys"]').filter(visible=True).first.click()
    await guest.page.wait_for_url("**/portal/keys")
    await guest.page.go_back(wait_until="commit")
    return guest.page


async def _the_form_again(guest: Guest) -> Page:
    """Send the very form once more, as a reload of its answer would, and look at the page it leads to."""
    await guest.page.evaluate(
        "async (body) => { const headers = {'content-type': 'application/x-www-form-urlencoded'};"
        " const answer = await fetch('/portal/keys/new', {method: 'POST', body, headers});"
        " document.body.textContent = answer.url + await answer.text(); }",
        guest.watch.forms[-1],
    )
    assert "/secret" in await guest.page.locator("body").inner_text()
    return guest.page


WAYS: dict[str, Callable[[Guest], Awaitable[Page]]] = {
    "reload": _reload,
    "back": _back,
    "back and forward": _back_and_forward,
    "another tab": _another_tab,
    "a link and back": _a_link_and_back,
    "the form again": _the_form_again,
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keeping_chromium() -> AsyncIterator[Browser]:
    """A browser that keeps whole pages for "back", as people's do and those of tests usually do not."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        await browser.close()


@pytest.mark.parametrize("keeps_pages", [False, True])
async def test_a_secret_is_shown_once(
    chromium: Browser, keeping_chromium: Browser, place: Place, keeps_pages: bool
) -> None:
    async with visiting(keeping_chromium if keeps_pages else chromium, place) as guest:
        await guest.sign_in()
        await guest.register()
        for name, way in WAYS.items():
            await guest.open("/portal/keys/new")
            await guest.submit("/portal/keys/new", name=name, scopes=["read"])
            secret = await guest.page.locator(".secret output").inner_text()
            assert secret not in await guest.page.evaluate(KEPT)

            page = await way(guest)

            await page.wait_for_function("document.readyState === 'complete'")
            assert secret not in await page.content(), name
            assert secret not in await page.evaluate(KEPT), name
            assert await page.locator(".secret").count() == 0, name
            assert secret not in str(await guest.context.cookies()), name


async def test_a_client_secret_is_shown_once(alice: Guest) -> None:
    await alice.open("/portal/clients/new")
    await alice.submit(
        "/portal/clients/new", name="Player", type="confidential", redirect_uris="https://app.example.com/"
    )
    secret = await alice.page.locator(".secret output").inner_text()
    path = alice.path

    for way in (_reload, _another_tab, _back_and_forward):
        page = await way(alice)
        assert secret not in await page.content()
        assert await page.locator(".secret").count() == 0
    await alice.open(path)
    assert secret not in await alice.page.content()


async def test_a_secret_can_be_copied_from_its_page(alice: Guest) -> None:
    await alice.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await alice.open("/portal/keys/new")
    await alice.submit("/portal/keys/new", name="Copied", scopes=["read"])
    secret = await alice.page.locator(".secret output").inner_text()

    await alice.page.locator(".secret [data-copy]").click()

    assert await alice.page.evaluate("navigator.clipboard.readText()") == secret
    assert await alice.page.locator("#said").inner_text() != ""
