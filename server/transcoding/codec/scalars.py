"""Scalar fields: JSON values and the text of paths and queries into Python, and back into JSON.

The rules are those of the proto3 JSON mapping (protobuf.dev/programming-guides/json), read strictly.
"""

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from server.transcoding.codec.document import MAX_DIGITS, Number
from server.transcoding.violation import Refused

_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_URL_ALPHABET = str.maketrans("-_", "+/")
_BOOLEANS = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True)
_BOOLEANS |= dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False)
_NAMED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SHOWN_NAMES = 20
_NULL = "google.protobuf.NullValue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """How one scalar type is read and written. The readers raise `Refused`; `write` None means as it is."""

    read: Callable[[object], Any]
    parse: Callable[[str], Any]
    write: Callable[[Any], Any] | None = None


def scalar_of(field: FieldDescriptor) -> Scalar:
    """Return the rules for a scalar or enum field."""
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.type == FieldDescriptor.TYPE_STRING and not _checks_text(field):
        return _UNCHECKED_STRING
    return _SCALARS[field.type]


def _checks_text(field: FieldDescriptor) -> bool:
    """Tell whether protobuf lets only UTF-8 into a string: in proto3; elsewhere it may let anything in."""
    message = field.containing_type
    return message is not None and _syntax(message.file) == "proto3"


@lru_cache(maxsize=64)
def _syntax(file: FileDescriptor) -> str:
    return FileDescriptorProto.FromString(file.serialized_pb).syntax


def _read_string(value: object) -> str:
    if type(value) is not str:
        raise Refused("must be a string")
    if not value.isascii():
        _check_text(value)
    return value


def _check_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused("has half of a surrogate pair") from None


def _write_unchecked(value: str | bytes) -> str:
    """Return a string's text; protobuf gives one that is not UTF-8 as bytes."""
    return value if isinstance(value, str) else value.decode(errors="replace")


def _read_bool(value: object) -> bool:
    if type(value) is not bool:
        raise Refused("must be true or false")
    return value


def _parse_bool(text: str) -> bool:
    value = _BOOLEANS.get(text)
    if value is None:
        raise Refused("must be true or false")
    return value


def _integer(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if type(value) is int:
            number = value
        elif type(value) is str:
            number = exact_integer(value)
        elif type(value) is Number:
            number = exact_integer(value.text)
        else:
            raise Refused("must be an integer")
        if not low <= number <= high:
            raise Refused(f"must be an integer from {low} to {high}")
        return number

    return read


def exact_integer(text: str) -> int:
    """Read a decimal integer, also written as `1.0` or `1e3`, without a detour over floats. Raises `Refused`."""
    if text == "-0":  # a body may be full of it
        return 0
    if len(text) > MAX_DIGITS or not _NUMBER.fullmatch(text):
        raise Refused("must be an integer")
    if _PLAIN.fullmatch(text):
        return int(text)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise Refused("must be an integer") from None
    if number and number.adjusted() > 20:
        raise Refused("is an integer out of range")
    if number != number.to_integral_value():
        raise Refused("must be an integer")
    return int(number)


def _read_double(value: object) -> float:
    if type(value) is Number:
        number = float(value.text)
    elif type(value) is int:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    elif type(value) is str:
        return _parse_double(value)
    else:
        raise Refused("must be a number")
    if math.isinf(number):
        raise Refused("is a number out of range")
    return number


def _parse_double(text: str) -> float:
    if text in _NAMED:
        return _NAMED[text]
    if len(text) > MAX_DIGITS or not _NUMBER.fullmatch(text):
        raise Refused("must be a number")
    return _read_double(Number(text))


def _single(number: float) -> float:
    try:
        struct.pack("<f", number)
    except OverflowError:
        raise Refused("is a number out of range") from None
    return number


def _write_double(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")


def _write_float(number: float) -> float | str:
    """Return the shortest decimal that reads back as the same 32-bit float."""
    if not math.isfinite(number):
        return _write_double(number)
    for digits in (6, 7, 8):
        short = float(f"{number:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", short))[0] == number:
            return short
    return float(f"{number:.9g}")


def _read_bytes(value: object) -> bytes:
    if type(value) is not str:
        raise Refused("must be a base64 string")
    text = value.translate(_URL_ALPHABET)
    if "=" not in text:
        text += "=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except ValueError:
        raise Refused("must be a base64 string") from None


def _write_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _enum(enum: EnumDescriptor) -> Scalar:
    numbers: dict[str, int] = {value.name: value.number for value in enum.values}
    names: dict[int, str | None] = {value.number: value.name for value in reversed(enum.values)}
    if enum.full_name == _NULL:
        return Scalar(read=_read_null, parse=_enum_text(numbers), write=lambda _number: None)
    expected = "must be " + _choices([value.name for value in enum.values])
    closed = enum.is_closed

    def read(value: object) -> int:
        number = numbers.get(value) if type(value) is str else value
        if type(number) is not int or (number not in names and (closed or not -(2**31) <= number < 2**31)):
            raise Refused(expected)
        return number

    def write(number: int) -> str | int | None:
        return names.get(number, number)

    return Scalar(read=read, parse=_enum_text(numbers), write=write)


def _enum_text(numbers: Mapping[str, int]) -> Callable[[str], int]:
    known = {str(number): number for number in numbers.values()} | dict(numbers)
    expected = "must be " + _choices(list(numbers))

    def parse(text: str) -> int:
        number = known.get(text)
        if number is None:
            raise Refused(expected)
        return number

    return parse


def _read_null(value: object) -> int:
    if value is not None and value != "NULL_VALUE" and (type(value) is not int or value != 0):
        raise Refused("must be null")
    return 0


def _choices(names: list[str]) -> str:
    if len(names) > _SHOWN_NAMES:
        return "one of " + ", ".join(names[:_SHOWN_NAMES]) + ", …"
    return names[0] if len(names) == 1 else "one of " + ", ".join(names)


def _number(low: int, high: int, write: Callable[[Any], Any] | None = None) -> Scalar:
    read = _integer(low, high)
    return Scalar(read=read, parse=read, write=write)


_INT32 = _number(-(2**31), 2**31 - 1)
_UINT32 = _number(0, 2**32 - 1)
_INT64 = _number(-(2**63), 2**63 - 1, write=str)
_UINT64 = _number(0, 2**64 - 1, write=str)
STRING = Scalar(read=_read_string, parse=_read_string)
_UNCHECKED_STRING = Scalar(read=_read_string, parse=_read_string, write=_write_unchecked)
DOUBLE = Scalar(read=_read_double, parse=_parse_double, write=_write_double)
_SCALARS: dict[int, Scalar] = {
    FieldDescriptor.TYPE_STRING: STRING,
    FieldDescriptor.TYPE_BOOL: Scalar(read=_read_bool, parse=_parse_bool),
    FieldDescriptor.TYPE_BYTES: Scalar(read=_read_bytes, parse=_read_bytes, write=_write_bytes),
    FieldDescriptor.TYPE_DOUBLE: DOUBLE,
    FieldDescriptor.TYPE_FLOAT: Scalar(
        read=lambda value: _single(_read_double(value)),
        parse=lambda text: _single(_parse_double(text)),
        write=_write_float,
    ),
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
}
