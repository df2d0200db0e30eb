"""What only gRPC has: raw bytes, message limits, unknown methods, reflection and health."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from server.identity.local_issuer import LocalIssuer
from server.postgres.pool import Database
from server.services import AUTH_SERVICE, INTERNAL_SERVICES, PUBLIC_SERVICES
from tests.e2e.clients import ROUTES, SERVICE
from tests.service import Service, serving

REFLECTION = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def channel(platform: Service) -> AsyncIterator[grpc.aio.Channel]:
    """A channel without any stub."""
    async with grpc.aio.insecure_channel(platform.addresses.grpc) as channel:
        yield channel


@pytest.fixture
def authorization(issuer: LocalIssuer) -> list[tuple[str, str]]:
    """The metadata of an authenticated call."""
    return [("authorization", f"Bearer {issuer.issue('alice')}")]


async def _error(channel: grpc.aio.Channel, method: str, request: bytes, metadata: Any = ()) -> grpc.aio.AioRpcError:
    call: Any = channel.unary_unary(method)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call(request, metadata=metadata)
    return failure.value


def _fields(error: grpc.aio.AioRpcError) -> list[str]:
    encoded = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(encoded, bytes)
    bad_request = BadRequest()
    assert any(detail.Unpack(bad_request) for detail in Status.FromString(encoded).details)
    return [violation.field for violation in bad_request.field_violations]


@pytest.mark.parametrize("method", ROUTES)
@pytest.mark.parametrize(
    "encoded",
    [
        b"\xff",
        b"\x0a\x05ab",  # a string that ends too early
        b"\x0a\x02\xc3\x28",  # a string that is not UTF-8
        b"\x0a\x03\xed\xa0\x80",  # a lone surrogate
        b"\x0f",  # no such wire type
        b"\x00\x01",  # field number 0
        b"\x08" + b"\xff" * 11,  # a varint without end
    ],
)
async def test_bytes_that_are_no_message_are_an_invalid_argument(
    channel: grpc.aio.Channel, authorization: list[tuple[str, str]], method: str, encoded: bytes
) -> None:
    if method == "ListApiKeys":  # its field 1 is no string, its field 2 is
        encoded = encoded.replace(b"\x0a", b"\x12")
    error = await _error(channel, f"/{SERVICE.full_name}/{method}", encoded, authorization)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(_fields(error)) == 1
    assert "Error" not in str(error.details())


async def test_bytes_are_not_looked_at_before_the_caller_is_known(channel: grpc.aio.Channel) -> None:
    error = await _error(channel, f"/{SERVICE.full_name}/CreateApiKey", b"\xff")
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_unknown_fields_of_a_newer_client_are_passed_over(
    channel: grpc.aio.Channel, authorization: list[tuple[str, str]]
) -> None:
    method: Any = channel.unary_unary(f"/{SERVICE.full_name}/ListApiKeys")
    assert await method(b"\xfa\x3f\x03abc", metadata=authorization) == b""


async def test_five_megabytes_are_too_much(channel: grpc.aio.Channel, authorization: list[tuple[str, str]]) -> None:
    error = await _error(channel, f"/{SERVICE.full_name}/CreateApiKey", b"\0" * 5_000_000, authorization)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "method",
    [
        f"/{SERVICE.full_name}/DeleteApiKey",
        f"/{SERVICE.full_name}/",
        "/sdk.developer.v2.DeveloperService/GetApiKey",
        "/x/y",
    ],
)
async def test_an_unknown_method_is_unimplemented_for_those_who_may_know(
    channel: grpc.aio.Channel, authorization: list[tuple[str, str]], method: str
) -> None:
    known = await _error(channel, method, b"", authorization)
    unknown = await _error(channel, method, b"")
    assert (known.code(), unknown.code()) == (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED)


async def test_metadata_beyond_the_limit_is_refused(
    channel: grpc.aio.Channel, authorization: list[tuple[str, str]]
) -> None:
    metadata = [*authorization, ("x-large", "x" * 20_000)]
    error = await _error(channel, f"/{SERVICE.full_name}/ListApiKeys", b"", metadata)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("address", "services"), [("grpc", (*PUBLIC_SERVICES, AUTH_SERVICE)), ("internal_grpc", INTERNAL_SERVICES)]
)
@pytest.mark.parametrize("package", REFLECTION)
async def test_reflection_lists_what_a_port_serves(
    platform: Service, package: str, address: str, services: tuple[ServiceDescriptor, ...]
) -> None:
    expected = {"grpc.health.v1.Health", *(f"{each}.ServerReflection" for each in REFLECTION)}
    expected |= {service.full_name for service in services}
    async with grpc.aio.insecure_channel(getattr(platform.addresses, address)) as channel:
        answer = await _reflect(channel, package, reflection_pb2.ServerReflectionRequest(list_services=""))
    assert {service.name for service in answer.list_services_response.service} == expected


@pytest.mark.parametrize("package", REFLECTION)
async def test_reflection_describes_each_of_its_own_symbols(channel: grpc.aio.Channel, package: str) -> None:
    method = f"{SERVICE.full_name}.GetApiKey"
    for symbol in (SERVICE.full_name, method, "sdk.developer.v1.ApiKey", f"{package}.ServerReflection"):
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        answer = await _reflect(channel, package, request)
        assert answer.file_descriptor_response.file_descriptor_proto, symbol


@pytest.mark.parametrize("package", REFLECTION)
async def test_reflection_tells_what_it_does_not_know(channel: grpc.aio.Channel, package: str) -> None:
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Symbol")
    answer = await _reflect(channel, package, request)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize("package", REFLECTION)
async def test_reflection_refuses_bytes_that_are_no_message(channel: grpc.aio.Channel, package: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await _reflect(channel, package, b"\xff")
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def _reflect(channel: grpc.aio.Channel, package: str, request: Any) -> Any:
    method: Any = channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    answers = [answer async for answer in method([request])]
    assert len(answers) == 1
    return answers[0]


async def test_the_client_of_grpcio_finds_the_service_by_reflection(platform: Service) -> None:
    def describe() -> tuple[Any, Any]:
        with grpc.insecure_channel(platform.addresses.grpc) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            found = descriptor_pool.DescriptorPool(database).FindServiceByName(SERVICE.full_name)
            return database.get_services(), [method.name for method in found.methods]

    services, methods = await asyncio.to_thread(describe)
    assert SERVICE.full_name in services
    assert methods == list(ROUTES)


@pytest.mark.parametrize("address", ["grpc", "internal_grpc"])
async def test_health_needs_no_token(platform: Service, address: str) -> None:
    services = ["", SERVICE.full_name]
    async with grpc.aio.insecure_channel(getattr(platform.addresses, address)) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answers = [await stub.Check(health_pb2.HealthCheckRequest(service=service)) for service in services]
    assert [answer.status for answer in answers] == [SERVING, SERVING]


async def test_the_health_of_an_unknown_service_is_not_found(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"))
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


async def test_health_refuses_bytes_that_are_no_message(channel: grpc.aio.Channel) -> None:
    error = await _error(channel, "/grpc.health.v1.Health/Check", b"\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_health_watch_follows_the_database_and_the_end(
    database_url: str, postgres_url: str, data_dir: Path
) -> None:
    name = urlsplit(database_url).path.lstrip("/")
    server = Database(postgres_url)
    await server.open()
    service = serving(database_url, data_dir)
    running = await service.__aenter__()
    async with grpc.aio.insecure_channel(running.addresses.grpc) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE.full_name))
        seen = [(await watch.read()).status]
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await server.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        seen.append((await watch.read()).status)
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        seen.append((await watch.read()).status)
        ending = asyncio.create_task(service.__aexit__(None, None, None))
        seen.append((await watch.read()).status)
        end = await watch.read()
        await ending
    await server.close()
    assert seen == [SERVING, NOT_SERVING, SERVING, NOT_SERVING]
    assert end is grpc.aio.EOF  # a watch is ended by the server, or it would hold up every shutdown
