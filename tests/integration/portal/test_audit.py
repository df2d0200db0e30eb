"""The audit log's page: what happened, to what, by whom, with nothing secret in it."""

import pytest

from tests.integration.portal.test_forms import HOSTILE
from tests.integration.portal.visitor import Visitor, visiting
from tests.service import Service

AUDIT = "/portal/audit"


async def test_what_happened_is_listed_newest_first(alice: Visitor) -> None:
    created = await alice.new_key("Production")
    key_id = created["apiKey"]["id"]
    rotated = await alice.rest("POST", f"/v1/developer/keys/{key_id}/rotate", {})
    await alice.rest("POST", f"/v1/developer/keys/{key_id}/revoke", {})

    page = await alice.open(AUDIT)

    order = [page.text.index(words) for words in ("Key revoked", "Key rotated", "Key created", "Registered")]
    assert order == sorted(order)
    assert page.link(key_id).endswith(f"/portal/keys/{key_id}")
    assert "Request id" in page.text
    for words in ("Prefix", "Number of the secret", "End of the old secret", "Scopes"):
        assert words in page.text
    assert "key_prefix" not in page.html
    for answer in (created, rotated):
        assert answer["secret"] not in page.html


async def test_the_log_of_one_thing_has_only_what_happened_to_it(alice: Visitor) -> None:
    one, other = [(await alice.new_key(name))["apiKey"]["id"] for name in ("One", "Other")]

    page = await alice.open(f"{AUDIT}?target={one}")

    assert one in page.text
    assert other not in page.html
    assert "Registered" not in page.text
    assert other in (await alice.open(page.link("Show everything"))).html


async def test_the_log_is_paged_and_keeps_what_it_is_of(alice: Visitor) -> None:
    key_id = (await alice.new_key("Number 00"))["apiKey"]["id"]
    for number in range(1, 60):
        await alice.rest("PATCH", f"/v1/developer/keys/{key_id}", {"name": f"Number {number:02}"})

    first = await alice.open(f"{AUDIT}?target={key_id}")
    second = await alice.open(first.link("Next page"))

    assert first.text.count("Key changed") == 50
    assert second.text.count("Key changed") == 9
    assert "Key created" in second.text
    assert second.link("First page").endswith(f"{AUDIT}?target={key_id}")


@pytest.mark.parametrize("query", ["page=forged", "target=" + "x" * 5000, "target=a&page=b"])
async def test_what_cannot_be_listed_leads_to_the_whole_log(alice: Visitor, query: str) -> None:
    page = await alice.open(f"{AUDIT}?{query}")

    assert page.status == 200
    assert page.url.endswith(AUDIT)


async def test_what_nothing_happened_to_teaches(alice: Visitor) -> None:
    page = await alice.open(f"{AUDIT}?target=<script>")

    assert "Nothing has happened yet" in page.text
    assert "<script>" in page.text
    assert [tag for tag, _ in page.document.attributes].count("script") == 1


async def test_nobody_sees_what_somebody_else_did(alice: Visitor, service: Service) -> None:
    async with visiting(service, "bob") as bob:
        await bob.register()
        key_id = (await bob.new_key("Theirs"))["apiKey"]["id"]

    assert key_id not in (await alice.open(AUDIT)).html
    of_theirs = await alice.open(f"{AUDIT}?target={key_id}")
    of_nothing = await alice.open(f"{AUDIT}?target=key_{'0' * 26}")
    assert of_theirs.html.replace(key_id, "ID") == of_nothing.html.replace(f"key_{'0' * 26}", "ID")


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_only_text(alice: Visitor, name: str) -> None:
    name = name.strip("\u200f ")
    key_id = (await alice.new_key(name))["apiKey"]["id"]
    await alice.rest("PATCH", f"/v1/developer/keys/{key_id}", {"name": f"{name} again"})

    page = await alice.open(AUDIT)

    assert page.status == 200
    assert " ".join(name.split()) in page.text
    assert not [has for _, has in page.document.attributes if any(key.startswith("on") for key in has)]
    assert [tag for tag, _ in page.document.attributes].count("script") == 1


async def test_the_page_is_in_arabic_from_right_to_left(alice: Visitor) -> None:
    await alice.new_key("Production")
    alice.browser.cookies["lang"] = "ar"

    page = await alice.open(AUDIT)

    assert '<html lang="ar" dir="rtl"' in page.html
    assert "أُنشئ المفتاح" in page.text
    assert "Key created" not in page.text
