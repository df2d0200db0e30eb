"""JSON Schemas (draft 2020-12, as OpenAPI 3.1 uses it) of messages and fields, as the codec reads and writes them."""

from collections.abc import Mapping, Set
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.wrappers_pb2 import DESCRIPTOR as _WRAPPERS_FILE

from server.transcoding.openapi.rules import Rules, Schema, allowed_values, item_rules, keywords

_INT32: Schema = {"type": "integer", "format": "int32"}
_UINT32: Schema = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_INT64: Schema = {"type": "string", "format": "int64"}
_UINT64: Schema = {"type": "string", "pattern": "^[0-9]+$"}
_SCALARS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
}
_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Value": {},
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}},
}
COMPONENT = "#/components/schemas/"
"""Where a reference leads, before the component's name."""
_WRAPPERS = frozenset(_WRAPPERS_FILE.message_types_by_name)
_NULL = "google.protobuf.NullValue"


class Schemas:
    """Collects the schemas of the messages that a document refers to; `components` holds them by their schema names."""

    def __init__(self, comments: Mapping[str, str], rules: Rules) -> None:
        self.components: dict[str, Schema] = {}
        self._comments = comments
        self._rules = rules
        self._incomplete: list[Descriptor] = []

    def message(self, descriptor: Descriptor, not_required: Set[str] = frozenset()) -> Schema:
        """Return a schema for a message: a reference to its component, or the form of a well-known type.

        The fields in `not_required` (proto names) have their value from the path and may be left out.
        """
        schema = self._message(descriptor)
        self._complete()
        if "$ref" in schema:
            self._relax(self.components[_name(descriptor)], descriptor, not_required)
        return schema

    def field(self, field: FieldDescriptor) -> Schema:
        """Return a schema for a field's value, with its rules and its comment."""
        schema = self._field(field)
        self._complete()
        return schema

    def _complete(self) -> None:
        """Work off a list rather than recur: a large API has chains of types that would outgrow Python's stack."""
        while self._incomplete:
            descriptor = self._incomplete.pop()
            schema = self.components[_name(descriptor)]
            schema["properties"] = {field.json_name: self._field(field) for field in descriptor.fields}
            self._describe(schema, descriptor.full_name)
            required = [field.json_name for field in descriptor.fields if self._rules.required(field)]
            if required:
                schema["required"] = required

    def _message(self, descriptor: Descriptor) -> Schema:
        known = _well_known(descriptor)
        if known is not None:
            return known
        name = _name(descriptor)
        if name not in self.components:
            self.components[name] = {"type": "object"}
            self._incomplete.append(descriptor)
        return reference(name)

    def _relax(self, schema: Schema, descriptor: Descriptor, not_required: Set[str]) -> None:
        loose = {field.json_name for field in descriptor.fields if field.name in not_required}
        required = [name for name in schema.pop("required", ()) if name not in loose]
        if required:
            schema["required"] = required

    def _field(self, field: FieldDescriptor) -> Schema:
        rules = self._rules.of(field)
        if not field.is_repeated:
            return self._single(field, rules)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values = self._field(field.message_type.fields_by_name["value"])
            schema: Schema = {"type": "object", "additionalProperties": values, **keywords(rules)}
            return self._describe(schema, field.full_name)
        items = self._single(field, item_rules(rules))
        array: Schema = {"type": "array", "items": items, **keywords(rules)}
        return self._describe(array, field.full_name) if "$ref" in items else array

    def _single(self, field: FieldDescriptor, rules: Any) -> Schema:
        if field.message_type is not None:
            schema = self._message(field.message_type)
            return schema if "$ref" in schema else self._described(schema, field)
        if field.enum_type is not None:
            if field.enum_type.full_name == _NULL:
                return self._describe({"type": "null"}, field.full_name)
            values = [(value.name, value.number) for value in field.enum_type.values]
            return self._described({"type": "string", "enum": allowed_values(rules, values)}, field)
        return self._described({**_SCALARS[field.type], **keywords(rules)}, field)

    def _described(self, schema: Schema, field: FieldDescriptor) -> Schema:
        if field.GetOptions().deprecated:
            schema["deprecated"] = True
        described = self._describe(schema, field.full_name)
        if "description" not in described and field.enum_type is not None:
            return self._describe(schema, field.enum_type.full_name)
        return described

    def _describe(self, schema: Schema, full_name: str) -> Schema:
        if full_name in self._comments:
            schema["description"] = self._comments[full_name]
        return schema


def _well_known(descriptor: Descriptor) -> Schema | None:
    if descriptor.full_name in _WELL_KNOWN:
        return dict(_WELL_KNOWN[descriptor.full_name])
    package, _, name = descriptor.full_name.rpartition(".")
    if package == "google.protobuf" and name in _WRAPPERS:
        schema = dict(_SCALARS[descriptor.fields_by_name["value"].type])
        schema["type"] = [schema["type"], "null"]
        return schema
    return None


def reference(name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"{COMPONENT}{name}"}


def _name(descriptor: Descriptor) -> str:
    return descriptor.full_name.replace(".", "_")
