"""Every kind of error has its gRPC status and details, and none is forgotten."""

from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from sdk.shared.v1 import error_code_pb2

from server import errors
from server.errors import Error, InvalidRequest, Kind, Violation
from server.rpc.status import CODES, DOMAIN, status_of

ERRORS: list[tuple[Error, grpc.StatusCode, str]] = [
    (InvalidRequest([Violation("name", "is bad")]), grpc.StatusCode.INVALID_ARGUMENT, "ERROR_CODE_INVALID_REQUEST"),
    (errors.Unauthenticated("no", sent=True), grpc.StatusCode.UNAUTHENTICATED, "ERROR_CODE_UNAUTHENTICATED"),
    (errors.PermissionDenied("no"), grpc.StatusCode.PERMISSION_DENIED, "ERROR_CODE_PERMISSION_DENIED"),
    (errors.NotFound("no"), grpc.StatusCode.NOT_FOUND, "ERROR_CODE_NOT_FOUND"),
    (errors.Conflict("no"), grpc.StatusCode.FAILED_PRECONDITION, "ERROR_CODE_CONFLICT"),
    (errors.RateLimited(7), grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_CODE_RATE_LIMITED"),
    (errors.Overloaded(), grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_CODE_OVERLOADED"),
    (errors.Unavailable(), grpc.StatusCode.UNAVAILABLE, "ERROR_CODE_UNAVAILABLE"),
    (errors.Unimplemented("no"), grpc.StatusCode.UNIMPLEMENTED, "ERROR_CODE_UNIMPLEMENTED"),
    (Error("no"), grpc.StatusCode.INTERNAL, "ERROR_CODE_INTERNAL"),
]


def _details(status: grpc.Status) -> dict[str, Any]:
    ((key, encoded),) = status.trailing_metadata or ()
    assert key == "grpc-status-details-bin"
    assert isinstance(encoded, bytes)
    found: dict[str, Any] = {}
    for detail in Status.FromString(encoded).details:
        for into in (ErrorInfo(), RequestInfo(), BadRequest(), RetryInfo()):
            if detail.Unpack(into):
                found[type(into).__name__] = into
    return found


@pytest.mark.parametrize(("error", "code", "reason"), ERRORS)
def test_an_error_becomes_its_status(error: Error, code: grpc.StatusCode, reason: str) -> None:
    status = status_of(error, "call_1")
    details = _details(status)
    assert (status.code, status.details) == (code, error.message)
    assert (details["ErrorInfo"].reason, details["ErrorInfo"].domain) == (reason, "sdk.shared.v1")
    assert details["RequestInfo"].request_id == "call_1"


def test_every_kind_is_in_the_table_and_among_the_published_codes() -> None:
    assert {error.kind for error, _, _ in ERRORS} == set(Kind) == set(CODES)
    published = set(error_code_pb2.ErrorCode.keys()) - {"ERROR_CODE_UNSPECIFIED"}
    assert {kind.value for kind in Kind} == published
    assert error_code_pb2.DESCRIPTOR.package == DOMAIN


def test_violations_are_listed_one_by_one() -> None:
    error = InvalidRequest([Violation("name", "is bad"), Violation("scopes[0]", "is unknown")])
    bad_request = _details(status_of(error, "call_1"))["BadRequest"]
    listed = [(violation.field, violation.description) for violation in bad_request.field_violations]
    assert listed == [("name", "is bad"), ("scopes[0]", "is unknown")]
    assert error.message == "name: is bad; scopes[0]: is unknown"


def test_when_to_retry_is_said_where_it_is_known() -> None:
    waits = {reason: _details(status_of(error, "call_1")).get("RetryInfo") for error, _, reason in ERRORS}
    assert {reason: wait.retry_delay.seconds for reason, wait in waits.items() if wait} == {
        "ERROR_CODE_RATE_LIMITED": 7,
        "ERROR_CODE_OVERLOADED": 1,
        "ERROR_CODE_UNAVAILABLE": 1,
    }


def test_metadata_of_an_error_is_in_its_info() -> None:
    info = _details(status_of(errors.Conflict("no", metadata={"keyId": "key_1"}), "call_1"))["ErrorInfo"]
    assert dict(info.metadata) == {"keyId": "key_1"}
