"""What protobuf carries and JSON does not: found wherever it lies, so that whatever passes can be written."""

from typing import Any

import orjson
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from server.transcoding.codec.message import Codecs
from server.transcoding.codec.unwritable import Search
from server.transcoding.violation import MAX_VIOLATIONS, Faults, Refused
from tests.unit.transcoding.codec.form import FORM, form
from tests.unit.transcoding.codec.reading import codec_of
from tests.unit.transcoding.codec.test_any import holding, nested, tree
from tests.unit.transcoding.kitchen import descriptor, message
from tests.unit.transcoding.messages import sinks

SINK = Codecs().of(descriptor("Sink"))
NO_FORM = "has no JSON form: "
TIME = "a Timestamp of {} seconds and {} nanoseconds is no time from year 1 to 9999"
SPAN = "a Duration of {} seconds and {} nanoseconds is out of range"
NOT_FINITE = "a Value cannot hold a number that is not finite"
NO_KIND = "a Value must be of some kind"


def faults_of(checked: Any) -> list[tuple[str, str]]:
    """Return what in a message has no JSON form; the path of the message itself is empty."""
    faults = Faults()
    try:
        Search().note(checked, faults)
    except Refused as refusal:
        faults.add("", str(refusal))
    return list(faults)


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("time {seconds: -62135596801}", "time", TIME.format(-62135596801, 0)),
        ("time {seconds: 253402300800}", "time", TIME.format(253402300800, 0)),
        ("time {nanos: -1}", "time", TIME.format(0, -1)),
        ("time {nanos: 1000000000}", "time", TIME.format(0, 1000000000)),
        ("duration {seconds: -315576000001}", "duration", SPAN.format(-315576000001, 0)),
        ("duration {seconds: 315576000001}", "duration", SPAN.format(315576000001, 0)),
        ("duration {nanos: -1000000000}", "duration", SPAN.format(0, -1000000000)),
        ("duration {seconds: 1 nanos: -1}", "duration", SPAN.format(1, -1)),
        ("duration {seconds: -1 nanos: 1}", "duration", SPAN.format(-1, 1)),
        ("value {}", "value", NO_KIND),
        ("value {number_value: nan}", "value", NOT_FINITE),
        ("value {number_value: -inf}", "value", NOT_FINITE),
        ("value {list_value {values {} values {null_value: 0}}}", "value.list_value.values[0]", NO_KIND),
        ("list {values {bool_value: true} values {number_value: inf}}", "list.values[1]", NOT_FINITE),
        ("struct {fields {key: 'a' value {number_value: inf}}}", 'struct.fields["a"]', NOT_FINITE),
        ("struct {fields {key: 'a\\n' value {}}}", 'struct.fields["a\\n"]', NO_KIND),
        (
            "struct {fields {key: 'a' value {struct_value {fields {key: 'b' value {}}}}}}",
            'struct.fields["a"].struct_value.fields["b"]',
            NO_KIND,
        ),
        ("child {time {nanos: -1}}", "child.time", TIME.format(0, -1)),
        ("children {} children {time {nanos: -1}}", "children[1].time", TIME.format(0, -1)),
        ("times {} times {nanos: -1}", "times[1]", TIME.format(0, -1)),
        ("by_text {key: 'x' value {value {}}}", 'by_text["x"].value', NO_KIND),
        ("one_form {values {}}", "one_form.values[0]", NO_KIND),
        ("any {[x/form.v1.Form] {time {nanos: -1}}}", "any.time", TIME.format(0, -1)),
        ("any {[x/google.protobuf.Timestamp] {nanos: -1}}", "any", TIME.format(0, -1)),
        ("any {[x/google.protobuf.Any] {[x/form.v1.Form] {value {}}}}", "any.value", NO_KIND),
        ("any {[x/google.protobuf.Struct] {fields {key: 'a' value {}}}}", 'any.fields["a"]', NO_KIND),
    ],
)
def test_a_value_without_a_json_form_is_found(text: str, path: str, reason: str) -> None:
    assert faults_of(form(text)) == [(path, NO_FORM + reason)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "time {seconds: -62135596800} times {seconds: 253402300799 nanos: 999999999} times {}",
        "duration {seconds: -315576000000 nanos: -999999999} durations {nanos: 1} durations {}",
        "mask {paths: 'a_b.c' paths: 'fooBar' paths: 'foo__bar' paths: 'digit_0' paths: ''} child {mask {}}",
        "value {null_value: 0} values {null_value: 7} values {string_value: ''} values {number_value: -0}",
        "list {} struct {fields {key: '' value {list_value {}}}}",
        "shade: 99 nothing: 7 shades: 99 shade_by_text {key: 'a' value: 99}",
        "single: nan twofold: inf single_value {value: nan} twofold_value {value: -inf}",
        "any {}",
        "any {type_url: 'x/no.Such' value: '\\xff'}",
        "any {type_url: 'form.v1.Form' value: '\\xff'}",
        "any {value: '\\xff'}",
        "any {type_url: 'x/google.protobuf.Any' value: '\\n\\x01x\\x12\\x01\\xff'}",
        "any {[x/form.v1.Form] {time {} any {}}}",
    ],
)
def test_what_has_a_json_form_passes(text: str) -> None:
    assert faults_of(form(text)) == []
    assert orjson.dumps(FORM.write(form(text)))


