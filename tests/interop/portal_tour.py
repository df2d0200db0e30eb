"""A walk through every page there is, in the states that look different, for whoever wants to look at all of them."""

from collections.abc import AsyncIterator

from tests.interop.chromium import Guest
from tests.interop.portal_data import REDIRECT_URI, furnish


async def tour(guest: Guest) -> AsyncIterator[str]:
    """Go from signing in to signing out; each step says the name of the page that is open."""
    async for name in _arrival(guest):
        yield name
    async for name in _first_steps(guest):
        yield name
    ids = await furnish(guest)
    for name, path in _places(ids).items():
        await guest.open(path)
        yield name
    async for name in _open_questions(guest, ids):
        yield name
    async for name in _clients(guest, ids):
        yield name
    async for name in _departure(guest):
        yield name


async def _arrival(guest: Guest) -> AsyncIterator[str]:
    name, password = guest.place.account
    await guest.open("/portal/")
    yield "sign_in"
    await guest.submit("/sign-in", username=name, password="not the password")
    yield "sign_in_refused"
    await guest.submit("/sign-in", username=name, password=password)
    yield "register"
    await guest.register(display_name=" ")
    yield "register_faults"
    await guest.register()


async def _first_steps(guest: Guest) -> AsyncIterator[str]:
    for name, path in {
        "overview_empty": "/portal/",
        "keys_empty": "/portal/keys",
        "clients_empty": "/portal/clients",
        "usage_empty": "/portal/usage",
        "key_new": "/portal/keys/new",
    }.items():
        await guest.open(path)
        yield name
    await guest.submit("/portal/keys/new", name="A key", scopes=[])
    yield "key_new_faults"
    await guest.submit("/portal/keys/new", name="First steps", scopes=["read"])
    yield "key_secret"
    await guest.page.reload()
    yield "key_secret_again"


def _places(ids: dict[str, str]) -> dict[str, str]:
    """Return the path of each page that is looked at as it is, by its name."""
    busy, rotated, revoked = (ids[name] for name in ("Production backend", "Search service", "Nightly import"))
    keys, clients = "/portal/keys", "/portal/clients"
    return {
        "overview": "/portal/",
        "keys": keys,
        "keys_none_fits": f"{keys}?q=nothing",
        "key": f"{keys}/{busy}",
        "key_by_hour": f"{keys}/{busy}?by=hour",
        "key_by_day": f"{keys}/{busy}?by=day",
        "key_throttling": f"{keys}/{busy}/throttling",
        "key_secrets": f"{keys}/{rotated}/secrets",
        "key_settings": f"{keys}/{busy}/settings",
        "key_revoked": f"{keys}/{revoked}/settings?done=revoked",
        "clients": clients,
        "client": f"{clients}/{ids['Alice Player']}",
        "client_public": f"{clients}/{ids['Pocket Radio']}",
        "client_try": f"{clients}/{ids['Pocket Radio']}/try",
        "client_settings": f"{clients}/{ids['Alice Player']}/settings",
        "usage": "/portal/usage",
        "audit": "/portal/audit",
        "audit_of_a_key": f"/portal/audit?target={busy}",
        "account": "/portal/account",
        "reference": "/portal/reference",
        "not_found": f"{keys}/key_00000000000000000000000000",
        "no_such_page": "/portal/nowhere",
    }


async def _open_questions(guest: Guest, ids: dict[str, str]) -> AsyncIterator[str]:
    """Show what waits behind a question, and what answers a wrong one."""
    settings = f"/portal/keys/{ids['Production backend']}/settings"
    await guest.open(settings)
    await guest.unfold(settings.replace("settings", "revoke"))
    yield "key_revoke"
    await guest.open(f"/portal/keys/{ids['Search service']}/secrets")
    await guest.unfold(f"/portal/keys/{ids['Search service']}/secrets/1/end")
    yield "key_end_secret"
    await guest.open("/portal/account")
    await guest.unfold("/portal/account/tier")
    yield "account_tier"
    await guest.submit("/portal/account", display_name=" ")
    yield "account_faults"
    await guest.open("/portal/audit")
    await guest.page.locator("#content details summary").first.click()
    yield "audit_details"
    await guest.open("/portal/usage")
    await guest.page.goto(await _link(guest, 'a[href^="/portal/statements/"]'))
    yield "statement"


async def _clients(guest: Guest, ids: dict[str, str]) -> AsyncIterator[str]:
    await guest.open("/portal/clients/new")
    yield "client_new"
    await guest.submit("/portal/clients/new", name="Web player", type="confidential", redirect_uris="http://a.example/")
    yield "client_new_faults"
    await guest.submit("/portal/clients/new", redirect_uris=REDIRECT_URI)
    yield "client_secret"
    await guest.open(f"/portal/clients/{ids['Pocket Radio']}/try")
    consent = await _link(guest, 'a[target="_blank"]')
    await guest.page.goto(consent)
    yield "consent"
    await guest.submit("/v1/auth/authorize", "allow", allowed=[])
    yield "consent_nothing_ticked"
    await guest.page.goto(consent.replace("app.example.com", "evil.example.com"))
    yield "request_refused"


async def _departure(guest: Guest) -> AsyncIterator[str]:
    await guest.open("/portal/signed-in?code=forged&state=forged")
    yield "sign_in_failed"
    await guest.open("/portal/account")
    await show_menu(guest)
    yield "menu"
    await guest.submit("/portal/sign-out")
    yield "signed_out"


async def show_menu(guest: Guest) -> None:
    """Unfold the menu, where the window is so small that there is one."""
    menu = guest.page.locator("details.menu:not([open]) > summary")
    if await menu.is_visible():
        await menu.click()


async def _link(guest: Guest, selector: str) -> str:
    """Return where a link leads."""
    return str(await guest.page.locator(selector).first.evaluate("(link) => link.href"))
