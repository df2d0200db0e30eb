"""Calls from inside the process: the chain judges them as it judges all, and failures come back in a client's terms."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from sdk.developer.v1 import developer_service_pb2
from sdk.developer.v1.developer_service_pb2 import CreateApiKeyRequest, CreateApiKeyResponse

from server.errors import Conflict, InvalidRequest, Kind, NotFound, PermissionDenied, RateLimited, Unauthenticated
from server.errors import Violation as Fault
from server.rpc.call import Call, Proceed
from server.rpc.chain import Chain
from server.rpc.error_mapping import map_errors
from server.rpc.in_process import CallFailed, InProcessCaller
from server.rpc.server import service_handlers

METHOD = "/sdk.developer.v1.DeveloperService/CreateApiKey"
SERVICE = developer_service_pb2.DESCRIPTOR.services_by_name["DeveloperService"]


class Keys:
    """Answers CreateApiKey with the token it came with, or fails as the name of the key wants."""

    def __init__(self, failure: Exception | None = None) -> None:
        self._failure = failure

    async def CreateApiKey(self, request: CreateApiKeyRequest, context: Any) -> Message:
        if request.name == "slow":
            await asyncio.Event().wait()
        if self._failure:
            raise self._failure
        return CreateApiKeyResponse(secret=str(dict(context.invocation_metadata()).get("authorization")))


async def _refuse(proceed: Proceed, call: Call, request: Any) -> Any:
    raise Unauthenticated("No.", sent=False)


def _caller(failure: Exception | None = None, *, inner: Any = (), timeout: float = 5) -> InProcessCaller:
    chain = Chain(outer=[map_errors], inner=inner, open_services=())
    return InProcessCaller(chain, [_handlers(Keys(failure))], timeout=timeout)


def _handlers(servicer: Any) -> grpc.GenericRpcHandler:
    for method in SERVICE.methods:
        if not hasattr(servicer, method.name):
            setattr(servicer, method.name, servicer.CreateApiKey)
    return service_handlers(SERVICE, servicer)


async def _create(caller: InProcessCaller, name: str = "n", token: str = "t") -> CreateApiKeyResponse:
    request = CreateApiKeyRequest(name=name, scopes=["read"])
    return await caller.call(METHOD, request, CreateApiKeyResponse, token=token)


@pytest.mark.parametrize(("token", "sent"), [("abc", "Bearer abc"), ("", "None")])
async def test_a_call_carries_the_token_it_was_given_and_no_other(token: str, sent: str) -> None:
    assert (await _create(_caller(), token=token)).secret == sent


async def test_the_chain_refuses_here_what_it_refuses_on_the_wire() -> None:
    with pytest.raises(CallFailed) as failed:
        await _create(_caller(inner=[_refuse]))
    assert failed.value.kind is Kind.UNAUTHENTICATED


async def test_requests_are_validated() -> None:
    with pytest.raises(CallFailed) as failed:
        await _create(_caller(), name="")
    assert [violation.field for violation in failed.value.violations] == ["name"]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (NotFound("gone"), Kind.NOT_FOUND),
        (Conflict("already"), Kind.CONFLICT),
        (InvalidRequest([Fault("name", "is odd")]), Kind.INVALID_REQUEST),
        (KeyError("a secret in an exception"), Kind.INTERNAL),
    ],
)
async def test_a_failure_says_what_kind_it_is_and_which_call_it_was(failure: Exception, kind: Kind) -> None:
    with pytest.raises(CallFailed) as failed:
        await _create(_caller(failure))
    assert failed.value.kind is kind
    assert failed.value.call_id.startswith("call_")
    assert "secret" not in str(failed.value)


async def test_particulars_of_a_failure_arrive() -> None:
    with pytest.raises(CallFailed) as denied:
        await _create(_caller(PermissionDenied("Register.", metadata={"reason": "not_registered"})))
    with pytest.raises(CallFailed) as limited:
        await _create(_caller(RateLimited(7)))
    assert denied.value.metadata == {"reason": "not_registered"}
    assert limited.value.retry_after == 7


async def test_an_answer_that_does_not_come_is_an_outage() -> None:
    with pytest.raises(CallFailed) as failed:
        await _create(_caller(timeout=0.05), name="slow")
    assert failed.value.kind is Kind.UNAVAILABLE


async def test_a_method_that_does_not_exist_is_unimplemented() -> None:
    with pytest.raises(CallFailed) as failed:
        await _caller().call("/no.Such/Method", CreateApiKeyRequest(), CreateApiKeyResponse, token="")
    assert failed.value.kind is Kind.UNIMPLEMENTED
