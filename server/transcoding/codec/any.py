"""`google.protobuf.Any` in JSON: `@type` beside the message's fields, or beside `value` for a well-known type.

A type that is not in the pool is refused when read; when written it shows as its bytes, so that an answer survives it.
So does what nests too deep: bytes in bytes are no messages to protobuf, whose own limit does not count them.
"""

import base64
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from itertools import islice
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from server.transcoding.codec.document import MAX_DEPTH, note_doubled
from server.transcoding.codec.required import missing_fields
from server.transcoding.codec.wellknown import Form, well_known
from server.transcoding.violation import MAX_VIOLATIONS, Faults, Refused

ANY = "google.protobuf.Any"
_ROOM = ContextVar("room", default=MAX_DEPTH)
"""How many more levels what is being written may nest in `Any`: Python's stack and orjson end somewhere."""


def any_form(form_of: Callable[[Descriptor], Form], pool: DescriptorPool) -> Form:
    """Return the form of `Any` whose contents are looked up in `pool` and read and written by `form_of` their type."""
    contents = _Any(form_of, pool)
    return Form(contents.read, contents.write)


def is_special(descriptor: Descriptor) -> bool:
    """Tell a type whose JSON is not the object of its fields; inside `Any` it goes under `value`."""
    return descriptor.full_name == ANY or well_known(descriptor) is not None


class _Any:
    def __init__(self, form_of: Callable[[Descriptor], Form], pool: DescriptorPool) -> None:
        self._form_of = form_of
        self._pool = pool

    def read(self, message: Any, value: object, faults: Faults) -> None:
        if not isinstance(value, dict):
            raise Refused("must be a JSON object")
        note_doubled(value, faults)
        rest = {key: item for key, item in value.items() if key != "@type"}
        if "@type" not in value and not rest:
            return
        inner = _find_type(self._pool, value.get("@type"))
        if inner is None:
            faults.add("@type", "must be the URL of a known message type")
            return
        message_class = message_factory.GetMessageClass(inner)
        content = message_class()
        self._read_content(content, inner, rest, faults)
        for path in islice(missing_fields(content), MAX_VIOLATIONS):
            faults.add(path, "is required")
        message.type_url = value["@type"]
        message.value = message_class.SerializePartialToString(content, deterministic=True)

    def _read_content(self, content: Message, inner: Descriptor, rest: dict[str, object], faults: Faults) -> None:
        form = self._form_of(inner)
        if not is_special(inner):
            form.read(content, rest, faults)
            return
        if rest.keys() != {"value"}:
            raise Refused("must have the fields @type and value")
        mark = len(faults)
        try:
            form.read(content, rest["value"], faults)
        except Refused as refusal:
            faults.add("", str(refusal))
        faults.within(mark, "value")

    def write(self, message: Any) -> dict[str, Any]:
        if not message.type_url:
            return {}
        try:
            content = find_content(message)
        except DecodeError:
            content = None
        room = _ROOM.get() - (0 if content is None else _levels(content))
        if content is None or room < 0:
            return {"@type": message.type_url, "value": base64.b64encode(message.value).decode("ascii")}
        inner: Any = type(content).DESCRIPTOR  # a field may have this name too
        before = _ROOM.set(room)
        try:
            written = self._form_of(inner).write(content)
        finally:
            _ROOM.reset(before)
        return {"@type": message.type_url, **({"value": written} if is_special(inner) else written)}


def find_content(message: Any) -> Message | None:
    """Find what an `Any` holds; None when its type is not known. Raises `DecodeError` for bytes that are not of it."""
    inner = _find_type(type(message).DESCRIPTOR.file.pool, message.type_url)
    return None if inner is None else message_factory.GetMessageClass(inner).FromString(message.value)


def _find_type(pool: DescriptorPool, url: object) -> Descriptor | None:
    if not isinstance(url, str) or "/" not in url or not url.isascii():
        return None
    try:
        return pool.FindMessageTypeByName(url.rpartition("/")[2])
    except KeyError:
        return None


def _levels(content: Any) -> int:
    """Return how many levels of JSON a message takes up but for well-known types, which have limits of their own."""
    deepest = 1
    waiting: list[tuple[Any, int]] = [] if is_special(type(content).DESCRIPTOR) else [(content, 1)]
    while waiting:
        message, level = waiting.pop()
        deepest = max(deepest, level)
        for field, value in type(message).ListFields(message):
            children, steps = _children(field, value)
            waiting += [(child, level + steps) for child in children]
    return deepest


def _children(field: FieldDescriptor, value: Any) -> tuple[Iterable[Any], int]:
    """Return the messages in a field's value and how many levels of JSON lie between them and the field's message."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        kind, value = kind.fields_by_name["value"].message_type, value.values()
    if kind is None or field.is_extension or is_special(kind):
        return (), 0
    return (value, 2) if field.is_repeated else ([value], 1)
