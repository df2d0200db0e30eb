"""Required fields, which proto2 has and editions can ask for: serialising a message that lacks one fails."""

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from server.transcoding.violation import join


def has_required(descriptor: Descriptor) -> bool:
    """Tell whether a message of this type can itself lack a required field."""
    return any(field.is_required for field in descriptor.fields)


def missing_fields(message: Any) -> Iterator[str]:
    """Yield the paths, in proto names, of the required fields that a message and those below it lack.

    protobuf's own search for them gives wrong paths beside a map of enums.
    """
    kind = type(message)
    for field in kind.DESCRIPTOR.fields:
        if field.is_required and not kind.HasField(message, field.name):
            yield field.name
    for field, value in kind.ListFields(message):
        if field.message_type is not None and not field.is_extension:
            for step, child in _children(field, field.message_type, value):
                yield from (join(step, path) for path in missing_fields(child))


def _children(field: FieldDescriptor, kind: Descriptor, value: Any) -> Iterator[tuple[str, Any]]:
    if not field.is_repeated:
        yield field.name, value
    elif not kind.GetOptions().map_entry:
        yield from ((f"{field.name}[{index}]", child) for index, child in enumerate(value))
    elif kind.fields_by_name["value"].message_type is not None:
        yield from ((f"{field.name}[{json.dumps(str(key))}]", child) for key, child in value.items())
