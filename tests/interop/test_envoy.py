"""The real Envoy in front of a small API, run with our example configuration: what partners and the upstream see."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
import pytest_asyncio

from server.postgres.pool import Database
from tests.e2e.clients import GrpcClient
from tests.interop.envoy import running_envoy
from tests.service import Service, serving

pytestmark = pytest.mark.interop


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Envoy with the service behind it, and what the upstream has seen."""

    http: httpx2.AsyncClient
    owner: GrpcClient
    seen: list[dict[str, str]]
    database: Database
    stop_service: Callable[[], Any]

    async def get(self, path: str, key: str | None = None, **headers: str) -> httpx2.Response:
        return await self.http.get(path, headers={**({"x-api-key": key} if key else {}), **headers})


@pytest_asyncio.fixture(loop_scope="session")
async def front(database_url: str, database: Database, data_dir: Path, tmp_path: Path) -> AsyncIterator[Front]:
    seen: list[dict[str, str]] = []
    async with AsyncExitStack() as stack:
        service_stack = await stack.enter_async_context(AsyncExitStack())
        service: Service = await service_stack.enter_async_context(
            serving(database_url, data_dir, management_rate="100000/1")
        )
        url = await stack.enter_async_context(running_envoy(service, tmp_path, seen))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.addresses.grpc))
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=url))
        owner = GrpcClient(token=service.token(), channel=channel)
        yield Front(http=http, owner=owner, seen=seen, database=database, stop_service=service_stack.aclose)


async def new_key(front: Front, *scopes: str) -> tuple[str, str]:
    """Create a key; return its id and secret."""
    answer = await front.owner.new_key(scopes=list(scopes))
    return answer["apiKey"]["id"], answer["secret"]


async def test_a_good_key_passes_and_never_reaches_the_upstream(front: Front) -> None:
    key_id, secret = await new_key(front, "read")

    answer = await front.get("/v1/catalog/albums", secret, **{"x-developer-id": "dev_forged"})

    assert answer.status_code == 200
    assert answer.text == "catalogue"
    (seen,) = front.seen
    assert "x-api-key" not in seen
    assert secret not in str(seen)
    assert seen["x-api-key-id"] == key_id
    assert seen["x-api-key-scopes"] == "read"
    assert seen["x-developer-id"].startswith("dev_")
    assert seen["x-developer-id"] != "dev_forged"
    assert answer.headers.get_list("x-ratelimit-limit") == ["600"]
    assert answer.headers["x-ratelimit-remaining"] == "599"
    assert int(answer.headers["x-ratelimit-reset"]) >= int(time.time())


@pytest.mark.parametrize("key", [None, "", "nonsense", "ang_live_00000000_" + "0" * 49])
async def test_no_key_or_a_bad_one_is_a_401(front: Front, key: str | None) -> None:
    answer = await front.get("/v1/catalog", key)

    assert answer.status_code == 401
    assert answer.json()["code"] == "ERROR_CODE_UNAUTHENTICATED"
    assert answer.headers["www-authenticate"].startswith("ApiKey ")
    assert front.seen == []


async def test_a_revocation_is_effective_within_a_second(front: Front) -> None:
    key_id, secret = await new_key(front, "read")
    assert (await front.get("/v1/catalog", secret)).status_code == 200

    await front.owner.get("RevokeApiKey", id=key_id)
    revoked = time.monotonic()
    while (answer := await front.get("/v1/catalog", secret)).status_code == 200:
        assert time.monotonic() - revoked < 1.0

    assert answer.status_code == 401
    assert answer.json()["message"]


async def test_a_key_without_the_scope_is_a_403(front: Front) -> None:
    _, secret = await new_key(front, "read")

    answer = await front.get("/v1/streams/1", secret)

    assert answer.status_code == 403
    assert answer.json()["code"] == "ERROR_CODE_PERMISSION_DENIED"
    assert answer.headers["x-ratelimit-limit"] == "600"
    assert front.seen == []


async def test_over_the_limit_is_a_429_with_headers(front: Front) -> None:
    key_id, secret = await new_key(front, "read")
    await front.database.execute("UPDATE api_keys SET rate_requests = 3, rate_seconds = 30 WHERE id = $1", key_id)

    answers = [await front.get("/v1/catalog", secret) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
    refused = answers[-1]
    wait = int(refused.headers["retry-after"])
    assert 1 <= wait <= 30
    assert refused.json() == {
        "code": "ERROR_CODE_RATE_LIMITED",
        "message": f"Rate limit exceeded. Retry after {wait}s.",
    }
    assert len(front.seen) == 3


async def test_a_retiring_secret_announces_its_end(front: Front) -> None:
    key_id, secret = await new_key(front, "read")
    rotated = await front.owner.get("RotateApiKey", id=key_id)

    old, new = await front.get("/v1/catalog", secret), await front.get("/v1/catalog", rotated["secret"])

    assert (old.status_code, new.status_code) == (200, 200)
    assert int(old.headers["deprecation"].removeprefix("@")) <= time.time()
    sunset = parsedate_to_datetime(old.headers["sunset"]).timestamp()
    assert 3500 < sunset - time.time() < 3700
    assert "sunset" not in new.headers
    assert "deprecation" not in new.headers


async def test_two_credentials_are_a_400(front: Front) -> None:
    _, secret = await new_key(front, "read")

    both = await front.get("/v1/catalog", secret, authorization="Bearer x")
    twice = await front.http.get("/v1/catalog", headers=[("x-api-key", secret), ("x-api-key", secret)])

    for answer in (both, twice):
        assert answer.status_code == 400
        assert answer.json()["violations"][0]["field"] == "x-api-key"
    assert front.seen == []


@pytest.mark.parametrize(
    "path",
    [
        "//v1/streams/1", "/v1//streams/1", "/v1/./streams/1", "/v1\\streams/1", "/v1/catalog/../streams/1",
        "/v1/catalog/..%2fstreams/1", "/v1/catalog/%2e%2e/streams/1", "/v1/%73treams/1", "/V1/streams/1", "/v1/streams",
        "/v1/streamsx", "/", "/other",
    ],
)  # fmt: skip
async def test_no_spelling_of_a_path_leads_around_its_scopes(front: Front, path: str) -> None:
    _, secret = await new_key(front, "read")

    answer = await _raw_get(front, path, f"x-api-key: {secret}")

    assert answer.split()[1] in (b"400", b"403", b"404"), answer[:200]
    assert front.seen == []


async def test_nobody_else_says_who_a_caller_is(front: Front) -> None:
    forged = {"x-developer-id": "dev_victim", "x-api-key-id": "key_victim", "x-api-key-scopes": "stream"}

    answer = await front.get("/status", **forged)
    underscored = await _raw_get(front, "/status", "x_developer_id: dev_victim")

    assert answer.status_code == 200
    (seen,) = front.seen
    assert not set(forged) & set(seen)
    assert underscored.split()[1] == b"400"


async def _raw_get(front: Front, path: str, header: str) -> bytes:
    """Send a path as it is, which no client does."""
    url = front.http.base_url
    reader, writer = await asyncio.open_connection(str(url.host), url.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: api\r\nconnection: close\r\n{header}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_nothing_passes_while_the_service_is_away(front: Front) -> None:
    _, secret = await new_key(front, "read")
    assert (await front.get("/v1/catalog", secret)).status_code == 200
    front.seen.clear()

    await front.stop_service()
    answer = await front.get("/v1/catalog", secret)

    assert answer.status_code == 503
    assert front.seen == []