@pytest.mark.parametrize("text", ["any {type_url: 'x/form.v1.Form' value: '\\xff'}", "child {anys {} anys {%s}}"])
def test_bytes_that_are_not_of_the_type_they_are_said_to_be_are_found(text: str) -> None:
    said = "type_url: 'x/form.v1.Form' value: '\\x08'"
    path = "child.anys[1]" if "%s" in text else "any"

    assert faults_of(form(text.replace("%s", said))) == [(path, "does not hold a valid form.v1.Form")]


def test_every_value_is_told_up_to_the_limit() -> None:
    several = form("time {nanos: -1} child {value {}}")
    many: Any = FORM.message_class()
    for _ in range(1000):
        many.values.add()

    assert {path for path, _ in faults_of(several)} == {"time", "child.value"}
    assert [path for path, _ in faults_of(many)] == [f"values[{index}]" for index in range(MAX_VIOLATIONS)]


class _Counting(Search):
    looks = 0

    def note(self, message: Any, faults: Faults, depth: int = 0) -> None:
        self.looks += 1
        super().note(message, faults, depth)


def test_nothing_more_is_looked_at_then() -> None:
    search, faults, many = _Counting(), Faults(), form("")
    for _ in range(1000):
        many.child.values.add()
        many.values.add()

    search.note(many, faults)

    assert [path for path, _ in faults] == [f"child.values[{index}]" for index in range(MAX_VIOLATIONS)]
    assert search.looks == MAX_VIOLATIONS + 2  # the child and the message itself


def test_a_message_that_is_itself_such_a_value_is_refused() -> None:
    assert faults_of(form("time {nanos: -1}").time) == [("", NO_FORM + TIME.format(0, -1))]
    assert faults_of(form("any {type_url: 'x/form.v1.Form' value: '\\xff'}").any) == [
        ("", "does not hold a valid form.v1.Form")
    ]


def test_what_lies_in_any_counts_as_nested() -> None:
    assert faults_of(nested(100)) == []
    assert faults_of(nested(101)) == [("", "nests deeper than 100 levels")]
    assert faults_of(nested(20_000)) == [("", "nests deeper than 100 levels")]


@pytest.mark.parametrize(("field", "levels"), [("child", 100), ("children", 100), ("sinks", 50)])
def test_the_deepest_that_protobuf_parses_passes(field: str, levels: int) -> None:
    octets = tree(field, levels, message("Sink")(a_string="x")).SerializeToString()

    assert faults_of(SINK.message_class.FromString(octets)) == []


@pytest.mark.parametrize(("field", "above"), [("child", 50), ("children", 50), ("children", 90), ("sinks", 49)])
def test_the_deepest_that_passes_is_written(field: str, above: int) -> None:
    leaf = message("Sink")(a_string="x")
    fits, too_deep = (tree(field, above, holding(tree(field, 98 - above + more, leaf))) for more in (0, 1))

    assert faults_of(fits) == []
    assert orjson.dumps(SINK.write(fits))
    assert [reason for _, reason in faults_of(too_deep)] == ["nests deeper than 100 levels"]


