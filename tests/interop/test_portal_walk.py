"""The whole way of a developer in a real browser: from signing in, by clients and keys, to a key's end and the bill."""

import csv
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.interop.chromium import Guest, Place, until, visiting
from tests.interop.envoy import running_envoy
from tests.interop.portal_data import report_streams

pytestmark = pytest.mark.interop

QUIET = timedelta(minutes=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """A platform's API behind Envoy, which asks the service about each call."""

    http: httpx2.AsyncClient
    seen: list[dict[str, str]] = field(default_factory=list)

    async def call(self, secret: str) -> int:
        """Call with a key; return the status."""
        return (await self.http.get("/v1/catalog/albums", headers={"x-api-key": secret})).status_code


@pytest_asyncio.fixture(loop_scope="session")
async def api(place: Place, tmp_path: Path) -> AsyncIterator[Api]:
    async with AsyncExitStack() as stack:
        seen: list[dict[str, str]] = []
        url = await stack.enter_async_context(running_envoy(place.service, tmp_path, seen))
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, trust_env=False))
        yield Api(http=http, seen=seen)


@pytest.mark.parametrize(("language", "phone"), [("en", False), ("ar", True)])
async def test_the_life_of_a_key(chromium: Browser, place: Place, api: Api, language: str, phone: bool) -> None:
    async with visiting(chromium, place, language=language, phone=phone) as guest:
        await guest.sign_in()
        await guest.register()
        key_id, secret = await _make(guest)
        await _see_calls_live(guest, api, key_id, secret)
        await _read_why(guest, api, key_id, secret)
        newer = await _rotate(guest, api, key_id, secret)
        await _end_the_old_one(guest, api, key_id, secret, newer)
        await _revoke(guest, api, key_id, newer)
        assert await guest.page.evaluate("document.documentElement.dir") == ("rtl" if language == "ar" else "ltr")


async def _make(guest: Guest) -> tuple[str, str]:
    key_id, secret = await guest.new_key("Production", environment="live", scopes=["read"])
    assert guest.path == f"/portal/keys/{key_id}"
    assert secret.startswith("ang_live_")
    assert secret not in await guest.page.content()
    return key_id, secret


async def _see_calls_live(guest: Guest, api: Api, key_id: str, secret: str) -> None:
    """Call through Envoy while the key's page is open: the chart shows it by itself within five seconds."""
    await guest.open(f"/portal/keys/{key_id}")
    await guest.page.evaluate("window.sameDocument = true")
    await expect(guest.page.locator("#use .chart-bar.s1")).to_have_count(0)
    assert [await api.call(secret) for _ in range(3)] == [200, 200, 200]
    await expect(guest.page.locator("#use svg .chart-bar.s1").first).to_be_visible(timeout=5_000)
    assert await guest.page.evaluate("window.sameDocument")
    assert api.seen[-1]["x-api-key-id"] == key_id


async def _read_why(guest: Guest, api: Api, key_id: str, secret: str) -> None:
    """Meet a small limit, and read on the page which one it was."""
    await guest.place.database.execute("UPDATE api_keys SET rate_requests = 5, rate_seconds = 60 WHERE id = $1", key_id)
    statuses = [await until_refused(api, secret)]
    statuses += [await api.call(secret) for _ in range(3)]
    assert statuses == [429] * 4
    await guest.open(f"/portal/keys/{key_id}/throttling")
    refusals = guest.page.locator("#why table tbody tr").filter(visible=True)  # another one is folded below the chart
    await expect(refusals.first).to_be_visible(timeout=8_000)
    await expect(guest.page.locator("#why .limit").first.locator(".light.stop")).to_be_visible(timeout=8_000)
    assert await guest.page.locator("#why svg .chart-bar").count() >= 1
    await guest.place.database.execute(
        "UPDATE api_keys SET rate_requests = NULL, rate_seconds = NULL WHERE id = $1", key_id
    )


async def until_refused(api: Api, secret: str) -> int:
    """Call until the new limit is known and used up; return the status of the refusal."""

    async def refused() -> int:
        status = await api.call(secret)
        return status if status != 200 else 0

    return int(await until(refused, "a refusal"))


