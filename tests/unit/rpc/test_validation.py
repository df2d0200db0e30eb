"""Requests as bytes or in process: parsed, given the idempotency header's request id, and judged as a whole."""

from typing import Any

import pytest
from sdk.developer.v1.developer_service_pb2 import CreateApiKeyRequest, GetApiKeyRequest

from server.errors import InvalidRequest
from server.rpc.call import Call, bind_call
from server.rpc.validation import validated

UUID, OTHER = "b0a8f3f6-5f3c-4f0e-8d7f-0f4d3a8f6d11", "c0a8f3f6-5f3c-4f0e-8d7f-0f4d3a8f6d11"


async def _handle(request: Any, *headers: str, kind: Any = CreateApiKeyRequest) -> Any:
    metadata = tuple(("idempotency-key", value) for value in headers)
    context: Any = None
    bind_call(Call(method="/x/y", context=context, metadata=metadata))

    async def echo(message: Any, _: object) -> Any:
        return message

    return await validated(kind, echo)(request, None)


def _good(**fields: Any) -> CreateApiKeyRequest:
    return CreateApiKeyRequest(**({"name": "a", "scopes": ["read"]} | fields))


async def _refusal(request: Any, *headers: str, kind: Any = CreateApiKeyRequest) -> list[str]:
    with pytest.raises(InvalidRequest) as refusal:
        await _handle(request, *headers, kind=kind)
    return [violation.field for violation in refusal.value.violations]


async def test_bytes_and_messages_are_read_alike() -> None:
    assert await _handle(_good().SerializeToString()) == await _handle(_good) == _good()


async def test_bytes_that_are_no_message_are_named_without_a_class_name() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await _handle(b"\xff")
    assert refusal.value.violations[0].field == "request"
    assert "sdk.developer.v1.CreateApiKeyRequest" in refusal.value.message
    assert "DecodeError" not in refusal.value.message


async def test_every_broken_rule_is_named() -> None:
    request = CreateApiKeyRequest(scopes=["read", "no", "never"], request_id="x")
    assert await _refusal(request.SerializeToString()) == ["name", "scopes[1]", "scopes[2]", "request_id"]


@pytest.mark.parametrize(
    ("headers", "field", "request_id"),
    [
        ([], "", ""),
        ([], UUID, UUID),
        ([UUID], "", UUID),
        ([f'"{UUID}"'], "", UUID),
        ([f"  {UUID} "], UUID, UUID),
        ([UUID, UUID], "", UUID),
        ([UUID.upper()], UUID, UUID),
    ],
)
async def test_a_request_id_comes_from_the_header_or_the_field(headers: list[str], field: str, request_id: str) -> None:
    request = _good(request_id=field).SerializeToString()
    assert (await _handle(request, *headers)).request_id == request_id


@pytest.mark.parametrize(
    ("headers", "field"), [([UUID], OTHER), ([UUID, OTHER], ""), (["x"], ""), (["x"], UUID), ([""], ""), (['""'], UUID)]
)
async def test_a_header_that_is_wrong_is_named_as_the_header(headers: list[str], field: str) -> None:
    assert await _refusal(_good(request_id=field).SerializeToString(), *headers) == ["Idempotency-Key"]


async def test_the_header_means_nothing_to_a_method_without_request_ids() -> None:
    request = GetApiKeyRequest(id="key_1")
    assert await _handle(request.SerializeToString(), "x", kind=GetApiKeyRequest) == request
