"""The portal by keyboard alone, and without JavaScript."""

import pytest
from playwright.async_api import expect

from tests.interop.chromium import Guest, Visit
from tests.interop.portal_data import furnish

pytestmark = pytest.mark.interop

# Everything that can be reached, named by its place in the document; of radio buttons of a name, one.
CONTROLS = """() => {
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
  const seen = (each) => each.checkVisibility({visibilityProperty: true}) && !each.disabled && each.type !== "hidden";
  const radios = new Set();
  const counts = (each) => each.type !== "radio" || !radios.has(each.name) && radios.add(each.name);
  window.nameOf = (each) => each.type === "radio" ? "radio " + each.name
    : each.type + " " + each.tagName + " " + each.id + " " + [...document.querySelectorAll("*")].indexOf(each);
  return all.filter((each) => seen(each) && counts(each)).map(window.nameOf);
}"""
FOCUSED = """() => {
  const each = document.activeElement;
  if (!each || each === document.body) return null;
  const style = getComputedStyle(each), box = each.getBoundingClientRect();
  const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const within = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  return [window.nameOf(each), shown && within];
}"""


async def _walked(guest: Guest) -> dict[str, bool]:
    """Press Tab until the page ends; return each control that was reached and whether the focus showed on it."""
    reached: dict[str, bool] = {}
    for _ in range(400):
        await guest.page.keyboard.press("Tab")
        focused = await guest.page.evaluate(FOCUSED)
        if focused is None:
            break
        name, is_shown = focused
        reached[name] = reached.get(name, False) or is_shown  # inside a date field Chromium draws the last stop itself
    return reached


@pytest.mark.parametrize(("language", "phone"), [("en", False), ("ar", True)])
async def test_the_keyboard_reaches_every_control(visit: Visit, language: str, phone: bool) -> None:
    async with visit(language=language, phone=phone) as guest:
        await guest.sign_in()
        await guest.register()
        ids = await furnish(guest)
        key, client = ids["Search service"], ids["Alice Player"]
        for path in (
            "/portal/", "/portal/keys", "/portal/keys/new", f"/portal/keys/{key}", f"/portal/keys/{key}/secrets",
            f"/portal/keys/{key}/settings", f"/portal/clients/{client}", "/portal/clients/new", "/portal/usage",
            "/portal/audit", "/portal/account",
        ):  # fmt: skip
            await guest.open(path)
            controls = await guest.page.evaluate(CONTROLS)
            reached = await _walked(guest)
            assert [name for name in controls if name not in reached] == [], path
            assert [name for name, shown in reached.items() if not shown] == [], path


async def test_the_first_stop_leads_past_the_navigation(alice: Guest) -> None:
    await alice.open("/portal/keys/new")
    await alice.page.keyboard.press("Tab")
    await expect(alice.page.locator(".skip")).to_be_focused()
    await expect(alice.page.locator(".skip")).to_be_in_viewport()

    await alice.page.keyboard.press("Enter")
    await alice.page.keyboard.press("Tab")

    inside = "document.querySelector('main').contains(document.activeElement)"
    assert await alice.page.evaluate(inside)


async def test_a_click_right_after_typing_counts(alice: Guest) -> None:
    """What the page says about a redirect URI must not move the button away from under the finger."""
    await alice.open("/portal/clients/new")
    form = alice.form("/portal/clients/new")
    await form.locator("[name=name]").fill("Player")
    await form.locator("[name=redirect_uris]").fill("http://app.example.com/")

    async with alice.page.expect_navigation(timeout=3_000):
        await form.locator("button[type=submit]").click()


async def test_times_are_in_the_zone_of_the_reader(visit: Visit) -> None:
    async with visit(zone="Europe/Berlin") as guest:
        await guest.sign_in()
        await guest.register()
        await guest.open("/portal/account")

        await expect(guest.page.locator("html")).to_have_attribute("data-zone", "Europe/Berlin")
        await expect(guest.page.locator("footer")).to_contain_text("Europe/Berlin")


async def test_everything_works_without_javascript(visit: Visit) -> None:
    async with visit(javascript=False) as guest:
        await guest.sign_in()
        await guest.register()
        key_id, first = await guest.new_key("Plain", scopes=["read", "stream"])
        await guest.open_and_submit(f"/portal/keys/{key_id}/settings", f"/portal/keys/{key_id}/name", name="Plainer")
        assert "Plainer" in await guest.text()
        await guest.open_and_submit(f"/portal/keys/{key_id}/secrets", f"/portal/keys/{key_id}/rotate")
        _, second = await guest.stored()
        assert first != second
        await guest.open_and_submit(f"/portal/keys/{key_id}/secrets", f"/portal/keys/{key_id}/secrets/1/end")
        await guest.open_and_submit(f"/portal/keys/{key_id}/settings", f"/portal/keys/{key_id}/revoke", confirm="no")
        await expect(guest.page.locator("#error-confirm")).to_be_visible()
        await guest.submit(f"/portal/keys/{key_id}/revoke", confirm="Plainer")
        assert "done=revoked" in guest.page.url
        await _change_the_language(guest)
        await guest.submit("/portal/sign-out")
        await guest.open("/portal/keys")
        assert guest.path == "/sign-in"


async def _change_the_language(guest: Guest) -> None:
    """Choose Arabic and a dark page, which stay chosen."""
    await guest.page.locator('a[hreflang="ar"]').filter(visible=True).first.click()
    await guest.page.locator('a[href*="theme=dark"]').filter(visible=True).first.click()
    await guest.open("/portal/")
    await expect(guest.page.locator("html")).to_have_attribute("dir", "rtl")
    await expect(guest.page.locator("html")).to_have_attribute("data-theme", "dark")
