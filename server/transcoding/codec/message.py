"""Messages from and to proto3 JSON: one table of fields per message type, compiled once, no descriptor on the hot path.

Reading is strict and reports every fault with the path as the client spelled it. Writing uses camelCase names, leaves
unset fields out and always writes repeated fields, so that an empty page still has its list.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from server.transcoding.codec import shapes
from server.transcoding.codec.any import ANY, any_form, is_special
from server.transcoding.codec.document import note_doubled
from server.transcoding.codec.shapes import Shape
from server.transcoding.codec.wellknown import Form, well_known
from server.transcoding.violation import Faults, Refused

_TAKES_NULL = frozenset({"google.protobuf.Value", "google.protobuf.NullValue"})


_Entry = tuple[Callable[[Any, object, Faults], None], bool, str | None, str | None]
"""What reading needs of a field under one spelling: its reader, whether it takes null, its oneof, and, under the JSON
name only, the other spelling that must not occur beside it."""


class FieldCodec(NamedTuple):
    """How one field is read into its message and its value written. `read` notes faults below the field itself.

    `nested` is the codec of the field's own fields; None for scalars, maps and well-known types.
    """

    name: str
    json_name: str
    read: Callable[[Any, object, Faults], None]
    write: Callable[[Any], Any] | None
    takes_null: bool
    oneof: str | None
    presence: bool
    repeated: bool
    nested: "MessageCodec | None"

    def value(self, message: Any) -> Any:
        """Return the field's value in its JSON form."""
        value = getattr(message, self.name)
        return value if self.write is None else self.write(value)


class MessageCodec:
    """The codec of one message type."""

    __slots__ = ("_entries", "_spelled", "_writers", "descriptor", "fields", "message_class")

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.message_class: type[Message] = message_factory.GetMessageClass(descriptor)
        self.fields: dict[str, FieldCodec] = {}
        self._spelled: dict[str, FieldCodec] = {}
        self._entries: dict[str, _Entry] = {}
        self._writers: tuple[tuple[str, str, Callable[[Any], Any] | None, int], ...] = ()

    def compile(self, fields: list[FieldCodec]) -> None:
        """Fill the tables; apart from construction because messages may contain themselves."""
        self.fields = {field.name: field for field in fields}
        for field in fields:
            twin = field.name if field.name != field.json_name else None
            self._spelled[field.name] = self._spelled[field.json_name] = field
            self._entries[field.name] = (field.read, field.takes_null, field.oneof, None)
            self._entries[field.json_name] = (field.read, field.takes_null, field.oneof, twin)
        self._writers = tuple((field.name, field.json_name, field.write, _rule(field)) for field in fields)

    def find(self, key: str) -> FieldCodec | None:
        """Find a field by either spelling of its name."""
        return self._spelled.get(key)

    def read(self, message: Any, document: object, faults: Faults) -> None:
        """Read a JSON object into `message`, noting every fault. Raises `Refused` when it is no object."""
        if not isinstance(document, dict):
            raise Refused("must be a JSON object")
        note_doubled(document, faults)
        entries = self._entries
        for key, value in document.items():
            entry = entries.get(key)
            if entry is None:
                faults.add(key, "is not a known field")
                continue
            read, takes_null, oneof, twin = entry
            if twin is not None and twin in document:
                faults.add(key, f"is given more than once, also as {twin}")
                continue
            if value is None and not takes_null:
                continue
            mark = len(faults)
            try:
                if oneof is not None:
                    _check_oneof(message, oneof)
                read(message, value, faults)
            except Refused as refusal:
                faults.add("", str(refusal))
            if len(faults) != mark:
                faults.within(mark, key)

    def write(self, message: Any) -> dict[str, Any]:
        """Return the message as what orjson writes."""
        document: dict[str, Any] = {}
        for name, json_name, write, rule in self._writers:
            if rule == _IF_PRESENT and not message.HasField(name):
                continue
            value = getattr(message, name)
            if rule == _IF_NOT_ZERO and not value and not _is_negative_zero(value):
                continue
            document[json_name] = value if write is None else write(value)
        return document


_IF_NOT_ZERO, _IF_PRESENT, _ALWAYS = range(3)


def _rule(field: FieldCodec) -> int:
    if field.repeated:
        return _ALWAYS
    return _IF_PRESENT if field.presence else _IF_NOT_ZERO


def _is_negative_zero(value: object) -> bool:
    return type(value) is float and str(value)[0] == "-"


def _check_oneof(message: Any, oneof: str) -> None:
    other = message.WhichOneof(oneof)
    if other is not None:
        raise Refused(f"cannot be given together with {message.DESCRIPTOR.fields_by_name[other].json_name}")


class Codecs:
    """The codecs of all message types met so far, by full name. One per descriptor pool."""

    def __init__(self) -> None:
        self._codecs: dict[str, MessageCodec] = {}

    def of(self, descriptor: Descriptor) -> MessageCodec:
        """Return the codec of a message type, compiling it on first sight."""
        codec = self._codecs.get(descriptor.full_name)
        if codec is None:
            codec = self._codecs[descriptor.full_name] = MessageCodec(descriptor)
            codec.compile([self._field(field) for field in descriptor.fields])
        return codec

    def form(self, descriptor: Descriptor) -> Form:
        """Return how a message of this type is read and written as a value, well-known or not."""
        if descriptor.full_name == ANY:
            return any_form(self.form, descriptor.file.pool)
        known = well_known(descriptor)
        if known is not None:
            return known
        codec = self.of(descriptor)
        return Form(codec.read, codec.write)

    def _field(self, field: FieldDescriptor) -> FieldCodec:
        value_type = field.message_type or field.enum_type
        shape = self._shape(field)
        return FieldCodec(
            name=field.name,
            json_name=field.json_name,
            read=shape.read,
            write=shape.write,
            takes_null=not field.is_repeated and value_type is not None and value_type.full_name in _TAKES_NULL,
            oneof=field.containing_oneof.name if field.containing_oneof is not None else None,
            presence=field.has_presence,
            repeated=field.is_repeated,
            nested=self._nested(field.message_type),
        )

    def _nested(self, message: Descriptor | None) -> MessageCodec | None:
        if message is None or message.GetOptions().map_entry or is_special(message):
            return None
        return self.of(message)

    def _shape(self, field: FieldDescriptor) -> Shape:
        message = field.message_type
        if message is None:
            return shapes.scalar_list(field) if field.is_repeated else shapes.scalar(field)
        if field.is_repeated and message.GetOptions().map_entry:
            values = message.fields_by_name["value"].message_type
            return shapes.mapping(field, None if values is None else self.form(values))
        form = self.form(message)
        return shapes.message_list(field.name, form) if field.is_repeated else shapes.message(field.name, form)
