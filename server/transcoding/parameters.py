"""Single fields given as text: the variables of a path and the parameters of a query string."""

from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from server.transcoding.codec.any import is_special
from server.transcoding.codec.document import MAX_DEPTH
from server.transcoding.codec.scalars import scalar_of
from server.transcoding.codec.wellknown import well_known
from server.transcoding.template import unescape
from server.transcoding.violation import Refused


class UnknownField(Refused):
    """A name that leads to no field."""

    def __init__(self) -> None:
        super().__init__("is not a known field")


class Parameter(NamedTuple):
    """A field that text can set. `field` is its path in proto names, `parents` the fields on the way to it.

    A parent comes with the oneof it is in, or None, since setting a field of a member sets the member.
    """

    field: str
    parents: tuple[tuple[str, str | None], ...]
    name: str
    repeated: bool
    presence: bool
    oneof: str | None
    put: Callable[[Any, str], None]

    def value(self, message: Any) -> Any:
        """Return the field's value, without making it present."""
        for name, _ in self.parents:
            message = getattr(message, name)
        return getattr(message, self.name)

    def is_set(self, message: Any) -> bool:
        """Tell whether the message has a value; without presence in the type, a zero is none."""
        if not self.presence:
            return bool(self.value(message))
        for name, _ in self.parents:
            message = getattr(message, name)
        return bool(type(message).HasField(message, self.name))

    def read(self, message: Any, text: str) -> None:
        """Set or extend the field from text; empty text leaves it unset. Raises `Refused`."""
        if not text:
            return
        for name, oneof in self.parents:
            if oneof is not None:
                _check_oneof(message, oneof, name)
            message = getattr(message, name)
        if self.oneof is not None:
            _check_oneof(message, self.oneof, self.name)
        self.put(message, text)


def _check_oneof(message: Any, oneof: str, name: str) -> None:
    other = type(message).WhichOneof(message, oneof)
    if other is not None and other != name:
        raise Refused(f"cannot be given together with {type(message).DESCRIPTOR.fields_by_name[other].json_name}")


def parameter(message: Descriptor, path: str) -> Parameter:
    """Resolve a dotted path of either spelling.

    Raises `UnknownField` where it leads to no field and `Refused` where it leads through a list, a map or a type with a
    JSON form of its own, or to what text cannot set.
    """
    steps = path.split(".")
    if len(steps) > MAX_DEPTH:
        raise UnknownField
    parents = []
    for step in steps[:-1]:
        field = _field(message, step)
        if field.message_type is None:
            raise UnknownField
        if field.is_repeated or is_special(field.message_type):
            raise Refused(f"cannot be given, since {field.json_name} cannot be given in parts")
        parents.append((field.name, _oneof(field)))
        message = field.message_type
    field = _field(message, steps[-1])
    if not takes_text(field):
        raise Refused("cannot be given as text")
    return Parameter(
        field=".".join([*(name for name, _ in parents), field.name]),
        parents=tuple(parents),
        name=field.name,
        repeated=field.is_repeated,
        presence=field.has_presence,
        oneof=_oneof(field),
        put=_put(field),
    )


def takes_text(field: FieldDescriptor) -> bool:
    """Tell whether text can set a field: scalars, lists of them, and messages whose JSON form is one value."""
    return field.message_type is None or (not field.is_repeated and _form(field) is not None)


def _field(message: Descriptor, spelled: str) -> FieldDescriptor:
    for field in message.fields:
        if spelled in {field.name, field.json_name}:
            return field
    raise UnknownField


def _oneof(field: FieldDescriptor) -> str | None:
    return field.containing_oneof.name if field.containing_oneof is not None else None


def _form(field: FieldDescriptor) -> Callable[[Any, str], None] | None:
    form = well_known(field.message_type) if field.message_type is not None else None
    return form.parse if form is not None else None


def _put(field: FieldDescriptor) -> Callable[[Any, str], None]:
    name = field.name
    parse_message = _form(field)
    if parse_message is not None:

        def put_message(parent: Any, text: str) -> None:
            child = getattr(parent, name)
            type(child).SetInParent(child)
            parse_message(child, text)

        return put_message
    parse = scalar_of(field).parse
    if field.is_repeated:
        return lambda parent, text: getattr(parent, name).append(parse(text))
    return lambda parent, text: setattr(parent, name, parse(text))


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Split a raw query string into still escaped names and values."""
    pairs = []
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            pairs.append((name, value))
    return pairs


def query_text(raw: str) -> str:
    """Decode one name or value of a query string (application/x-www-form-urlencoded). Raises `Refused`."""
    return unescape(raw, plus_is_space=True)
