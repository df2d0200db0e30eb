"""Our own service behind the gateway answers as its own REST port does."""

from typing import Any

import httpx2
import pytest

from server.transcoding.options import Options
from tests.integration.gateway.upstream import fronted
from tests.service import Service

PASSING = {"date", "x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset", "content-length", "etag"}
"""Response headers that differ from one call to the next."""
OPTIONS = Options(
    domain="sdk.shared.v1",
    reason_statuses={"ERROR_CODE_CONFLICT": 409},
    hidden_details=frozenset({"google.rpc.RequestInfo"}),
)


def seen(response: httpx2.Response) -> tuple[int, Any, dict[str, str]]:
    """Return what must be the same."""
    headers = {name: value for name, value in response.headers.items() if name not in PASSING}
    return response.status_code, response.json() if response.content else None, headers


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/v1/developer/keys", None, 200),
        ("GET", "/v1/developer/keys?pageSize=1", None, 200),
        ("GET", "/v1/developer/keys/key_00000000000000000000000000", None, 404),
        ("GET", "/v1/developer/keys?pageSize=-1", None, 400),
        ("POST", "/v1/developer/keys", {"name": "", "scopes": ["write"]}, 400),
        ("POST", "/v1/developer/keys/{revoked}/rotate", {}, 409),
    ],
)
async def test_a_call_has_the_same_answer(
    service: Service, method: str, target: str, body: object, status: int
) -> None:
    headers = {"authorization": f"Bearer {service.token()}"}
    async with (
        fronted(service.addresses.grpc, OPTIONS) as front,
        httpx2.AsyncClient(base_url=service.rest, headers=headers) as own,
    ):
        front.http.headers.update(headers)
        await front.until(200)
        revoked = await _revoked(own)

        answers = [await http.request(method, target.format(revoked=revoked), json=body) for http in (front.http, own)]

    assert answers[0].status_code == status
    assert seen(answers[0]) == seen(answers[1])


async def test_without_a_token_the_challenge_is_the_same(service: Service) -> None:
    async with fronted(service.addresses.grpc, OPTIONS) as front, httpx2.AsyncClient(base_url=service.rest) as own:
        await front.until(200)

        answers = [await http.get("/v1/developer/keys") for http in (front.http, own)]

    assert answers[0].status_code == 401
    assert answers[0].headers["www-authenticate"].startswith("Bearer realm=")
    assert seen(answers[0]) == seen(answers[1])


async def _revoked(http: httpx2.AsyncClient) -> str:
    created = await http.post("/v1/developer/keys", json={"name": "Old", "scopes": ["read"]})
    key: str = created.json()["apiKey"]["id"]
    await http.post(f"/v1/developer/keys/{key}/revoke", json={})
    return key
