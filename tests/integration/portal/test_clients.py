"""The pages of OAuth clients: making, changing and ending them, their secrets, and walking their flow."""

import re
import shlex
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.browser import Page
from tests.integration.portal.test_forms import HOSTILE
from tests.integration.portal.visitor import Visitor, visiting
from tests.service import Service

SECRET = re.compile(r"ang_oauth_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}")
URI = "https://app.example.com/signed-in"
LOOPBACK = "http://127.0.0.1:4000/cb"
VIEWS = ("", "/settings", "/try")


async def make(alice: Visitor, name: str = "App", kind: str = "CONFIDENTIAL", uris: list[str] | None = None) -> Any:
    """Make a client by the API."""
    wish = {
        "name": name,
        "type": f"O_AUTH_CLIENT_TYPE_{kind}",
        "redirectUris": uris or [URI],
        "allowedScopes": ["read", "stream"],
    }
    return await alice.rest("POST", "/v1/developer/oauth-clients", wish)


async def create(alice: Visitor, **values: Any) -> Page:
    """Send the form for a new client; return the answer, not followed."""
    form = await alice.open("/portal/clients/new")
    return await alice.browser.submit(form, "redirect_uris", **{"name": "App", "redirect_uris": URI, **values})


async def clients(alice: Visitor) -> Any:
    return (await alice.rest("GET", "/v1/developer/oauth-clients")).get("clients", [])


async def test_without_clients_the_list_teaches(alice: Visitor) -> None:
    page = await alice.open("/portal/clients")

    assert "You have no OAuth client yet" in page.text
    assert page.link("Create your first client").endswith("/portal/clients/new")


async def test_a_confidential_client_is_made_as_the_form_says_and_its_secret_shown_once(alice: Visitor) -> None:
    answer = await create(
        alice, name="Player", redirect_uris=f" {URI} \r\n\r\n{LOOPBACK}\r\n", allowed_scopes=["stream"]
    )
    page = await alice.browser.follow(answer)

    (client,) = await clients(alice)
    assert (client["name"], client["redirectUris"]) == ("Player", [URI, LOOPBACK])
    assert client["allowedScopes"] == ["stream"]
    assert answer.status == 303
    assert page.url.endswith(f"/portal/clients/{client['id']}/secret")
    assert len(set(SECRET.findall(page.html))) == 1
    assert "data-forget" in page.html
    assert page.headers["cache-control"] == "no-store"
    for path in (page.url, f"/portal/clients/{client['id']}", "/portal/clients", "/portal/audit"):
        assert not SECRET.search((await alice.open(path)).html)
    again = await alice.open(page.url)
    assert "This secret was shown already" in again.text
    assert again.link("Rotate the secret").endswith(f"/portal/clients/{client['id']}#rotate")


async def test_having_stored_it_leads_to_the_client(alice: Visitor) -> None:
    page = await alice.browser.follow(await create(alice, name="Stored"))

    after = await alice.browser.follow(await alice.browser.submit(page, page.url.removeprefix(alice.service.rest)))

    assert after.url == page.url.removesuffix("/secret")
    assert "Stored" in after.text


async def test_without_the_session_that_made_it_nobody_sees_the_secret(alice: Visitor) -> None:
    answer = await create(alice)
    kept = alice.browser.cookies.pop("__Host-portal")

    assert (await alice.browser.open(answer.location)).status == 303

    alice.browser.cookies["__Host-portal"] = kept
    assert SECRET.search((await alice.browser.follow(answer)).html)


async def test_a_public_client_has_no_secret(alice: Visitor) -> None:
    page = await alice.browser.follow(await create(alice, type="public"))

    assert "As a public client it has no secret." in page.text
    assert "Rotate" not in page.text
    assert "/secret" not in page.url


FAULTS = [
    ({"name": ""}, "Name"),
    ({"redirect_uris": ""}, "Redirect URIs"),
    ({"redirect_uris": f"{URI}\njavascript:alert(1)"}, "\u2068javascript:alert(1)\u2069: must not use the scheme"),
    ({"redirect_uris": "http://app.example.com/"}, "plain http is for http://127.0.0.1"),
    ({"redirect_uris": f"{URI}#x"}, "must not have"),
    ({"redirect_uris": "\n".join(f"{URI}/{number}" for number in range(21))}, "Redirect URIs"),
    ({"allowed_scopes": None}, "Scopes"),
    ({"type": None}, "Type"),
]


@pytest.mark.parametrize(("values", "told"), FAULTS)
async def test_a_faulty_form_is_shown_again_with_its_faults(alice: Visitor, values: Any, told: str) -> None:
    page = await create(alice, **{"name": "Kept", **values})

    assert page.status == 400
    assert told in page.text
    assert 'role="alert"' in page.html
    assert page.form("redirect_uris").value("name") == values.get("name", "Kept")
    assert page.form("redirect_uris").value("redirect_uris") == values.get("redirect_uris", URI)
    assert await clients(alice) == []


