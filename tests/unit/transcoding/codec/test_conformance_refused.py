"""What protobuf's JSON conformance tests refuse, in a table of our own, and where we differ from them on purpose."""

from typing import Any

import pytest

from tests.unit.transcoding.codec.form import FORM, form
from tests.unit.transcoding.codec.reading import attempt

REFUSED = [
    # syntax
    '{"text": "abc\\',
    "{plain: 1}",
    '{"plain":1,}',
    '{"plain":1 , }',
    '{\n// a comment\n"plain": 1}',
    '{/* a comment */"plain": 1}',
    '{"i32": 1 "i64": 2}',
    '{"i32": 1\n"i64": 2}',
    "{'text': \"a\"}",
    "{\"text\": 'a'}",
    "null",
    # doubled names
    '{"child": {"i32": 1}, "child": {}}',
    '{"two_words": 1, "twoWords": 1}',
    '{"twoWords": 1, "two_words": 1}',
    # integers
    '{"i32": 2147483648}',
    '{"i32": -2147483649}',
    '{"u32": 4294967296}',
    '{"u32": -1}',
    '{"i64": "9223372036854775808"}',
    '{"i64": "-9223372036854775809"}',
    '{"u64": "18446744073709551616"}',
    '{"i32": 0.5}',
    '{"i64": "0.5"}',
    '{"i32": "3x3"}',
    '{"u64": "0x1"}',
    '{"i32": +1}',
    '{"i32": 01}',
    '{"i32": -01}',
    '{"i32": " 1"}',
    '{"i32": "1 "}',
    '{"i32": ""}',
    '{"i32": "NaN"}',
    # booleans
    '{"flag": 0}',
    '{"flag": 1}',
    '{"flag": True}',
    '{"flag": FALSE}',
    '{"flag": "true"}',
    '{"flag": "false"}',
    # floats
    '{"single": NaN}',
    '{"twofold": Infinity}',
    '{"twofold": -Infinity}',
    '{"single": -3.502823e+38}',
    '{"single": 3.502823e+38}',
    '{"twofold": -1.89769e+308}',
    '{"twofold": 1.89769e+308}',
    '{"twofold": "1,5"}',
    '{"twofold": ""}',
    '{"twofold": "inf"}',
    # enums
    '{"shade": SHADE_LIGHT}',
    '{"shade": "LIGHT"}',
    '{"shade": "shade_light"}',
    '{"shade": "1"}',
    '{"shade": 2147483648}',
    '{"shades": ["LIGHT"]}',
    '{"shadeByText": {"a": "LIGHT"}}',
    # strings
    r'{"text": "\U8C37"}',
    r'{"text": "\uXXXX"}',
    r'{"text": "\u8C3"}',
    r'{"text": "\uD800"}',
    r'{"text": "\uDC00"}',
    r'{"text": "\uDE01\uD83D"}',
    '{"text": 12345}',
    '{"text": true}',
    '{"text": "\x01"}',
    # bytes
    '{"raw": "a"}',
    '{"raw": "a==="}',
    '{"raw": "%%%%"}',
    '{"raw": "AQI=="}',
    '{"raw": "A Q I ="}',
    # messages and oneofs
    '{"child": 1}',
    '{"child": []}',
    '{"oneU32": 1, "oneText": "x"}',
    '{"oneNull": null, "oneText": "x"}',
    # maps
    '{"byI32": {1: 2}}',
    '{"byFlag": {true: false}}',
    '{"byI32": {null: 1}}',
    '{"byI32": {"0": null}}',
    '{"byI32": {"2147483648": 0}}',
    '{"byFlag": {"yes": true}}',
    '{"byText": []}',
    # lists
    '{"i32s": [1, false]}',
    '{"i32s": [1, "name"]}',
    '{"i32s": [1, {"i32": 4}]}',
    '{"texts": ["1", 2]}',
    '{"texts": ["1", false]}',
    '{"texts": ["1", {"a": 4}]}',
    '{"children": [{}, 2]}',
    '{"children": [{}, "2"]}',
    '{"children": [{}, null]}',
    '{"i32s": [1, null]}',
    '{"i32s": [1, 2,]}',
    '{"i32s": [1 , ]}',
    '{"i32s": 1}',
    # durations and timestamps
    '{"duration": "1"}',
    '{"duration": "1.0000000001s"}',
    '{"duration": "-315576000001s"}',
    '{"duration": "315576000001.000000000s"}',
    '{"time": "0000-01-01T00:00:00Z"}',
    '{"time": "10000-01-01T00:00:00Z"}',
    '{"time": "0001-01-01T00:00:00"}',
    '{"time": "0001-01-01 00:00:00Z"}',
    '{"time": "0001-01-01T00:00:00z"}',
    '{"time": "0001-01-01t00:00:00Z"}',
    '{"time": "1970-01-01T00:00:00+0800"}',
    '{"time": "2023-02-29T00:00:00Z"}',
    '{"time": "0001-01-01T00:00:00+00:01"}',
    # any
    '{"any": {"@type": "", "value": ""}}',
    '{"any": {"@type": "form.v1.Form"}}',
    '{"any": {"@type": "type.googleapis.com/"}}',
    '{"any": {"@type": 1}}',
    '{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1"}}',
    # unknown fields, whatever they hold
    '{"unknown": 1}',
    '{"unknown": null}',
    '{"unknown": {"a": 1}}',
    '{"child": {"unknown": []}}',
]


