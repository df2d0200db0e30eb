"""The update mask of a PATCH (AIP-134): the one that was given, checked, or else the fields that the body names."""

from collections.abc import Iterable, Iterator, Set
from itertools import islice
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor

from server.transcoding.codec.message import Codecs, MessageCodec
from server.transcoding.codec.wellknown import FIELD_MASK
from server.transcoding.router import Route, find_field
from server.transcoding.violation import MAX_VIOLATIONS

_ALL = "*"
_SHOWN = 64
"""How many characters of a path that the client made up are repeated."""


class UpdateMask(NamedTuple):
    """The mask `name` of a request whose body updates fields of `updated`, all but those `excluded`."""

    name: str
    updated: MessageCodec
    excluded: Set[str]

    def complete(self, message: Any, document: object) -> list[str]:
        """Infer the mask from the body's document unless the client gave one; return what is wrong with that.

        Without a document, as in a protobuf body, there is nothing to infer it from.
        """
        mask = getattr(message, self.name)
        if mask.paths:
            return list(islice(faults_of(mask.paths, self.updated.descriptor), MAX_VIOLATIONS))
        inferred = list(named_paths(self.updated, document, self.excluded))
        if inferred:
            mask.paths.extend(inferred)
        return []


def find_mask(route: Route, codecs: Codecs) -> UpdateMask | None:
    """Find the mask of a PATCH whose body is the request or one message in it; None when there is no single one."""
    asked = route.rpc.input_type
    name = mask_field(asked)
    if route.verb != "PATCH" or not route.body or name is None:
        return None
    bound = {variable.field for variable in route.template.variables}
    codec = codecs.of(asked)
    if route.body == "*":
        return UpdateMask(name, codec, bound | {name})
    field = codec.fields[route.body]
    if field.nested is None or field.repeated:
        return None
    below = f"{route.body}."
    return UpdateMask(name, field.nested, {path.removeprefix(below) for path in bound if path.startswith(below)})


def mask_field(message: Descriptor) -> str | None:
    """Return the name of the only singular FieldMask of a request, None when there is none or more than one."""
    names = [
        field.name
        for field in message.fields
        if field.message_type is not None and field.message_type.full_name == FIELD_MASK and not field.is_repeated
    ]
    return names[0] if len(names) == 1 else None


def faults_of(paths: Iterable[str], updated: Descriptor) -> Iterator[str]:
    """Yield what is wrong with a given mask, in words that complete "<mask> …".

    A path leads through singular messages to a field, which may be a list or a map; `*` stands for all and alone.
    """
    distinct = dict.fromkeys(paths)
    if _ALL in distinct and len(distinct) > 1:
        yield "names * beside other paths, where it must be alone"
    for path in distinct:
        if path != _ALL and find_field(updated, path) is None:
            yield f"names {path[:_SHOWN]!a}, which is not a known field"


def named_paths(codec: MessageCodec, document: object, excluded: Set[str], prefix: str = "") -> Iterator[str]:
    """Yield the paths of the fields that a JSON object names, in proto names; lists, maps, well-known types are leaves.

    A field named as null or as an empty object counts: the client means to clear it.
    """
    if not isinstance(document, dict):
        return
    for key, value in document.items():
        field = codec.find(key)
        if field is None or prefix + field.name in excluded:
            continue
        if field.nested is not None and not field.repeated and isinstance(value, dict) and value:
            yield from named_paths(field.nested, value, excluded, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name
