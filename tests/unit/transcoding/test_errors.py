"""How RPCs and requests that fail look over HTTP."""

import base64
import json
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.errors import DETAILS_KEY, HTTP_STATUSES, ErrorReplies, Reply, bad_request_details, details_of
from server.transcoding.options import Options

OPTIONS = Options(
    domain="keys.example",
    reason_statuses={"CONFLICT": 409},
    codes={"NOT_FOUND": "ERROR_NOT_FOUND", "INVALID_ARGUMENT": "ERROR_INVALID"},
)
REPLIES = ErrorReplies(OPTIONS)


def status(*details: Message) -> bytes:
    """Serialize a status with these details."""
    built = Status(code=3, message="m")
    for detail in details:
        built.details.add().Pack(detail)
    return built.SerializeToString()


def reply(code: grpc.StatusCode, details: bytes | None = None) -> tuple[Reply, Any]:
    """Return the reply for an RPC's end and its body, read."""
    made = REPLIES.of_rpc(code, "m", details, str.upper, [])
    return made, json.loads(made.body)


@pytest.mark.parametrize(
    ("code", "http"),
    [
        ("OK", 200),
        ("CANCELLED", 499),
        ("UNKNOWN", 500),
        ("INVALID_ARGUMENT", 400),
        ("DEADLINE_EXCEEDED", 504),
        ("NOT_FOUND", 404),
        ("ALREADY_EXISTS", 409),
        ("PERMISSION_DENIED", 403),
        ("RESOURCE_EXHAUSTED", 429),
        ("FAILED_PRECONDITION", 400),
        ("ABORTED", 409),
        ("OUT_OF_RANGE", 400),
        ("UNIMPLEMENTED", 501),
        ("INTERNAL", 500),
        ("UNAVAILABLE", 503),
        ("DATA_LOSS", 500),
        ("UNAUTHENTICATED", 401),
    ],
)
def test_a_status_has_its_http_status(code: str, http: int) -> None:
    assert HTTP_STATUSES[grpc.StatusCode[code]] == http


def test_every_status_is_mapped() -> None:
    assert HTTP_STATUSES.keys() == set(grpc.StatusCode)


def test_a_plain_status_shows_its_canonical_name_or_what_it_is_renamed_to() -> None:
    assert reply(grpc.StatusCode.ABORTED)[1] == {"code": "ABORTED", "message": "m"}
    assert reply(grpc.StatusCode.NOT_FOUND)[1] == {"code": "ERROR_NOT_FOUND", "message": "m"}


def test_a_400_always_has_violations() -> None:
    for code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        assert reply(grpc.StatusCode[code])[1]["violations"] == []


def test_a_reason_of_the_domain_is_the_code_and_may_have_its_own_status() -> None:
    made, body = reply(grpc.StatusCode.FAILED_PRECONDITION, status(ErrorInfo(reason="CONFLICT", domain="keys.example")))

    assert made.status == 409
    assert body == {"code": "CONFLICT", "message": "m"}


def test_a_reason_of_another_domain_is_not_ours() -> None:
    made, body = reply(grpc.StatusCode.FAILED_PRECONDITION, status(ErrorInfo(reason="CONFLICT", domain="else.example")))

    assert (made.status, body["code"]) == (400, "FAILED_PRECONDITION")


def test_violations_are_in_the_clients_spelling() -> None:
    bad = BadRequest(field_violations=[BadRequest.FieldViolation(field="a", description="d")])

    assert reply(grpc.StatusCode.INVALID_ARGUMENT, status(bad))[1]["violations"] == [{"field": "A", "description": "d"}]


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [(Duration(seconds=3), b"3"), (Duration(nanos=1), b"1"), (Duration(), b"1"), (Duration(seconds=2, nanos=1), b"3")],
)
def test_a_retry_delay_is_rounded_up(delay: Duration, seconds: bytes) -> None:
    made, _ = reply(grpc.StatusCode.RESOURCE_EXHAUSTED, status(RetryInfo(retry_delay=delay)))

    assert made.headers == [(b"retry-after", seconds)]


def test_a_retry_after_of_the_handler_wins() -> None:
    details = status(RetryInfo(retry_delay=Duration(seconds=3)))

    made = REPLIES.of_rpc(grpc.StatusCode.UNAVAILABLE, "m", details, str, [(b"retry-after", b"9")])

    assert made.headers == [(b"retry-after", b"9")]


def test_foreign_and_damaged_details_are_survived() -> None:
    foreign = Status(code=3)
    foreign.details.add(type_url="type.googleapis.com/no.Such", value=b"\xff")
    foreign.details.add(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")

    assert reply(grpc.StatusCode.ABORTED, foreign.SerializeToString())[1] == {"code": "ABORTED", "message": "m"}


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_any_bytes_as_details_are_survived(details: bytes) -> None:
    assert reply(grpc.StatusCode.ABORTED, details)[0].status == 409


def test_details_are_found_as_bytes_or_base64() -> None:
    octets = bad_request_details([("a", "b")], "m")
    text = base64.b64encode(octets).decode().rstrip("=")

    assert details_of([("x", "y"), (DETAILS_KEY, octets)]) == octets
    assert details_of([(DETAILS_KEY, text)]) == octets
    assert details_of([(DETAILS_KEY, "*")]) is None
    assert details_of([]) is None
