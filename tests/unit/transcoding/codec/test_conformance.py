"""What protobuf's JSON conformance tests read and write, category by category, in tables of our own."""

import json
from typing import Any

import orjson
import pytest
from google.protobuf import json_format

from tests.unit.transcoding.codec.form import FORM, POOL, form
from tests.unit.transcoding.codec.reading import attempt, same

READ = [
    # names: either spelling, whatever the field is called
    ('{"plain": 1}', "plain: 1"),
    ('{"twoWords": 1, "LeadingLine": 2, "doubleLine": 3}', "two_words: 1 _leading_line: 2 double__line_: 3"),
    ('{"two_words": 1, "_leading_line": 2, "double__line_": 3}', "two_words: 1 _leading_line: 2 double__line_: 3"),
    ('{"digit0inside": 1, "digit0Apart": 2}', "digit0inside: 1 digit_0_apart: 2"),
    ('{"camelCase": 1, "PascalCase": 2, "snakePascal": 3}', "camelCase: 1 PascalCase: 2 snake_Pascal: 3"),
    ('{"ALLCAPITALS": 1, "TwoLeading": 2}', "ALL_CAPITALS: 1 __two_leading: 2"),
    ('{"ALL_CAPITALS": 1, "__two_leading": 2}', "ALL_CAPITALS: 1 __two_leading: 2"),
    (r'{"pl\u0061in": 1}', "plain: 1"),
    # white space
    ('{"i32":1,"i64":2}', "i32: 1 i64: 2"),
    (' { "i32" : 1 , "i64" : 2 } ', "i32: 1 i64: 2"),
    ('\r\n{\n\t"i32"\n:\n1\n,\n"i64"\n:\n2\n}\n', "i32: 1 i64: 2"),
    # integers
    ('{"i32": 2147483647, "s32": -2147483648}', "i32: 2147483647 s32: -2147483648"),
    ('{"u32": 4294967295, "f32": 4294967295, "sf32": -1}', "u32: 4294967295 f32: 4294967295 sf32: -1"),
    ('{"i64": "9223372036854775807"}', "i64: 9223372036854775807"),
    (
        '{"s64": "-9223372036854775808", "sf64": -9223372036854775808}',
        "s64: -0x8000000000000000 sf64: -0x8000000000000000",
    ),
    ('{"u64": "18446744073709551615", "f64": 18446744073709551615}', "u64: 0xffffffffffffffff f64: 0xffffffffffffffff"),
    ('{"i64": 9007199254740993}', "i64: 9007199254740993"),
    (r'{"i32": "2\u003147"}', "i32: 2147"),
    ('{"i32": 100000.000}', "i32: 100000"),
    ('{"i32": 1e5, "u32": "1e5"}', "i32: 100000 u32: 100000"),
    ('{"i32": 2.147483647e9, "s32": -2.147483648e9}', "i32: 2147483647 s32: -2147483648"),
    ('{"u32": 4.294967295e9}', "u32: 4294967295"),
    # booleans
    ('{"flag": true}', "flag: true"),
    ('{"flag": false}', ""),
    # floats
    ('{"single": 1.175494e-38}', "single: 1.175494e-38"),
    ('{"single": -3.402823e+38}', "single: -3.402823e+38"),
    ('{"single": "1"}', "single: 1"),
    ('{"single": "NaN"}', "single: nan"),
    ('{"single": "Infinity", "twofold": "-Infinity"}', "single: inf twofold: -inf"),
    ('{"twofold": 2.22507e-308}', "twofold: 2.22507e-308"),
    ('{"twofold": -1.79769e+308}', "twofold: -1.79769e+308"),
    ('{"twofold": "1.5E2"}', "twofold: 150"),
    ('{"twofold": -0.0}', "twofold: -0.0"),
    # enums
    ('{"shade": "SHADE_LIGHT"}', "shade: SHADE_LIGHT"),
    ('{"shade": "SHADE_BELOW"}', "shade: SHADE_BELOW"),
    ('{"tint": "TINT_WARM"}', "tint: TINT_WARM"),
    ('{"tint": "tint_warm"}', "tint: TINT_WARM"),
    ('{"tint": "Warm"}', "tint: TINT_WARM"),
    ('{"shade": 0}', ""),
    ('{"shade": 2}', "shade: SHADE_DARK"),
    ('{"shade": 123}', "shade: 123"),
    # strings
    ('{"text": "Hello world!"}', 'text: "Hello world!"'),
    ('{"text": "谷歌"}', 'text: "谷歌"'),
    (r'{"text": "\"\\\/\b\f\n\r\t"}', r'text: "\"\\/\b\f\n\r\t"'),
    (r'{"text": "\u8C37\u6b4c"}', 'text: "谷歌"'),
    (r'{"text": "\uD83D\uDE01"}', 'text: "😁"'),
    # bytes
    ('{"raw": "AQI="}', r'raw: "\x01\x02"'),
    ('{"raw": "-_"}', r'raw: "\xfb"'),
    ('{"raw": "+/8"}', r'raw: "\xfb\xff"'),
    # messages and oneofs
    ('{"child": {"i32": 1234}}', "child {i32: 1234}"),
    ('{"child": {}}', "child {}"),
    ('{"oneU32": 0}', "one_u32: 0"),
    ('{"oneForm": {}}', "one_form {}"),
    ('{"oneText": ""}', 'one_text: ""'),
    ('{"oneRaw": ""}', 'one_raw: ""'),
    ('{"oneFlag": false}', "one_flag: false"),
    ('{"oneU64": 0}', "one_u64: 0"),
    ('{"oneSingle": 0.0}', "one_single: 0"),
    ('{"oneTwofold": 0.0}', "one_twofold: 0"),
    ('{"oneShade": "SHADE_NONE"}', "one_shade: SHADE_NONE"),
    ('{"oneNull": null}', "one_null: NULL_VALUE"),
    ('{"oneNull": "NULL_VALUE"}', "one_null: NULL_VALUE"),
    ('{"oneNull": 0}', "one_null: NULL_VALUE"),
    ('{"oneU32": null, "oneText": "x"}', 'one_text: "x"'),
    ('{"oneText": "x", "oneU32": null}', 'one_text: "x"'),
    ('{"maybe": 0}', "maybe: 0"),
    # maps
    ('{"byI32": {"1": 2, "-3": 4}}', "by_i32 {key: 1 value: 2} by_i32 {key: -3 value: 4}"),
    (
        '{"byU32": {"1": 2}, "byU64": {"18446744073709551615": 4}}',
        "by_u32 {key: 1 value: 2} by_u64 {key: 0xffffffffffffffff value: 4}",
    ),
    ('{"byI64": {"1": 2, "3": "4"}}', "by_i64 {key: 1 value: 2} by_i64 {key: 3 value: 4}"),
    ('{"byFlag": {"true": true, "false": false}}', "by_flag {key: true value: true} by_flag {key: false value: false}"),
    ('{"byText": {"hello": {"i32": 1}}}', 'by_text {key: "hello" value {i32: 1}}'),
    (
        '{"shadeByText": {"a": "SHADE_DARK", "b": 7}}',
        'shade_by_text {key: "a" value: SHADE_DARK} shade_by_text {key: "b" value: 7}',
    ),
    (
        r'{"byI32": {"\u0031": 2}, "byFlag": {"tr\u0075e": true}}',
        "by_i32 {key: 1 value: 2} by_flag {key: true value: true}",
    ),
    # lists
    ('{"i32s": [1, 2, 3]}', "i32s: [1, 2, 3]"),
    ('{"u64s": ["1", 2], "twofolds": [1, "NaN"]}', "u64s: [1, 2] twofolds: [1, nan]"),
    (
        '{"shades": ["SHADE_LIGHT", 0, 9], "flags": [true, false]}',
        "shades: [SHADE_LIGHT, SHADE_NONE, 9] flags: [true, false]",
    ),
    ('{"texts": ["Hello", ""], "raws": ["AAEC", "AQI="]}', r'texts: ["Hello", ""] raws: ["\x00\x01\x02", "\x01\x02"]'),
    ('{"children": [{"i32": 1}, {}]}', "children {i32: 1} children {}"),
    # null is an unset field
    ('{"i32": null, "u64": null, "single": null, "flag": null, "text": null, "raw": null, "shade": null}', ""),
    (
        '{"child": null, "children": null, "i32s": null, "texts": null, "byI32": null, "byText": null, "maybe": null}',
        "",
    ),
    ('{"flagValue": null, "textValue": null, "i64Values": null, "duration": null, "time": null, "mask": null}', ""),
    ('{"struct": null, "list": null, "any": null, "nothing": null}', ""),
    # wrappers
    ('{"flagValue": false, "i32Value": 0, "u32Value": 0}', "flag_value {} i32_value {} u32_value {}"),
    ('{"i64Value": "0", "u64Value": 0}', "i64_value {} u64_value {}"),
    ('{"singleValue": 0, "twofoldValue": 0}', "single_value {} twofold_value {}"),
    ('{"textValue": "", "rawValue": ""}', "text_value {} raw_value {}"),
    (
        '{"flagValue": true, "u64Value": "1", "singleValue": 1.5}',
        "flag_value {value: true} u64_value {value: 1} single_value {value: 1.5}",
    ),
    ('{"textValue": "1", "rawValue": "AQI="}', r'text_value {value: "1"} raw_value {value: "\x01\x02"}'),
    (
        '{"i64Values": [0, "1"], "textValues": ["", "a"]}',
        'i64_values {} i64_values {value: 1} text_values {} text_values {value: "a"}',
    ),
    # durations
    ('{"duration": "-315576000000.999999999s"}', "duration {seconds: -315576000000 nanos: -999999999}"),
    ('{"duration": "315576000000.999999999s"}', "duration {seconds: 315576000000 nanos: 999999999}"),
    (
        '{"durations": ["1.5s", "-0.5s", "0s"]}',
        "durations {seconds: 1 nanos: 500000000} durations {nanos: -500000000} durations {}",
    ),
    # timestamps
    ('{"time": "0001-01-01T00:00:00Z"}', "time {seconds: -62135596800}"),
    ('{"time": "9999-12-31T23:59:59.999999999Z"}', "time {seconds: 253402300799 nanos: 999999999}"),
    ('{"time": "1993-02-10T00:00:00.000Z"}', "time {seconds: 729302400}"),
    ('{"time": "2024-02-29T00:00:00Z"}', "time {seconds: 1709164800}"),
    ('{"times": ["1970-01-01T08:00:01+08:00", "1969-12-31T16:00:01-08:00"]}', "times {seconds: 1} times {seconds: 1}"),
    # masks
    ('{"mask": "foo,barBaz"}', 'mask {paths: "foo" paths: "bar_baz"}'),
    ('{"mask": "fooBar.bazQux"}', 'mask {paths: "foo_bar.baz_qux"}'),
    ('{"mask": ""}', "mask {}"),
    # structs, lists and values
    (
        '{"struct": {"a": null, "b": 1.5}}',
        'struct {fields {key: "a" value {null_value: NULL_VALUE}} fields {key: "b" value {number_value: 1.5}}}',
    ),
    (
        '{"struct": {"a": [1, "2"]}}',
        'struct {fields {key: "a" value {list_value {values {number_value: 1} values {string_value: "2"}}}}}',
    ),
    ('{"struct": {"a": []}, "list": []}', 'struct {fields {key: "a" value {list_value {}}}} list {}'),
    ('{"struct": {}}', "struct {}"),
    ('{"value": 1}', "value {number_value: 1}"),
    ('{"value": false}', "value {bool_value: false}"),
    ('{"value": null}', "value {null_value: NULL_VALUE}"),
    ('{"value": "NaN"}', 'value {string_value: "NaN"}'),
    ('{"value": [0, {}]}', "value {list_value {values {number_value: 0} values {struct_value {}}}}"),
    ('{"value": {"value": 1}}', 'value {struct_value {fields {key: "value" value {number_value: 1}}}}'),
    ('{"values": [["a"], null]}', 'values {list_value {values {string_value: "a"}}} values {null_value: NULL_VALUE}'),
    ('{"lists": [["a"], []]}', 'lists {values {string_value: "a"}} lists {}'),
    # any
    (
        '{"any": {"@type": "type.googleapis.com/form.v1.Form", "i32": 7}}',
        "any {[type.googleapis.com/form.v1.Form] {i32: 7}}",
    ),
    ('{"any": {"i32": 7, "@type": "example.com/form.v1.Form"}}', "any {[example.com/form.v1.Form] {i32: 7}}"),
    (
        '{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.5s"}}',
        "any {[type.googleapis.com/google.protobuf.Duration] {seconds: 1 nanos: 500000000}}",
    ),
    (
        '{"any": {"@type": "type.googleapis.com/google.protobuf.Int32Value", "value": 5}}',
        "any {[type.googleapis.com/google.protobuf.Int32Value] {value: 5}}",
    ),
    (
        '{"any": {"@type": "type.googleapis.com/google.protobuf.FieldMask", "value": "foo,barBaz"}}',
        'any {[type.googleapis.com/google.protobuf.FieldMask] {paths: "foo" paths: "bar_baz"}}',
    ),
    (
        '{"any": {"@type": "type.googleapis.com/google.protobuf.Value", "value": 1}}',
        "any {[type.googleapis.com/google.protobuf.Value] {number_value: 1}}",
    ),
    (
        '{"any": {"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"a": 1}}}',
        'any {[type.googleapis.com/google.protobuf.Struct] {fields {key: "a" value {number_value: 1}}}}',
    ),
    (
        '{"any": {"@type": "type.googleapis.com/google.protobuf.Any",'
        ' "value": {"@type": "type.googleapis.com/form.v1.Form", "i32": 7}}}',
        "any {[type.googleapis.com/google.protobuf.Any] {[type.googleapis.com/form.v1.Form] {i32: 7}}}",
    ),
    (
        '{"anys": [{}, {"@type": "type.googleapis.com/form.v1.Form"}]}',
        "anys {} anys {[type.googleapis.com/form.v1.Form] {}}",
    ),
]


