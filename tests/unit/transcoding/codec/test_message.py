"""Strict proto3 JSON, against tables and against protobuf's own json_format as the oracle."""

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.transcoding.codec.message import Codecs
from server.transcoding.violation import MAX_VIOLATIONS, Faults
from tests.unit.transcoding.codec import reading
from tests.unit.transcoding.codec.reading import same
from tests.unit.transcoding.kitchen import POOL, compile_proto, descriptor, message, pool_of
from tests.unit.transcoding.messages import sinks

CODECS = Codecs()
SINK = CODECS.of(descriptor("Sink"))


def read(body: str | bytes) -> Any:
    """Read a Sink; fail on any fault."""
    sink, faults = attempt(body)
    assert faults == []
    return sink


def attempt(body: str | bytes) -> tuple[Any, list[tuple[str, str]]]:
    """Read a Sink and return it with the faults."""
    return reading.attempt(SINK, body)


def fields(body: str | bytes) -> list[str]:
    """Return the paths of the faults of a document."""
    return [field for field, _ in attempt(body)[1]]


@given(sinks())
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_read_back(sink: Any) -> None:
    assert same(read(orjson.dumps(SINK.write(sink))), sink)


@given(sinks())
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_writing_agrees_with_json_format(sink: Any) -> None:
    expected = json_format.MessageToDict(sink, descriptor_pool=POOL)
    written = json.loads(orjson.dumps(SINK.write(sink)))

    assert _without_empty_lists(written, sink.DESCRIPTOR) == _without_empty_lists(
        json.loads(json.dumps(expected)), sink.DESCRIPTOR
    )


@given(sinks())
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_what_json_format_writes_is_read(sink: Any) -> None:
    for original_names in (False, True):
        text = json_format.MessageToJson(sink, descriptor_pool=POOL, preserving_proto_field_name=original_names)
        assert same(read(text), sink)


def _without_empty_lists(value: Any, kind: Any) -> Any:
    """Drop the empty lists and maps that we write and json_format does not, wherever they are."""
    if isinstance(value, dict):
        kept = {key: _without_empty_lists(item, kind) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ([], {})}
    if isinstance(value, list):
        return [_without_empty_lists(item, kind) for item in value]
    return value


@given(sinks(), st.integers(0), st.binary(min_size=1, max_size=3))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_message_is_written_or_has_no_json_form(sink: Any, place: int, patch: bytes) -> None:
    octets = sink.SerializeToString(deterministic=True)
    place %= len(octets) + 1
    try:
        damaged = SINK.message_class.FromString(octets[:place] + patch + octets[place + len(patch) :])
    except DecodeError:
        return
    with suppress(ValueError):
        orjson.dumps(SINK.write(damaged))


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_random_bytes_are_read_or_refused(body: bytes) -> None:
    attempt(body)


_STRINGS = st.text(st.characters(), max_size=4)  # lone surrogates too
_NAMES = st.sampled_from([name for field in descriptor("Sink").fields for name in (field.name, field.json_name)])
_URLS = st.sampled_from(["x/kitchen.v1.Sink", "x/google.protobuf.Value", "x/google.protobuf.Any", "x/y"]) | _STRINGS
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _STRINGS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_NAMES | _STRINGS, inner, max_size=4)
        | st.builds(lambda url, rest: {"@type": url, **rest}, _URLS, st.dictionaries(_NAMES, inner, max_size=2))
    ),
    max_leaves=12,
)


