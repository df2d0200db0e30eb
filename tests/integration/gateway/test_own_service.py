"""Our own service behind the gateway, as its operator would start it, answers as its own REST port does."""

from typing import Any

import httpx2

from tests.integration.gateway.test_process import started, told
from tests.service import Service

PASSING = {"date", "x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset", "content-length", "etag"}
"""Response headers that differ from one call to the next."""
CHOICES = (
    *("--error-domain", "sdk.shared.v1"),
    *("--reason-status", "ERROR_CODE_CONFLICT=409"),
    *("--reason-status", "ERROR_CODE_OVERLOADED=503"),
    *("--hide-detail", "google.rpc.RequestInfo"),
)
KEYS = "/v1/developer/keys"
CALLS: tuple[tuple[str, str, object, int], ...] = (
    ("GET", KEYS, None, 200),
    ("GET", f"{KEYS}?pageSize=1", None, 200),
    ("GET", f"{KEYS}/key_00000000000000000000000000", None, 404),
    ("GET", f"{KEYS}?pageSize=-1", None, 400),
    ("POST", KEYS, {"name": "", "scopes": ["write"]}, 400),
    ("POST", f"{KEYS}/{{revoked}}/rotate", {}, 409),
)


def seen(response: httpx2.Response) -> tuple[int, Any, dict[str, str]]:
    """Return what must be the same."""
    headers = {name: value for name, value in response.headers.items() if name not in PASSING}
    return response.status_code, response.json() if response.content else None, headers


async def test_a_call_has_the_same_answer(service: Service) -> None:
    token = {"authorization": f"Bearer {service.token()}"}
    listening = ("--listen", "127.0.0.1:0", *CHOICES)
    async with (
        started("gateway", "--upstream", str(service.addresses.grpc), *listening) as process,
        httpx2.AsyncClient(base_url=service.rest) as own,
        httpx2.AsyncClient(base_url=(await told(process, "Serving REST on"))[-1].split()[3]) as front,
    ):
        await told(process, "curl ")
        revoked = await _revoked(own, token)
        for method, target, body, status in CALLS:
            path = target.format(revoked=revoked)

            answers = [await http.request(method, path, json=body, headers=token) for http in (front, own)]

            assert answers[1].status_code == status
            assert seen(answers[0]) == seen(answers[1]), path
        refused = [await http.get(KEYS) for http in (front, own)]
        unknown = await front.get("/v1/nothing")

    assert refused[0].status_code == 401
    assert refused[0].headers["www-authenticate"].startswith("Bearer realm=")
    assert seen(refused[0]) == seen(refused[1])
    assert unknown.json()["code"] == "NOT_FOUND"  # what reaches no RPC has gRPC's names


async def _revoked(http: httpx2.AsyncClient, token: dict[str, str]) -> str:
    created = await http.post(KEYS, json={"name": "Old", "scopes": ["read"]}, headers=token)
    key: str = created.json()["apiKey"]["id"]
    await http.post(f"{KEYS}/{key}/revoke", json={}, headers=token)
    return key
