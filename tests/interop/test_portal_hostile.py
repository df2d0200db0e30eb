"""Sixty hostile texts in every field and parameter there is: they are shown as texts, or refused, and do nothing."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.async_api import Error

from tests.interop.chromium import Guest, Visit
from tests.interop.hostile import ALL

pytestmark = pytest.mark.interop

URI = "https://app.example.com/"
CONTAINED = """() => {
  const leads = [...document.querySelectorAll("a[href], form, area[href]")].map((each) => each.href || each.action);
  const faults = leads.filter((address) => !/^https?:/.test(address) || new URL(address).host !== location.host);
  const made = document.querySelector(".hostile, base, iframe, object, embed, main style, main script");
  if (made) faults.push(made.outerHTML);
  for (const each of document.querySelectorAll("*"))
    for (const attribute of each.attributes) if (/^(on|style$)/i.test(attribute.name)) faults.push(attribute.name);
  return faults;
}"""


def _lines(texts: list[str], of: int) -> Iterator[str]:
    """Put texts below one another, so many at a time."""
    for begin in range(0, len(texts), of):
        yield "\n".join(text.replace("\n", " ") for text in texts[begin : begin + of])


async def _send(guest: Guest, path: str, action: str, **values: str) -> None:
    """Fill in a form as it is, past what the browser itself would refuse, and send it."""
    if guest.path != path:
        await guest.open(path)
    script = """([action, values]) => {
      const form = document.querySelector(`form[action="${action}"]`);
      form.noValidate = true;
      for (const [name, value] of Object.entries(values)) {
        const field = form.querySelector(`[name="${name}"]`);
        if (field.type === "email" || field.type === "date") field.type = "text";
        if (field.tagName === "SELECT") field.append(new Option(value, value));
        field.value = value;
      }
      HTMLFormElement.prototype.submit.call(form);
    }"""
    async with guest.page.expect_navigation():
        await guest.page.evaluate(script, [action, values])
    await _look(guest, str(values))


async def _look(guest: Guest, what: str) -> None:
    """Check that nothing on the page came out of a text."""
    assert await guest.page.evaluate(CONTAINED) == [], what
    assert guest.watch.faults == [], what


async def test_in_signing_in(visit: Visit) -> None:
    async with visit() as guest:
        for text in ALL:
            await _send(guest, "/sign-in", "/sign-in", username=text, password=text, next=text)
            await guest.open(
                f"/v1/auth/authorize?{urlencode({'client_id': text, 'redirect_uri': text, 'state': text})}"
            )
            await _look(guest, text)


async def test_in_registering(visit: Visit) -> None:
    async with visit() as guest:
        await guest.sign_in()
        for text in ALL:
            fields = {"display_name": text, "contact_email": text, "organisation": text, "next": text}
            await _send(guest, "/portal/register", "/portal/register", **fields)


async def test_in_the_account(alice: Guest) -> None:
    await alice.place.database.execute("INSERT INTO tiers VALUES ('partner', 6000, 60, 12000, NULL, 100, 50)")
    for text in ALL:
        await _send(alice, "/portal/account", "/portal/account", display_name=text, organisation=text)
    for text in ALL[::4]:
        refused = {"display_name": text, "contact_email": text, "organisation": text}
        await _send(alice, "/portal/account", "/portal/account", **refused)
    for reason in (*ALL[:6], *_lines(ALL, 12)):
        await _send(alice, "/portal/account", "/portal/account/tier", tier="partner", reason=reason)
    await _send(alice, "/portal/account", "/portal/account/tier", tier=ALL[0], reason="x" * 1001 + ALL[1])


async def test_in_keys(alice: Guest) -> None:
    kept = [text for text in ALL if await _make_key(alice, text)]
    assert len(kept) > 40

    answer = await alice.api("GET", "/v1/developer/keys?page_size=100")
    assert {key["name"] for key in answer["apiKeys"]} == set(kept)
    for key in answer["apiKeys"][::3]:
        path = f"/portal/keys/{key['id']}/settings"
        await _send(alice, path, path.replace("settings", "revoke"), confirm="x" + key["name"])
        assert await alice.page.locator("h1").inner_text() == " ".join(key["name"].split())
    for path in ("/portal/", "/portal/keys", "/portal/audit", f"/portal/keys/{key['id']}/secrets"):
        await alice.open(path)
        await _look(alice, path)


async def _make_key(guest: Guest, name: str) -> bool:
    await _send(guest, "/portal/keys/new", "/portal/keys/new", name=name)
    return guest.path.endswith("/secret")


async def test_in_clients(alice: Guest) -> None:
    for text in ALL:
        await _send(alice, "/portal/clients/new", "/portal/clients/new", name=text, redirect_uris=URI)
    for text in (*ALL, *_lines(ALL, 20)):
        await _send(alice, "/portal/clients/new", "/portal/clients/new", name=text[:100], redirect_uris=text)
    answer = await alice.api("GET", "/v1/developer/oauth-clients?page_size=100")
    assert len(answer["clients"]) > 40
    await alice.open("/portal/clients")
    await _look(alice, "clients")
    for client in answer["clients"][::3]:
        wish = {"client_id": client["id"], "redirect_uri": URI, "response_type": "code", "scope": "read"}
        wish |= {"code_challenge": "E" * 43, "code_challenge_method": "S256", "state": client["name"]}
        await alice.open(f"/v1/auth/authorize?{urlencode(wish)}")
        assert await alice.page.locator("h1 bdi").first.inner_text() == " ".join(client["name"].split())
        await _look(alice, client["name"])


async def test_in_parameters(alice: Guest) -> None:
    key_id, _ = await alice.new_key()
    pages = {
        "/portal/keys": ("q", "status", "environment", "lang", "theme"),
        "/portal/audit": ("target", "page"),
        f"/portal/keys/{key_id}": ("by", "done"),
        "/portal/usage": ("month",),
        "/portal/register": ("next",),
    }
    for number, text in enumerate(ALL):
        for path, names in pages.items():
            await alice.open(f"{path}?{urlencode(dict.fromkeys(names, text))}")
            await _look(alice, text)
            if path == "/portal/keys":
                assert await alice.page.locator("#q").input_value() == text.strip()
        if number % 5 == 0:
            await _open_as_a_path(alice, text)


async def _open_as_a_path(guest: Guest, text: str) -> None:
    try:
        await guest.open(f"/portal/{text}")
    except Error:
        return  # Chromium itself knows no such address
    await _look(guest, text)


@pytest.mark.parametrize(
    "name",
    ["\u05d0\u05d1\u05d2 (\u05d3", "\u0645\u0641\u062a\u0627\u062d! [1", "abc \u200f\u05d0", "\u05d0 <b> \u062f"],
)
async def test_letters_of_the_other_direction_turn_nothing_around_them(alice: Guest, name: str) -> None:
    """What follows a name on its line stays behind it, letter by letter."""
    await alice.api("POST", "/v1/developer/keys", {"name": name, "scopes": ["read"]})
    await alice.open("/portal/")
    order = """() => {
      const found = [];
      for (const code of document.querySelectorAll(".finding-keys code bdi")) {
        const text = code.firstChild, lefts = [];
        for (let place = 0; place < text.length; place += 1) {
          const range = document.createRange();
          range.setStart(text, place);
          range.setEnd(text, place + 1);
          lefts.push(range.getBoundingClientRect().left);
        }
        const name = code.closest("li").querySelector("a").getBoundingClientRect();
        found.push(lefts.every((left, place) => place === 0 || left > lefts[place - 1]) && lefts[0] >= name.right);
      }
      return found;
    }"""
    assert await alice.page.evaluate(order) == [True]
