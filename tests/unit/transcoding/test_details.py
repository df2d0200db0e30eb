"""What the details of a status say."""

import base64
from typing import Any

import pytest
from buf.validate import validate_pb2
from google.protobuf import message_factory, text_format
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import (
    BadRequest,
    DebugInfo,
    ErrorInfo,
    Help,
    LocalizedMessage,
    RequestInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.details import DETAILS_KEY, DetailReader, Details, details_of
from server.transcoding.options import Options

OPTIONS = Options(domain="keys.example")
READER = DetailReader(OPTIONS)
TYPE = "type.googleapis.com/"


def read(*details: Message, reader: DetailReader = READER) -> Details:
    """Read a status with these details; an Any is one already."""
    status = Status()
    for detail in details:
        if isinstance(detail, Packed):
            status.details.append(detail)
        else:
            status.details.add().Pack(detail)
    return reader.read(status)


def packed(name: str, value: bytes = b"") -> Packed:
    return Packed(type_url=TYPE + name, value=value)


def a_pool(package: str, name: str, fields: list[str], many: str = "") -> DescriptorPool:
    """Make a pool with one type of strings and, where `many` names it, one of a list of them."""
    file = FileDescriptorProto(name="a.proto", package=package, syntax="proto3")
    kind = file.message_type.add(name=name)
    for number, field in enumerate(fields, 1):
        kind.field.add(name=field, number=number, type=FieldDescriptorProto.TYPE_STRING, label=1)
    if many:
        file.message_type.add(name=many).field.add(
            name="violations", number=1, type=FieldDescriptorProto.TYPE_MESSAGE, label=3, type_name=f".{package}.{name}"
        )
    pool = DescriptorPool()
    pool.Add(file)
    return pool


def new(pool: DescriptorPool, name: str, **fields: str) -> Any:
    """Make a message of a type that only this pool knows."""
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))(**fields)


def bad_request(field: str, description: str) -> BadRequest:
    return BadRequest(field_violations=[BadRequest.FieldViolation(field=field, description=description)])


def test_no_details_say_nothing() -> None:
    assert read() == Details()


def test_a_reason_of_the_domain_is_all_that_its_detail_says() -> None:
    info = ErrorInfo(reason="CONFLICT", domain="keys.example", metadata={"a": "b"})

    assert read(info) == Details(reason="CONFLICT")
    assert read(ErrorInfo(domain="keys.example", metadata={"a": "b"})) == Details()


@pytest.mark.parametrize("domain", ["", "else.example"])
def test_a_reason_of_another_domain_is_shown(domain: str) -> None:
    for reader in (READER, DetailReader(Options())):
        known = read(ErrorInfo(reason="CONFLICT", domain=domain), reader=reader)
        assert known.reason == ""
        assert [(detail["@type"], detail["reason"]) for detail in known.shown] == [
            (f"{TYPE}google.rpc.ErrorInfo", "CONFLICT")
        ]


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [(Duration(seconds=3), 3), (Duration(nanos=1), 1), (Duration(), 1), (Duration(seconds=2, nanos=1), 3)],
)
def test_a_retry_delay_is_rounded_up(delay: Duration, seconds: int) -> None:
    assert read(RetryInfo(retry_delay=delay)) == Details(retry_after=seconds)


VIOLATIONS = """
    violations {
      field {
        elements { field_name: "quota" }
        elements { field_name: "inner" }
        elements { field_name: "nums" index: 2 }
      }
      rule_id: "int32.gt" message: "must be positive"
    }
    violations {
      field { elements { field_name: "labels" string_key: "a\\"b" } elements { field_name: "x" } }
      rule_id: "r"
    }
    violations { field { elements { field_name: "flags" bool_key: true } } }
    violations { field { elements { field_name: "ints" int_key: -1 } } }
    violations { field { elements { field_name: "uints" uint_key: 1 } } for_key: true }
    violations { message: "the whole" }
"""


def test_violations_of_validation_rules_are_violations_like_others() -> None:
    violations = text_format.Parse(VIOLATIONS, validate_pb2.Violations())

    known = read(bad_request("a.b", "d"), violations)

    assert known == Details(
        violations=[
            ("a.b", "d"),
            ("quota.inner.nums[2]", "must be positive"),
            ('labels["a\\"b"].x', "r"),
            ('flags["true"]', "is not valid"),
            ('ints["-1"]', "is not valid"),
            ('uints["1"]', "is not valid"),
            ("", "the whole"),
        ]
    )


def test_violations_of_an_older_validator_are_violations() -> None:
    pool = a_pool("buf.validate", "Violation", ["field_path", "constraint_id", "message"], many="Violations")
    violations = new(pool, "buf.validate.Violations")
    violations.violations.add(field_path="a.b", constraint_id="c")
    violations.violations.add(field_path="d", message="m")

    known = read(violations, reader=DetailReader(OPTIONS, pool))

    assert known == Details(violations=[("a.b", "c"), ("d", "m")])


def test_violations_of_a_type_that_only_has_the_name_are_left_out() -> None:
    pool = a_pool("buf.validate", "Violations", ["violations"])
    violations = new(pool, "buf.validate.Violations", violations="x")

    assert read(violations, reader=DetailReader(OPTIONS, pool)) == Details()


