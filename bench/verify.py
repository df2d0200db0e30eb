"""VerifyApiKey, one by one, in batches and over a stream, and Envoy's Check: what every call of a partner costs.

Caller authentication, limits, quota and counting are on, with limits that are never met.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from statistics import median

from envoyproxy.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from sdk.developer.v1.developer_service_pb2 import CreateApiKeyRequest, CreateApiKeyResponse
from sdk.verification.v1.verdict_pb2 import VERDICT_VALID
from sdk.verification.v1.verification_service_pb2 import (
    CONSISTENCY_FRESH,
    BatchVerifyApiKeysRequest,
    StreamVerifyApiKeysRequest,
    StreamVerifyApiKeysResponse,
    VerifyApiKeyRequest,
    VerifyApiKeyResponse,
)

from bench import grpc_echo
from bench.http2 import Http2Connection
from bench.http2_stream import Http2Stream
from bench.latency import at_rate
from bench.load import Connection, call_once
from bench.process import Program, program
from bench.report import Result, progress, spread
from bench.rounds import Side, compare
from bench.setting import Service, connection

_SERVICE = "/sdk.verification.v1.VerificationService"
_CHECK = "/envoy.service.auth.v3.Authorization/Check"
_AT_A_TIME, _CHANNELS = 32, 4
_BATCH = 50
_ADDRESS = re.compile(r"address (?P<address>\S+)\n")


async def new_key(service: Service, database_url: str) -> str:
    """Create a key whose limits and quota nobody meets; return its secret."""
    async with connection(database_url) as database:
        await database.execute(
            "UPDATE tiers SET requests = 999999999, developer_requests = 999999999, monthly_quota = 999999999999,"
            " max_keys = 2000000000"
        )
    request = CreateApiKeyRequest(name="Bench", scopes=["read"]).SerializeToString()
    owner = await service.connect("CreateApiKey", request)
    created = CreateApiKeyResponse.FromString(await call_once(owner))
    owner.close()
    return created.secret


async def verify(service: Service, secret: str) -> Sequence[Result]:
    """Compare each way to ask with an empty echo of the same sizes, and with asking one by one."""
    question = VerifyApiKeyRequest(api_key=secret, required_scopes=["read"], operation="bench", client_ip="192.0.2.1")
    request = question.SerializeToString()
    ours = await _connections(service, f"{_SERVICE}/VerifyApiKey", request)
    answer = await call_once(ours[0])
    if VerifyApiKeyResponse.FromString(answer).verdict != VERDICT_VALID:
        raise RuntimeError("the key is not valid")
    async with _echo(service, len(answer), request) as (echo, bare):
        unary = _side(service.program, ours, len(answer))
        results = list(await compare("VerifyApiKey / empty grpc.aio", unary, _side(echo, bare, len(answer)), goal=0.8))
    one_by_one = median(unary.rates)
    results.append(await _batch(service, question, one_by_one))
    results.append(await _stream(service, question, one_by_one))
    results += await _check(service, secret)
    question.consistency = CONSISTENCY_FRESH
    fresh = question.SerializeToString()
    return [
        *results,
        await _latency(service, "VerifyApiKey at 70 % of that load, remembered", request, 0.7 * one_by_one, "<= 5"),
        await _latency(service, "VerifyApiKey, each read from the database", fresh, 200, "<= 20"),
    ]


async def _batch(service: Service, question: VerifyApiKeyRequest, one_by_one: float) -> Result:
    request = BatchVerifyApiKeysRequest(requests=[question] * _BATCH).SerializeToString()
    return await _alone(
        f"keys in batches of {_BATCH} / one by one: keys/s",
        await _connections(service, f"{_SERVICE}/BatchVerifyApiKeys", request),
        service,
        one_by_one,
        _BATCH,
        ">= 10.00",
    )


async def _stream(service: Service, question: VerifyApiKeyRequest, one_by_one: float) -> Result:
    request = StreamVerifyApiKeysRequest(request=question).SerializeToString()
    streams = [
        await Http2Stream.open(service.internal, f"{_SERVICE}/StreamVerifyApiKeys", service.service_token, request)
        for _ in range(_CHANNELS)
    ]
    answer = StreamVerifyApiKeysResponse.FromString(await call_once(streams[0]))
    if answer.response.verdict != VERDICT_VALID:
        raise RuntimeError("the key is not valid")
    return await _alone("keys over a stream / one by one: keys/s", streams, service, one_by_one, 1, ">= 2.50")


async def _check(service: Service, secret: str) -> Sequence[Result]:
    request = CheckRequest()
    request.attributes.request.http.headers["x-api-key"] = secret
    request.attributes.context_extensions.update({"scopes": "read", "operation": "bench"})
    encoded = request.SerializeToString()
    ours = await _connections(service, _CHECK, encoded)
    answer = await call_once(ours[0])
    if CheckResponse.FromString(answer).status.code != 0:
        raise RuntimeError("the key is not valid")
    async with _echo(service, len(answer), encoded) as (echo, bare):
        sides = _side(service.program, ours, len(answer)), _side(echo, bare, len(answer))
        return await compare("ext_authz Check / empty grpc.aio", *sides, goal=None)


async def _latency(service: Service, what: str, request: bytes, rate: float, goal: str) -> Result:
    connections = await _connections(service, f"{_SERVICE}/VerifyApiKey", request)
    progress(f"{what}: {rate:,.0f} calls/s")
    await at_rate(connections, rate, 1.0)
    latency = await at_rate(connections, rate, 5.0)
    for each in connections:
        each.close()
    told = f"p50 {latency.middle:.2f}" + (f", {latency.failures} failed" if latency.failures else "")
    return Result(what=f"{what}: p99, ms", ours=f"{latency.p99:.2f}", bare=told, goal=goal)


async def _alone(
    what: str, connections: Sequence[Connection], service: Service, base: float, keys: int, goal: str
) -> Result:
    """Measure one way to ask right after the one that it is compared with."""
    size = len(await call_once(connections[0]))
    side = _side(service.program, connections, size)
    await side.load(1.0)
    side.rates.clear()
    for _ in range(6):
        await side.load(1.0)
    for each in connections:
        each.close()
    rates = [rate * keys for rate in side.rates]
    return Result(
        what=what,
        ours=f"{median(rates):,.0f}",
        bare=f"{base:,.0f}",
        ratio=spread([rate / base for rate in rates]),
        goal=goal,
    )


async def _connections(service: Service, method: str, request: bytes) -> list[Http2Connection]:
    return [
        await Http2Connection.open(service.internal, method, service.service_token, request) for _ in range(_CHANNELS)
    ]


@asynccontextmanager
async def _echo(service: Service, size: int, request: bytes) -> AsyncIterator[tuple[Program, list[Http2Connection]]]:
    async with program("-m", "bench.grpc_echo", str(size), ready=_ADDRESS) as echo:
        address = echo.found["address"]
        yield (
            echo,
            [
                await Http2Connection.open(address, grpc_echo.METHOD, service.service_token, request)
                for _ in range(_CHANNELS)
            ],
        )


def _side(server: Program, connections: Sequence[Connection], size: int) -> Side:
    return Side(program=server, connections=connections, depth=_AT_A_TIME // _CHANNELS, answer_bytes=size)
