"""Values given as text, as paths and queries give them."""

import math
from typing import Any

import pytest

from server.transcoding.codec.message import Codecs
from server.transcoding.codec.scalars import scalar_of
from server.transcoding.codec.wellknown import well_known
from server.transcoding.violation import Refused
from tests.unit.transcoding.codec.form import FORM, form
from tests.unit.transcoding.kitchen import descriptor, message

FIELDS = FORM.descriptor.fields_by_name


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        *(("flag", text, True) for text in ("1", "t", "T", "true", "TRUE", "True")),
        *(("flag", text, False) for text in ("0", "f", "F", "false", "FALSE", "False")),
        ("i32", "-7", -7),
        ("i32", "1e3", 1000),
        ("u64", "18446744073709551615", 2**64 - 1),
        ("single", "0.5", 0.5),
        ("twofold", "-Infinity", -math.inf),
        ("text", "ä", "ä"),
        ("raw", "-_8", b"\xfb\xff"),
        ("shade", "SHADE_DARK", 2),
        ("shade", "-1", -1),
        ("tint", "Warm", 1),
        ("nothing", "NULL_VALUE", 0),
    ],
)
def test_text_is_a_value(field: str, text: str, value: object) -> None:
    assert scalar_of(FIELDS[field]).parse(text) == value


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("flag", "yes"),
        ("flag", "tRUE"),
        ("flag", ""),
        ("i32", "2147483648"),
        ("i32", "1.5"),
        ("i32", "9" * 2000),
        ("single", "1e39"),
        ("twofold", "1e999"),
        ("twofold", "nan"),
        ("text", "\ud800"),
        ("raw", "*"),
        ("shade", "3"),
        ("shade", "shade_dark"),
        ("nothing", "null"),
    ],
)
def test_other_text_is_refused(field: str, text: str) -> None:
    with pytest.raises(Refused):
        scalar_of(FIELDS[field]).parse(text)


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("time", "1970-01-01T00:00:01Z", "time {seconds: 1}"),
        ("duration", "-1.5s", "duration {seconds: -1 nanos: -500000000}"),
        ("mask", "a,bC", "mask {paths: 'a' paths: 'b_c'}"),
        ("i64_value", "5", "i64_value {value: 5}"),
        ("flag_value", "t", "flag_value {value: true}"),
        ("text_value", "x", "text_value {value: 'x'}"),
    ],
)
def test_text_is_a_message_of_a_well_known_type(field: str, text: str, expected: str) -> None:
    built: Any = FORM.message_class()
    known = well_known(getattr(built, field).DESCRIPTOR)

    assert known is not None
    assert known.parse is not None
    known.parse(getattr(built, field), text)

    assert built == form(expected)


@pytest.mark.parametrize("name", ["Struct", "ListValue", "Value"])
def test_text_is_no_struct(name: str) -> None:
    known = well_known(descriptor(f"google.protobuf.{name}"))

    assert known is not None
    assert known.parse is None


def test_a_field_gives_its_own_value() -> None:
    sink = message("Sink")(a_string="x", an_int64=5)
    fields = Codecs().of(sink.DESCRIPTOR).fields

    assert (fields["a_string"].value(sink), fields["an_int64"].value(sink)) == ("x", "5")


def test_a_field_is_found_by_either_spelling() -> None:
    sink = Codecs().of(descriptor("Sink"))

    assert sink.find("otherName") is sink.find("renamed") is sink.fields["renamed"]
    assert sink.find("OtherName") is None