@given(_JSON)
@settings(deadline=None, max_examples=500)
def test_random_json_is_read_or_refused_and_never_more_liberally_than_json_format(document: Any) -> None:
    body = json.dumps(document)
    sink, faults = attempt(body)

    if not faults and '"values": null' not in body:  # where json_format has a bug of its own
        expected = SINK.message_class()
        json_format.Parse(body, expected, descriptor_pool=POOL)
        assert same(sink, expected)


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ('{"anInt32": 7}', "an_int32", 7),
        ('{"an_int32": 7}', "an_int32", 7),
        ('{"anInt32": 1.0}', "an_int32", 1),
        ('{"anInt32": 1e3}', "an_int32", 1000),
        ('{"anInt32": "12"}', "an_int32", 12),
        ('{"anInt32": -0}', "an_int32", 0),
        ('{"anInt64": 9007199254740993}', "an_int64", 9007199254740993),
        ('{"anInt64": "9223372036854775807"}', "an_int64", 2**63 - 1),
        ('{"anInt64": 9007199254740993.0}', "an_int64", 9007199254740993),
        ('{"aUint64": 18446744073709551615}', "a_uint64", 2**64 - 1),
        ('{"aDouble": 1}', "a_double", 1.0),
        ('{"aDouble": "1.5e2"}', "a_double", 150.0),
        ('{"aDouble": "-Infinity"}', "a_double", float("-inf")),
        ('{"aFloat": 3.4028235e38}', "a_float", 3.4028234663852886e38),
        ('{"aBool": true}', "a_bool", True),
        ('{"aString": "a\\u0000b"}', "a_string", "a\0b"),
        ('{"aString": "\\ud83d\\ude00"}', "a_string", "😀"),
        ('{"aString": null}', "a_string", ""),
        ('{"someBytes": "-_8"}', "some_bytes", b"\xfb\xff"),
        ('{"someBytes": "+/8="}', "some_bytes", b"\xfb\xff"),
        ('{"color": "COLOR_RED"}', "color", 1),
        ('{"color": 2}', "color", 2),
        ('{"color": 99}', "color", 99),
        ('{"otherName": "x"}', "renamed", "x"),
        ('{"renamed": "x"}', "renamed", "x"),
        ('{"nums": null}', "nums", []),
        (' {"words": ["a", ""]} \n', "words", ["a", ""]),
    ],
)
def test_a_value_is_read(body: str, field: str, value: Any) -> None:
    assert getattr(read(body), field) == value