async def _rotate(guest: Guest, api: Api, key_id: str, old: str) -> str:
    """Give the key a second secret; both work."""
    await guest.open(f"/portal/keys/{key_id}/secrets")
    await guest.submit(f"/portal/keys/{key_id}/rotate")
    _, newer = await guest.stored()
    assert newer != old

    async def both_pass() -> bool:
        return (await api.call(old), await api.call(newer)) == (200, 200)

    await until(both_pass, "that both secrets pass")
    return newer


async def _end_the_old_one(guest: Guest, api: Api, key_id: str, old: str, newer: str) -> None:
    """See that the old secret is in use, then that it went quiet, and end it: nobody but its callers notices."""
    light = guest.page.locator("#versions .light")
    await guest.open(f"/portal/keys/{key_id}/secrets")
    await expect(light).to_have_class("light stop", timeout=15_000)
    await guest.place.clock.advance(QUIET)

    async def is_safe() -> bool:
        assert await api.call(newer) == 200
        await guest.page.reload()
        return "go" in str(await light.get_attribute("class"))

    await until(is_safe, "the green light", seconds=15)
    await guest.submit(f"/portal/keys/{key_id}/secrets/1/end")
    assert "done=ended" in guest.page.url

    async def is_refused() -> bool:
        return await api.call(old) == 401

    await until(is_refused, "that the old secret is refused", seconds=5)
    assert await api.call(newer) == 200


async def _revoke(guest: Guest, api: Api, key_id: str, secret: str) -> None:
    """Revoke the key, which needs its name to be typed."""
    await guest.open(f"/portal/keys/{key_id}/settings")
    action = f"/portal/keys/{key_id}/revoke"
    await guest.unfold(action)
    button = guest.form(action).locator("button[type=submit]")
    await expect(button).to_be_disabled()
    await guest.form(action).locator("[name=confirm]").fill("production")
    await expect(button).to_be_disabled()
    await guest.submit(action, confirm="Production")
    assert "done=revoked" in guest.page.url

    async def is_refused() -> bool:
        return await api.call(secret) == 401

    await until(is_refused, "that the key is refused", seconds=5)
    await guest.open(f"/portal/audit?target={key_id}")
    assert await guest.page.locator("#content tbody tr").count() >= 4


async def test_streams_are_on_the_bill_that_adds_up(alice: Guest) -> None:
    developer_id = (await alice.api("GET", "/v1/developer/account"))["developer"]["id"]
    wish = {"name": "Player", "type": "O_AUTH_CLIENT_TYPE_PUBLIC", "redirectUris": ["https://app.example.com/"]}
    answer = await alice.api("POST", "/v1/developer/oauth-clients", {**wish, "allowedScopes": ["stream"]})
    client_id = answer["client"]["id"]
    results = await report_streams(alice.place, developer_id, client_id, days=3)
    billable = sum(result.billable for result in results)

    await alice.open("/portal/usage")
    assert await alice.page.locator("svg .chart-bar").count() >= 3
    assert str(billable) in await alice.page.locator(".stat-value").first.inner_text()
    row = alice.page.locator(f'tr:has(a[href="/portal/clients/{client_id}"])')
    music, video = [int(await row.locator("td.number").nth(place).inner_text()) for place in (0, 1)]
    assert music + video == billable

    total = 0
    for month in sorted({f"{datetime.now(UTC) - timedelta(days=ago):%Y-%m}" for ago in range(3)}):
        if not await alice.page.locator(f'a[href="/portal/statements/{month}.csv"]').count():
            continue
        await alice.open("/portal/usage")
        async with alice.page.expect_download() as coming:
            await alice.page.locator(f'a[href="/portal/statements/{month}.csv"]').click()
        file = await (await coming.value).path()
        rows = list(csv.DictReader(io.StringIO(Path(file).read_text(encoding="utf-8-sig"))))
        assert len({row["event_id"] for row in rows}) == len(rows)
        total += sum(int(row["amount"]) for row in rows)
    assert total == billable
