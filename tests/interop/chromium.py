"""Debian's Chromium at the portal of a running service: people who look at pages, fill in forms and leave traces.

A `Guest` is one person with one browser profile. What no page of ours may ever cause is noted on the way (`Watch`) and
makes the test fail when the guest leaves.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Error,
    Locator,
    Page,
    Request,
    Response,
    async_playwright,
)

from server.postgres.pool import Database
from tests.database import Clock
from tests.loopback import free_port
from tests.service import Service, serving

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
LOCALES = {"en": "en-GB", "ar": "ar-EG"}

Value = str | bool | list[str]
Values = dict[str, Value]

_PATIENCE = 15_000  # ms for whatever one step waits for
_TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => console.error(
  `CSP: ${event.effectiveDirective} stopped ${event.blockedURI} on ${location.pathname}`));
"""


@dataclass  # without slots: Playwright hangs its own wrappers on the object whose methods it calls
class Watch:
    """What happened that must not: dialogs, scripts that ran or failed, and what a page's policy had to stop.

    `forms`: what the browser sent as forms.
    """

    faults: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)

    async def note_dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def note_console(self, message: ConsoleMessage) -> None:
        """Note errors, but for the one that Chromium itself logs for each answer of 400 and more."""
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.faults.append(f"console: {message.text}")

    def note_error(self, error: Error) -> None:
        self.faults.append(f"script: {error.message}")

    def note_request(self, request: Request) -> None:
        if request.method == "POST" and request.is_navigation_request():
            self.forms.append(request.post_data or "")

    def observe(self, context: BrowserContext) -> None:
        """Watch all pages of a profile."""
        context.on("dialog", self.note_dialog)
        context.on("console", self.note_console)
        context.on("request", self.note_request)
        context.on("weberror", lambda error: self.note_error(error.error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A service with a portal, its database, and the time in it."""

    service: Service
    database: Database
    clock: Clock

    @property
    def url(self) -> str:
        """How browsers reach it."""
        return self.service.rest

    @property
    def account(self) -> tuple[str, str]:
        """The name and the password of the development account."""
        name, _, password = (self.service.settings.data_dir / "development-account").read_text().partition(":")
        return name, password.strip()

    @property
    def internal_token(self) -> str:
        """What internal services show."""
        return (self.service.settings.data_dir / "internal-token").read_text().strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One person with a browser. Controls are found by names and addresses, so that it works in every language."""

    place: Place
    context: BrowserContext
    page: Page
    watch: Watch

    async def open(self, path: str) -> Response:
        """Open a page of the portal, by its path."""
        answer = await self.page.goto(self.place.url + path)
        assert answer is not None
        return answer

    def form(self, action: str) -> Locator:
        """Find the form that is sent to a path; of two, as for signing out, the one that is seen."""
        return self.page.locator(f'form[action="{action}"]').filter(visible=True).first

    async def unfold(self, action: str) -> None:
        """Show a form that waits behind a question such as "Revoke this key"."""
        folded = self.page.locator(f'details:not([open]):has(form[action="{action}"]) > summary')
        if not await self.form(action).count():
            await folded.filter(visible=True).first.click()

    async def submit(self, action: str, button: str = "", /, **values: Value) -> None:
        """Fill in the form of a path as people do, send it, and wait for the page that answers."""
        await self.unfold(action)
        form = self.form(action)
        for name, value in values.items():
            await _enter(form, name, value)
        sender = form.locator(f'button[value="{button}"]' if button else "button[type=submit]")
        async with self.page.expect_navigation():
            await sender.first.click()

    async def open_and_submit(self, path: str, action: str, /, **values: Value) -> None:
        """Open a page and send one of its forms."""
        await self.open(path)
        await self.submit(action, **values)

    async def sign_in(self, path: str = "/portal/") -> None:
        """Open a page and sign in with the development account on the way."""
        name, password = self.place.account
        await self.open(path)
        await self.submit("/sign-in", username=name, password=password)

    async def register(self, **values: Value) -> None:
        """Register as a developer, on the page that new users are led to."""
        told: Values = {"display_name": "Alice's Apps", "contact_email": "alice@example.com", "terms_version": True}
        await self.submit("/portal/register", **{**told, **values})

    async def new_key(self, name: str = "Production", **values: Value) -> tuple[str, str]:
        """Make a key on its page; return its id and the secret that is shown."""
        await self.open("/portal/keys/new")
        await self.submit("/portal/keys/new", name=name, **values)
        return await self.stored()

    async def stored(self) -> tuple[str, str]:
        """Read a secret off the page that shows it once and say so; return the key's id and the secret."""
        path = self.path
        owner = path.removesuffix("/secret").rpartition("/")[2]
        secret = await self.page.locator(".secret output").inner_text()
        await self.submit(path)
        return owner, secret

    @property
    def path(self) -> str:
        """Where the browser is: the path of the page that is open."""
        return self.page.url.removeprefix(self.place.url).partition("?")[0]

    async def text(self) -> str:
        """Return what the page shows."""
        return await self.page.locator("#content").inner_text()

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call REST beside the browser, as the same developer."""
        headers = {"authorization": f"Bearer {self.place.service.token(self.place.account[0])}"}
        async with httpx2.AsyncClient(base_url=self.place.url, trust_env=False, timeout=10) as client:
            answer = await client.request(method, path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def _enter(form: Locator, name: str, value: Value) -> None:
    """Fill in one control by its name: text, an option, a box, one of several, or several boxes."""
    control = form.locator(f'[name="{name}"]:not([type=hidden])')
    kind = await control.first.evaluate("(element) => element.tagName + ':' + (element.type || '')")
    if kind == "SELECT:select-one":
        await control.select_option(str(value))
    elif kind == "INPUT:radio":
        await form.locator(f'[name="{name}"][value="{value}"]').check()
    elif isinstance(value, list):
        for box in await control.all():
            await box.set_checked(await box.get_attribute("value") in value)
    elif kind == "INPUT:checkbox":
        await control.set_checked(bool(value))
    else:
        await control.fill(str(value))
        await control.blur()


Visit = Callable[..., AbstractAsyncContextManager[Guest]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One browser for the run; each guest has a profile of its own in it."""
    program = shutil.which("chromium")
    assert program, "chromium not found: run .ci/tools, or `make interop`, which does"
    async with async_playwright() as playwright:
        unboxed = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's own sandbox refuses to start as root
        browser = await playwright.chromium.launch(executable_path=program, args=unboxed)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def place(database_url: str, database: Database, clock: Clock, data_dir: Path) -> AsyncIterator[Place]:
    """A service that knows its address, with nothing in it but the development account."""
    async with serving(database_url, data_dir, http_port=free_port(), management_rate="100000/1") as service:
        yield Place(service=service, database=database, clock=clock)


@asynccontextmanager
async def visiting(browser: Browser, place: Place, **wish: Any) -> AsyncIterator[Guest]:
    """Go to a place as somebody new.

    `language`: en or ar; `theme`: light or dark; `phone`: a small window; `javascript`: False for none; `zone`: where
    the reader lives.
    """
    context = await browser.new_context(
        locale=LOCALES[wish.get("language", "en")],
        color_scheme=wish.get("theme", "light"),
        viewport=PHONE if wish.get("phone") else DESKTOP,  # type: ignore[arg-type]
        java_script_enabled=wish.get("javascript", True),
        timezone_id=wish.get("zone", "UTC"),
        reduced_motion="reduce",
    )
    watch = Watch()
    try:
        context.set_default_timeout(_PATIENCE)
        await context.add_init_script(_TELL_VIOLATIONS)
        watch.observe(context)
        yield Guest(place=place, context=context, page=await context.new_page(), watch=watch)
    finally:
        await context.close()
    assert watch.faults == []


@pytest_asyncio.fixture(loop_scope="session")
async def visit(chromium: Browser, place: Place) -> Visit:
    """Go to the portal as somebody new, with the wishes of `visiting`."""

    def go(**wish: Any) -> AbstractAsyncContextManager[Guest]:
        return visiting(chromium, place, **wish)

    return go


@pytest_asyncio.fixture(loop_scope="session")
async def alice(visit: Visit) -> AsyncIterator[Guest]:
    """A registered developer, signed in, on the overview."""
    async with AsyncExitStack() as stack:
        guest = await stack.enter_async_context(visit())
        await guest.sign_in()
        await guest.register()
        yield guest


async def until(condition: Callable[[], Awaitable[Any]], what: str, seconds: float = 10) -> Any:
    """Ask again and again until the answer is something; fail after some seconds."""
    answer: Any = None
    try:
        async with asyncio.timeout(seconds):
            while not (answer := await condition()):
                await asyncio.sleep(0.05)
    except TimeoutError as late:
        raise AssertionError(f"{what} did not come about in {seconds} s") from late
    return answer
