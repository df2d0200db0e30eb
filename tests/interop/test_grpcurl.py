"""grpcurl as operators use it: it knows nothing of our protos but what reflection tells."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sdk.developer.v1 import developer_service_pb2

from server.services import AUTH_SERVICE, INTERNAL_SERVICES, PUBLIC_SERVICES
from tests.interop.tools import Outcome, run_tool
from tests.service import Service

pytestmark = pytest.mark.interop

SERVICE = "sdk.developer.v1.DeveloperService"
HEALTH = "grpc.health.v1.Health"
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
MESSAGES = sorted(
    {
        message.full_name
        for service in PUBLIC_SERVICES
        for method in service.methods
        for message in (method.input_type, method.output_type)
    }
    | {"sdk.developer.v1.ApiKey"}
)
FAILED = 64  # grpcurl exits with 64 plus the number of the status code

Call = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def call(service: Service) -> Call:
    async def call(method: str, request: object, subject: str | None = "alice") -> Outcome:
        bearer = ("-H", f"authorization: Bearer {service.token(subject)}") if subject else ()
        body = json.dumps(request)
        return await run_tool(
            "grpcurl", "-plaintext", "-format-error", *bearer, "-d", body, service.addresses.grpc, f"{SERVICE}/{method}"
        )

    return call


async def _ask(address: str, *words: str) -> str:
    outcome = await run_tool("grpcurl", "-plaintext", address, *words)
    assert outcome.exit_code == 0, outcome
    return outcome.stdout


def _failure(outcome: Outcome, code: int) -> dict[str, Any]:
    """Return the status message of a call that failed with `code`, and its details by type."""
    assert outcome.exit_code == FAILED + code, outcome
    status = json.loads(outcome.stderr)
    assert status["code"] == code
    details = {detail.pop("@type").rpartition(".")[2]: detail for detail in status["details"]}
    return {"message": status["message"], **details}


async def test_the_public_port_lists_the_public_services(service: Service) -> None:
    public = sorted(each.full_name for each in (*PUBLIC_SERVICES, AUTH_SERVICE))
    assert (await _ask(service.addresses.grpc, "list")).split() == [HEALTH, *REFLECTION, *public]


async def test_the_internal_port_lists_no_public_service(service: Service) -> None:
    listed = set((await _ask(service.addresses.internal_grpc, "list")).split())
    assert listed == {HEALTH, *REFLECTION, *(each.full_name for each in INTERNAL_SERVICES)}


async def test_the_service_lists_its_six_methods(service: Service) -> None:
    methods = (await _ask(service.addresses.grpc, "list", SERVICE)).split()

    (descriptor,) = (each for each in PUBLIC_SERVICES if each.full_name == SERVICE)
    assert methods == sorted(method.full_name for method in descriptor.methods)
    assert len(methods) == 6


async def test_the_service_is_described_with_its_routes(service: Service) -> None:
    told = await _ask(service.addresses.grpc, "describe", SERVICE)

    assert "rpc CreateApiKey ( .sdk.developer.v1.CreateApiKeyRequest )" in told
    assert '(.google.api.http) = { patch: "/v1/developer/keys/{id}", body: "*" }' in told


@pytest.mark.parametrize("message", MESSAGES)
async def test_each_message_is_described_with_all_its_fields(service: Service, message: str) -> None:
    told = await _ask(service.addresses.grpc, "describe", message)

    described = developer_service_pb2.DESCRIPTOR.pool.FindMessageTypeByName(message)
    assert f"message {described.name} {{" in told
    assert all(f" {field.name} = {field.number}" in told for field in described.fields)


async def test_rules_of_validation_are_described(service: Service) -> None:
    told = await _ask(service.addresses.grpc, "describe", "sdk.developer.v1.CreateApiKeyRequest")

    assert 'in: [ "read", "stream" ]' in told


@pytest.mark.parametrize("symbol", [*REFLECTION, HEALTH])
async def test_reflection_and_health_describe_themselves_on_both_ports(service: Service, symbol: str) -> None:
    for address in (service.addresses.grpc, service.addresses.internal_grpc):
        assert f"{symbol} is a service:" in await _ask(address, "describe", symbol)


@pytest.mark.parametrize("detail", ["ErrorInfo", "BadRequest", "RetryInfo", "RequestInfo"])
async def test_the_details_of_errors_are_described(service: Service, detail: str) -> None:
    assert f"message {detail} {{" in await _ask(service.addresses.grpc, "describe", f"google.rpc.{detail}")


async def test_health_is_served_on_both_ports_without_a_token(service: Service) -> None:
    for address in (service.addresses.grpc, service.addresses.internal_grpc):
        assert json.loads(await _ask(address, f"{HEALTH}/Check")) == {"status": "SERVING"}


async def test_a_key_lives_and_dies(call: Call) -> None:
    created = (await call("CreateApiKey", {"name": "Production", "scopes": ["read", "stream"]})).json
    key = created["api_key"]
    prefix = f"{key['key_prefix']}_"
    assert created["secret"].startswith(prefix)

    assert (await call("GetApiKey", {"id": key["id"]})).json == {"api_key": key}
    assert (await call("ListApiKeys", {"page_size": 1})).json == {"api_keys": [key]}

    mask = {"paths": ["name"]}  # grpcurl knows no short form of a FieldMask
    changed = (await call("UpdateApiKey", {"id": key["id"], "name": "Europe", "update_mask": mask})).json
    assert changed == {"api_key": {**key, "name": "Europe"}}

    rotated = (await call("RotateApiKey", {"id": key["id"]})).json
    assert not rotated["secret"].startswith(prefix)
    assert rotated["previous_expires_at"].endswith("Z")

    revoked = (await call("RevokeApiKey", {"id": key["id"]})).json
    assert revoked["api_key"]["status"] == "API_KEY_STATUS_REVOKED"


async def test_pages_follow_one_another(call: Call) -> None:
    for number in range(3):
        await call("CreateApiKey", {"name": f"Key {number}", "scopes": ["read"]})

    first = (await call("ListApiKeys", {"page_size": 2})).json
    second = (await call("ListApiKeys", {"page_size": 2, "page_token": first["next_page_token"]})).json

    names = [key["name"] for page in (first, second) for key in page["api_keys"]]
    assert names == ["Key 2", "Key 1", "Key 0"]
    assert "next_page_token" not in second


async def test_an_invalid_request_names_every_field(call: Call) -> None:
    failure = _failure(await call("CreateApiKey", {"name": "", "scopes": ["write"]}), 3)

    assert failure["ErrorInfo"] == {"reason": "ERROR_CODE_INVALID_REQUEST", "domain": "sdk.shared.v1"}
    assert [violation["field"] for violation in failure["BadRequest"]["field_violations"]] == ["name", "scopes[0]"]


async def test_a_call_without_a_token_is_unauthenticated(call: Call) -> None:
    failure = _failure(await call("ListApiKeys", {}, subject=None), 16)

    assert failure["ErrorInfo"]["reason"] == "ERROR_CODE_UNAUTHENTICATED"
    assert failure["RequestInfo"]["request_id"].startswith("call_")


async def test_a_foreign_key_looks_absent(call: Call) -> None:
    key = (await call("CreateApiKey", {"name": "Mine", "scopes": ["read"]})).json["api_key"]

    foreign = _failure(await call("GetApiKey", {"id": key["id"]}, subject="mallory"), 5)
    absent = _failure(await call("GetApiKey", {"id": "key_00000000000000000000000000"}, subject="mallory"), 5)

    assert foreign.pop("RequestInfo") != absent.pop("RequestInfo")
    assert foreign == absent


async def test_revoking_a_revoked_key_is_a_conflict(call: Call) -> None:
    key = (await call("CreateApiKey", {"name": "Doomed", "scopes": ["read"]})).json["api_key"]
    await call("RevokeApiKey", {"id": key["id"]})

    failure = _failure(await call("RevokeApiKey", {"id": key["id"]}), 9)

    assert failure["ErrorInfo"]["reason"] == "ERROR_CODE_CONFLICT"


async def test_an_unknown_field_is_refused_by_grpcurl_itself(call: Call) -> None:
    outcome = await call("ListApiKeys", {"offset": 3})

    assert outcome.exit_code == 1
    assert "no known field named offset" in outcome.stderr
