"""The pages of the overview and of keys, over the whole service with real traffic."""

from pathlib import Path

import pytest

from tests.integration.portal.visitor import Visitor, verify, visiting
from tests.service import Service

VIEWS = ("", "/throttling", "/secrets", "/settings", "?by=hour", "?by=day", "/throttling?by=day")


async def test_without_keys_the_overview_teaches(alice: Visitor) -> None:
    page = await alice.open("/portal/")

    assert page.status == 200
    assert "You have no live API key yet" in page.text
    assert 'curl -H "x-api-key: $API_KEY"' in page.text


async def test_the_overview_names_keys_that_need_attention(alice: Visitor) -> None:
    created = await alice.new_key("Ever")

    page = await alice.open("/portal/")

    assert "Never expires" in page.text
    assert page.link("Ever").endswith(f"/portal/keys/{created['apiKey']['id']}/settings")


@pytest.mark.parametrize("view", VIEWS)
async def test_every_page_of_a_key_shows(alice: Visitor, view: str) -> None:
    created = await alice.new_key("Production")

    page = await alice.open(f"/portal/keys/{created['apiKey']['id']}{view}")

    assert page.status == 200
    assert "Production" in page.text
    assert created["apiKey"]["keyPrefix"] in page.text
    assert created["secret"] not in page.html


async def test_calls_with_a_key_show_on_its_chart(alice: Visitor, service: Service, data_dir: Path) -> None:
    created = await alice.new_key()
    await verify(service, data_dir, created["secret"], calls=3)
    await _until_counted(alice, created["apiKey"]["id"], 3)

    page = await alice.open(f"/portal/keys/{created['apiKey']['id']}")

    assert "catalog.search" in page.text
    assert 'class="chart-bar s1"' in page.html
    assert "3 calls in all" in page.html


async def test_the_rotation_view_tells_who_uses_which_secret(alice: Visitor, service: Service, data_dir: Path) -> None:
    created = await alice.new_key()
    key_id = created["apiKey"]["id"]
    rotated = await alice.rest("POST", f"/v1/developer/keys/{key_id}/rotate", {})
    await verify(service, data_dir, created["secret"])
    await _until_counted(alice, key_id, 1)

    page = await alice.open(f"/portal/keys/{key_id}/secrets")

    assert "Still in use: 1 call in the last hour" in page.text
    assert rotated["secret"] not in page.html
    ended = await alice.browser.follow(await alice.browser.submit(page, f"/portal/keys/{key_id}/secrets/1/end"))
    assert "The old secret works no more." in ended.text


async def test_a_key_of_somebody_else_looks_exactly_absent(alice: Visitor, service: Service) -> None:
    async with visiting(service, "bob") as bob:
        foreign = (await bob.new_key("Theirs"))["apiKey"]["id"]
    unknown = f"key_{'0' * 26}"

    for view in (*VIEWS, "/secret"):
        seen = await alice.open(f"/portal/keys/{foreign}{view}")
        absent = await alice.open(f"/portal/keys/{unknown}{view}")
        assert seen.status == absent.status == 404
        assert _comparable(seen.html, foreign) == _comparable(absent.html, unknown)


async def test_pages_are_in_arabic_from_right_to_left(alice: Visitor) -> None:
    created = await alice.new_key("Production")
    alice.browser.cookies["lang"] = "ar"

    for path in (
        "/portal/",
        "/portal/keys",
        "/portal/keys/new",
        *(f"/portal/keys/{created['apiKey']['id']}{view}" for view in VIEWS),
    ):
        page = await alice.open(path)
        assert page.status == 200
        assert '<html lang="ar" dir="rtl"' in page.html
        assert "مفاتيح API" in page.text


async def _until_counted(visitor: Visitor, key_id: str, calls: int) -> None:
    """Wait until what was verified is written down, at most for the seconds the service promises."""
    for _ in range(500):
        answer = await visitor.rest("GET", f"/v1/developer/keys/{key_id}/usage?granularity=GRANULARITY_MINUTE")
        if int(answer["usage"].get("calls", 0)) >= calls:
            return
    raise AssertionError("the calls were not counted")


def _comparable(html: str, key_id: str) -> str:
    return html.replace(key_id, "ID")
