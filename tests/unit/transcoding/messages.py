"""Hypothesis strategies for messages of any type."""

import math
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st

from tests.unit.transcoding.kitchen import message

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_FLOATS = st.floats(width=32, allow_nan=False) | st.just(math.nan)
_INTEGERS = {
    "32": st.integers(-(2**31), 2**31 - 1),
    "64": st.integers(-(2**63), 2**63 - 1),
    "u32": st.integers(0, 2**32 - 1),
    "u64": st.integers(0, 2**64 - 1),
}
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False) | st.just(math.nan),
    FieldDescriptor.TYPE_FLOAT: _FLOATS,
    FieldDescriptor.TYPE_INT32: _INTEGERS["32"],
    FieldDescriptor.TYPE_SINT32: _INTEGERS["32"],
    FieldDescriptor.TYPE_SFIXED32: _INTEGERS["32"],
    FieldDescriptor.TYPE_UINT32: _INTEGERS["u32"],
    FieldDescriptor.TYPE_FIXED32: _INTEGERS["u32"],
    FieldDescriptor.TYPE_INT64: _INTEGERS["64"],
    FieldDescriptor.TYPE_SINT64: _INTEGERS["64"],
    FieldDescriptor.TYPE_SFIXED64: _INTEGERS["64"],
    FieldDescriptor.TYPE_UINT64: _INTEGERS["u64"],
    FieldDescriptor.TYPE_FIXED64: _INTEGERS["u64"],
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: _TEXT,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
}
_PATHS = st.from_regex(r"[a-z]{1,3}(_[a-z]{1,2})?(\.[a-z]{1,3})?", fullmatch=True)


def sinks() -> st.SearchStrategy[Any]:
    """Return messages of the kitchen's Sink, a few levels deep."""
    return _messages("Sink", depth=2)


@st.composite
def _messages(draw: st.DrawFn, name: str, depth: int) -> Any:
    built = message(name)()
    fields = draw(
        st.lists(st.sampled_from(list(built.DESCRIPTOR.fields)), max_size=8, unique_by=lambda field: field.name)
    )
    for field in fields:
        _fill(draw, built, field, depth)
    return built


def _fill(draw: st.DrawFn, built: Any, field: Any, depth: int) -> None:
    kind = field.message_type
    if kind is None:
        values = _scalar(field)
        if field.is_repeated:
            getattr(built, field.name).extend(draw(st.lists(values, max_size=3)))
        else:
            setattr(built, field.name, draw(values))
    elif kind.GetOptions().map_entry:
        _fill_map(draw, getattr(built, field.name), kind, depth)
    elif field.is_repeated:
        for _ in range(draw(st.integers(0, 2))):
            _assign(draw, getattr(built, field.name).add(), depth - 1)
    else:
        getattr(built, field.name).SetInParent()
        _assign(draw, getattr(built, field.name), depth - 1)


def _fill_map(draw: st.DrawFn, entries: Any, kind: Any, depth: int) -> None:
    for key in draw(st.lists(_scalar(kind.fields_by_name["key"]), max_size=2, unique=True)):
        values = kind.fields_by_name["value"]
        if values.message_type is None:
            entries[key] = draw(_scalar(values))
        else:
            _assign(draw, entries[key], depth - 1)


def _scalar(field: Any) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        null = field.enum_type.full_name == "google.protobuf.NullValue"
        return st.just(0) if null else st.sampled_from([0, 1, 2, 7])
    return _SCALARS[field.type]


def _assign(draw: st.DrawFn, target: Any, depth: int) -> None:
    """Fill one message by its type."""
    name = target.DESCRIPTOR.name
    package = target.DESCRIPTOR.file.package
    if package != "google.protobuf":
        if depth > 0:
            target.CopyFrom(draw(_messages(name, depth)))
    elif name == "Timestamp":
        target.seconds = draw(st.integers(-62_135_596_800, 253_402_300_799))
        target.nanos = draw(st.integers(0, 999_999_999))
    elif name == "Duration":
        sign = draw(st.sampled_from([-1, 1]))
        target.seconds = sign * draw(st.integers(0, 315_575_999_999))
        target.nanos = sign * draw(st.integers(0, 999_999_999))
    elif name == "FieldMask":
        target.paths.extend(draw(st.lists(_PATHS, max_size=3)))
    elif name == "Any":
        if depth > 0 and draw(st.booleans()):
            target.Pack(draw(_messages("Sink", depth - 1)), deterministic=True)
    elif name in {"Struct", "Value", "ListValue"}:
        _assign_json(draw, target, name)
    elif target.DESCRIPTOR.fields:
        target.value = draw(_scalar(target.DESCRIPTOR.fields_by_name["value"]))


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2),
    max_leaves=4,
)


def _assign_json(draw: st.DrawFn, target: Any, name: str) -> None:
    if name == "Struct":
        target.update(draw(st.dictionaries(_TEXT, _PLAIN, max_size=2)))
    elif name == "ListValue":
        target.extend(draw(st.lists(_PLAIN, max_size=2)))
    else:
        value = draw(_PLAIN)
        holder = message("google.protobuf.ListValue")()
        holder.extend([value])
        target.CopyFrom(holder.values[0])
