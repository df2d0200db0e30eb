"""The rules (buf.validate) of the messages that the portal sends, and what a broken one says."""

from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from sdk.billing.v1 import billing_service_pb2
from sdk.developer.v1 import developer_service_pb2
from sdk.portal.v1 import account_service_pb2, key_secret_service_pb2, oauth_client_service_pb2
from sdk.usage.v1 import usage_service_pb2

_MODULES: tuple[ModuleType, ...] = (
    account_service_pb2,
    billing_service_pb2,
    developer_service_pb2,
    key_secret_service_pb2,
    oauth_client_service_pb2,
    usage_service_pb2,
)
_TRIED: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.TYPE_STRING: ("", "x" * 5000, "a b", "read"),
    FieldDescriptor.TYPE_INT32: (-1, 0, 1_000_000),
    FieldDescriptor.TYPE_ENUM: (0, 999),
}
"""Values that break the rules there are, by the field's type."""
_SHADOWED = {("required", "string.min_len")}
"""A field that is required is never found to be too short: the first rule speaks, not the second."""


class Told(NamedTuple):
    """What is said when a rule of a field is broken; empty when nothing that was tried breaks it."""

    message: str
    field: str
    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.message}.{self.field}-{self.rule}"


@cache
def rules_told() -> tuple[Told, ...]:
    """Return every rule of every field of the requests with its sentence."""
    return tuple(
        told
        for module in _MODULES
        for name, message in module.DESCRIPTOR.message_types_by_name.items()
        if name.endswith("Request")
        for field in message.fields
        for told in _told(getattr(module, name), field)
    )


def _told(request: type[Message], field: FieldDescriptor) -> Iterator[Told]:
    names = _rules(field.GetOptions().Extensions[validate_pb2.field])
    broken = {rule: sentence for value in _values(field) for rule, sentence in _broken(request, field, value)}
    for name in names:
        if any((other, name) in _SHADOWED for other in names):
            continue
        kind, _, rule = name.rpartition(".")
        found = (sentence for each, sentence in broken.items() if each.startswith(kind) and rule in each)
        yield Told(request.__name__, field.name, name, next(found, ""))


def _rules(rules: Any) -> list[str]:
    """Name the rules of a field as violations do, e.g. `string.max_len`; those of a list's items too."""
    kind = rules.WhichOneof("type")
    names = ["required"] if rules.required else []
    for rule, value in getattr(rules, kind).ListFields() if kind else ():
        names += _rules(value) if rule.name == "items" else [f"{kind}.{rule.name}"]
    return names


def _values(field: FieldDescriptor) -> Iterator[Any]:
    tried = _TRIED.get(field.type, ())
    if field.is_repeated:
        yield from ([], *([value] for value in tried), ["read", "read"], [str(number) for number in range(100)])
    else:
        yield from tried


def _broken(request: type[Message], field: FieldDescriptor, value: Any) -> Iterator[tuple[str, str]]:
    message = request()
    if field.is_repeated:
        getattr(message, field.name).extend(value)
    else:
        setattr(message, field.name, value)
    for violation in protovalidate.collect_violations(message):
        elements = violation.proto.field.elements if violation.proto.field else ()
        if elements and elements[0].field_name == field.name:
            yield violation.proto.rule_id, violation.proto.message