@pytest.mark.parametrize(("body", "text"), READ)
def test_what_protobuf_reads_is_read_to_the_same(body: str, text: str) -> None:
    message, faults = attempt(FORM, body)

    assert faults == []
    assert same(message, form(text))
    assert same(json_format.Parse(body, FORM.message_class(), descriptor_pool=POOL), form(text))


@pytest.mark.parametrize(("body", "text"), READ)
def test_what_was_read_is_written_as_protobuf_writes_it(body: str, text: str) -> None:
    written = json.loads(orjson.dumps(FORM.write(attempt(FORM, body)[0])))

    assert _without_empty(written) == _without_empty(json_format.MessageToDict(form(text), descriptor_pool=POOL))


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ([], {})}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return "not a number" if value != value else value


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("i64: 1 u64: 1", {"i64": "1", "u64": "1"}),
        ("f64: 1 s64: -1 sf64: 1", {"s64": "-1", "f64": "1", "sf64": "1"}),
        ("two_words: 1 _leading_line: 2", {"twoWords": 1, "LeadingLine": 2}),
        ("shade: 123", {"shade": 123}),
        ("tint: Warm", {"tint": "TINT_WARM"}),
        ("i32: 0 text: '' flag: false", {}),
        ("by_flag {key: true value: false}", {"byFlag": {"true": False}}),
        ("by_i64 {key: -1 value: 1}", {"byI64": {"-1": "1"}}),
        ("duration {seconds: 1}", {"duration": "1s"}),
        ("duration {seconds: 1 nanos: 10000000}", {"duration": "1.010s"}),
        ("duration {nanos: -10000}", {"duration": "-0.000010s"}),
        ("duration {nanos: 10}", {"duration": "0.000000010s"}),
        ("time {}", {"time": "1970-01-01T00:00:00Z"}),
        ("time {nanos: 10000000}", {"time": "1970-01-01T00:00:00.010Z"}),
        ("time {nanos: 10000}", {"time": "1970-01-01T00:00:00.000010Z"}),
        ("time {nanos: 10}", {"time": "1970-01-01T00:00:00.000000010Z"}),
        ("time {seconds: -62135596800}", {"time": "0001-01-01T00:00:00Z"}),
        ("any {}", {"any": {}}),
        ("value {}", {"value": None}),
        ("one_null: NULL_VALUE", {"oneNull": None}),
        ("single: nan twofold: -inf", {"single": "NaN", "twofold": "-Infinity"}),
    ],
)
def test_a_message_is_written(text: str, written: dict[str, object]) -> None:
    lists = {field.json_name for field in FORM.fields.values() if field.repeated}

    document = FORM.write(form(text))

    assert {key: value for key, value in document.items() if value or key not in lists} == written


@pytest.mark.parametrize(
    "text",
    [
        "time {seconds: -62135596801}",
        "time {seconds: 253402300800}",
        "time {nanos: -1}",
        "time {nanos: 1000000000}",
        "duration {seconds: -315576000001}",
        "duration {seconds: 315576000001}",
        "duration {nanos: 1000000000}",
        "duration {seconds: 1 nanos: -1}",
        "duration {seconds: -1 nanos: 1}",
        "value {number_value: nan}",
        "struct {fields {key: 'a' value {number_value: inf}}}",
    ],
)
def test_what_has_no_json_form_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match=r"Timestamp|Duration|Value"):
        FORM.write(form(text))
