"""One service for all end-to-end cases: each case is a developer of its own, so that none sees another's keys."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import httpx2
import pytest
import pytest_asyncio

from server.identity.local_issuer import LocalIssuer
from server.provisions import local_issuer
from tests.database import new_database, with_database
from tests.e2e.clients import Client, GrpcClient, RestClient
from tests.interop.transcoder.e2e_client import envoy_client, expect_differences
from tests.service import Service, serving

PUBLIC_URL = "https://sdk.example.com"


@asynccontextmanager
async def client_of(service: Service, protocol: str, subject: str = "alice") -> AsyncIterator[Client]:
    """Connect to a service by `grpc` or `rest`, or by `envoy`: through the real Envoy's transcoder to its gRPC port."""
    token = service.token(subject)
    if protocol == "envoy":
        async with envoy_client(service, token) as client:
            yield client
    elif protocol == "grpc":
        async with grpc.aio.insecure_channel(service.addresses.grpc) as channel:
            yield GrpcClient(token=token, channel=channel)
    else:
        async with httpx2.AsyncClient(base_url=service.rest) as http:
            yield RestClient(token=token, http=http)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def platform(postgres_url: str, template_database: str, data_dir: Path) -> AsyncIterator[Service]:
    """The service that the cases share."""
    async with new_database(postgres_url, template_database) as name:
        url = with_database(postgres_url, name)
        async with serving(url, data_dir, management_rate="100000/1", public_url=PUBLIC_URL) as service:
            yield service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def connections(platform: Service, request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Client]]:
    """A client of each protocol, connected once; through Envoy only where cases are run that way."""
    through_envoy = any(item.get_closest_marker("interop") for item in request.session.items)
    names = ["grpc", "rest", *(["envoy"] if through_envoy else [])]
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(client_of(platform, name)) for name in names}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the chosen differences from Envoy."""
    expect_differences(items)


@pytest.fixture(params=["grpc", "rest", pytest.param("envoy", marks=pytest.mark.interop)])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each way to call, in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def issuer(platform: Service) -> LocalIssuer:
    """The platform's issuer, opened once: to read its key takes longer than most calls."""
    return local_issuer(platform.settings, platform.listen)


@pytest.fixture
def client(connections: dict[str, Client], issuer: LocalIssuer, protocol: str) -> Client:
    """A client of a developer who has no keys yet."""
    return connections[protocol].bearing(issuer.issue(f"alice-{secrets.token_hex(8)}"))


@pytest.fixture
def stranger(client: Client, issuer: LocalIssuer) -> Client:
    """The same client for another developer."""
    return client.bearing(issuer.issue(f"mallory-{secrets.token_hex(8)}"))
