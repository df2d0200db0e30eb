"""JSON and protobuf documents made from message descriptors: mostly what a field takes, sometimes what none does."""

import base64
import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

_DEPTH = 4
_WORDS = (
    "a",
    "moby dick",
    "shelves/1/books/2",
    "é",
    "日本",
    "😀",
    "",
    "0",
    "true",
    "null",
    "!NOT_FOUND",
    "fail",
    "x" * 40,
)
_WILD = (
    *(
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.0",
        "1e2",
        "1.5",
        "1e400",
        "-1e-400",
        "1E+2",
        "01",
        "+1",
        ".5",
        "1.",
        "0x1",
    ),
    *("NaN", "Infinity", "-Infinity", '"NaN"', '"Infinity"', "2147483648", "-2147483649", "9223372036854775808"),
    *('"18446744073709551616"', '"1e3"', '" 1"', '"1 "', '"true"', "[]", "{}", "[[]]", "[null]", '{"a":1}', '""'),
    *(
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\u0000"',
        '"\\x"',
        '"\n"',
        '"unended',
        "'a'",
        "/* c */ 1",
        "[1,]",
        '{"a":1,}',
    ),
    *('{"@type":"type.googleapis.com/kitchen.v1.Sink"}', '{"@type":"x/y"}', '{"@type":1}', '"2026-02-30T00:00:00Z"'),
    *('"9999-12-31T23:59:59.999999999Z"', '"0000-01-01T00:00:00Z"', '"99999999999999s"', '"-0.0000000001s"', '"a..b,"'),
    *('"====", "a"', '"YQ="', '"_-8"', '"COLOR_NONE"', "7", "-1", "undefined", "\ufeff1", "\u2028", '"\ud83d"'),
)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (31, True),
    FieldDescriptor.CPPTYPE_INT64: (63, True),
    FieldDescriptor.CPPTYPE_UINT32: (32, False),
    FieldDescriptor.CPPTYPE_UINT64: (64, False),
}
_TIMES = ("2026-01-02T03:04:05Z", "1972-01-01T10:00:20.021-05:00", "0001-01-01T00:00:00Z", "2016-12-31T23:59:60Z")
_WELL_KNOWN: Mapping[str, Sequence[str]] = {
    "google.protobuf.Timestamp": tuple(f'"{time}"' for time in _TIMES),
    "google.protobuf.Duration": ('"1s"', '"-1.5s"', '"315576000000s"', '"0.000000001s"'),
    "google.protobuf.FieldMask": ('""', '"title"', '"name,pageCount"', '"quota.inner"'),
    "google.protobuf.Empty": ("{}",),
}