@pytest.mark.parametrize("body", REFUSED)
def test_what_protobuf_refuses_is_refused(body: str) -> None:
    assert len(attempt(FORM, body)[1]) == 1


def _read(body: str) -> Any:
    message, faults = attempt(FORM, body)
    return message if not faults else [field for field, _ in faults]


def _nested(depth: int) -> str:
    return '{"value": ' + '{"a": ' * depth + "1" + "}" * (depth + 1)


DIFFERENCES = [
    (
        "A mask in proto names is read: request fields have two spellings and so have the paths of their masks.",
        lambda: list(_read('{"mask": "foo,bar_bar"}').mask.paths) == ["foo", "bar_bar"],
    ),
    (
        "A mask that camel case cannot express is written as it is: no answer is lost for it.",
        lambda: FORM.write(form("mask {paths: 'fooBar' paths: 'foo__Bar'}"))["mask"] == "fooBar,foo__Bar",
    ),
    (
        "An Any of a type that is not known is written as its bytes: an error's details survive their way.",
        lambda: (
            FORM.write(form("any {type_url: 'x/no.Such' value: 'a'}"))["any"] == {"@type": "x/no.Such", "value": "YQ=="}
        ),
    ),
    (
        "Empty lists and maps are written: an empty page still has its list.",
        lambda: FORM.write(form(""))["children"] == [],
    ),
    (
        "Unknown fields and enum names are never ignored: a misspelt name is a mistake that the client should see.",
        lambda: _read('{"unknown": 1, "shade": "DIM"}') == ["unknown", "shade"],
    ),
    (
        "A name doubled in a Struct is refused as in a message: which one counts would be a guess.",
        lambda: _read('{"struct": {"a": 1, "a": 1}}') == ["struct.a"],
    ),
    (
        "Two spellings of one map key are refused, as one of the values would vanish.",
        lambda: _read('{"byI32": {"1": 1, "1.0": 1}}') == ['byI32["1.0"]'],
    ),
    (
        "A Struct nests at most 30 objects: a receiver of the message refuses more than 100 of protobuf's levels.",
        lambda: bool(_read(_nested(30)).SerializeToString()) and _read(_nested(31)) == ["value" + ".a" * 30],
    ),
    (
        "Minus zero keeps its sign without a fraction too, as some languages write it: in a float it is not zero.",
        lambda: (
            str(_read('{"twofold": -0, "twofolds": [0, -0], "i32": -0, "u64": 0}'))
            == "twofold: -0\ntwofolds: 0\ntwofolds: -0\n"
        ),
    ),
    (
        "A number of more than 1000 digits is refused: no type holds it and reading it takes long.",
        lambda: _read('{"twofold": 1.' + "0" * 1000 + "}") == ["body"],
    ),
]


@pytest.mark.parametrize("holds", [holds for _, holds in DIFFERENCES], ids=[reason for reason, _ in DIFFERENCES])
def test_a_chosen_difference(holds: Any) -> None:
    assert holds()
