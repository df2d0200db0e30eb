"""The comments of proto files, by the full name of what they stand over: the descriptions of an OpenAPI document."""

from collections.abc import Iterator, Mapping

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet

_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
"""Field numbers of FileDescriptorProto, as they occur in the paths of source locations."""
_FIELD, _NESTED, _NESTED_ENUM = 2, 3, 4
_METHOD = _VALUE = 2

_Path = tuple[int, ...]


def comments_of(files: FileDescriptorSet) -> Mapping[str, str]:
    """Return the leading comments of services, methods, messages, fields, enums and enum values."""
    found: dict[str, str] = {}
    for file in files.file:
        located = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for path, name in _names(file):
            text = _clean(located.get(path, ""))
            if text:
                found[f"{file.package}.{name}" if file.package else name] = text
    return found


def _clean(comment: str) -> str:
    return "\n".join(line.removeprefix(" ").rstrip() for line in comment.splitlines()).strip()


def _names(file: FileDescriptorProto) -> Iterator[tuple[_Path, str]]:
    for index, service in enumerate(file.service):
        yield (_SERVICE, index), service.name
        for number, method in enumerate(service.method):
            yield (_SERVICE, index, _METHOD, number), f"{service.name}.{method.name}"
    for index, message in enumerate(file.message_type):
        yield from _message_names((_MESSAGE, index), message.name, message)
    for index, enum in enumerate(file.enum_type):
        yield from _enum_names((_ENUM, index), enum.name, enum)


def _message_names(path: _Path, name: str, message: DescriptorProto) -> Iterator[tuple[_Path, str]]:
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, _FIELD, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _message_names((*path, _NESTED, index), f"{name}.{nested.name}", nested)
    for index, enum in enumerate(message.enum_type):
        yield from _enum_names((*path, _NESTED_ENUM, index), f"{name}.{enum.name}", enum)


def _enum_names(path: _Path, name: str, enum: EnumDescriptorProto) -> Iterator[tuple[_Path, str]]:
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, _VALUE, index), f"{name}.{value.name}"
