"""`buf curl`, an independent gRPC client (connect-go), by either version of reflection."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.interop.tools import BUF, Outcome, run_tool
from tests.service import Service

pytestmark = pytest.mark.interop

SERVICE = "sdk.developer.v1.DeveloperService"
NOT_FOUND = 5 << 3  # buf exits with eight times the number of the status code

Call = Callable[..., Awaitable[Outcome]]


@pytest.fixture(params=["grpc-v1", "grpc-v1alpha"])
def reflection(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def call(service: Service, reflection: str) -> Call:
    async def call(method: str, request: object, subject: str = "alice") -> Outcome:
        return await run_tool(
            BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect-protocol", reflection,
            "-H", f"authorization: Bearer {service.token(subject)}", "-d", json.dumps(request),
            f"http://{service.addresses.grpc}/{SERVICE}/{method}",
        )  # fmt: skip

    return call


async def test_a_key_lives_and_dies(call: Call) -> None:
    created = (await call("CreateApiKey", {"name": "Production", "scopes": ["stream"]})).json
    key: dict[str, Any] = created["apiKey"]
    assert created["secret"].startswith(key["keyPrefix"])

    assert (await call("GetApiKey", {"id": key["id"]})).json == {"apiKey": key}
    assert (await call("ListApiKeys", {})).json == {"apiKeys": [key]}
    assert (await call("UpdateApiKey", {"id": key["id"], "name": "Asia"})).json == {"apiKey": {**key, "name": "Asia"}}
    assert (await call("RotateApiKey", {"id": key["id"]})).json["secret"] != created["secret"]
    assert (await call("RevokeApiKey", {"id": key["id"]})).json["apiKey"]["status"] == "API_KEY_STATUS_REVOKED"


async def test_errors_carry_code_and_details(call: Call) -> None:
    outcome = await call("GetApiKey", {"id": "key_0"})

    assert outcome.exit_code == NOT_FOUND
    told = json.loads(outcome.stderr)
    assert told["code"] == "not_found"
    assert [detail["type"] for detail in told["details"]] == ["google.rpc.ErrorInfo", "google.rpc.RequestInfo"]


@pytest.mark.parametrize("port", ["grpc", "internal_grpc"])
async def test_methods_are_listed(service: Service, reflection: str, port: str) -> None:
    url = f"http://{getattr(service.addresses, port)}"
    outcome = await run_tool(
        BUF,
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        "--reflect-protocol",
        reflection,
        "--list-methods",
        url,
    )

    assert "grpc.health.v1.Health/Check" in outcome.stdout.split()
    assert (f"{SERVICE}/CreateApiKey" in outcome.stdout.split()) == (port == "grpc")
