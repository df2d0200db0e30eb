"""A client that is made in the portal runs its flow with a strict third party, in the same browser."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import expect
from sdk.developer.v1.developer_service_pb2 import CreateApiKeyRequest
from sdk.developer.v1.developer_service_pb2_grpc import DeveloperServiceStub

from server.provisions import LOCAL_AUDIENCE
from tests.interop.chromium import Guest, until
from tests.interop.third_party import ThirdParty, running_third_party

pytestmark = pytest.mark.interop


@pytest_asyncio.fixture(loop_scope="session")
async def third_party() -> AsyncIterator[ThirdParty]:
    async with running_third_party() as running:
        yield running


async def _make(guest: Guest, third_party: ThirdParty, kind: str) -> dict[str, str]:
    """Make a client for a third party in the portal; return what its developer tells it."""
    await guest.open("/portal/clients/new")
    scopes = ["read", "stream"]
    wish = {"name": f"Player ({kind})", "type": kind, "redirect_uris": third_party.redirect_uri}
    await guest.submit("/portal/clients/new", **wish, allowed_scopes=scopes)
    if kind == "public":
        return {"client_id": guest.path.rpartition("/")[2]}
    client_id, secret = await guest.stored()
    return {"client_id": client_id, "client_secret": secret}


def _settings(guest: Guest) -> dict[str, str]:
    return {"issuer": guest.place.url, "audience": LOCAL_AUDIENCE}


async def _consent(guest: Guest, third_party: ThirdParty, url: str, allowed: list[str]) -> dict[str, Any]:
    """Follow an application's link, look at what it asks, and allow some of it; return what it was given."""
    await guest.page.goto(url)
    form = guest.form("/v1/auth/authorize")
    await expect(guest.page.locator("h1 bdi").first).to_contain_text("Player")
    assert await form.locator("[name=allowed]").count() == 2
    await guest.submit("/v1/auth/authorize", "allow", allowed=allowed)
    await expect(guest.page.locator("#done")).to_be_visible()
    given = await third_party.finish()
    assert "error" not in given, given
    return given


@pytest.mark.parametrize(("kind", "allowed"), [("public", ["read", "stream"]), ("confidential", ["read"])])
async def test_a_client_of_the_portal_runs_its_flow(
    alice: Guest, third_party: ThirdParty, kind: str, allowed: list[str]
) -> None:
    client = await _make(alice, third_party, kind)
    url = await third_party.begin(**_settings(alice), **client, scope="read stream")

    given = await _consent(alice, third_party, url, allowed)

    assert sorted(given["scope"].split()) == allowed
    assert given["claims"]["client_id"] == client["client_id"]
    assert await _over_rest(alice, given["access_token"]) == 200
    assert await _over_grpc(alice, given["access_token"])
    await _give_back(alice, third_party, client, given)


async def _give_back(guest: Guest, third_party: ThirdParty, client: dict[str, str], given: dict[str, Any]) -> None:
    """Revoke what was given; the access token is refused within five seconds."""
    issuer = guest.place.url
    assert await third_party.revoke(issuer=issuer, **client, token=given["refresh_token"]) == {"revoked": True}

    async def is_refused() -> bool:
        return await _over_rest(guest, given["access_token"]) == 401

    await until(is_refused, "that the token is refused", seconds=5)


async def test_the_tokens_of_a_deleted_client_stop(alice: Guest, third_party: ThirdParty) -> None:
    client = await _make(alice, third_party, "public")
    url = await third_party.begin(**_settings(alice), **client, scope="read")
    await alice.page.goto(url)
    await alice.submit("/v1/auth/authorize", "allow")
    token = (await third_party.finish())["access_token"]
    assert await _over_rest(alice, token) == 200

    await alice.open(f"/portal/clients/{client['client_id']}/settings")
    await alice.submit(f"/portal/clients/{client['client_id']}/delete", confirm="Player (public)")

    async def is_refused() -> bool:
        return await _over_rest(alice, token) == 401

    await until(is_refused, "that the token is refused", seconds=5)


async def test_a_denial_reaches_the_application(alice: Guest, third_party: ThirdParty) -> None:
    client = await _make(alice, third_party, "public")
    await alice.page.goto(await third_party.begin(**_settings(alice), **client, scope="read"))

    await alice.submit("/v1/auth/authorize", "deny")

    assert "error=access_denied" in (await third_party.finish())["cause"]


async def test_the_try_it_link_begins_the_flow(alice: Guest, third_party: ThirdParty) -> None:
    client = await _make(alice, third_party, "public")
    await alice.open(f"/portal/clients/{client['client_id']}/try")

    async with alice.context.expect_page() as opening:
        await alice.page.locator('a[target="_blank"][href*="/v1/auth/authorize"]').click()
    tab = await opening.value
    async with tab.expect_navigation():
        await tab.locator('#consent button[value="allow"]').click()

    assert tab.url.startswith(f"{third_party.redirect_uri}?")
    assert "code=" in tab.url


async def _over_rest(guest: Guest, token: str) -> int:
    async with httpx2.AsyncClient(base_url=guest.place.url, trust_env=False) as http:
        return (await http.get("/v1/developer/keys", headers={"authorization": f"Bearer {token}"})).status_code


async def _over_grpc(guest: Guest, token: str) -> str:
    """Make a key with a third party's token; return its secret."""
    async with grpc.aio.insecure_channel(guest.place.service.addresses.grpc) as channel:
        stub: Any = DeveloperServiceStub(channel)
        request = CreateApiKeyRequest(name="By a third party", scopes=["read"])
        answer = await stub.CreateApiKey(request, metadata=[("authorization", f"Bearer {token}")])
    return str(answer.secret)