class Documents:
    """Writes documents with the given source of chance. `wildness` is the share of values that fit nothing."""

    def __init__(self, rng: Random, wildness: float = 0.04) -> None:
        self._rng = rng
        self._wildness = wildness

    def text(self, descriptor: Descriptor, depth: int = _DEPTH) -> str:
        """Write one JSON document for a message."""
        name = descriptor.full_name
        if self._rng.random() < self._wildness:
            return self.wild()
        if name in _WELL_KNOWN:
            return self._rng.choice(_WELL_KNOWN[name])
        if name == "google.protobuf.Any":
            return self._any()
        if name in {"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"}:
            return self._plain(name.rpartition(".")[2], depth)
        if name.startswith("google.protobuf.") and name.endswith("Value"):
            return self._scalar(descriptor.fields_by_name["value"])
        fields = self._rng.sample(
            list(descriptor.fields), min(len(descriptor.fields), self._rng.choice((0, 1, 2, 3, 6)))
        )
        members = [f"{self._name(field)}:{self._value(field, depth - 1)}" for field in fields]
        if members and self._rng.random() < self._wildness:
            members.append(self._rng.choice(members))
        return "{" + self._rng.choice((",", ", ", ",\n")).join(members) + "}"

    def field_text(self, field: FieldDescriptor) -> str:
        """Write one JSON document for a field."""
        return self._value(field, _DEPTH)

    def wild(self) -> str:
        """Write something that hardly any field takes."""
        rng = self._rng
        if rng.random() < 0.8:
            return rng.choice(_WILD)
        count = rng.choice((90, 101, 200, 2_000, 20_000))
        return rng.choice(
            (
                "[" * count + "]" * count,
                '{"child":' * count + "{}" + "}" * count,
                '{"struct":{"a":' + '{"a":' * count + "1" + "}" * count + "}}",
                '{"value":' + "[" * count + "]" * count + "}",
                "[" * count,
                "9" * count,
                "1e" + "9" * count,
                "0." + "1" * count,
                '"' + "é" * count + '"',
                '{"nums":[' + "1," * count + "1]}",
                '{"labels":{' + ",".join(f'"{number}":"v"' for number in range(count)) + "}}",
                "{" + ",".join(f'"unknown{number}":1' for number in range(count)) + "}",
            )
        )

    def _name(self, field: FieldDescriptor) -> str:
        chance = self._rng.random()
        if chance < self._wildness:
            return self._rng.choice(
                ('"nothing"', '""', '"\\ud800"', '"a.b"', '"@type"', f'"{field.name}" ', "unquoted", "1")
            )
        return json.dumps(field.name if chance < 0.2 else field.json_name)

    def _value(self, field: FieldDescriptor, depth: int) -> str:
        rng = self._rng
        message = field.message_type
        if rng.random() < self._wildness:
            return self.wild()
        count = rng.choice((0, 1, 2, 5)) if depth > 0 else 0
        if message is not None and message.GetOptions().map_entry:
            key, value = message.fields_by_name["key"], message.fields_by_name["value"]
            entries = (f"{_quoted(self._scalar(key))}:{self._single(value, depth)}" for _ in range(count))
            return "{" + ",".join(entries) + "}"
        if field.is_repeated:
            return "[" + ",".join(self._single(field, depth) for _ in range(count)) + "]"
        return self._single(field, depth)

    def _single(self, field: FieldDescriptor, depth: int) -> str:
        if field.message_type is None:
            return self._scalar(field)
        return self.text(field.message_type, depth) if depth > 0 else "{}"

    def _scalar(self, field: FieldDescriptor) -> str:
        rng = self._rng
        if rng.random() < self._wildness:
            return self.wild()
        if field.enum_type is not None:
            name = rng.choice(list(field.enum_type.values)).name
            return "null" if name == "NULL_VALUE" else rng.choice((json.dumps(name), "1", "2"))
        if field.cpp_type in _INTEGERS:
            return self._integer(*_INTEGERS[field.cpp_type])
        if field.type == FieldDescriptor.TYPE_BOOL:
            return rng.choice(("true", "false"))
        if field.type == FieldDescriptor.TYPE_BYTES:
            return json.dumps(base64.b64encode(rng.randbytes(rng.randint(0, 9))).decode())
        if field.type == FieldDescriptor.TYPE_STRING:
            return json.dumps(rng.choice(_WORDS), ensure_ascii=rng.random() < 0.5)
        return rng.choice(("0", "1.5", "-0.0", "1e10", "3.4e38", "1.7e308", '"NaN"', '"-Infinity"', '"2.5"'))

    def _integer(self, bits: int, signed: bool) -> str:
        rng = self._rng
        value = rng.getrandbits(rng.randint(1, bits))
        if signed and rng.random() < 0.4:
            value = -value
        return rng.choice((str(value), f'"{value}"', f"{value}.0" if abs(value) < 2**53 else str(value)))

    def _plain(self, kind: str, depth: int) -> str:
        rng = self._rng
        if kind == "Value" and (depth <= 0 or rng.random() < 0.5):
            return rng.choice(("null", "true", "1", "-1.5", '"a"', "[]", "{}"))
        inner = [self._plain("Value", depth - 1) for _ in range(rng.randint(0, 3))]
        if kind == "ListValue" or (kind == "Value" and rng.random() < 0.5):
            return "[" + ",".join(inner) + "]"
        return "{" + ",".join(f'"k{number}":{value}' for number, value in enumerate(inner)) + "}"

    def _any(self) -> str:
        return self._rng.choice(
            (
                '{"@type":"type.googleapis.com/kitchen.v1.Inner","nums":[1]}',
                '{"nums":[1],"@type":"type.googleapis.com/kitchen.v1.Inner"}',
                '{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}',
                '{"@type":"type.googleapis.com/google.protobuf.Any","value":{"@type":"type.googleapis.com/kitchen.v1.Inner"}}',
                '{"@type":"type.googleapis.com/no.Such"}',
                "{}",
            )
        )


def octets(rng: Random, descriptor: Descriptor, depth: int = 3) -> bytes:
    """Write a message in the protobuf wire format, field by field, with random values of the right wire type."""
    written = b""
    for _ in range(rng.choice((0, 1, 2, 4, 8))):
        if not descriptor.fields:
            break
        field: Any = rng.choice(list(descriptor.fields))
        if field.message_type is not None:
            inner = octets(rng, field.message_type, depth - 1) if depth > 0 else b""
            written += _varint(field.number << 3 | 2) + _varint(len(inner)) + inner
        elif field.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}:
            text = rng.choice(_WORDS).encode()
            written += _varint(field.number << 3 | 2) + _varint(len(text)) + text
        elif field.type in {FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64}:
            written += _varint(field.number << 3 | 1) + rng.randbytes(8)
        elif field.type in {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32}:
            written += _varint(field.number << 3 | 5) + rng.randbytes(4)
        else:
            written += _varint(field.number << 3) + _varint(rng.getrandbits(rng.randint(1, 64)))
    return written


def _varint(value: int) -> bytes:
    written = b""
    while value >= 128:
        written, value = written + bytes((value % 128 | 128,)), value // 128
    return written + bytes((value,))


def _quoted(text: str) -> str:
    return text if text.startswith('"') else json.dumps(text)
