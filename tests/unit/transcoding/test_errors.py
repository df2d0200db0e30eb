"""How RPCs and requests that fail look over HTTP."""

import json
import re
from typing import Any

import pytest
from buf.validate import validate_pb2
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import (
    BadRequest,
    DebugInfo,
    ErrorInfo,
    Help,
    RequestInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status
from grpc import StatusCode
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.errors import (
    HTTP_STATUSES,
    INTERNAL_SENTENCE,
    ErrorReplies,
    Reply,
    bad_request_details,
)
from server.transcoding.options import Options
from server.transcoding.violation import Refusal

OPTIONS = Options(
    domain="keys.example",
    reason_statuses={"CONFLICT": 409},
    codes={"NOT_FOUND": "ERROR_NOT_FOUND", "INVALID_ARGUMENT": "ERROR_INVALID"},
    challenge='Bearer realm="keys"',
)
REPLIES = ErrorReplies(OPTIONS)
TYPE = "type.googleapis.com/"


def status(*details: Message) -> bytes:
    """Serialize a status with these details; an Any is one already."""
    built = Status(code=3, message="m")
    for detail in details:
        if isinstance(detail, Packed):
            built.details.append(detail)
        else:
            built.details.add().Pack(detail)
    return built.SerializeToString()


def reply(code: StatusCode, details: bytes | None = None, replies: ErrorReplies = REPLIES) -> tuple[Reply, Any]:
    """Return the reply for an RPC's end and its body, read."""
    made = replies.of_rpc(code, "m", details, str.upper, [])
    return made, json.loads(made.body)


STATUSES = """
    OK 200  CANCELLED 499  UNKNOWN 500  INVALID_ARGUMENT 400  DEADLINE_EXCEEDED 504  NOT_FOUND 404  ALREADY_EXISTS 409
    PERMISSION_DENIED 403  RESOURCE_EXHAUSTED 429  FAILED_PRECONDITION 400  ABORTED 409  OUT_OF_RANGE 400
    UNIMPLEMENTED 501  INTERNAL 500  UNAVAILABLE 503  DATA_LOSS 500  UNAUTHENTICATED 401
"""


@pytest.mark.parametrize(("code", "http"), [pair.split() for pair in re.split(r"\s{2,}", STATUSES.strip())])
def test_a_status_has_its_http_status(code: str, http: str) -> None:
    assert HTTP_STATUSES[StatusCode[code]] == int(http)


def test_every_status_is_mapped() -> None:
    assert HTTP_STATUSES.keys() == set(StatusCode)


def test_a_plain_status_shows_its_canonical_name_or_what_it_is_renamed_to() -> None:
    assert reply(StatusCode.ABORTED)[1] == {"code": "ABORTED", "message": "m"}
    assert reply(StatusCode.NOT_FOUND)[1] == {"code": "ERROR_NOT_FOUND", "message": "m"}


def test_a_400_always_has_violations() -> None:
    for code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        assert reply(StatusCode[code])[1]["violations"] == []


def test_a_reason_of_the_domain_is_the_code_and_may_have_its_own_status() -> None:
    made, body = reply(StatusCode.FAILED_PRECONDITION, status(ErrorInfo(reason="CONFLICT", domain="keys.example")))

    assert made.status == 409
    assert body == {"code": "CONFLICT", "message": "m"}


@pytest.mark.parametrize(
    ("code", "http", "name"), [(5, 404, "ERROR_NOT_FOUND"), (99, 500, "UNKNOWN"), (None, 500, "UNKNOWN")]
)
def test_a_code_that_is_none_is_unknown(code: object, http: int, name: str) -> None:
    made = REPLIES.of_rpc(code, "m", None, str, [])

    assert (made.status, json.loads(made.body)["code"]) == (http, name)


def test_an_error_that_is_ok_is_the_servers_fault() -> None:
    made, body = reply(StatusCode.OK, status(Help()))

    assert made.status == 500
    assert body == {"code": "INTERNAL", "message": INTERNAL_SENTENCE}


@pytest.mark.parametrize(("message", "told"), [(None, ""), ("a\ud800b", "a?b"), ("ü", "ü")])
def test_any_message_can_be_told(message: str | None, told: str) -> None:
    for protobuf in (False, True):
        made = REPLIES.of_rpc(StatusCode.ABORTED, message, None, str, [], protobuf=protobuf)
        read = Status.FromString(made.body).message if protobuf else json.loads(made.body)["message"]
        assert read == told


def test_a_401_has_one_challenge() -> None:
    theirs = (b"www-authenticate", b"Basic")

    assert REPLIES.of_rpc(StatusCode.UNAUTHENTICATED, "m", None, str, [theirs]).headers == [theirs]
    for made in (
        REPLIES.of_rpc(StatusCode.UNAUTHENTICATED, "m", None, str, []),
        REPLIES.of_rpc(StatusCode.UNAUTHENTICATED, "m", None, str, [], protobuf=True),
        REPLIES.own(401, "UNAUTHENTICATED", "m"),
    ):
        assert made.headers == [(b"www-authenticate", b'Bearer realm="keys"')]


def test_other_statuses_have_no_challenge() -> None:
    assert REPLIES.of_rpc(StatusCode.PERMISSION_DENIED, "m", None, str, []).headers == []


def bad_request(*violations: tuple[str, str]) -> BadRequest:
    return BadRequest(field_violations=[BadRequest.FieldViolation(field=a, description=b) for a, b in violations])


def test_violations_are_in_the_clients_spelling() -> None:
    details = status(bad_request(("a", "d")))

    assert reply(StatusCode.INVALID_ARGUMENT, details)[1]["violations"] == [{"field": "A", "description": "d"}]


def test_the_same_violation_is_told_once() -> None:
    same = validate_pb2.Violations()
    same.violations.add(message="d").field.elements.add(field_name="a")
    details = status(bad_request(("a", "d")), same)

    assert len(reply(StatusCode.INVALID_ARGUMENT, details)[1]["violations"]) == 1


def test_an_error_has_at_most_a_hundred_violations_and_tells_five() -> None:
    body = reply(StatusCode.INVALID_ARGUMENT, status(bad_request(*(("f", str(index)) for index in range(101)))))[1]

    assert len(body["violations"]) == 100
    assert body["message"] == "F: 0; F: 1; F: 2; F: 3; F: 4"


def test_what_http_has_no_place_for_is_a_detail() -> None:
    made, body = reply(StatusCode.FAILED_PRECONDITION, status(ErrorInfo(reason="CONFLICT", domain="else.example")))

    assert (made.status, body["code"]) == (400, "FAILED_PRECONDITION")
    assert [detail["@type"] for detail in body["details"]] == [f"{TYPE}google.rpc.ErrorInfo"]


def test_details_may_be_of_the_servers_own_types() -> None:
    file = FileDescriptorProto(name="a.proto", package="shop.v1")
    file.message_type.add(name="Fault")
    pool = DescriptorPool()
    pool.Add(file)
    fault = status(Packed(type_url=f"{TYPE}shop.v1.Fault"))

    body = reply(StatusCode.ABORTED, fault, ErrorReplies(OPTIONS, pool))[1]

    assert body == {"code": "ABORTED", "message": "m", "details": [{"@type": f"{TYPE}shop.v1.Fault"}]}
    assert reply(StatusCode.ABORTED, fault)[1] == {"code": "ABORTED", "message": "m"}


def test_hidden_details_are_never_shown() -> None:
    replies = ErrorReplies(Options(hidden_details=frozenset({"google.rpc.DebugInfo", "google.rpc.RequestInfo"})))
    details = status(DebugInfo(detail="secret"), RequestInfo(request_id="r"))

    for protobuf in (False, True):
        body = replies.of_rpc(StatusCode.ABORTED, "m", details, str, [], protobuf=protobuf).body
        assert b"secret" not in body
        assert b"RequestInfo" not in body


def test_an_error_in_protobuf_is_its_status_as_it_came() -> None:
    unknown = Packed(type_url=f"{TYPE}no.Such", value=b"\xff")
    retry = RetryInfo(retry_delay=Duration(seconds=3))

    made = REPLIES.of_rpc(14, "m", status(unknown, retry), str, [], protobuf=True)

    assert (made.status, made.content_type) == (503, b"application/x-protobuf")
    assert made.headers == [(b"retry-after", b"3")]
    expected = Status(code=14, message="m", details=[unknown])
    expected.details.add().Pack(retry)
    assert Status.FromString(made.body) == expected


def test_a_refusal_is_an_error_like_any_other() -> None:
    refusal = Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "No.", [(b"accept-post", b"application/json")])

    assert REPLIES.refused(refusal) == Reply(
        415,
        [(b"accept-post", b"application/json")],
        b'{"code":"UNSUPPORTED_MEDIA_TYPE","message":"No."}',
        b"application/json",
    )
    assert json.loads(REPLIES.own(404, "NOT_FOUND", "m").body)["code"] == "ERROR_NOT_FOUND"


