"""The well-known types whose JSON form is not that of their fields: times, masks, structs and wrappers.

`google.protobuf.Any` needs the codecs of other messages and lives in `any`.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor

from server.transcoding.codec.document import MAX_DEPTH, Number, note_doubled
from server.transcoding.codec.scalars import DOUBLE, STRING, Scalar, scalar_of
from server.transcoding.violation import MAX_VIOLATIONS, Faults, Refused

TIMESTAMP = "google.protobuf.Timestamp"
DURATION = "google.protobuf.Duration"
FIELD_MASK = "google.protobuf.FieldMask"
VALUE = "google.protobuf.Value"
HTTP_BODY = "google.api.HttpBody"
"""Its bytes, of any type, are the whole body where a rule says so; inside another message it is JSON as any is."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_MAX_DURATION = 315_576_000_000
_FIRST_SECOND = -62_135_596_800
_LAST_SECOND = 253_402_300_799
_LAST_NANO = 999_999_999
_ROOM = 90
"""How many of protobuf's 100 levels a Struct, ListValue or Value may take up: an object in it costs 3, a list 2."""
_MASK_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*|\*")
_CAPITAL = re.compile(r"[A-Z]")
_CAMEL = re.compile(r"_([a-z])")


class Form(NamedTuple):
    """How a message type is read and written as one value. `parse` reads query text; None where nothing can."""

    read: Callable[[Any, object, Faults], None]
    write: Callable[[Any], Any]
    parse: Callable[[Any, str], None] | None = None


def _fraction(nanos: int) -> str:
    if not nanos:
        return ""
    digits = f"{nanos:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}"


def _nanos(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def _parse_timestamp(message: Any, text: str) -> None:
    parts = _TIMESTAMP.fullmatch(text)
    if parts is None:
        raise Refused("must be an RFC 3339 time such as 2030-01-31T12:00:00Z")
    hours, minutes = int(parts[9] or 0), int(parts[10] or 0)
    try:
        moment = datetime(*(int(parts[index]) for index in range(1, 7)), tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        raise Refused("must be a time that exists") from None
    if hours > 23 or minutes > 59:
        raise Refused("must have an offset below 24 hours")
    offset = (hours * 3600 + minutes * 60) * (-1 if parts[8] == "-" else 1)
    seconds = (moment - _EPOCH) // timedelta(seconds=1) - offset
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise Refused("must be a time from year 1 to 9999")
    message.seconds = seconds
    message.nanos = _nanos(parts[7])


def moment(message: Any) -> tuple[int, int]:
    """Return the seconds and nanoseconds of a Timestamp. Raises ValueError when it has no JSON form."""
    seconds, nanos = message.seconds, message.nanos
    if not (_FIRST_SECOND <= seconds <= _LAST_SECOND and 0 <= nanos <= _LAST_NANO):
        raise ValueError(f"a Timestamp of {seconds} seconds and {nanos} nanoseconds is no time from year 1 to 9999")
    return seconds, nanos


def _write_timestamp(message: Any) -> str:
    seconds, nanos = moment(message)
    return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]}{_fraction(nanos)}Z"


def _parse_duration(message: Any, text: str) -> None:
    parts = _DURATION.fullmatch(text)
    if parts is None:
        raise Refused("must be a duration in seconds such as 1.5s")
    seconds, nanos = int(parts[2]), _nanos(parts[3])
    if seconds > _MAX_DURATION:
        raise Refused(f"must be a duration of at most {_MAX_DURATION}s")
    sign = -1 if parts[1] else 1
    message.seconds = sign * seconds
    message.nanos = sign * nanos


def span(message: Any) -> tuple[int, int]:
    """Return the seconds and nanoseconds of a Duration. Raises ValueError when it has no JSON form."""
    seconds, nanos = message.seconds, message.nanos
    if abs(seconds) > _MAX_DURATION or abs(nanos) > _LAST_NANO or seconds * nanos < 0:
        raise ValueError(f"a Duration of {seconds} seconds and {nanos} nanoseconds is out of range")
    return seconds, nanos


def _write_duration(message: Any) -> str:
    seconds, nanos = span(message)
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s"


def _parse_mask(message: Any, text: str) -> None:
    """Read comma-separated paths. Camel case becomes snake case; a path already in snake case is taken as it is."""
    for path in text.split(",") if text else ():
        if not _MASK_PATH.fullmatch(path):
            raise Refused("must be field names joined by commas")
        message.paths.append(_CAPITAL.sub(lambda capital: "_" + capital[0].lower(), path))


