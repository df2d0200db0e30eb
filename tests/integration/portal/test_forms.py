"""The forms about keys: what they change, what they say of faults, and whom they obey."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.portal.visitor import Visitor

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title><svg onload=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "%(num)s %s %d 100%",
    "javascript:alert(1)",
    "&lt;b&gt; &amp; &#x3c;script&#x3e;",
    "متجر <b>الموسيقى</b>",
)


async def test_a_key_is_made_as_the_form_says(alice: Visitor) -> None:
    form = await alice.open("/portal/keys/new")

    await alice.browser.submit(
        form, "request_id", name="Billing", scopes=["read", "stream"], environment="live", expiry="30"
    )

    (key,) = (await alice.rest("GET", "/v1/developer/keys"))["apiKeys"]
    assert (key["name"], key["scopes"]) == ("Billing", ["read", "stream"])
    assert key["environment"] == "API_KEY_ENVIRONMENT_LIVE"
    ends = datetime.fromisoformat(key["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < ends <= timedelta(days=30)


async def test_the_last_day_is_a_day_where_the_reader_lives(alice: Visitor) -> None:
    alice.browser.cookies["tz"] = "Asia/Riyadh"
    form = await alice.open("/portal/keys/new")

    await alice.browser.submit(form, "request_id", name="Until", expiry="date", last_day="2027-01-31")

    (key,) = (await alice.rest("GET", "/v1/developer/keys"))["apiKeys"]
    assert datetime.fromisoformat(key["expiresAt"]) == datetime(2027, 1, 31, 21, tzinfo=UTC)


FAULTS = [
    ({"name": "a\u202eb"}, "must not contain U+202E"),
    ({"scopes": None}, "Scopes"),
    ({"expiry": "date", "last_day": ""}, "Choose the last day on which the key is to work."),
    ({"expiry": "date", "last_day": "2020-01-01"}, "must be in the future"),
]


@pytest.mark.parametrize(("values", "told"), FAULTS)
async def test_a_faulty_form_is_shown_again_with_its_faults(alice: Visitor, values: dict[str, Any], told: str) -> None:
    form = await alice.open("/portal/keys/new")

    page = await alice.browser.submit(form, "request_id", **{"name": "Kept", **values})

    assert page.status == 400
    assert told in page.text
    assert 'role="alert"' in page.html
    assert page.form("request_id").value("name") == values.get("name", "Kept")
    assert (await alice.rest("GET", "/v1/developer/keys"))["apiKeys"] == []


async def test_what_was_corrected_can_be_sent(alice: Visitor) -> None:
    form = await alice.open("/portal/keys/new")
    faulty = await alice.browser.submit(form, "request_id", name="Production", scopes=None)

    done = await alice.browser.submit(faulty, "request_id", scopes=["read"])

    assert done.status == 303


async def test_a_key_is_renamed(alice: Visitor) -> None:
    key_id = (await alice.new_key("Before"))["apiKey"]["id"]
    page = await alice.open(f"/portal/keys/{key_id}/settings")

    after = await alice.browser.follow(await alice.browser.submit(page, f"/portal/keys/{key_id}/name", name="After"))

    assert "The key has its new name." in after.text
    assert "After" in after.text


async def test_an_expiry_is_moved_and_taken_away(alice: Visitor) -> None:
    key_id = (await alice.new_key())["apiKey"]["id"]
    path, form = f"/portal/keys/{key_id}/settings", f"/portal/keys/{key_id}/expiry"

    moved = await alice.browser.follow(await alice.browser.submit(await alice.open(path), form, expiry="7"))
    assert "Expires in 6 days" in moved.text or "Expires in 7 days" in moved.text

    taken = await alice.browser.follow(await alice.browser.submit(moved, form, expiry="never"))
    assert not (await alice.rest("GET", f"/v1/developer/keys/{key_id}"))["apiKey"].get("expiresAt")
    assert "Active" in taken.text


async def test_only_its_typed_name_revokes_a_key(alice: Visitor) -> None:
    key_id = (await alice.new_key("Production"))["apiKey"]["id"]
    path, form = f"/portal/keys/{key_id}/settings", f"/portal/keys/{key_id}/revoke"

    wrong = await alice.browser.submit(await alice.open(path), form, confirm="production")
    assert wrong.status == 400
    assert "That is not the key's name. Nothing was revoked." in wrong.text
    assert (await alice.rest("GET", f"/v1/developer/keys/{key_id}"))["apiKey"]["status"] == "API_KEY_STATUS_ACTIVE"

    done = await alice.browser.follow(await alice.browser.submit(wrong, form, confirm=" Production "))
    assert "The key is revoked." in done.text
    assert (await alice.rest("GET", f"/v1/developer/keys/{key_id}"))["apiKey"]["status"] == "API_KEY_STATUS_REVOKED"


async def test_a_conflict_is_said_on_the_page(alice: Visitor) -> None:
    key_id = (await alice.new_key("Production"))["apiKey"]["id"]
    page = await alice.open(f"/portal/keys/{key_id}/settings")
    await alice.rest("POST", f"/v1/developer/keys/{key_id}/revoke", {})

    late = await alice.browser.submit(page, f"/portal/keys/{key_id}/name", name="Other")

    assert late.status == 400
    assert "This key is revoked" in late.text


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_only_text(alice: Visitor, name: str) -> None:
    key_id = (await alice.new_key(name))["apiKey"]["id"]

    for path in (
        "/portal/keys",
        f"/portal/keys/{key_id}",
        f"/portal/keys/{key_id}/settings",
        f"/portal/keys?q={name[:5]}",
    ):
        page = await alice.open(path)
        assert page.status == 200
        assert not [has for tag, has in page.document.attributes if any(key.startswith("on") for key in has)]
        assert [has.get("src", "") for tag, has in page.document.attributes if tag == "script"] == [
            has["src"] for tag, has in page.document.attributes if tag == "script" and has["src"].startswith("/assets/")
        ]
    assert name in (await alice.open(f"/portal/keys/{key_id}")).text or "  " in name


async def test_a_post_from_elsewhere_changes_nothing(alice: Visitor) -> None:
    key_id = (await alice.new_key("Production"))["apiKey"]["id"]

    for headers in ({"origin": "https://evil.example"}, {"origin": alice.service.rest}, {}):
        answer = await alice.browser.post(f"/portal/keys/{key_id}/revoke", [("confirm", "Production")], **headers)
        assert answer.status == 403

    assert (await alice.rest("GET", f"/v1/developer/keys/{key_id}"))["apiKey"]["status"] == "API_KEY_STATUS_ACTIVE"


async def test_the_list_is_filtered_and_paged(alice: Visitor) -> None:
    for number in range(23):
        await alice.new_key(f"Key {number:02}")
    await alice.new_key("Odd one", environment="API_KEY_ENVIRONMENT_LIVE")

    first = await alice.open("/portal/keys?environment=test")
    assert "Key 22" in first.text
    assert "Odd one" not in first.text
    second = await alice.open(first.link("Next page"))
    assert "Key 00" in second.text
    assert "Key 22" not in second.text
    assert second.link("First page").endswith("/portal/keys?environment=test")

    found = await alice.open("/portal/keys?q=odd")
    assert "Odd one" in found.text
    assert "Key 01" not in found.text
    assert "No key fits" in (await alice.open("/portal/keys?q=nothing+like+it")).text
    assert (await alice.open("/portal/keys?page=forged")).url.endswith("/portal/keys")
