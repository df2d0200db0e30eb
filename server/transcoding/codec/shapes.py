"""The shapes a field can have in a message and in JSON: one value, a list, a map; of scalars or of messages.

A shape's `read` sets the field in its message and notes faults below it; a fault of the field itself is `Refused`.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from server.transcoding.codec.document import Doubled
from server.transcoding.codec.scalars import scalar_of
from server.transcoding.codec.wellknown import Form
from server.transcoding.violation import MAX_VIOLATIONS, Faults, Refused

_Write = Callable[[Any], Any]
_Put = Callable[[Any, Any, object, Faults], None]


class Shape(NamedTuple):
    """How a field is read into its message and its value written; `write` None means as it is.

    `take` reads the value alone, where there is nothing to do but set it.
    """

    read: Callable[[Any, object, Faults], None]
    write: _Write | None
    take: Callable[[object], Any] | None = None


def scalar(field: FieldDescriptor) -> Shape:
    """Return the shape of a singular scalar or enum field."""
    name, rules = field.name, scalar_of(field)
    read_value = rules.read

    def read(message: Any, value: object, _faults: Faults) -> None:
        setattr(message, name, read_value(value))

    return Shape(read, rules.write, read_value)


def scalar_list(field: FieldDescriptor) -> Shape:
    """Return the shape of a repeated scalar or enum field."""
    name, rules = field.name, scalar_of(field)
    read_value, write_value = rules.read, rules.write

    def read(message: Any, value: object, faults: Faults) -> None:
        values = _array(value)
        try:
            getattr(message, name).extend([read_value(item) for item in values])
        except Refused:
            note_each(values, faults)

    def note_each(values: list[object], faults: Faults) -> None:
        for index, item in enumerate(values):
            if len(faults) >= MAX_VIOLATIONS:
                return
            try:
                read_value(item)
            except Refused as refusal:
                faults.add(f"[{index}]", str(refusal))

    def write(values: Any) -> list[Any]:
        return values[:] if write_value is None else [write_value(value) for value in values]

    return Shape(read, write)


def message(name: str, descriptor: Descriptor, form: Form) -> Shape:
    """Return the shape of a singular message field whose values have the given type and form."""
    read_value = form.read
    set_in_parent = message_factory.GetMessageClass(descriptor).SetInParent  # a field may have this name too

    def read(message: Any, value: object, faults: Faults) -> None:
        child = getattr(message, name)
        set_in_parent(child)
        read_value(child, value, faults)

    return Shape(read, form.write)


def message_list(name: str, form: Form) -> Shape:
    """Return the shape of a repeated message field."""
    read_value, write_value = form.read, form.write

    def read(message: Any, value: object, faults: Faults) -> None:
        children = getattr(message, name)
        for index, item in enumerate(_array(value)):
            mark = len(faults)
            if mark >= MAX_VIOLATIONS:
                return
            try:
                read_value(children.add(), item, faults)
            except Refused as refusal:
                faults.add("", str(refusal))
            if len(faults) != mark:
                faults.within(mark, f"[{index}]")

    def write(children: Any) -> list[Any]:
        return [write_value(child) for child in children]

    return Shape(read, write)


def mapping(field: FieldDescriptor, form: Form | None) -> Shape:
    """Return the shape of a map; `form` is that of its values when they are messages. Keys show as `labels["key"]`."""
    name = field.name
    assert field.message_type is not None  # noqa: S101 - maps are lists of entry messages
    key_field, value_field = field.message_type.fields
    read_key = scalar_of(key_field).parse if key_field.type != FieldDescriptor.TYPE_BOOL else _map_bool
    write_key = _map_key(key_field)
    put, write_value = _map_value(value_field, form)

    def read(message: Any, value: object, faults: Faults) -> None:
        if not isinstance(value, dict):
            raise Refused("must be a JSON object")
        entries = getattr(message, name)
        doubled = value.names if isinstance(value, Doubled) else frozenset()
        for text, item in value.items():
            mark = len(faults)
            if mark >= MAX_VIOLATIONS:
                return
            try:
                key = read_key(text)
                if key in entries or text in doubled:
                    faults.add("", "is given more than once")
                put(entries, key, item, faults)
            except Refused as refusal:
                faults.add("", str(refusal))
            if len(faults) != mark:
                faults.within(mark, f"[{json.dumps(text)}]")

    def write(entries: Any) -> dict[str, Any]:
        return {write_key(key): value if write_value is None else write_value(value) for key, value in entries.items()}

    return Shape(read, write)


def _map_bool(text: str) -> bool:
    if text not in {"true", "false"}:
        raise Refused("must have the key true or false")
    return text == "true"


def _map_key(field: FieldDescriptor) -> Callable[[Any], str]:
    if field.type == FieldDescriptor.TYPE_BOOL:
        return lambda key: "true" if key else "false"
    return scalar_of(field).write or str


def _map_value(field: FieldDescriptor, form: Form | None) -> tuple[_Put, _Write | None]:
    if form is None:
        rules = scalar_of(field)

        def put_scalar(entries: Any, key: Any, value: object, _faults: Faults) -> None:
            entries[key] = rules.read(value)

        return put_scalar, rules.write

    def put_message(entries: Any, key: Any, value: object, faults: Faults) -> None:
        form.read(entries[key], value, faults)

    return put_message, form.write


def _array(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Refused("must be a JSON array")
    return value
