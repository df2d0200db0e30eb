"""GetApiKey over gRPC and over REST, each against a bare server that gives an answer of the same size."""

import re
from collections.abc import Sequence

from sdk.developer.v1.developer_service_pb2 import GetApiKeyRequest, GetApiKeyResponse

from bench import grpc_echo
from bench.http1 import Http1Connection
from bench.http2 import Http2Connection
from bench.load import call_once
from bench.process import program
from bench.report import Result
from bench.rounds import Side, compare
from bench.setting import Service

_CALLS_AT_A_TIME = 32
_CHANNELS = 4
_ADDRESS = re.compile(r"address (?P<address>\S+)\n")


async def get_over_grpc(service: Service, key_id: str) -> Sequence[Result]:
    """Compare with an empty grpc.aio echo that gets the same metadata and bytes."""
    request = GetApiKeyRequest(id=key_id).SerializeToString()
    ours = [await service.connect("GetApiKey", request) for _ in range(_CHANNELS)]
    answer = await call_once(ours[0])
    if GetApiKeyResponse.FromString(answer).api_key.id != key_id:
        raise RuntimeError("the service answered with another key")
    depth, size = _CALLS_AT_A_TIME // _CHANNELS, len(answer)
    async with program("-m", "bench.grpc_echo", str(size), ready=_ADDRESS) as echo:
        address = echo.found["address"]
        bare = [
            await Http2Connection.open(address, grpc_echo.METHOD, service.bearer, request) for _ in range(_CHANNELS)
        ]
        return await compare(
            "GetApiKey, gRPC / empty grpc.aio",
            Side(program=service.program, connections=ours, depth=depth, answer_bytes=size),
            Side(program=echo, connections=bare, depth=depth, answer_bytes=size),
            goal=0.5,
        )


async def get_over_rest(service: Service, key_id: str) -> Sequence[Result]:
    """Compare with a bare ASGI function that writes the same document and gets the same headers."""
    path = f"/v1/developer/keys/{key_id}"
    ours = [await Http1Connection.open(service.http, path, service.bearer) for _ in range(_CALLS_AT_A_TIME)]
    answer = await call_once(ours[0])
    if key_id.encode() not in answer:
        raise RuntimeError("the service answered with another key")
    async with program("-m", "bench.json_echo", answer.decode(), ready=_ADDRESS) as echo:
        address = echo.found["address"]
        bare = [await Http1Connection.open(address, path, service.bearer) for _ in range(_CALLS_AT_A_TIME)]
        return await compare(
            "GetApiKey, REST / bare ASGI",
            Side(program=service.program, connections=ours, depth=1, answer_bytes=len(answer)),
            Side(program=echo, connections=bare, depth=1, answer_bytes=len(answer)),
            goal=0.35,
        )