NEAREST = """
    400 INVALID_ARGUMENT  401 UNAUTHENTICATED  403 PERMISSION_DENIED  404 NOT_FOUND  405 UNIMPLEMENTED
    406 INVALID_ARGUMENT  413 RESOURCE_EXHAUSTED  415 INVALID_ARGUMENT  500 INTERNAL  503 UNAVAILABLE
"""


@pytest.mark.parametrize(("http", "code"), [pair.split() for pair in re.split(r"\s{2,}", NEAREST.strip())])
def test_a_refusal_in_protobuf_has_the_nearest_code(http: str, code: str) -> None:
    made = REPLIES.refused(Refusal(int(http), "X", "m"), protobuf=True)

    assert (made.status, made.content_type) == (int(http), b"application/x-protobuf")
    assert Status.FromString(made.body) == Status(code=StatusCode[code].value[0], message="m")


def test_an_invalid_request_has_its_violations_in_either_form() -> None:
    violations = [("a", "is wrong"), ("b", "too")]

    made, binary = REPLIES.invalid(violations), REPLIES.invalid(violations, protobuf=True)

    assert json.loads(made.body) == {
        "code": "ERROR_INVALID",
        "message": "a: is wrong; b: too",
        "violations": [{"field": "a", "description": "is wrong"}, {"field": "b", "description": "too"}],
    }
    assert (made.status, made.content_type) == (400, b"application/json")
    assert (binary.status, binary.content_type) == (400, b"application/x-protobuf")
    assert binary.body == bad_request_details(violations, "a: is wrong; b: too")


def test_a_retry_delay_is_a_header() -> None:
    made, body = reply(StatusCode.RESOURCE_EXHAUSTED, status(RetryInfo(retry_delay=Duration(seconds=3))))

    assert made.headers == [(b"retry-after", b"3")]
    assert body == {"code": "RESOURCE_EXHAUSTED", "message": "m"}


def test_a_retry_after_of_the_handler_wins() -> None:
    details = status(RetryInfo(retry_delay=Duration(seconds=3)))

    made = REPLIES.of_rpc(StatusCode.UNAVAILABLE, "m", details, str, [(b"retry-after", b"9")])

    assert made.headers == [(b"retry-after", b"9")]


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_any_bytes_as_details_are_survived(details: bytes) -> None:
    assert reply(StatusCode.ABORTED, details)[0].status == 409
