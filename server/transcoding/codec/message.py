"""Messages from and to proto3 JSON: one table of fields per message type, compiled once, no descriptor on the hot path.

Reading is strict and reports every fault with the path as the client spelled it. Writing uses camelCase names, leaves
unset fields out and always writes repeated fields, so that an empty page still has its list.
"""

from collections.abc import Callable
from math import copysign
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from server.transcoding.codec import shapes
from server.transcoding.codec.any import ANY, any_form, is_special
from server.transcoding.codec.document import Doubled, note_doubled
from server.transcoding.codec.nesting import Holders
from server.transcoding.codec.required import has_required
from server.transcoding.codec.shapes import Shape
from server.transcoding.codec.unwritable import Search
from server.transcoding.codec.wellknown import Form, well_known
from server.transcoding.violation import Faults, Refused

_TAKES_NULL = frozenset({"google.protobuf.Value", "google.protobuf.NullValue"})


class FieldCodec(NamedTuple):
    """How one field is read into its message and its value written. `read` notes faults below the field itself.

    `take` reads a singular scalar or enum as a value; None for every other field. `nested` is the codec of the field's
    own fields; None for scalars, maps and well-known types.
    """

    name: str
    json_name: str
    read: Callable[[Any, object, Faults], None]
    take: Callable[[object], Any] | None
    write: Callable[[Any], Any] | None
    takes_null: bool
    oneof: str | None
    presence: bool
    repeated: bool
    nested: "MessageCodec | None"

    def value(self, message: Any) -> Any:
        """Return the field's value in its JSON form. Raises ValueError when it has none."""
        value = getattr(message, self.name)
        return value if self.write is None else self.write(value)


_Entry = tuple[Callable[[object], Any] | None, str, str | None, FieldCodec]
"""What reading needs of a field under one spelling: `take` where setting the field is all there is to do, its name,
where that is how it is spelled the JSON name that must not occur beside it, and the field for whatever takes longer."""


class MessageCodec:
    """The codec of one message type."""

    __slots__ = (
        "_entries",
        "_has_field",
        "_spelled",
        "_which_oneof",
        "_writers",
        "descriptor",
        "fields",
        "message_class",
    )

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.message_class: type[Message] = message_factory.GetMessageClass(descriptor)
        # Of the class, as a field of the same name hides a method of the message.
        self._has_field: Callable[[Any, str], bool] = self.message_class.HasField
        self._which_oneof: Callable[[Any, str], str | None] = self.message_class.WhichOneof
        self.fields: dict[str, FieldCodec] = {}
        self._spelled: dict[str, FieldCodec] = {}
        self._entries: dict[str, _Entry] = {}
        self._writers: tuple[tuple[str, str, Callable[[Any], Any] | None, int], ...] = ()

    def compile(self, fields: list[FieldCodec]) -> None:
        """Fill the tables; apart from construction because messages may contain themselves."""
        self.fields = {field.name: field for field in fields}
        self._spelled = self.fields | {field.json_name: field for field in fields}
        self._entries = {key: self._entry(key, field) for key, field in self._spelled.items()}
        self._writers = tuple((field.name, field.json_name, field.write, _rule(field)) for field in fields)

    def _entry(self, key: str, field: FieldCodec) -> _Entry:
        take = None if field.takes_null or field.oneof is not None else field.take
        return take, field.name, field.json_name if key != field.json_name else None, field

    def find(self, key: str) -> FieldCodec | None:
        """Find a field by either spelling of its name."""
        return self._spelled.get(key)

    def read(self, message: Any, document: object, faults: Faults) -> None:
        """Read a JSON object into `message`, noting every fault. Raises `Refused` when it is no object."""
        if not isinstance(document, dict):
            raise Refused("must be a JSON object")
        if type(document) is Doubled:
            note_doubled(document, faults)
        entries = self._entries
        for key, value in document.items():
            entry = entries.get(key)
            if entry is None:
                faults.add(key, "is not a known field")
                continue
            take, name, twin, field = entry
            if twin is not None and twin in document:
                faults.add(twin, f"is given more than once, also as {key}")
            elif take is None:
                self._read_field(message, field, key, value, faults)
            elif value is not None:
                try:
                    setattr(message, name, take(value))
                except Refused as refusal:
                    faults.add(key, str(refusal))

    def _read_field(self, message: Any, field: FieldCodec, key: str, value: object, faults: Faults) -> None:
        if value is None and not field.takes_null:
            return
        mark = len(faults)
        try:
            if field.oneof is not None:
                self._check_oneof(message, field.oneof)
            field.read(message, value, faults)
        except Refused as refusal:
            faults.add("", str(refusal))
        if len(faults) != mark:
            faults.within(mark, key)

    def _check_oneof(self, message: Any, oneof: str) -> None:
        other = self._which_oneof(message, oneof)
        if other is not None:
            raise Refused(f"cannot be given together with {self.fields[other].json_name}")

    def write(self, message: Any) -> dict[str, Any]:
        """Return the message as what orjson writes. Raises ValueError when a value has no JSON form."""
        document: dict[str, Any] = {}
        has_field = self._has_field
        for name, json_name, write, rule in self._writers:
            if rule == _IF_PRESENT and not has_field(message, name):
                continue
            value = getattr(message, name)
            if not value and rule == _IF_NOT_ZERO and not (type(value) is float and copysign(1, value) < 0):
                continue
            document[json_name] = value if write is None else write(value)
        return document


