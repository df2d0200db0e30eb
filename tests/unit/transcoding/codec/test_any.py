"""`Any` in `Any`, which protobuf's limit of nesting does not count, and how deep everything else can come."""

import base64
from contextlib import suppress
from typing import Any

import orjson
import pytest
from google.protobuf.message import DecodeError

from server.transcoding.codec.message import Codecs
from tests.unit.transcoding.codec.form import FORM
from tests.unit.transcoding.codec.reading import attempt, codec_of
from tests.unit.transcoding.kitchen import descriptor, message

SINK = Codecs().of(descriptor("Sink"))
URL = "type.googleapis.com/"


def nested(levels: int) -> Any:
    """Build an `Any` that holds an `Any` and so on; the last one is empty."""
    octets = b""
    for _ in range(levels):
        holder = message("google.protobuf.Any")(type_url=f"{URL}google.protobuf.Any", value=octets)
        octets = holder.SerializeToString()
    return message("google.protobuf.Any").FromString(octets)


def tree(field: str, levels: int, leaf: Any) -> Any:
    """Put a Sink into another one's field, as often as that."""
    for _ in range(levels):
        parent = message("Sink")()
        place = getattr(parent, field)
        if field == "child":
            place.CopyFrom(leaf)
        elif field == "children":
            place.add().CopyFrom(leaf)
        else:
            place[1].CopyFrom(leaf)
        leaf = parent
    return leaf


def holding(content: Any) -> Any:
    """Return a Sink whose `any` holds a message."""
    sink = message("Sink")()
    sink.any.Pack(content)
    return sink


def test_any_in_any_below_the_limit_shows_as_its_bytes() -> None:
    written: Any = SINK.write(message("Sink")(any=nested(1100)))["any"]

    orjson.dumps(written)
    for _ in range(100):
        written = written["value"]
    assert base64.b64decode(written["value"]) == nested(999).SerializeToString()


def test_each_any_has_all_the_room() -> None:
    form: Any = FORM.message_class()
    for _ in range(2):
        form.anys.add(type_url=f"{URL}google.protobuf.Any", value=nested(99).SerializeToString())

    first, second = FORM.write(form)["anys"]

    for written in (first, second, FORM.write(form)["anys"][0]):
        assert b'"value":{}' in orjson.dumps(written)


@pytest.mark.parametrize(
    ("field", "levels", "is_written"),
    [
        ("child", 97, True),
        ("children", 49, True),
        ("children", 50, False),
        ("sinks", 48, True),
    ],
)
def test_messages_in_any_take_up_room(field: str, levels: int, is_written: bool) -> None:
    written = SINK.write(holding(tree(field, levels, message("Sink")(a_string="x"))))["any"]

    assert (field in written) is is_written
    assert ("value" in written) is not is_written


def test_an_any_at_the_bottom_of_messages_has_the_room_that_they_left() -> None:
    lower = tree("child", 10, message("Sink")(a_string="x"))
    for levels, is_written in ((88, True), (90, False)):
        written: Any = SINK.write(holding(tree("child", levels, holding(lower))))["any"]
        for _ in range(levels):
            written = written["child"]
        assert ("child" in written["any"]) is is_written


@pytest.mark.parametrize(("field", "levels"), [("child", 90), ("children", 90), ("children", 20), ("sinks", 45)])
def test_deep_messages_in_deep_messages_are_written(field: str, levels: int) -> None:
    sink = message("Sink")()
    for _ in range(12):
        sink = tree(field, levels, holding(sink))

    assert f'"{field}":'.encode() in orjson.dumps(SINK.write(sink))


def test_well_known_types_in_any_have_limits_of_their_own() -> None:
    sink = message("Sink")(nums=[1], labels={"a": "b"})
    sink.struct.update({"a": {"b": [{}]}})
    sink.times.add()

    assert SINK.write(holding(sink))["any"]["struct"] == {"a": {"b": [{}]}}


def test_extensions_in_any_take_up_no_room() -> None:
    codec = codec_of(
        'syntax = "proto2"; package e; import "google/protobuf/any.proto";'
        "message M { optional google.protobuf.Any any = 1; optional M child = 2; extensions 100 to 200; }"
        "extend M { optional M more = 100; }",
        "e.M",
    )
    more = codec.descriptor.file.extensions_by_name["more"]
    content: Any = codec.message_class()
    for _ in range(60):
        parent: Any = codec.message_class()
        parent.Extensions[more].CopyFrom(content)
        content = parent
    outer: Any = codec.message_class()
    outer.any.Pack(content)

    assert codec.write(outer) == {"any": {"@type": f"{URL}e.M"}}


def _delimited(tag: int, octets: bytes) -> bytes:
    return bytes([tag, len(octets) & 127 | 128, len(octets) >> 7]) + octets


@pytest.mark.parametrize(
    ("name", "tags"),
    [("ListValue", (0x32, 0x0A)), ("Struct", (0x2A, 0x12, 0x0A))],
)
def test_what_protobuf_parses_of_nested_values_is_written(name: str, tags: tuple[int, ...]) -> None:
    field = {"ListValue": "list", "Struct": "struct"}[name]
    octets, parsed = b"", 0
    with suppress(DecodeError):
        for _ in range(200):
            value = message(f"google.protobuf.{name}").FromString(octets)
            assert orjson.dumps(SINK.write(message("Sink")(**{field: value})))
            parsed += 1
            for tag in tags:
                octets = _delimited(tag, octets)

    assert 30 < parsed < 60  # protobuf has a limit


def test_an_any_of_a_well_known_type_goes_under_value() -> None:
    sink, faults = attempt(
        SINK, '{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.500s"}}'
    )

    assert faults == []
    assert SINK.write(sink)["any"] == {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.500s"}


def test_an_any_of_an_unknown_type_is_still_written() -> None:
    sink = message("Sink")()
    sink.any.type_url = "type.googleapis.com/no.Such"
    sink.any.value = b"\x01"

    assert SINK.write(sink)["any"] == {"@type": "type.googleapis.com/no.Such", "value": "AQ=="}


def test_a_damaged_any_is_still_written() -> None:
    sink = message("Sink")()
    sink.any.type_url = "type.googleapis.com/kitchen.v1.Sink"
    sink.any.value = b"\xff"

    assert SINK.write(sink)["any"] == {"@type": "type.googleapis.com/kitchen.v1.Sink", "value": "/w=="}