async def test_a_client_is_changed(alice: Visitor) -> None:
    client = (await make(alice))["client"]
    path = f"/portal/clients/{client['id']}/settings"

    after = await alice.browser.follow(
        await alice.browser.submit(
            await alice.open(path), path, name="Other", redirect_uris=LOOPBACK, allowed_scopes=["read"]
        )
    )

    assert "The client was changed." in after.text
    (changed,) = await clients(alice)
    assert (changed["name"], changed["redirectUris"], changed["allowedScopes"]) == ("Other", [LOOPBACK], ["read"])


async def test_a_faulty_change_changes_nothing(alice: Visitor) -> None:
    client = (await make(alice))["client"]
    path = f"/portal/clients/{client['id']}/settings"

    page = await alice.browser.submit(await alice.open(path), path, name="Kept", redirect_uris="ftp://x")

    assert page.status == 400
    assert "\u2068ftp://x\u2069:" in page.text
    assert page.form(path).value("name") == "Kept"
    assert (await clients(alice))[0]["name"] == "App"


async def test_a_rotation_shows_the_new_secret_once_and_how_long_the_old_one_works(alice: Visitor) -> None:
    made = await make(alice)
    path = f"/portal/clients/{made['client']['id']}"
    page = await alice.open(path)

    shown = await alice.browser.follow(await alice.browser.submit(page, f"{path}/rotate"))

    assert SECRET.search(shown.html)
    assert made["secret"] not in shown.html
    assert "The secret before this one works until" in shown.text
    again = await alice.browser.follow(await alice.browser.submit(page, f"{path}/rotate"))
    assert not SECRET.search(again.html)
    (client,) = await clients(alice)
    assert [secret["version"] for secret in client["secrets"]] == [2, 1]
    assert "In its grace period" in (await alice.open(path)).text


async def test_after_a_leak_the_old_secret_ends_at_once(alice: Visitor) -> None:
    path = f"/portal/clients/{(await make(alice))['client']['id']}"

    await alice.browser.submit(await alice.open(path), f"{path}/rotate", expire_previous_now="yes")

    (client,) = await clients(alice)
    assert [secret["version"] for secret in client["secrets"]] == [2]


async def test_a_refused_rotation_is_said_on_the_page(alice: Visitor) -> None:
    path = f"/portal/clients/{(await make(alice))['client']['id']}"
    for _ in range(4):
        await alice.browser.submit(await alice.open(path), f"{path}/rotate")

    page = await alice.browser.submit(await alice.open(path), f"{path}/rotate")

    assert page.status == 409
    assert 'role="alert"' in page.html


async def test_only_its_typed_name_deletes_a_client(alice: Visitor) -> None:
    path = f"/portal/clients/{(await make(alice, 'Production'))['client']['id']}"

    wrong = await alice.browser.submit(await alice.open(f"{path}/settings"), f"{path}/delete", confirm="production")
    assert wrong.status == 400
    assert "That is not the client's name. Nothing was deleted." in wrong.text
    assert len(await clients(alice)) == 1

    done = await alice.browser.follow(await alice.browser.submit(wrong, f"{path}/delete", confirm=" Production "))
    assert "The client is deleted." in done.text
    assert await clients(alice) == []
    assert (await alice.open(path)).status == 404


async def test_the_list_is_paged(alice: Visitor) -> None:
    for number in range(22):
        await make(alice, f"Client {number:02}")

    first = await alice.open("/portal/clients")
    second = await alice.open(first.link("Next page"))

    assert "Client 21" in first.text
    assert "Client 00" in second.text
    assert "Client 21" not in second.text
    assert second.link("First page").endswith("/portal/clients")
    assert (await alice.open("/portal/clients?page=forged")).url.endswith("/portal/clients")


async def test_a_client_of_somebody_else_looks_exactly_absent(alice: Visitor, service: Service) -> None:
    async with visiting(service, "bob") as bob:
        await bob.register()
        foreign = (await make(bob, "Theirs"))["client"]["id"]
    unknown = f"client_{'0' * 26}"

    for view in (*VIEWS, "/secret"):
        seen = await alice.open(f"/portal/clients/{foreign}{view}")
        absent = await alice.open(f"/portal/clients/{unknown}{view}")
        assert seen.status == absent.status == 404
        assert seen.html.replace(foreign, "ID") == absent.html.replace(unknown, "ID")
    token = (await alice.open("/portal/clients/new")).form("redirect_uris").value("csrf_token")
    for form in ("settings", "rotate", "delete"):
        answer = await alice.browser.post(
            f"/portal/clients/{foreign}/{form}",
            [
                ("csrf_token", token),
                ("confirm", "Theirs"),
                ("name", "x"),
                ("redirect_uris", URI),
                ("allowed_scopes", "read"),
            ],
            sec_fetch_site="same-origin",
        )
        assert answer.status == 404
    async with visiting(service, "bob") as bob:
        (client,) = await clients(bob)
        assert (client["name"], len(client["secrets"])) == ("Theirs", 1)


