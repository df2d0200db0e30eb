"""grpcurl on the internal port, as an operator with a service token uses it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.tools import Outcome, run_tool
from tests.service import Service

pytestmark = pytest.mark.interop

VERIFICATION = "sdk.verification.v1.VerificationService"
METERING = "sdk.metering.v1.MeteringService"
UNAUTHENTICATED = 64 + 16  # grpcurl exits with 64 plus the number of the status code


async def ask(service: Service, method: str, request: object, token: str | None) -> Outcome:
    bearer = ("-H", f"authorization: Bearer {token}") if token else ()
    address = service.addresses.internal_grpc
    return await run_tool("grpcurl", "-plaintext", *bearer, "-d", json.dumps(request), address, method)


@pytest.fixture
def token(service: Service, data_dir: Path) -> str:
    return (data_dir / "internal-token").read_text().strip()


async def _new_key(service: Service) -> dict[str, Any]:
    created = await run_tool(
        "curl", "-sS", "--fail-with-body", "-H", f"Authorization: Bearer {service.token()}",
        "--json", '{"name":"Production","scopes":["read"]}', f"{service.rest}/v1/developer/keys",
    )  # fmt: skip
    document: dict[str, Any] = created.json
    return document


async def test_the_port_lists_its_services_to_this_machine(service: Service) -> None:
    listed = await run_tool("grpcurl", "-plaintext", service.addresses.internal_grpc, "list")

    assert listed.exit_code == 0
    assert {VERIFICATION, METERING, "envoy.service.auth.v3.Authorization"} <= set(listed.stdout.split())


@pytest.mark.parametrize("symbol", [VERIFICATION, METERING, "envoy.service.auth.v3.CheckRequest"])
async def test_everything_can_be_described(service: Service, symbol: str) -> None:
    described = await run_tool("grpcurl", "-plaintext", service.addresses.internal_grpc, "describe", symbol)

    assert described.exit_code == 0, described
    assert symbol.rpartition(".")[2] in described.stdout


async def test_a_key_is_verified_with_a_service_token(service: Service, token: str) -> None:
    created = await _new_key(service)

    answer = (await ask(service, f"{VERIFICATION}/VerifyApiKey", {"api_key": created["secret"]}, token)).json

    assert answer["verdict"] == "VERDICT_VALID"
    assert answer["key_id"] == created["apiKey"]["id"]
    assert answer["rate_limit"]["remaining"] == "599"


async def test_a_stream_and_a_batch_work_by_hand(service: Service, token: str) -> None:
    secret = (await _new_key(service))["secret"]

    batch = await ask(
        service, f"{VERIFICATION}/BatchVerifyApiKeys", {"requests": [{"api_key": secret}, {"api_key": "x"}]}, token
    )
    stream = await ask(service, f"{VERIFICATION}/StreamVerifyApiKeys", {"request": {"api_key": secret}}, token)

    assert [each["verdict"] for each in batch.json["responses"]] == ["VERDICT_VALID", "VERDICT_MALFORMED"]
    assert stream.json["response"]["verdict"] == "VERDICT_VALID"


@pytest.mark.parametrize("wrong", [None, "wrong"])
async def test_without_a_token_it_is_unauthenticated(service: Service, wrong: str | None) -> None:
    refused = await ask(service, f"{VERIFICATION}/VerifyApiKey", {"api_key": "x"}, wrong)

    assert refused.exit_code == UNAUTHENTICATED
    assert "service token" in refused.stderr


async def test_usage_and_streams_are_reported(service: Service, token: str) -> None:
    created = await _new_key(service)
    verified = await ask(service, f"{VERIFICATION}/VerifyApiKey", {"api_key": created["secret"]}, token)
    developer = verified.json["developer_id"]
    event = {
        "event_id": "one", "developer_id": developer, "client_id": "app", "user_id": "u1", "content_id": "c1",
        "medium": "MEDIUM_MUSIC", "quality": "high",
        "acquired_at": created["apiKey"]["createdAt"], "url_expires_at": "2999-01-01T00:00:00Z",
    }  # fmt: skip

    refused = await ask(service, f"{METERING}/RecordStreamAcquisitions", {"acquisitions": [event]}, token)
    usage = await ask(service, f"{METERING}/GetUsage", {"developer_id": developer}, token)

    (result,) = refused.json["results"]
    assert result["outcome"] == "ACQUISITION_OUTCOME_REFUSED"
    assert [each["field"] for each in result["violations"]] == ["url_expires_at"]
    assert usage.json["usage"]["quota"]["limit"] == "1000000"