def _write_mask(message: Any) -> str:
    return ",".join(_camel(path) for path in message.paths)


def _camel(path: str) -> str:
    """Return the path in camel case, or unchanged when it could not be read back."""
    camel = _CAMEL.sub(lambda letter: letter[1].upper(), path)
    return camel if _CAPITAL.sub(lambda capital: "_" + capital[0].lower(), camel) == path else path


def _from_text(parse: Callable[[Any, str], None]) -> Callable[[Any, object, Faults], None]:
    def read(message: Any, value: object, _faults: Faults) -> None:
        if type(value) is not str:
            raise Refused("must be a string")
        parse(message, value)

    return read


def _read_struct(message: Any, value: object, faults: Faults, room: int = _ROOM) -> None:
    if not isinstance(value, dict):
        raise Refused("must be a JSON object")
    fields = message.fields
    note_doubled(value, faults)
    for key, item in value.items():
        mark = len(faults)
        if mark >= MAX_VIOLATIONS:
            return
        try:
            STRING.read(key)
            _read_value(fields[key], item, faults, room - 3)
        except Refused as refusal:
            faults.add("", str(refusal))
        if len(faults) != mark:
            faults.within(mark, key)


def _read_list(message: Any, value: object, faults: Faults, room: int = _ROOM) -> None:
    if not isinstance(value, list):
        raise Refused("must be a JSON array")
    add = message.values.add
    for index, item in enumerate(value):
        mark = len(faults)
        if mark >= MAX_VIOLATIONS:
            return
        try:
            _read_value(add(), item, faults, room - 2)
        except Refused as refusal:
            faults.add("", str(refusal))
        if len(faults) != mark:
            faults.within(mark, f"[{index}]")


def _read_value(message: Any, value: object, faults: Faults, room: int = _ROOM) -> None:
    if value is None:
        message.null_value = 0
    elif type(value) is bool:
        message.bool_value = value
    elif type(value) is str:
        message.string_value = STRING.read(value)
    elif type(value) is int or type(value) is Number:
        message.number_value = DOUBLE.read(value)
    elif room <= 0:
        raise Refused(f"nests too deep: a message has {MAX_DEPTH} levels, of which an object takes 3 and an array 2")
    elif isinstance(value, list):
        message.list_value.SetInParent()
        _read_list(message.list_value, value, faults, room)
    else:
        message.struct_value.SetInParent()
        _read_struct(message.struct_value, value, faults, room)


def _write_struct(message: Any) -> dict[str, Any]:
    return {key: _write_value(value) for key, value in message.fields.items()}


def _write_list(message: Any) -> list[Any]:
    return [_write_value(value) for value in message.values]


def _write_value(message: Any) -> Any:
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    value = getattr(message, kind)
    if kind == "struct_value":
        return _write_struct(value)
    if kind == "list_value":
        return _write_list(value)
    if kind == "number_value" and not isfinite(value):
        raise ValueError("a Value cannot hold a number that is not finite")
    return value


def _wrapper(scalar: Scalar) -> Form:
    def read(message: Any, value: object, _faults: Faults) -> None:
        message.value = scalar.read(value)

    def parse(message: Any, text: str) -> None:
        message.value = scalar.parse(text)

    def write(message: Any) -> Any:
        return scalar.write(message.value) if scalar.write else message.value

    return Form(read, write, parse)


_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
)
_TYPES = {
    TIMESTAMP: Form(_from_text(_parse_timestamp), _write_timestamp, _parse_timestamp),
    DURATION: Form(_from_text(_parse_duration), _write_duration, _parse_duration),
    FIELD_MASK: Form(_from_text(_parse_mask), _write_mask, _parse_mask),
    "google.protobuf.Struct": Form(_read_struct, _write_struct),
    "google.protobuf.ListValue": Form(_read_list, _write_list),
    VALUE: Form(_read_value, _write_value),
}


def well_known(message: Descriptor) -> Form | None:
    """Return the JSON form of a well-known type, or None for a message like any other."""
    if message.full_name in _WRAPPERS:
        return _wrapper(scalar_of(message.fields_by_name["value"]))
    return _TYPES.get(message.full_name)