def test_extensions_are_not_written_and_not_looked_at() -> None:
    codec = codec_of(
        'syntax = "proto2"; package e; import "google/protobuf/timestamp.proto";'
        "message M { optional google.protobuf.Timestamp time = 1; extensions 100 to 200; }"
        "extend M { optional google.protobuf.Timestamp more = 100; }",
        "e.M",
    )
    extended: Any = codec.message_class()
    extended.Extensions[codec.descriptor.file.extensions_by_name["more"]].nanos = -1

    assert faults_of(extended) == []


def test_whether_a_type_can_hold_such_a_value_is_known() -> None:
    pool = codec_of(
        """syntax = "proto3"; package u;
        import "google/protobuf/any.proto"; import "google/protobuf/duration.proto";
        import "google/protobuf/struct.proto"; import "google/protobuf/wrappers.proto";
        message Plain { Plain self = 1; map<string, Plain> by_name = 2; google.protobuf.DoubleValue number = 3; }
        message Far { Far self = 1; map<string, Near> by_name = 2; }
        message Near { repeated google.protobuf.Duration durations = 1; }
        message Holder { oneof one { google.protobuf.Any any = 1; } }
        message Listing { google.protobuf.ListValue list = 1; }
        """,
        "u.Plain",
    ).descriptor.file.pool
    suspects = Search().suspects
    types = {name: pool.FindMessageTypeByName(f"u.{name}") for name in ("Plain", "Far", "Near", "Holder", "Listing")}

    assert {name for name, kind in types.items() if kind in suspects} == {"Far", "Near", "Holder", "Listing"}


@given(sinks())
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_no_message_that_json_can_carry_is_refused(sink: Any) -> None:
    assert faults_of(sink) == []


# Bytes that protobuf is likely to parse: records numbered like the fields of the Sink and of the well-known types.
_NUMBERS = st.sampled_from([1, 2])
_NUMBERS_ABOVE = st.sampled_from([1, 2, 5, 6, 17, 22, 25, *range(40, 47), 53, 54])
_INTEGERS = st.sampled_from([0, 1, 999_999_999, 10**9, 253_402_300_799, 253_402_300_800, 315_576_000_001, 2**64 - 1])
_DOUBLES = st.sampled_from([b"\0\0\0\0\0\0\xf0\x3f", b"\0\0\0\0\0\0\xf0\x7f", b"\0\0\0\0\0\0\xf8\x7f"])
_TEXTS = st.sampled_from(
    [b"x/kitchen.v1.Sink", b"a_b", b"x/no.Such", b"x/y"]
    + [f"x/google.protobuf.{name}".encode() for name in ("Any", "Timestamp", "Value", "Struct", "Empty")]
)


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    return bytes([*octets, number])


def _delimited(number: int, octets: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(octets)) + octets


_RECORDS = (
    st.builds(lambda number, value: _varint(number << 3) + _varint(value), _NUMBERS, _INTEGERS)
    | st.builds(lambda number, octets: _varint(number << 3 | 1) + octets, _NUMBERS, _DOUBLES)
    | st.builds(_delimited, _NUMBERS, _TEXTS | st.binary(max_size=4))
)
_WIRE = st.recursive(
    _RECORDS,
    lambda inner: (
        st.builds(_delimited, _NUMBERS_ABOVE, inner)
        | st.lists(inner, max_size=4).map(b"".join)
        | st.builds(lambda url, value: _delimited(46, _delimited(1, url) + _delimited(2, value)), _TEXTS, inner)
    ),
    max_leaves=12,
)


@given(_WIRE | st.binary(max_size=20))
@example(
    _delimited(46, _delimited(1, b"x/kitchen.v1.Sink") + _delimited(2, _delimited(40, b"\x10\x80\x94\xeb\xdc\x03")))
)
@settings(deadline=None, max_examples=1000)
def test_whatever_passes_can_be_written(octets: bytes) -> None:
    try:
        sink = SINK.message_class.FromString(octets)
    except DecodeError:
        return
    if not faults_of(sink):
        assert orjson.dumps(SINK.write(sink))
