"""A new secret is shown once, whatever the browser does."""

import asyncio
import re

from tests.browser import Page
from tests.integration.portal.visitor import Visitor

SECRET = re.compile(r"ang_(?:live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}")


async def create(alice: Visitor, name: str = "Production") -> Page:
    """Send the form for a new key; return the answer, not followed."""
    form = await alice.open("/portal/keys/new")
    return await alice.browser.submit(form, "request_id", name=name)


async def test_a_created_key_shows_its_secret_on_the_next_page(alice: Visitor) -> None:
    answer = await create(alice)

    assert answer.status == 303
    assert not SECRET.search(answer.location)
    page = await alice.browser.follow(answer)
    shown = set(SECRET.findall(page.html))
    assert len(shown) == 1
    assert shown.isdisjoint({page.document.title, page.url})
    assert not SECRET.search(page.document.title)
    assert page.headers["cache-control"] == "no-store"
    assert "data-forget" in page.html


async def test_reloading_and_a_new_tab_show_it_no_more(alice: Visitor) -> None:
    first = await alice.browser.follow(await create(alice))
    assert SECRET.search(first.html)

    for _ in range(2):
        again = await alice.open(first.url)
        assert not SECRET.search(again.html)
        assert "This secret was shown already" in again.text
        assert again.link("Rotate the key").endswith("/secrets#rotate")


async def test_sending_the_form_again_leads_to_the_same_key_and_shows_nothing(alice: Visitor) -> None:
    form = await alice.open("/portal/keys/new")
    first = await alice.browser.follow(await alice.browser.submit(form, "request_id", name="Production"))
    assert SECRET.search(first.html)

    again = await alice.browser.follow(await alice.browser.submit(form, "request_id", name="Production"))

    assert again.url == first.url
    assert not SECRET.search(again.html)
    keys = (await alice.rest("GET", "/v1/developer/keys"))["apiKeys"]
    assert len(keys) == 1


async def test_a_form_sent_twice_before_the_first_answer_makes_one_key_and_shows_its_secret(alice: Visitor) -> None:
    form = await alice.open("/portal/keys/new")
    first = await alice.browser.submit(form, "request_id", name="Production")
    second = await alice.browser.submit(form, "request_id", name="Production")

    assert first.location == second.location
    assert SECRET.search((await alice.browser.follow(second)).html)


async def test_of_parallel_looks_one_sees_it(alice: Visitor) -> None:
    answer = await create(alice)

    looks = await asyncio.gather(*(alice.browser.open(answer.location) for _ in range(8)))

    assert [bool(SECRET.search(look.html)) for look in looks].count(True) == 1


async def test_asking_ahead_or_for_the_head_uses_nothing_up(alice: Visitor) -> None:
    answer = await create(alice)

    ahead = await alice.browser.open(answer.location, sec_purpose="prefetch;prerender")
    assert not SECRET.search(ahead.html)

    assert SECRET.search((await alice.browser.follow(answer)).html)


async def test_without_the_session_that_made_it_nobody_sees_it(alice: Visitor) -> None:
    answer = await create(alice)
    kept = dict(alice.browser.cookies)
    alice.browser.cookies.pop("__Host-portal")

    elsewhere = await alice.browser.open(answer.location)
    assert elsewhere.status == 303

    alice.browser.cookies.update(kept)
    assert SECRET.search((await alice.browser.follow(answer)).html)


async def test_having_stored_it_leads_to_the_key(alice: Visitor) -> None:
    page = await alice.browser.follow(await create(alice, name="Stored"))

    after = await alice.browser.follow(await alice.browser.submit(page, page.url.removeprefix(alice.service.rest)))

    assert after.url.endswith(page.url.removeprefix(alice.service.rest).removesuffix("/secret"))
    assert "Stored" in after.text


async def test_a_rotation_shows_the_new_secret_once_and_how_long_the_old_one_works(alice: Visitor) -> None:
    created = await alice.new_key()
    page = await alice.open(f"/portal/keys/{created['apiKey']['id']}/secrets")

    shown = await alice.browser.follow(await alice.browser.submit(page, "request_id"))

    assert SECRET.search(shown.html)
    assert created["secret"] not in shown.html
    assert "The secret before this one works until" in shown.text
    assert not SECRET.search((await alice.open(shown.url)).html)


async def test_after_a_leak_the_old_secret_ends_at_once(alice: Visitor) -> None:
    created = await alice.new_key()
    page = await alice.open(f"/portal/keys/{created['apiKey']['id']}/secrets")

    await alice.browser.submit(page, "request_id", expire_previous_now="yes")

    after = await alice.open(f"/portal/keys/{created['apiKey']['id']}/secrets")
    assert "In its grace period" not in after.text
    assert "Ended" in after.text