_ALWAYS, _IF_PRESENT, _IF_NOT_ZERO = range(3)
"""When a field is written. Minus zero is a value of its own."""


def _rule(field: FieldCodec) -> int:
    if field.repeated:
        return _ALWAYS
    return _IF_PRESENT if field.presence else _IF_NOT_ZERO


class Codecs:
    """The codecs of all message types met so far, by full name. One per descriptor pool.

    So are the `search` for what JSON cannot carry, and the types `requiring` a field, themselves or below them.
    """

    def __init__(self) -> None:
        self.search = Search()
        self.requiring = Holders(has_required)
        self._codecs: dict[str, MessageCodec] = {}
        self._uncompiled: list[MessageCodec] = []

    def of(self, descriptor: Descriptor) -> MessageCodec:
        """Return the codec of a message type, compiling it, and those of its fields, on first sight."""
        codec = self._find_or_add(descriptor)
        self._compile()
        return codec

    def form(self, descriptor: Descriptor) -> Form:
        """Return how a message of this type is read and written as a value, well-known or not."""
        form = self._form(descriptor)
        self._compile()
        return form

    def _compile(self) -> None:
        """Work off a list rather than recur: a large API has chains of types that would outgrow Python's stack."""
        while self._uncompiled:
            codec = self._uncompiled.pop()
            codec.compile([self._field(field) for field in codec.descriptor.fields])

    def _find_or_add(self, descriptor: Descriptor) -> MessageCodec:
        codec = self._codecs.get(descriptor.full_name)
        if codec is None:
            codec = self._codecs[descriptor.full_name] = MessageCodec(descriptor)
            self._uncompiled.append(codec)
        return codec

    def _form(self, descriptor: Descriptor) -> Form:
        if descriptor.full_name == ANY:
            return any_form(self.form, descriptor.file.pool)
        known = well_known(descriptor)
        if known is not None:
            return known
        codec = self._find_or_add(descriptor)
        return Form(codec.read, codec.write)

    def _field(self, field: FieldDescriptor) -> FieldCodec:
        value_type = field.message_type or field.enum_type
        shape = self._shape(field)
        return FieldCodec(
            name=field.name,
            json_name=field.json_name,
            read=shape.read,
            take=shape.take,
            write=shape.write,
            takes_null=not field.is_repeated and value_type is not None and value_type.full_name in _TAKES_NULL,
            oneof=_shared_oneof(field),
            presence=field.has_presence,
            repeated=field.is_repeated,
            nested=self._nested(field.message_type),
        )

    def _nested(self, message: Descriptor | None) -> MessageCodec | None:
        if message is None or message.GetOptions().map_entry or is_special(message):
            return None
        return self._find_or_add(message)

    def _shape(self, field: FieldDescriptor) -> Shape:
        message = field.message_type
        if message is None:
            return shapes.scalar_list(field) if field.is_repeated else shapes.scalar(field)
        if field.is_repeated and message.GetOptions().map_entry:
            values = message.fields_by_name["value"].message_type
            return shapes.mapping(field, None if values is None else self._form(values))
        form = self._form(message)
        return shapes.message_list(field.name, form) if field.is_repeated else shapes.message(field.name, message, form)


def _shared_oneof(field: FieldDescriptor) -> str | None:
    """Return the oneof that a field shares with others; an `optional` field has one to itself."""
    oneof = field.containing_oneof
    return oneof.name if oneof is not None and len(oneof.fields) > 1 else None
