"""The whole service with an independent OpenID Connect provider (npm: oidc-provider) as its issuer."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sdk.developer.v1.developer_service_pb2 import CreateApiKeyRequest, CreateApiKeyResponse
from sdk.developer.v1.developer_service_pb2_grpc import DeveloperServiceStub

from tests.interop.oidc_provider import AUDIENCE, CLIENTS, OidcProvider, oidc_provider
from tests.service import Service, serving

__all__ = ["oidc_provider"]

pytestmark = pytest.mark.interop

_PEPPERS = "1:" + base64.b64encode(bytes(range(32))).decode()

Start = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def start(oidc_provider: OidcProvider, database_url: str, tmp_path: Path) -> Start:
    """Start a service that accepts the provider's tokens; further settings by name."""

    def start(**settings: Any) -> AbstractAsyncContextManager[Service]:
        chosen = {"oauth_issuer": oidc_provider.issuer, "oauth_audience": AUDIENCE, "key_peppers": _PEPPERS}
        return serving(database_url, tmp_path, **{**chosen, **settings})

    return start


async def _create_over_rest(service: Service, token: str) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=service.rest, timeout=10, trust_env=False) as client:
        return await client.post(
            "/v1/developer/keys",
            headers={"authorization": f"Bearer {token}"},
            json={"name": "Over REST", "scopes": ["read"]},
        )


async def _create_over_grpc(service: Service, token: str) -> CreateApiKeyResponse:
    async with grpc.aio.insecure_channel(service.addresses.grpc) as channel:
        return await DeveloperServiceStub(channel).CreateApiKey(
            CreateApiKeyRequest(name="Over gRPC", scopes=["read"]), metadata=[("authorization", f"Bearer {token}")]
        )


async def _outcomes(service: Service, token: str) -> tuple[str, str]:
    """Create a key over REST and over gRPC and return what came of it: `OK` or the error's code."""
    over_rest = await _create_over_rest(service, token)
    try:
        await _create_over_grpc(service, token)
        over_grpc = "OK"
    except grpc.aio.AioRpcError as error:
        over_grpc = error.code().name
    return over_rest.json().get("code", "OK"), over_grpc


async def _is_ready(service: Service) -> bool:
    async with httpx2.AsyncClient(base_url=service.rest, timeout=10, trust_env=False) as client:
        response = await client.get("/readyz")
    assert response.json()["checks"]["database"]
    assert response.json()["checks"]["signing_keys"] == (response.status_code == 200)
    return response.status_code == 200


async def _is_healthy(service: Service) -> bool:
    async with grpc.aio.insecure_channel(service.addresses.grpc) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _becomes_ready(service: Service, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await _is_ready(service):
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _relayed(listener: socket.socket, target: str) -> AsyncIterator[None]:
    """Relay connections on a socket, which was bound and refused them until now, to HOST:PORT."""
    host, _, port = target.rpartition(":")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

    async with await asyncio.start_server(relay, sock=listener):
        yield


async def test_its_token_creates_a_key_over_rest_and_grpc(oidc_provider: OidcProvider, start: Start) -> None:
    async with start(auto_register=True) as service:
        await _becomes_ready(service)
        token = oidc_provider.access_token()

        over_rest = (await _create_over_rest(service, token)).json()
        over_grpc = await _create_over_grpc(service, token)

    assert over_rest["secret"].startswith("ang_live_")
    assert over_grpc.secret.startswith("ang_live_")


async def test_a_subject_that_is_no_developer_is_denied_with_a_sentence(
    oidc_provider: OidcProvider, start: Start
) -> None:
    async with start() as service:
        await _becomes_ready(service)
        token = oidc_provider.access_token()

        assert await _outcomes(service, token) == ("ERROR_CODE_PERMISSION_DENIED", "PERMISSION_DENIED")
        assert "developer" in (await _create_over_rest(service, token)).json()["message"]


async def test_two_subjects_do_not_see_each_others_keys(oidc_provider: OidcProvider, start: Start) -> None:
    first, second = (oidc_provider.access_token(client) for client in CLIENTS)
    async with start(auto_register=True) as service:
        await _becomes_ready(service)
        key_id = (await _create_over_rest(service, first)).json()["apiKey"]["id"]

        async with httpx2.AsyncClient(base_url=service.rest, trust_env=False) as client:
            statuses = [
                (
                    await client.get(f"/v1/developer/keys/{key_id}", headers={"authorization": f"Bearer {token}"})
                ).status_code
                for token in (first, second)
            ]

    assert statuses == [200, 404]


@pytest.mark.parametrize(
    "settings",
    [
        {"oauth_audience": "https://other.example"},
        {"oauth_client_ids": CLIENTS[1]},
        {"oauth_issuer": "https://other.example", "oauth_jwks_url": "the provider's"},
    ],
    ids=lambda settings: next(iter(settings)),
)
async def test_its_token_is_refused_when_meant_for_someone_else(
    oidc_provider: OidcProvider, start: Start, settings: dict[str, str]
) -> None:
    if "oauth_jwks_url" in settings:
        settings = {**settings, "oauth_jwks_url": f"{oidc_provider.issuer}/jwks"}
    async with start(auto_register=True, **settings) as service:
        await _becomes_ready(service)

        outcomes = await _outcomes(service, oidc_provider.access_token(CLIENTS[0]))

    assert outcomes == ("ERROR_CODE_UNAUTHENTICATED", "UNAUTHENTICATED")


async def test_its_key_rotation_is_followed_without_a_restart(oidc_provider: OidcProvider, start: Start) -> None:
    async with start(auto_register=True) as service:
        await _becomes_ready(service)
        old = oidc_provider.access_token()
        assert await _outcomes(service, old) == ("OK", "OK")

        oidc_provider.rotate()

        assert await _outcomes(service, oidc_provider.access_token()) == ("OK", "OK")
        assert await _outcomes(service, old) == ("OK", "OK")


async def test_its_outage_is_survived(oidc_provider: OidcProvider, start: Start) -> None:
    async with start(auto_register=True) as service:
        await _becomes_ready(service)
        seen, unseen = oidc_provider.access_token(), oidc_provider.access_token(CLIENTS[1])
        assert await _outcomes(service, seen) == ("OK", "OK")

        oidc_provider.stop()

        assert await _outcomes(service, seen) == ("OK", "OK")
        assert await _outcomes(service, unseen) == ("OK", "OK")
        assert await _is_ready(service)


async def test_it_may_be_unreachable_when_the_server_starts(oidc_provider: OidcProvider, start: Start) -> None:
    token = oidc_provider.access_token()
    address = oidc_provider.issuer.removeprefix("http://")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        host, port = listener.getsockname()
        async with start(auto_register=True, oauth_jwks_url=f"http://{host}:{port}/jwks") as service:
            assert not await _is_ready(service)
            assert not await _is_healthy(service)
            assert await _outcomes(service, token) == ("ERROR_CODE_UNAVAILABLE", "UNAVAILABLE")

            async with _relayed(listener, address):
                await _becomes_ready(service)
                assert await _outcomes(service, token) == ("OK", "OK")
            async with asyncio.timeout(2):
                while not await _is_healthy(service):
                    await asyncio.sleep(0.02)
