"""The pages of an OAuth client where users sign in at an issuer elsewhere, which has its own documentation."""

from typing import Any

import pytest
from sdk.portal.v1 import oauth_client_service_pb2 as clients
from sdk.portal.v1.oauth_client_pb2 import O_AUTH_CLIENT_TYPE_PUBLIC, OAuthClient

from server.pages.site import Site
from server.portal.app import ASSETS, TEMPLATES
from server.portal.pages import client
from server.portal.portal import Portal
from tests.browser import Browser, Page
from tests.unit.portal.desk import NOW, URL, Methods, SomeoneSignedIn

CLIENT = OAuthClient(
    id="client_1",
    name="App",
    type=O_AUTH_CLIENT_TYPE_PUBLIC,
    redirect_uris=["https://app.example.com/cb"],
    allowed_scopes=["read"],
    created_at="2026-11-20T00:00:00.000000Z",
)


async def opened(path: str, *, can_try: bool) -> Page:
    methods: Any = Methods({"GetOAuthClient": clients.GetOAuthClientResponse(client=CLIENT)})
    sessions: Any = SomeoneSignedIn()
    nothing: Any = None
    site = Site([TEMPLATES], public_url=URL, csrf_key=b"k" * 32, assets=[ASSETS], now=lambda: NOW)
    portal = Portal(site=site, sessions=sessions, reveals=nothing, caller=methods, public_url=URL, now=lambda: NOW)
    async with Browser(URL, site.app(client.routes(portal, can_try=can_try))) as browser:
        return await browser.open(path)


@pytest.mark.parametrize("can_try", [True, False])
async def test_the_flow_can_be_tried_only_where_it_runs(can_try: bool) -> None:
    page = await opened("/portal/clients/client_1", can_try=can_try)
    trial = await opened("/portal/clients/client_1/try", can_try=can_try)

    assert "client_1" in page.text
    assert ("Try it" in page.text) is can_try
    assert ("The flow runs elsewhere" in page.text) is not can_try
    assert trial.status == (200 if can_try else 404)
