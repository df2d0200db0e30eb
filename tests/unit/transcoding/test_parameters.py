"""Single fields out of text."""

from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.parameters import UnknownField, parameter, query_pairs, query_text, takes_text
from server.transcoding.violation import Refused
from tests.unit.transcoding.kitchen import descriptor, message

SINK = descriptor("Sink")


def read(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Read texts into a Sink and show it in proto names."""
    sink = message("Sink")()
    for path, text in pairs:
        parameter(SINK, path).read(sink, text)
    return json_format.MessageToDict(sink, preserving_proto_field_name=True)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a_string", "x y", {"a_string": "x y"}),
        ("aString", "é", {"a_string": "é"}),
        ("otherName", "x", {"renamed": "x"}),
        ("renamed", "x", {"renamed": "x"}),
        ("an_int32", "-2147483648", {"an_int32": -2147483648}),
        ("an_int32", "1e3", {"an_int32": 1000}),
        ("a_uint32", "4294967295", {"a_uint32": 4294967295}),
        ("an_int64", "9007199254740993", {"an_int64": "9007199254740993"}),
        ("a_uint64", "18446744073709551615", {"a_uint64": "18446744073709551615"}),
        ("a_double", "-0.5", {"a_double": -0.5}),
        ("a_double", "Infinity", {"a_double": "Infinity"}),
        ("a_float", "NaN", {"a_float": "NaN"}),
        ("some_bytes", "-_8", {"some_bytes": "+/8="}),
        ("color", "COLOR_RED", {"color": "COLOR_RED"}),
        ("color", "2", {"color": "COLOR_GREEN"}),
        ("null_field", "NULL_VALUE", {}),
        ("maybe_int", "0", {"maybe_int": 0}),
        ("left", "x", {"left": "x"}),
        ("none", "NULL_VALUE", {"none": None}),
        ("child.child.aBool", "1", {"child": {"child": {"a_bool": True}}}),
        ("middle.a_string", "x", {"middle": {"a_string": "x"}}),
        ("time", "2020-01-01T02:00:00.5+02:00", {"time": "2020-01-01T00:00:00.500Z"}),
        ("duration", "-1.5s", {"duration": "-1.500s"}),
        ("mask", "a_b,cD.eF", {"mask": "aB,cD.eF"}),
        ("string_value", "x", {"string_value": "x"}),
        ("int64_value", "9007199254740993", {"int64_value": "9007199254740993"}),
        ("bool_value", "f", {"bool_value": False}),
        ("double_value", "0", {"double_value": 0.0}),
        ("bytes_value", "/w", {"bytes_value": "/w=="}),
        # empty text is no value
        ("a_string", "", {}),
        ("maybe_string", "", {}),
        ("string_value", "", {}),
        ("time", "", {}),
        ("words", "", {}),
        ("child.a_string", "", {}),
    ],
)
def test_text_sets_a_field(path: str, text: str, expected: dict[str, Any]) -> None:
    assert read((path, text)) == expected


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True"])
def test_true_has_its_usual_spellings(text: str) -> None:
    assert read(("maybe_int", "1"), ("a_bool", text)) == {"maybe_int": 1, "a_bool": True}


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "FALSE", "False"])
def test_false_has_its_usual_spellings(text: str) -> None:
    assert read(("bool_value", text)) == {"bool_value": False}


@pytest.mark.parametrize(
    ("path", "texts", "expected"),
    [
        ("words", ["a", "", "a,b"], ["a", "a,b"]),
        ("nums", ["1", "-1"], [1, -1]),
        ("longs", ["9007199254740993"], ["9007199254740993"]),
        ("colors", ["COLOR_RED", "2", "0"], ["COLOR_RED", "COLOR_GREEN", "COLOR_UNSPECIFIED"]),
        ("blobs", ["AA", "_w=="], ["AA==", "/w=="]),
        ("doubles", ["1", "NaN"], [1.0, "NaN"]),
    ],
)
def test_texts_extend_a_list(path: str, texts: list[str], expected: list[Any]) -> None:
    assert read(*((path, text) for text in texts)) == {path: expected}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("an_int32", "1.5"), ("an_int32", " 1"), ("an_int32", "+1"), ("an_int32", "0x1"), ("an_int32", "2147483648"),
        ("an_int64", "9223372036854775808"), ("a_uint32", "-1"), ("an_int32", "1;a_bool=1"), ("a_double", "1e999"),
        ("a_float", "1e39"), ("a_double", "inf"), ("a_bool", "yes"), ("a_bool", "tRUE"), ("a_bool", "2"),
        ("color", "9"), ("color", "color_red"), ("color", "RED"), ("color", "01"), ("some_bytes", "a"),
        ("time", "2020-01-01"), ("time", "0"), ("duration", "1"), ("mask", "a,,b"), ("bool_value", "yes"),
        ("int64_value", "x"), ("nums", "1,2"), ("colors", "9"),
    ],
)  # fmt: skip
def test_text_that_does_not_fit_is_refused(path: str, text: str) -> None:
    with pytest.raises(Refused):
        read((path, text))


@pytest.mark.parametrize(
    "path",
    ["", ".", "nothing", "A_STRING", "a_string.", ".a_string", "a_string.x", "color.x", "child.nothing", "child..nums",
     ".".join(["child"] * 200), "[nums]", "nums[0]"],
)  # fmt: skip
def test_a_path_to_nothing_is_unknown(path: str) -> None:
    with pytest.raises(UnknownField, match="is not a known field"):
        parameter(SINK, path)


@pytest.mark.parametrize(
    "path",
    ["child", "children", "labels", "sinks", "times", "values", "struct", "value", "list", "any", "empty",
     "children.a_string", "labels.a", "sinks.1.a_string", "sinks.value", "child.labels.key", "time.seconds",
     "string_value.value", "mask.paths", "struct.fields", "value.string_value", "any.type_url"],
)  # fmt: skip
def test_a_field_that_has_no_text_is_refused_but_not_unknown(path: str) -> None:
    with pytest.raises(Refused) as refusal:
        parameter(SINK, path)

    assert not isinstance(refusal.value, UnknownField)


@pytest.mark.parametrize(
    ("first", "second", "other"),
    [("left", "right", "left"), ("left", "middle.a_string", "left"), ("middle.nums", "right", "middle")],
)
def test_two_members_of_a_oneof_are_refused(first: str, second: str, other: str) -> None:
    with pytest.raises(Refused, match=f"cannot be given together with {other}$"):
        read((first, "1"), (second, "1"))


def test_a_member_of_a_oneof_may_be_given_in_several_fields() -> None:
    assert read(("middle.a_string", "x"), ("middle.nums", "1")) == {"middle": {"a_string": "x", "nums": [1]}}


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("an_int32", "0", False),
        ("an_int32", "1", True),
        ("maybe_int", "0", True),
        ("bool_value", "0", True),
        ("child.an_int32", "0", False),
        ("child.maybe_int", "0", True),
    ],
)
def test_a_field_with_presence_is_set_even_to_zero(path: str, text: str, expected: bool) -> None:
    sink = message("Sink")()
    found = parameter(SINK, path)
    assert not found.is_set(sink)
    found.read(sink, text)

    assert found.is_set(sink) is expected


def test_looking_at_a_field_does_not_make_its_parents_present() -> None:
    sink = message("Sink")()
    found = parameter(SINK, "child.child.an_int32")

    assert (found.value(sink), found.is_set(sink), found.field) == (0, False, "child.child.an_int32")
    assert not sink.HasField("child")


def test_what_takes_text_are_scalars_and_types_whose_json_is_one_value() -> None:
    refused = {field.name for field in SINK.fields if not takes_text(field)}

    assert refused == {
        "child", "children", "labels", "sinks", "flags", "middle", "palette", "struct", "value", "list", "any", "empty",
        "times", "values",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("&&", []),
        ("a", [("a", "")]),
        ("a=", [("a", "")]),
        ("=a", [("", "a")]),
        ("a=b=c&a=%26&&b", [("a", "b=c"), ("a", "%26"), ("b", "")]),
        ("a=1;b=2", [("a", "1;b=2")]),
        ("a=1?b=2", [("a", "1?b=2")]),
    ],
)
def test_a_query_is_split_at_ampersands(query: str, pairs: list[tuple[str, str]]) -> None:
    assert list(query_pairs(query)) == pairs


@pytest.mark.parametrize(("raw", "text"), [("a+b", "a b"), ("a%2Bb", "a+b"), ("%26%3D%2F", "&=/"), ("+", " ")])
def test_the_text_of_a_query_is_that_of_a_form(raw: str, text: str) -> None:
    assert query_text(raw) == text


_NAMES = st.lists(
    st.sampled_from([field.name for field in SINK.fields] + [field.json_name for field in SINK.fields]) | st.text(),
    min_size=1,
    max_size=4,
).map(".".join)


@given(
    st.lists(
        st.tuples(_NAMES, st.text(st.characters(exclude_categories=["Cs"])) | st.from_regex("[0-9.e-]{0,9}")),
        max_size=3,
    )
)
@settings(deadline=None)
def test_any_path_and_text_are_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    try:
        read(*pairs)
    except Refused:
        return
