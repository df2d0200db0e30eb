"""The portal in Arabic says nothing in English, whatever was entered into its forms."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio

from server.postgres.pool import Database
from tests.browser import Document, Page
from tests.integration.portal.visitor import Visitor

CODE = re.compile(r"<(code|pre|textarea|output)\b.*?</\1>", re.DOTALL)
ENGLISH = re.compile(r"[A-Za-z]{2,}(?:[,:;]? [a-z-]{2,}){2,}")
"""Three words in a row. Names of fields, addresses and lists of values are none."""

Entered = dict[str, Any]


def english_on(page: Page) -> list[str]:
    """Return the English sentences on a page. Code, and lines that a user wrote, are none."""
    return [match[0] for match in ENGLISH.finditer(Document(CODE.sub("", page.html)).text)]


def check(pages: Mapping[str, Page], *statuses: int) -> None:
    """Check that each page refuses what was entered, in Arabic."""
    assert {name: page.status for name, page in pages.items() if page.status not in statuses} == {}
    assert {name: english_on(page) for name, page in pages.items() if english_on(page)} == {}


@pytest_asyncio.fixture(loop_scope="session")
async def reader(alice: Visitor) -> Visitor:
    """A registered developer who reads Arabic."""
    alice.browser.cookies["lang"] = "ar"
    return alice


async def submitted(visitor: Visitor, path: str, form: str, tries: Sequence[Entered]) -> dict[str, Page]:
    """Send a form again and again, each time fresh; under `adding` stands what a forger would send beside."""
    pages = {}
    for entered in tries:
        fresh = await visitor.open(path)
        pages[repr(entered)[:200]] = await visitor.browser.submit(fresh, form, **entered)
    return pages


NAMES = (
    "",
    "x" * 101,
    "a\u202eb",
    "a\u0007",
    "\u2800",
    "a\u200d",
    "ang_live_4fGh1JkL_0123456789abcdefABCDEF",
)
PUBLIC_NAMES = (*NAMES, "Developer Portal")
URIS = (
    "",
    "nothing",
    "https:one.example/",
    "https://",
    "https://one.example/\n" * 2,
    "\n".join(f"https://one.example/{number}" for number in range(21)),
    "https://one.example/" + "x" * 2000,
    "https://one.example/é",
    "https://one.example/#part",
    "https://*.one.example/",
    "https://one.example/<b>",
    "https://one.example/%2",
    "https://one.example/%00",
    "https://one.example/./",
    "https://one.example/?state=1",
    "https://one.example:/",
    "https://one.example./",
    "https://One.example/",
    "https://one_example/",
    "https://xn--99999999.example/",
    "https://1.2.3/",
    "https://[::1/",
    "https://[0::1]/",
    "https://[fe80::1%25a]/",
    "https://user@one.example/",
    "HTTPS://one.example/",
    "http://one.example/",
    "http://localhost/",
    "javascript:void",
    "app:/one",
    "com.-a:/one",
    "com.example.app:one",
)


async def test_every_page_but_the_reference(reader: Visitor) -> None:
    key_id = (await reader.new_key("One"))["apiKey"]["id"]
    client_id = await new_client(reader, "O_AUTH_CLIENT_TYPE_CONFIDENTIAL")
    await reader.rest("POST", f"/v1/developer/keys/{key_id}/rotate", {})
    month = f"{datetime.now(UTC):%Y-%m}"
    key, client = f"keys/{key_id}", f"clients/{client_id}"
    paths = ["", "keys", "keys/new", "keys?q=none", key, f"{key}/throttling", f"{key}/secrets", f"{key}/settings"]
    paths += ["clients", "clients/new", client, f"{client}/try", f"{client}/settings", "usage", f"statements/{month}"]
    paths += ["audit", "account", "sign-in"]

    check({path: await reader.open(f"/portal/{path}") for path in paths}, 200)


async def test_a_new_key(reader: Visitor) -> None:
    tries: list[Entered] = [
        *({"name": name} for name in NAMES),
        {"scopes": None},
        {"adding": [("scopes", "admin")]},
        {"scopes": ["read"], "adding": [("scopes", "read")]},
        {"expiry": "date", "last_day": ""},
        {"expiry": "date", "last_day": "2020-01-01"},
        {"request_id": "none"},
    ]

    pages = await submitted(reader, "/portal/keys/new", "request_id", [{"name": "One", **entered} for entered in tries])

    check(pages, 400)


async def test_a_form_that_was_sent_before_with_something_else(reader: Visitor) -> None:
    form = await reader.open("/portal/keys/new")
    await reader.browser.submit(form, "request_id", name="One")

    check({"again": await reader.browser.submit(form, "request_id", name="Two")}, 400)


async def test_a_key_that_is_changed(reader: Visitor) -> None:
    key_id = (await reader.new_key("One"))["apiKey"]["id"]
    path, names, ends = (f"/portal/keys/{key_id}/{part}" for part in ("settings", "name", "expiry"))

    pages = await submitted(reader, path, names, [{"name": name} for name in NAMES])
    pages |= await submitted(reader, path, ends, [{"expiry": "date", "last_day": day} for day in ("", "2020-01-01")])
    pages |= await submitted(reader, path, f"/portal/keys/{key_id}/revoke", [{"confirm": "Two"}])

    check(pages, 400)


async def test_a_key_that_works_no_more(reader: Visitor, database: Database) -> None:
    expired, revoked = [(await reader.new_key("One"))["apiKey"]["id"] for _ in range(2)]
    forms = {key_id: await reader.open(f"/portal/keys/{key_id}/settings") for key_id in (expired, revoked)}
    await database.execute(
        "UPDATE api_keys SET created_at = $1, expires_at = $2 WHERE id = $3",
        datetime.now(UTC) - timedelta(days=2),
        datetime.now(UTC) - timedelta(days=1),
        expired,
    )
    await reader.rest("POST", f"/v1/developer/keys/{revoked}/revoke", {})

    tries: list[tuple[str, str, Entered]] = [
        (expired, "expiry", {"expiry": "7"}),
        (revoked, "expiry", {"expiry": "7"}),
        (revoked, "name", {"name": "Two"}),
    ]
    check(
        {
            f"{key_id} {part}": await reader.browser.submit(forms[key_id], f"/portal/keys/{key_id}/{part}", **entered)
            for key_id, part, entered in tries
        },
        400,
    )


async def test_secrets(reader: Visitor) -> None:
    key_id = (await reader.new_key("One"))["apiKey"]["id"]
    path = f"/portal/keys/{key_id}/secrets"
    token = (await reader.open(path)).form(f"/portal/keys/{key_id}/rotate").value("csrf_token")
    for _ in range(4):
        await reader.rest("POST", f"/v1/developer/keys/{key_id}/rotate", {})

    pages = await submitted(reader, path, f"/portal/keys/{key_id}/rotate", [{}, {"request_id": "none"}])
    for version in ("5", "0", "none", "9" * 30):
        pages[version] = await reader.browser.post(
            f"{path}/{version}/end", [("csrf_token", token)], sec_fetch_site="same-origin"
        )
    ended = await reader.browser.submit(await reader.open(path), f"{path}/1/end")
    pages["ended"] = await reader.browser.post(f"{path}/1/end", [("csrf_token", token)], sec_fetch_site="same-origin")

    assert ended.status == 303
    check(pages, 409)


async def test_a_new_client(reader: Visitor) -> None:
    tries: list[Entered] = [
        *({"name": name} for name in PUBLIC_NAMES),
        *({"redirect_uris": uris} for uris in URIS),
        {"type": None},
        {"allowed_scopes": None},
        {"adding": [("allowed_scopes", "admin")]},
        {"allowed_scopes": ["read"], "adding": [("allowed_scopes", "read")]},
    ]
    good = {"name": "One", "redirect_uris": "https://one.example/"}

    pages = await submitted(reader, "/portal/clients/new", "redirect_uris", [{**good, **entered} for entered in tries])

    check(pages, 400)


async def test_a_client_that_is_changed(reader: Visitor) -> None:
    client_id = await new_client(reader, "O_AUTH_CLIENT_TYPE_PUBLIC")
    path = f"/portal/clients/{client_id}"
    tries: list[Entered] = [
        {"name": ""},
        {"name": "a\u0007"},
        {"redirect_uris": ""},
        {"redirect_uris": "a"},
        {"allowed_scopes": None},
    ]

    pages = await submitted(reader, f"{path}/settings", "redirect_uris", tries)
    pages |= await submitted(reader, f"{path}/settings", f"{path}/delete", [{"confirm": "Two"}])
    check(pages, 400)

    token = (await reader.open(f"{path}/settings")).form(f"{path}/delete").value("csrf_token")
    rotated = await reader.browser.post(f"{path}/rotate", [("csrf_token", token)], sec_fetch_site="same-origin")
    check({"rotated": rotated}, 409)


async def test_a_client_with_as_many_secrets_as_may_be(reader: Visitor) -> None:
    client_id = await new_client(reader, "O_AUTH_CLIENT_TYPE_CONFIDENTIAL")
    path = f"/portal/clients/{client_id}"
    for _ in range(4):
        await reader.rest("POST", f"/v1/developer/oauth-clients/{client_id}/rotate-secret", {})

    check(await submitted(reader, path, f"{path}/rotate", [{}]), 409)


async def test_more_than_a_developer_may_have(reader: Visitor, database: Database) -> None:
    await database.execute("UPDATE tiers SET max_keys = 1")
    await reader.new_key("One")

    check(await submitted(reader, "/portal/keys/new", "request_id", [{"name": "Two"}]), 400)


async def test_the_account(reader: Visitor, database: Database) -> None:
    await database.execute("INSERT INTO tiers VALUES ('big', 10000, 30, 20000, NULL, 1000, 50)")
    tries: list[Entered] = [
        *({"display_name": name} for name in PUBLIC_NAMES),
        *({"organisation": name} for name in NAMES[1:]),
        *({"contact_email": address} for address in ("", "nobody", "é@one.example", f"{'x' * 250}@one.example")),
    ]

    pages = await submitted(reader, "/portal/account", "display_name", tries)
    pages |= await submitted(
        reader, "/portal/account", "reason", [{"reason": reason} for reason in ("x" * 1001, "a\u202eb")]
    )
    token = (await reader.open("/portal/account")).form("reason").value("csrf_token")
    for part, entered in (
        ("tier", ("tier", "none")),
        ("tier", ("tier", "standard")),
        ("terms", ("terms_version", "0")),
    ):
        pages[f"{entered}"] = await reader.browser.post(
            f"/portal/account/{part}", [("csrf_token", token), entered], sec_fetch_site="same-origin"
        )

    check(pages, 400)


async def test_registration(newcomer: Visitor) -> None:
    newcomer.browser.cookies["lang"] = "ar"
    form = await newcomer.sign_in()
    good = {"display_name": "One", "contact_email": "one@example.com", "terms_version": "1"}
    tries: list[Entered] = [
        *({"display_name": name} for name in PUBLIC_NAMES),
        *({"organisation": name} for name in NAMES[1:]),
        *({"contact_email": address} for address in ("", "nobody", "é@one.example")),
        {"terms_version": None},
        {"terms_version": None, "adding": [("terms_version", "0")]},
    ]

    pages = {
        repr(entered): await newcomer.browser.submit(form, "display_name", **{**good, **entered}) for entered in tries
    }

    check(pages, 400)


async def test_faults_that_have_a_page_of_their_own(reader: Visitor) -> None:
    check({"query": await reader.open("/portal/keys?q=%00"), "id": await reader.open(f"/portal/keys/{'x' * 101}")}, 400)
    check({"key": await reader.open("/portal/keys/none"), "page": await reader.open("/portal/none")}, 404)


async def test_values_are_told_and_isolated_from_the_arabic_around_them(reader: Visitor) -> None:
    form = await reader.open("/portal/keys/new")

    page = await reader.browser.submit(form, "request_id", name="a\u202eb")

    assert "يجب ألا يحتوي على \u2068U+202E\u2069 (الحرف رقم \u20682\u2069): احذفه" in page.text


async def new_client(visitor: Visitor, kind: str) -> str:
    wish = {"name": "One", "type": kind, "redirectUris": ["https://one.example/"], "allowedScopes": ["read"]}
    return str((await visitor.rest("POST", "/v1/developer/oauth-clients", wish))["client"]["id"])
