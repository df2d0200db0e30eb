"""Becoming a developer at the portal."""

from typing import Any

import pytest

from tests.browser import Page
from tests.integration.portal.visitor import Visitor

VALUES = {"display_name": "New Apps", "contact_email": "new@example.com", "organisation": "New Ltd."}


async def register(newcomer: Visitor, page: Page, **values: Any) -> Page:
    return await newcomer.browser.submit(page, "display_name", **{**VALUES, "terms_version": "1", **values})


async def test_who_has_not_registered_does_so_first_and_comes_to_the_page_that_was_asked_for(
    newcomer: Visitor,
) -> None:
    page = await newcomer.sign_in("/portal/keys?status=active")
    assert page.url.startswith(f"{newcomer.service.rest}/portal/register?next=")
    assert "Register as a developer" in page.text

    after = await newcomer.browser.follow(await register(newcomer, page))

    assert after.url == f"{newcomer.service.rest}/portal/keys?status=active"
    developer = (await newcomer.rest("GET", "/v1/developer/account"))["developer"]
    assert developer["displayName"] == "New Apps"
    assert (developer["contactEmail"], developer["organisation"]) == ("new@example.com", "New Ltd.")
    assert developer["termsVersion"] == "1"
    assert "New Apps" in after.text


FAULTS = [
    ({"display_name": ""}, "Name"),
    ({"display_name": "a\u202eb"}, "must not contain U+202E"),
    ({"contact_email": "nobody"}, "E-mail address"),
    ({"terms_version": None}, "Read the terms and tick the box to accept them."),
]


@pytest.mark.parametrize(("values", "told"), FAULTS)
async def test_a_faulty_form_is_shown_again_with_its_faults(
    newcomer: Visitor, values: dict[str, str | None], told: str
) -> None:
    page = await register(newcomer, await newcomer.sign_in("/portal/clients"), **values)

    assert page.status == 400
    assert told in page.text
    assert 'role="alert"' in page.html
    assert page.form("display_name").chosen("terms_version") == ([] if "terms_version" in values else ["1"])
    for name, value in VALUES.items():
        assert page.form("display_name").value(name) == values.get(name, value)
    after = await newcomer.browser.follow(await register(newcomer, page, **VALUES))
    assert after.url.endswith("/portal/clients")


async def test_terms_of_another_version_are_not_accepted(newcomer: Visitor) -> None:
    page = await newcomer.sign_in()

    token = page.form("display_name").value("csrf_token")
    forged = await newcomer.browser.post(
        "/portal/register",
        [*VALUES.items(), ("terms_version", "0"), ("csrf_token", token)],
        sec_fetch_site="same-origin",
    )

    assert forged.status == 400
    assert "must be 1" in forged.text
    assert forged.form("display_name").chosen("terms_version") == []


@pytest.mark.parametrize("following", ["https://evil.example/", "//evil.example", "/portal/register", "/\\evil", ""])
async def test_nobody_is_led_away_or_in_a_circle(newcomer: Visitor, following: str) -> None:
    page = await newcomer.sign_in()

    answer = await register(newcomer, page, next=following)

    assert answer.location == f"{newcomer.service.rest}/portal/"


async def test_who_is_registered_goes_on(alice: Visitor) -> None:
    assert (await alice.open("/portal/register")).url.endswith("/portal/")
    assert (await alice.open("/portal/register?next=/portal/keys")).url.endswith("/portal/keys")
    assert (await alice.open("/portal/register?next=https://evil.example/")).url.endswith("/portal/")


async def test_of_two_windows_one_registers_and_both_go_on(newcomer: Visitor) -> None:
    page = await newcomer.sign_in("/portal/keys")
    first = await register(newcomer, page, display_name="First")
    second = await register(newcomer, page, display_name="Second")

    assert first.location == second.location
    assert (await newcomer.rest("GET", "/v1/developer/account"))["developer"]["displayName"] == "First"


async def test_a_post_from_elsewhere_registers_nobody(newcomer: Visitor) -> None:
    await newcomer.sign_in()

    for headers in ({"origin": "https://evil.example"}, {"origin": newcomer.service.rest}, {}):
        answer = await newcomer.browser.post("/portal/register", [*VALUES.items(), ("terms_version", "1")], **headers)
        assert answer.status == 403

    assert (await newcomer.open("/portal/keys")).url.startswith(f"{newcomer.service.rest}/portal/register")


async def test_the_page_is_in_arabic_from_right_to_left(newcomer: Visitor) -> None:
    newcomer.browser.cookies["lang"] = "ar"
    page = await newcomer.sign_in()

    assert '<html lang="ar" dir="rtl"' in page.html
    assert "سجّل بوصفك مطوّرًا" in page.text
    faulty = await register(newcomer, page, terms_version=None)
    assert "اقرأ الشروط وعلّم المربع لقبولها." in faulty.text
