"""Calls of our own services from inside the process: the same handlers behind the same chain as over the wire.

Whoever calls brings an access token, as any client does: nothing is allowed here that is not allowed there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc.aio import AbortError

from server.errors import Kind, Violation
from server.rpc.chain import Chain
from server.transcoding.context import InProcessContext

ResponseT = TypeVar("ResponseT", bound=Message)

_DETAILS = "grpc-status-details-bin"
_REQUEST_ID = "x-request-id"


@dataclass(eq=False)
class CallFailed(Exception):
    """A call that was answered with an error, in the terms in which any client learns of it."""

    kind: Kind
    message: str
    violations: Sequence[Violation] = ()
    metadata: Mapping[str, str] | None = None
    retry_after: int | None = None
    call_id: str = ""

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class _Details(grpc.HandlerCallDetails):
    method: str
    invocation_metadata: Any


class InProcessCaller:
    """Calls methods by their path, e.g. `/sdk.developer.v1.DeveloperService/GetApiKey`."""

    def __init__(self, chain: Chain, handlers: Sequence[grpc.GenericRpcHandler], *, timeout: float = 30.0) -> None:
        """Take the chain and the handlers of the public services; `timeout` is the deadline of a call in seconds."""
        self._chain = chain
        self._handlers = tuple(handlers)
        self._timeout = timeout

    async def call(
        self, method: str, request: Message, response_type: type[ResponseT], *, token: str, peer: str = "unix:"
    ) -> ResponseT:
        """Make one unary call and return its response; an empty `token` sends none.

        Raises:
            CallFailed: the answer was an error, whatever its kind; also when it did not come in time.
        """
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        handler = await self._chain.intercept_service(self._find, _Details(method, metadata))
        with InProcessContext(metadata, peer, asyncio.get_running_loop().time() + self._timeout) as context:
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await handler.unary_unary(lambda: request, context)  # type: ignore[arg-type, misc]
            except TimeoutError:
                raise CallFailed(Kind.UNAVAILABLE, "The server did not answer in time.") from None
            except AbortError:
                raise _failure(context) from None
        return response_type.FromString(answer) if isinstance(answer, bytes) else answer

    async def _find(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        found = (handlers.service(details) for handlers in self._handlers)
        return next((handler for handler in found if handler is not None), None)


def _failure(context: InProcessContext) -> CallFailed:
    """Read the status of a call that was aborted."""
    headers = dict(context.initial_metadata or ())
    failure = CallFailed(Kind.INTERNAL, context.details(), call_id=str(headers.get(_REQUEST_ID, "")))
    status = Status.FromString(dict(context.trailing_metadata()).get(_DETAILS, b""))
    for detail in status.details:
        info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
        if detail.Unpack(info):
            failure.kind, failure.metadata = Kind(info.reason), dict(info.metadata)
        elif detail.Unpack(bad_request):
            failure.violations = [Violation(each.field, each.description) for each in bad_request.field_violations]
        elif detail.Unpack(retry):
            failure.retry_after = retry.retry_delay.seconds
    return failure
