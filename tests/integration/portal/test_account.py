"""The account's page: who the developer is, the terms, and asking for another tier."""

from typing import Any

import pytest
import pytest_asyncio

from server.postgres.pool import Database
from tests.integration.portal.test_forms import HOSTILE
from tests.integration.portal.visitor import Visitor

ACCOUNT = "/portal/account"


@pytest_asyncio.fixture(loop_scope="session")
async def another_tier(database: Database) -> None:
    """A tier besides the one that every installation has."""
    await database.execute("INSERT INTO tiers VALUES ('big', 10000, 30, 20000, NULL, 1000, 50)")


async def developer(alice: Visitor) -> dict[str, str]:
    answer: dict[str, dict[str, str]] = await alice.rest("GET", "/v1/developer/account")
    return answer["developer"]


async def test_the_account_is_shown(alice: Visitor) -> None:
    page = await alice.open(ACCOUNT)
    account = await developer(alice)

    assert page.status == 200
    assert account["id"] in page.text
    assert page.form(ACCOUNT).value("display_name") == "Alice's Apps"
    assert page.form(ACCOUNT).value("contact_email") == "alice@example.com"
    assert "Version 1 , accepted" in page.text
    assert f"Your tier is {account['tier']} ." in page.text
    for tier in (await alice.rest("GET", "/v1/developer/tiers"))["tiers"]:
        assert tier["name"] in page.text


async def test_the_account_is_changed_and_the_new_name_is_seen_at_once(alice: Visitor) -> None:
    form = await alice.open(ACCOUNT)

    after = await alice.browser.follow(
        await alice.browser.submit(form, ACCOUNT, display_name="Other", contact_email="o@example.com", organisation="O")
    )

    assert "Your account was changed." in after.text
    account = await developer(alice)
    assert (account["displayName"], account["contactEmail"], account["organisation"]) == ("Other", "o@example.com", "O")
    assert "Signed in as Other" in (await alice.open("/portal/keys")).text


FAULTS = [
    ({"display_name": ""}, "Name"),
    ({"display_name": "a\u202eb"}, "must not contain U+202E"),
    ({"contact_email": "nobody"}, "E-mail address"),
    ({"organisation": "a\u0007"}, "Organisation"),
]


@pytest.mark.parametrize(("values", "told"), FAULTS)
async def test_a_faulty_change_changes_nothing_and_says_why(alice: Visitor, values: dict[str, Any], told: str) -> None:
    before = await developer(alice)

    page = await alice.browser.submit(await alice.open(ACCOUNT), ACCOUNT, **values)

    assert page.status == 400
    assert told in page.text
    assert 'aria-invalid="true"' in page.html
    for name, value in values.items():
        assert page.form(ACCOUNT).value(name) == value
    assert await developer(alice) == before


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_only_text(alice: Visitor, name: str) -> None:
    name = name.strip("\u200f ")
    after = await alice.browser.follow(
        await alice.browser.submit(await alice.open(ACCOUNT), ACCOUNT, display_name=name, organisation=name)
    )

    assert after.status == 200
    assert after.form(ACCOUNT).value("display_name") == name
    assert not [has for _, has in after.document.attributes if any(key.startswith("on") for key in has)]
    assert [tag for tag, _ in after.document.attributes].count("script") == 1


async def test_with_one_tier_alone_there_is_none_to_ask_for(alice: Visitor) -> None:
    page = await alice.open(ACCOUNT)

    assert "There is no other tier to ask for." in page.text
    assert "Ask for another tier" not in page.text


@pytest.mark.usefixtures("another_tier")
async def test_another_tier_is_asked_for_with_a_reason(alice: Visitor) -> None:
    page = await alice.open(ACCOUNT)
    assert "20,000 in 30 s" in page.text

    after = await alice.browser.follow(
        await alice.browser.submit(page, "reason", tier="big", reason="Much to do.\r\n<b>Really.</b>")
    )

    assert "Your wish was passed on to the platform's operators." in after.text
    assert "You have asked for big ; the operators will decide." in after.text
    assert (await developer(alice))["requestedTier"] == "big"
    usage = await alice.open("/portal/usage")
    assert "You have asked for big ;" in usage.text


@pytest.mark.usefixtures("another_tier")
async def test_a_tier_that_there_is_not_is_refused_and_the_reason_kept(alice: Visitor) -> None:
    page = await alice.open(ACCOUNT)
    token = page.form("reason").value("csrf_token")

    for tier in ("nothing", (await developer(alice))["tier"], "", "<script>"):
        answer = await alice.browser.post(
            f"{ACCOUNT}/tier",
            [("csrf_token", token), ("tier", tier), ("reason", "Kept <i>")],
            sec_fetch_site="same-origin",
        )
        assert answer.status == 400
        assert answer.form("reason").value("reason") == "Kept <i>"
        assert 'role="alert"' in answer.html
    assert "requestedTier" not in await developer(alice)


async def test_new_terms_are_accepted_on_the_page(alice: Visitor, database: Database) -> None:
    await database.execute("UPDATE developers SET terms_version = '0'")
    page = await alice.open(ACCOUNT)
    assert "The terms have changed. Version 1 is in force." in page.text

    after = await alice.browser.follow(await alice.browser.submit(page, f"{ACCOUNT}/terms"))

    assert "You accepted the current terms." in after.text
    assert "The terms have changed." not in after.text
    assert (await developer(alice))["termsVersion"] == "1"


async def test_a_post_from_elsewhere_changes_nothing(alice: Visitor) -> None:
    before = await developer(alice)

    for headers in ({"origin": "https://evil.example"}, {"origin": alice.service.rest}, {}):
        for path in (ACCOUNT, f"{ACCOUNT}/terms", f"{ACCOUNT}/tier"):
            answer = await alice.browser.post(path, [("display_name", "Evil"), ("tier", "pro")], **headers)
            assert answer.status == 403

    assert await developer(alice) == before


async def test_the_page_is_in_arabic_from_right_to_left(alice: Visitor) -> None:
    alice.browser.cookies["lang"] = "ar"

    page = await alice.open(ACCOUNT)

    assert '<html lang="ar" dir="rtl"' in page.html
    assert "من أنت" in page.text
    assert "Your tier" not in page.text