def test_text_that_is_no_text_is_survived() -> None:
    octets = b"\x0a\x03\x1a\x01\xff"  # a violation whose message is no UTF-8, which proto2 does not check

    assert len(read(packed("buf.validate.Violations", octets)).violations) == 1


def test_other_details_are_shown_as_json() -> None:
    help_ = Help(links=[Help.Link(description="d", url="https://keys.example")])

    assert read(help_, Timestamp(seconds=1), RequestInfo(request_id="r")).shown == [
        {"@type": f"{TYPE}google.rpc.Help", "links": [{"description": "d", "url": "https://keys.example"}]},
        {"@type": f"{TYPE}google.protobuf.Timestamp", "value": "1970-01-01T00:00:01Z"},
        {"@type": f"{TYPE}google.rpc.RequestInfo", "requestId": "r"},
    ]


def test_details_of_the_servers_own_types_are_shown() -> None:
    pool = a_pool("shop.v1", "Fault", ["aisle_name"])
    fault = new(pool, "shop.v1.Fault", aisle_name="a")

    assert read(fault, Help(), reader=DetailReader(OPTIONS, pool)).shown == [
        {"@type": f"{TYPE}shop.v1.Fault", "aisleName": "a"},
        {"@type": f"{TYPE}google.rpc.Help", "links": []},
    ]
    assert read(fault, reader=DetailReader(OPTIONS, Default())) == Details()


def test_types_of_two_servers_may_share_a_name() -> None:
    readers = [DetailReader(OPTIONS, a_pool("shop.v1", "Fault", [field])) for field in ("aisle", "shelf")]

    shown = [read(packed("shop.v1.Fault", b"\x0a\x01a"), reader=reader).shown[0] for reader in readers]

    assert [detail.keys() - {"@type"} for detail in shown] == [{"aisle"}, {"shelf"}]


def test_the_meaning_of_standard_details_is_not_the_pools_to_change() -> None:
    pool = a_pool("google.rpc", "ErrorInfo", ["domain", "reason"])

    known = read(ErrorInfo(reason="CONFLICT", domain="keys.example"), reader=DetailReader(OPTIONS, pool))

    assert known == Details(reason="CONFLICT")


def test_debug_information_is_hidden() -> None:
    assert read(DebugInfo(detail="secret")) == Details()


def test_what_is_hidden_still_means_what_it_means() -> None:
    rule = validate_pb2.Violations(violations=[validate_pb2.Violation(message="r")])
    ours, theirs = ErrorInfo(reason="CONFLICT", domain="keys.example"), ErrorInfo(domain="else.example")
    kinds = ["google.rpc.BadRequest", "google.rpc.RetryInfo", "google.rpc.ErrorInfo", "buf.validate.Violations"]
    hiding = DetailReader(Options(domain="keys.example", hidden_details=frozenset(kinds)))

    known = read(bad_request("a", "d"), rule, RetryInfo(), ours, theirs, reader=hiding)

    assert known == Details(reason="CONFLICT", violations=[("a", "d"), ("", "r")], retry_after=1)


def test_at_most_twenty_details_are_shown() -> None:
    known = read(*(RequestInfo(request_id=str(index)) for index in range(21)), bad_request("a", "d"))

    assert [detail["requestId"] for detail in known.shown] == [str(index) for index in range(20)]
    assert known.violations == [("a", "d")]


def test_details_that_are_too_large_are_left_out() -> None:
    large = LocalizedMessage(message="x" * 10_000)

    shown = read(large, large, RequestInfo(request_id="r")).shown

    assert [detail["@type"].rpartition(".")[2] for detail in shown] == ["LocalizedMessage", "RequestInfo"]
    assert read(LocalizedMessage(message="x" * 16_384)).shown == []


@pytest.mark.parametrize(
    "detail",
    [
        packed("no.Such", b"\xff"),
        packed("google.rpc.ErrorInfo", b"\xff"),
        packed("google.rpc.Help", b"\xff"),
        packed("google.rpc.BadRequest", b"\xff"),
        packed("google.rpc.RetryInfo", b"\xff"),
        packed("buf.validate.Violations", b"\xff"),
        Packed(),
        Timestamp(seconds=2**62),
    ],
    ids=str,
)
def test_foreign_and_damaged_details_are_left_out_and_the_others_told(detail: Message) -> None:
    assert read(detail, bad_request("a", "d")) == Details(violations=[("a", "d")])


_TYPES = ["buf.validate.Violations", "google.rpc.Help", "google.rpc.BadRequest", "google.protobuf.Struct", "no.Such"]


@given(st.lists(st.builds(packed, st.sampled_from(_TYPES), st.binary(max_size=12))))
@settings(deadline=None)
def test_any_details_are_survived(details: list[Packed]) -> None:
    assert read(*details, ErrorInfo(reason="CONFLICT", domain="keys.example")).reason == "CONFLICT"


def test_details_are_found_as_bytes_or_base64() -> None:
    octets = Status(code=3, message="m").SerializeToString()
    text = base64.b64encode(octets).decode().rstrip("=")

    assert details_of([("x", "y"), (DETAILS_KEY, octets)]) == octets
    assert details_of([(DETAILS_KEY, text)]) == octets
    assert details_of([(DETAILS_KEY, "*")]) is None
    assert details_of([]) is None
