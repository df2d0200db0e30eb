"""The update mask that a PATCH body implies: the fields it names (AIP-134)."""

from collections.abc import Iterator, Set
from typing import Any

from google.protobuf.descriptor import Descriptor

from server.transcoding.codec.message import MessageCodec
from server.transcoding.codec.wellknown import FIELD_MASK


def mask_field(message: Descriptor) -> str | None:
    """Return the name of the only singular FieldMask of a request, None when there is none or more than one."""
    names = [
        field.name
        for field in message.fields
        if field.message_type is not None and field.message_type.full_name == FIELD_MASK and not field.is_repeated
    ]
    return names[0] if len(names) == 1 else None


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


def infer(message: Any, name: str, paths: Iterator[str]) -> None:
    """Set the mask called `name` to `paths`, unless the client gave one."""
    if not getattr(message, name).paths:
        inferred = list(paths)
        if inferred:
            getattr(message, name).paths.extend(inferred)