async def test_a_post_from_elsewhere_changes_nothing(alice: Visitor) -> None:
    path = f"/portal/clients/{(await make(alice))['client']['id']}"

    for headers in ({"origin": "https://evil.example"}, {"origin": alice.service.rest}, {}):
        for form in ("delete", "rotate", "settings"):
            answer = await alice.browser.post(f"{path}/{form}", [("confirm", "App"), ("name", "x")], **headers)
            assert answer.status == 403

    (client,) = await clients(alice)
    assert (client["name"], len(client["secrets"])) == ("App", 1)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_only_text(alice: Visitor, name: str) -> None:
    name = name.strip("\u200f ")
    client = (await make(alice, name))["client"]

    for path in ("/portal/clients", *(f"/portal/clients/{client['id']}{view}" for view in VIEWS), "/portal/audit"):
        page = await alice.open(path)
        assert page.status == 200
        assert not [has for _, has in page.document.attributes if any(key.startswith("on") for key in has)]
        assert all(has["src"].startswith("/assets/") for tag, has in page.document.attributes if tag == "script")
        assert " ".join(name.split()) in page.text


@pytest.mark.parametrize("kind", ["PUBLIC", "CONFIDENTIAL"])
async def test_trying_it_walks_the_real_flow(alice: Visitor, kind: str) -> None:
    made = await make(alice, kind=kind, uris=[URI, LOOPBACK])
    page = await alice.open(f"/portal/clients/{made['client']['id']}/try?uri={LOOPBACK}&scope=read")

    consent = await alice.open(page.link("Begin the flow (opens in a new window)"))
    answer = await alice.browser.submit(consent, "decision", button=("decision", "allow"))
    arrived = urlsplit(alice.browser.led_to(answer))

    assert f"{arrived.scheme}://{arrived.netloc}{arrived.path}" == LOOPBACK
    got = {name: value for name, (value,) in parse_qs(arrived.query).items()}
    assert got["state"] in page.text
    assert got["iss"] in page.text
    command = next(text for text in _codes(page) if "/oauth/token" in text)
    tokens = await _run(command, CODE=got["code"], CLIENT_SECRET=made.get("secret", ""))
    assert tokens["scope"] == "read"
    use = next(text for text in _codes(page) if "$TOKEN" in text)
    assert await _run(use, TOKEN=tokens["access_token"]) == {"apiKeys": []}


async def test_what_is_tried_is_of_the_client(alice: Visitor) -> None:
    made = await make(alice)
    path = f"/portal/clients/{made['client']['id']}/try"

    page = await alice.open(f"{path}?uri=https://evil.example/&scope=write&scope=stream")

    query = parse_qs(urlsplit(page.link("Begin the flow (opens in a new window)")).query)
    assert query["redirect_uri"] == [URI]
    assert query["scope"] == ["stream"]


async def test_pages_are_in_arabic_from_right_to_left(alice: Visitor) -> None:
    client = (await make(alice))["client"]
    alice.browser.cookies["lang"] = "ar"

    for path in (
        "/portal/clients",
        "/portal/clients/new",
        *(f"/portal/clients/{client['id']}{view}" for view in VIEWS),
    ):
        page = await alice.open(path)
        assert page.status == 200
        assert '<html lang="ar" dir="rtl"' in page.html
        assert "عملاء OAuth" in page.text


def _codes(page: Page) -> list[str]:
    """Return what the page offers to copy."""
    return [has["data-copy"] for _, has in page.document.attributes if "data-copy" in has]


async def _run(command: str, **variables: str) -> Any:
    """Send what a command line of curl would."""
    words = shlex.split(command.replace("\\\n", ""))
    for name, value in variables.items():
        words = [word.replace(f"${name}", value) for word in words]
    url = next(word for word in words if word.startswith("http"))
    pairs = list(pairwise(words))
    body = dict(value.split("=", 1) for option, value in pairs if option in ("-d", "--data-urlencode"))
    headers = dict(value.split(": ", 1) for option, value in pairs if option == "-H")
    name, _, secret = next((value for option, value in pairs if option == "-u"), "").partition(":")
    user = (name, secret) if name else None
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.request("POST" if body else "GET", url, data=body or None, headers=headers, auth=user)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_is_wrong_is_said_in_arabic_too(alice: Visitor) -> None:
    alice.browser.cookies["lang"] = "ar"

    page = await create(alice, redirect_uris="https://*.example.com/")

    assert page.status == 400
    assert "\u2068https://*.example.com/\u2069: يجب ألا يحتوي على حرف بدل" in page.text