@pytest.mark.parametrize(
    ("body", "path"),
    [
        # wrong types
        ('{"aBool": "true"}', "aBool"),
        ('{"aBool": 1}', "aBool"),
        ('{"aString": 1}', "aString"),
        ('{"aString": 1.5}', "aString"),
        ('{"anInt32": true}', "anInt32"),
        ('{"anInt32": 1.5}', "anInt32"),
        ('{"anInt32": "1.5"}', "anInt32"),
        ('{"anInt32": " 1"}', "anInt32"),
        ('{"anInt32": "+1"}', "anInt32"),
        ('{"anInt32": "٣"}', "anInt32"),
        ('{"anInt32": ""}', "anInt32"),
        ('{"anInt32": 1e400}', "anInt32"),
        ('{"anInt32": 1e99999999999999999999}', "anInt32"),
        ('{"anInt32": 1e-999999999}', "anInt32"),
        ('{"anInt32": 2147483648}', "anInt32"),
        ('{"anInt64": "9223372036854775808"}', "anInt64"),
        ('{"aUint32": -1}', "aUint32"),
        ('{"aDouble": "nan"}', "aDouble"),
        ('{"aDouble": "0x1"}', "aDouble"),
        ('{"aDouble": true}', "aDouble"),
        ('{"aDouble": 1e999}', "aDouble"),
        ('{"aDouble": 1' + "0" * 400 + "}", "aDouble"),
        ('{"aFloat": 3.5e38}', "aFloat"),
        ('{"aString": "NaN", "anInt32": "NaN"}', "anInt32"),
        ('{"someBytes": "*"}', "someBytes"),
        ('{"someBytes": "AAA=A"}', "someBytes"),
        ('{"someBytes": "A"}', "someBytes"),
        ('{"someBytes": 1}', "someBytes"),
        ('{"color": "RED"}', "color"),
        ('{"color": "1"}', "color"),
        ('{"color": 1.5}', "color"),
        ('{"color": 4294967296}', "color"),
        ('{"color": true}', "color"),
        ('{"nums": 1}', "nums"),
        ('{"nums": {}}', "nums"),
        ('{"child": []}', "child"),
        ('{"child": "x"}', "child"),
        ('{"labels": []}', "labels"),
        # inside lists, maps and messages
        ('{"nums": [1, "x", 2]}', "nums[1]"),
        ('{"nums": [1, null]}', "nums[1]"),
        ('{"children": [{}, {"child": {"nums": [0, 1, {}]}}]}', "children[1].child.nums[2]"),
        ('{"children": [null]}', "children[0]"),
        ('{"labels": {"a": 1}}', 'labels["a"]'),
        ('{"labels": {"a": null}}', 'labels["a"]'),
        ('{"sinks": {"7": {"a_string": 1}}}', 'sinks["7"].a_string'),
        ('{"sinks": {"x": {}}}', 'sinks["x"]'),
        ('{"sinks": {"1": {}, "1.0": {}}}', 'sinks["1.0"]'),
        ('{"sinks": {"0": {}, "-0": {}}}', 'sinks["-0"]'),
        ('{"flags": {"True": 1}}', 'flags["True"]'),
        ('{"flags": {"1": 1}}', 'flags["1"]'),
        # unknown and doubled names
        ('{"nothing": 1}', "nothing"),
        ('{"child": {"nothing": null}}', "child.nothing"),
        ('{"AString": "x"}', "AString"),
        ('{"aString": "x", "aString": "x"}', "aString"),
        ('{"aString": "x", "a_string": "x"}', "aString"),
        ('{"aString": null, "a_string": "x"}', "aString"),
        ('{"labels": {"a": "x", "a": "y"}}', 'labels["a"]'),
        ('{"struct": {"a": {"b": 1, "b": 2}}}', "struct.a.b"),
        ('{"left": "x", "right": 1}', "right"),
        # text
        ('{"aString": "\\ud800"}', "aString"),
        ('{"labels": {"\\ud800": "x"}}', 'labels["\\ud800"]'),
        ('{"labels": {"a": "\\udc00"}}', 'labels["a"]'),
        ('{"\\udc00": 1}', "\\udc00"),
        ('{"struct": {"a": "\\udc00"}}', "struct.a"),
        ('{"value": ["\\udc00"]}', "value[0]"),
        # well-known types
        ('{"time": "2020-01-01"}', "time"),
        ('{"time": "2020-01-01T00:00:00"}', "time"),
        ('{"time": "2020-01-01t00:00:00Z"}', "time"),
        ('{"time": "2020-13-01T00:00:00Z"}', "time"),
        ('{"time": "2020-01-01T00:00:60Z"}', "time"),
        ('{"time": "0000-01-01T00:00:00Z"}', "time"),
        ('{"time": "9999-12-31T23:59:59-01:00"}', "time"),
        ('{"time": "2020-01-01T00:00:00+24:00"}', "time"),
        ('{"time": "2020-01-01T00:00:00.1234567890Z"}', "time"),
        ('{"time": 1}', "time"),
        ('{"times": ["2020-01-01T00:00:00Z", ""]}', "times[1]"),
        ('{"duration": "1"}', "duration"),
        ('{"duration": "1.s"}', "duration"),
        ('{"duration": "315576000001s"}', "duration"),
        ('{"mask": "a b"}', "mask"),
        ('{"mask": ["a"]}', "mask"),
        ('{"struct": []}', "struct"),
        ('{"list": {}}', "list"),
        ('{"stringValue": 1}', "stringValue"),
        ('{"empty": {"a": 1}}', "empty.a"),
        ('{"any": {"@type": "type.googleapis.com/no.Such"}}', "any.@type"),
        ('{"any": {"a": 1}}', "any.@type"),
        ('{"any": {"@type": "type.googleapis.com/kitchen.v1.Inner", "nums": ["x"]}}', "any.nums[0]"),
        ('{"any": {"@type": "type.googleapis.com/google.protobuf.Duration"}}', "any"),
        ('{"any": []}', "any"),
        ('{"any": {"@type": "x/\\ud800"}}', "any.@type"),
        ('{"any": {"@type": "\\ud800/kitchen.v1.Inner"}}', "any.@type"),
        ('{"any": {"@type": "x/y", "@type": "x/kitchen.v1.Inner"}}', "any.@type"),
        ('{"any": {"@type": "x/kitchen.v1.Inner", "nums": [], "nums": []}}', "any.nums"),
        ('{"any": {"@type": "x/google.protobuf.Duration", "value": 1}}', "any.value"),
        ('{"list": ' + "[" * 46 + "]" * 46 + "}", "list" + "[0]" * 45),
        ('{"nullField": 1}', "nullField"),
        # the document itself
        ("", "body"),
        ("[]", "body"),
        ("null", "body"),
        ('"x"', "body"),
        ("{", "body"),
        ("{} {}", "body"),
        ("{}//", "body"),
        ('{"a":1,}', "body"),
        ("{'a':1}", "body"),
        ('{"aDouble": NaN}', "body"),
        ('{"aDouble": -Infinity}', "body"),
        ('{"aDouble": .5}', "body"),
        ('{"anInt32": 01}', "body"),
        ('{"aString": "\n"}', "body"),
        ("\ufeff{}", "body"),
        ('{"anInt32": ' + "9" * 5000 + "}", "body"),
        ('{"aDouble": 0.' + "9" * 5000 + "}", "body"),
        ('{"value": ' + "[" * 101 + "]" * 101 + "}", "body"),
        ('{"value": ' + "[" * 100_000 + "}", "body"),
    ],
)
def test_a_fault_is_refused_with_its_path(body: str, path: str) -> None:
    assert fields(body) == [path]


