"""Values that protobuf carries and JSON has no form for: a message that holds one cannot be written.

JSON is checked while it is read. Bytes that protobuf has parsed are looked through here, so that such a value is told
as the mistake of the client that sent it and not as one of the server that returns it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from server.transcoding.codec.any import ANY, find_content
from server.transcoding.codec.document import MAX_DEPTH
from server.transcoding.codec.nesting import Holders
from server.transcoding.codec.wellknown import DURATION, TIMESTAMP, VALUE, moment, span
from server.transcoding.violation import MAX_VIOLATIONS, Faults, Refused


class _Field(NamedTuple):
    """A field of messages: those in its value by key, and the step that a key makes in a path, in proto names."""

    children: Callable[[Any], Iterable[tuple[Any, Any]]]
    step: Callable[[Any], str]


class _Type(NamedTuple):
    """What there is to look at in a message. `check` raises ValueError for what is wrong with itself."""

    check: Callable[[Any], object] | None
    fields: Mapping[FieldDescriptor, _Field]


class Search:
    """Looks for such values in messages. One per descriptor pool, as routes share their types.

    `suspects` are the types that can hold one, themselves or anywhere below them; to ask for a type at start spares
    its first message the time.
    """

    def __init__(self) -> None:
        self.suspects = Holders(lambda kind: kind.full_name in _CHECKS or kind.full_name == ANY)
        self._types: dict[type[Message], _Type] = {}

    def note(self, message: Any, faults: Faults, depth: int = 0) -> None:
        """Note the values below a message that have no JSON form. Raises `Refused` when the message itself has none.

        It ends when one answer can list no more. An `Any` of a type that is not known is written as its bytes.
        What it holds counts as a level of nesting, which protobuf does not do; `depth` is how many lie above.
        """
        if depth > MAX_DEPTH:
            raise Refused(f"nests deeper than {MAX_DEPTH} levels")
        kind = self._types.get(type(message)) or self._add(type(message))
        if kind is _ANY:
            content = _content(message)
            if content is not None:
                self.note(content, faults, depth + 1)
            return
        if kind.check is not None:
            try:
                kind.check(message)
            except ValueError as fault:
                raise Refused(f"has no JSON form: {fault}") from None
        if kind.fields:
            self._note_below(kind.fields, message, faults, depth + 1)

    def _note_below(self, fields: Mapping[FieldDescriptor, _Field], message: Any, faults: Faults, depth: int) -> None:
        for descriptor, value in type(message).ListFields(message):
            field = fields.get(descriptor)
            if field is None:
                continue
            for key, child in field.children(value):
                mark = len(faults)
                try:
                    self.note(child, faults, depth)
                except Refused as refusal:
                    faults.add("", str(refusal))
                if len(faults) != mark:
                    faults.within(mark, field.step(key))
                    if len(faults) >= MAX_VIOLATIONS:
                        return

    def _add(self, kind: type[Message]) -> _Type:
        descriptor: Any = kind.DESCRIPTOR
        found = _ANY
        if descriptor.full_name != ANY:
            of_messages = [field for field in descriptor.fields if field.message_type is not None]
            fields = {field: _field(field) for field in of_messages if field.message_type in self.suspects}
            found = _Type(_CHECKS.get(descriptor.full_name), fields)
        self._types[kind] = found
        return found


def _field(field: FieldDescriptor) -> _Field:
    name, entry = field.name, field.message_type
    if not field.is_repeated:
        return _Field(lambda child: ((name, child),), lambda _key: name)
    if entry is not None and entry.GetOptions().map_entry:
        return _Field(lambda entries: entries.items(), lambda key: f"{name}[{json.dumps(str(key))}]")
    return _Field(enumerate, lambda index: f"{name}[{index}]")


def _content(message: Any) -> Any:
    """Return what an `Any` holds, None when its type is not known. Raises `Refused` when it holds something else."""
    try:
        return find_content(message)
    except DecodeError:
        raise Refused(f"does not hold a valid {message.type_url.rpartition('/')[2]}") from None


def _check_value(message: Any) -> None:
    if message.WhichOneof("kind") is None:
        raise ValueError("a Value must be of some kind")
    if not isfinite(message.number_value):
        raise ValueError("a Value cannot hold a number that is not finite")


_ANY = _Type(None, {})
_CHECKS: Mapping[str, Callable[[Any], object]] = {
    TIMESTAMP: moment,
    DURATION: span,
    VALUE: _check_value,
}
"""What raises ValueError for a value itself; what lies below it has checks of its own.

A Value of no kind is an error (google/protobuf/struct.proto); writing shows it as null rather than lose an answer.
A FieldMask has no check: a path that camel case cannot express is written as it is, and may well name a field.
"""
