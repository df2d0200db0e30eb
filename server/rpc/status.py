"""The one place where the domain's errors become gRPC statuses with the details of AIP-193."""

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from server.errors import Error, InvalidRequest, Kind

DOMAIN = "sdk.shared.v1"
"""The `domain` of every ErrorInfo: the package whose ErrorCode its `reason` is a value of."""

CODES = {
    Kind.INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
    Kind.UNIMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
}


def status_of(error: Error, call_id: str) -> grpc.Status:
    """Write an error as a status: ErrorInfo and RequestInfo always, BadRequest and RetryInfo where they apply."""
    details: list[Message] = [
        ErrorInfo(reason=error.kind.value, domain=DOMAIN, metadata=error.metadata),
        RequestInfo(request_id=call_id),
    ]
    if isinstance(error, InvalidRequest):
        details.append(_bad_request(error))
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        details.append(RetryInfo(retry_delay=Duration(seconds=retry_after)))
    status = Status(code=CODES[error.kind].value[0], message=error.message)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return rpc_status.to_status(status)


def _bad_request(error: InvalidRequest) -> BadRequest:
    violations = [
        BadRequest.FieldViolation(field=violation.field, description=violation.description)
        for violation in error.violations
    ]
    return BadRequest(field_violations=violations)