def test_invalid_utf8_is_refused() -> None:
    assert fields(b'{"aString": "\xff"}') == ["body"]


def test_every_fault_is_reported() -> None:
    body = '{"aBool": 1, "child": {"nums": [true, 1, []], "x": 0}, "labels": {"k": 2}, "y": 0}'

    assert fields(body) == ["aBool", "child.nums[0]", "child.nums[2]", "child.x", 'labels["k"]', "y"]


def test_a_small_document_cannot_ask_for_endless_violations() -> None:
    assert len(fields(json.dumps({f"x{index}": 0 for index in range(1000)}))) == MAX_VIOLATIONS


@pytest.mark.parametrize("count", [3, MAX_VIOLATIONS, 1000])
def test_every_doubled_key_of_a_map_is_told_up_to_the_limit(count: int) -> None:
    keys = [f"k{index:04}" for index in range(count)]
    entries = ",".join(f'"{key}": "x"' for key in keys * 2)

    assert fields(f'{{"labels": {{{entries}}}}}') == [f'labels["{key}"]' for key in keys[:MAX_VIOLATIONS]]


def test_a_long_name_is_shortened() -> None:
    assert len(fields(json.dumps({"x" * 5000: 0}))[0]) < 300


def test_an_unknown_enum_name_lists_the_known_ones() -> None:
    faults = attempt('{"color": "BLUE"}')[1]

    assert faults == [("color", "must be one of COLOR_UNSPECIFIED, COLOR_RED, COLOR_GREEN")]


def test_nesting_up_to_the_limit_is_read() -> None:
    for body in ('{"child": ' * 99 + "{}" + "}" * 99, '{"list": ' + "[" * 45 + "]" * 45 + "}"):
        assert same(SINK.message_class.FromString(read(body).SerializeToString()), read(body))


def test_a_wide_document_is_not_a_deep_one() -> None:
    assert len(read(json.dumps({"children": [{}] * 200})).children) == 200


def test_presence_of_an_optional_field_is_kept() -> None:
    sink = read('{"maybeInt": 0}')

    assert sink.HasField("maybe_int")
    assert not sink.HasField("maybe_string")
    assert SINK.write(sink)["maybeInt"] == 0
    assert "maybeString" not in SINK.write(sink)


def test_lists_are_always_written_and_unset_fields_are_not() -> None:
    written = SINK.write(SINK.message_class())

    assert all(value in ([], {}) for value in written.values())
    assert written["nums"] == []
    assert "aString" not in written


def test_64_bit_integers_are_written_as_strings() -> None:
    assert SINK.write(message("Sink")(an_int64=-(2**63), longs=[5]))["anInt64"] == "-9223372036854775808"


def test_null_is_a_value_where_the_type_says_so() -> None:
    sink = read('{"value": null, "none": null, "left": null}')

    assert sink.value.WhichOneof("kind") == "null_value"
    assert sink.WhichOneof("choice") == "none"


def test_a_mask_is_read_in_both_spellings() -> None:
    sink = read('{"mask": "displayName,quota.deep_name,*"}')

    assert list(sink.mask.paths) == ["display_name", "quota.deep_name", "*"]


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        (0.1, 0.1),
        (1 / 3, 0.33333334),
        (3.4028234663852886e38, 3.4028235e38),
        (1.3644169484905433e-05, 1.36441695e-05),
    ],
)
def test_a_float_is_written_as_the_shortest_decimal(stored: float, written: float) -> None:
    assert SINK.write(message("Sink")(a_float=stored))["aFloat"] == pytest.approx(written, rel=1e-12)


def test_many_enum_names_are_not_all_listed() -> None:
    numbers = "".join(f"E{index} = {index};" for index in range(50))
    files = compile_proto(f'syntax = "proto3"; package e; enum E {{ {numbers} }} message M {{ E e = 1; }}')
    codec = Codecs().of(pool_of(files).FindMessageTypeByName("e.M"))
    faults = Faults()

    codec.read(codec.message_class(), {"e": "no"}, faults)

    assert faults[0].description.endswith("E18, E19, …")
