"""Which browsers may read the answers."""

import pytest

from server.web.app import web_app
from server.web.asgi import App
from tests.unit.web.browser import broken, client_of, hello

PORTAL = "https://portal.example.com"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}


def app_for(*origins: str, api: App = hello) -> App:
    return web_app(api, ready=dict, openapi=b"{}", cors_origins=origins)


async def test_an_allowed_origin_may_read_the_answer_and_its_rate_limit() -> None:
    async with client_of(app_for(PORTAL)) as client:
        answer = await client.get("/v1/developer/keys", headers={"origin": PORTAL})
    assert answer.headers["access-control-allow-origin"] == PORTAL
    assert answer.headers["vary"] == "origin"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id"} <= set(exposed)
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "https://portal.example.com.evil.example", "http://portal.example.com", "null", "*"],
)
async def test_a_stranger_is_served_but_its_browser_may_not_read(origin: str) -> None:
    async with client_of(app_for(PORTAL)) as client:
        answer = await client.get("/", headers={"origin": origin})
        preflight = await client.options("/", headers={"origin": origin, **PREFLIGHT})
    assert (answer.status_code, answer.headers["vary"]) == (200, "origin")
    assert preflight.status_code == 204
    assert not [name for name in (*answer.headers, *preflight.headers) if name.startswith("access-control-")]


async def test_two_origins_are_no_origin() -> None:
    async with client_of(app_for(PORTAL)) as client:
        answer = await client.get("/", headers=[("origin", PORTAL), ("origin", PORTAL)])
    assert "access-control-allow-origin" not in answer.headers


async def test_a_preflight_of_an_allowed_origin_is_answered_without_the_api() -> None:
    async with client_of(app_for(PORTAL, api=broken)) as client:
        answer = await client.options("/v1/developer/keys", headers={"origin": PORTAL, **PREFLIGHT})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PORTAL
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-max-age"] == "600"


async def test_options_that_are_no_preflight_reach_the_api() -> None:
    async with client_of(app_for(PORTAL)) as client:
        assert (await client.options("/", headers={"origin": PORTAL})).status_code == 200
        assert (await client.options("/", headers=PREFLIGHT)).status_code == 200


async def test_even_a_failure_can_be_read_by_the_portal() -> None:
    async with client_of(app_for(PORTAL, api=broken)) as client:
        answer = await client.get("/", headers={"origin": PORTAL})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, PORTAL)


async def test_cors_is_off_by_default() -> None:
    async with client_of(app_for()) as client:
        answer = await client.get("/", headers={"origin": PORTAL})
    assert "vary" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["*", "null", "portal.example.com", "https://portal.example.com/", "https://*.com", ""]
)
def test_only_exact_origins_can_be_allowed(origin: str) -> None:
    with pytest.raises(ValueError, match="not an origin"):
        app_for("http://localhost:3000", origin)
