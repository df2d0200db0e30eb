"""Single fields given as text: the variables of a path and the parameters of a query string."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from server.transcoding.codec.document import MAX_DEPTH
from server.transcoding.codec.scalars import scalar_of
from server.transcoding.codec.wellknown import well_known
from server.transcoding.template import unescape
from server.transcoding.violation import Refused


class Parameter(NamedTuple):
    """A field that text can set. `field` is its path in proto names, `parents` the messages on the way to it."""

    field: str
    parents: tuple[str, ...]
    name: str
    repeated: bool
    presence: bool
    oneof: str | None
    put: Callable[[Any, str], None]

    def parent(self, message: Any) -> Any:
        """Return the message that holds the field, without making it present."""
        for name in self.parents:
            message = getattr(message, name)
        return message

    def is_set(self, parent: Any) -> bool:
        """Tell whether the field was given a value."""
        return bool(parent.HasField(self.name)) if self.presence else bool(getattr(parent, self.name))

    def read(self, message: Any, text: str) -> None:
        """Set or extend the field from text; empty text leaves it unset. Raises `Refused`."""
        if not text:
            return
        parent = self.parent(message)
        if self.oneof is not None:
            other = parent.WhichOneof(self.oneof)
            if other is not None and other != self.name:
                raise Refused(f"cannot be given together with {other}")
        self.put(parent, text)


def parameter(message: Descriptor, path: str) -> Parameter:
    """Resolve a dotted path of either spelling. Raises `Refused` where there is no such field or text cannot set it."""
    steps = path.split(".")
    if len(steps) > MAX_DEPTH:
        raise Refused("is not a known field")
    parents = []
    for step in steps[:-1]:
        field = _field(message, step)
        if field.message_type is None or field.is_repeated:
            raise Refused("is not a known field")
        parents.append(field.name)
        message = field.message_type
    field = _field(message, steps[-1])
    return Parameter(
        field=".".join([*parents, field.name]),
        parents=tuple(parents),
        name=field.name,
        repeated=field.is_repeated,
        presence=field.has_presence,
        oneof=field.containing_oneof.name if field.containing_oneof is not None else None,
        put=_put(field),
    )


def _field(message: Descriptor, spelled: str) -> FieldDescriptor:
    for field in message.fields:
        if spelled in {field.name, field.json_name}:
            return field
    raise Refused("is not a known field")


def _put(field: FieldDescriptor) -> Callable[[Any, str], None]:
    name = field.name
    if field.message_type is not None:
        form = well_known(field.message_type)
        if field.is_repeated or form is None or form.parse is None:
            raise Refused("cannot be given as text")
        parse_message = form.parse

        def put_message(parent: Any, text: str) -> None:
            child = getattr(parent, name)
            child.SetInParent()
            parse_message(child, text)

        return put_message
    parse = scalar_of(field).parse
    if field.is_repeated:
        return lambda parent, text: getattr(parent, name).append(parse(text))
    return lambda parent, text: setattr(parent, name, parse(text))


def query_pairs(query: str) -> Iterator[tuple[str, str]]:
    """Split a raw query string into still escaped names and values."""
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            yield name, value


def query_text(raw: str) -> str:
    """Decode one name or value of a query string (application/x-www-form-urlencoded). Raises `Refused`."""
    return unescape(raw, plus_is_space=True)
