"""`buf.validate` rules in the words of JSON Schema. They are read by extension, so protovalidate need not be installed.

What JSON Schema cannot say (CEL, rules across fields) is left out: a schema may promise less than the server checks.
"""

from collections.abc import Iterable
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

Schema = dict[str, Any]

_EXTENSION = "buf.validate.field"
_OPTIONS = "google.protobuf.FieldOptions"
_KEYWORDS = {
    "min_len": "minLength",
    "max_len": "maxLength",
    "pattern": "pattern",
    "min_items": "minItems",
    "max_items": "maxItems",
    "unique": "uniqueItems",
    "min_pairs": "minProperties",
    "max_pairs": "maxProperties",
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
    "const": "const",
}
_FORMATS = {"uuid": "uuid", "email": "email", "hostname": "hostname", "ipv4": "ipv4", "ipv6": "ipv6", "uri": "uri"}
_NUMBERS = frozenset({"int32", "sint32", "sfixed32", "uint32", "fixed32", "float", "double"})
"""Types whose JSON form is a number; 64-bit integers are strings and have no bounds in JSON Schema."""


class Rules:
    """Reads the rules of fields. `pool` holds the fields' files; without buf/validate in it there are no rules."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._extension: Any = None
        try:
            self._extension = pool.FindExtensionByName(_EXTENSION)
            self._options = message_factory.GetMessageClass(pool.FindMessageTypeByName(_OPTIONS))
        except KeyError:
            return

    def of(self, field: FieldDescriptor) -> Any:
        """Return the field's `buf.validate.FieldRules`, None when it has none."""
        if self._extension is None:
            return None
        options = self._options.FromString(field.GetOptions().SerializeToString())
        return options.Extensions[self._extension] if options.HasExtension(self._extension) else None

    def required(self, field: FieldDescriptor) -> bool:
        """Tell whether the field must be given."""
        rules = self.of(field)
        return rules is not None and bool(rules.required)


def keywords(rules: Any) -> Schema:
    """Return the JSON Schema keywords for a field's rules, those of list items apart."""
    kind = rules.WhichOneof("type") if rules is not None else None
    if kind is None or kind in {"enum", "bytes", "any", "duration", "timestamp", "field_mask"}:
        return {}
    schema: Schema = {}
    for field, value in getattr(rules, kind).ListFields():
        if kind not in _NUMBERS and field.name in {"gt", "gte", "lt", "lte"}:
            continue
        if field.name in _KEYWORDS and value is not False:
            schema[_KEYWORDS[field.name]] = value
        elif field.name == "len":
            schema["minLength"] = schema["maxLength"] = value
        elif field.name == "in":
            schema["enum"] = list(value)
        elif field.name in _FORMATS and value is True:
            schema["format"] = _FORMATS[field.name]
    return schema


def item_rules(rules: Any) -> Any:
    """Return the rules of a list's items, None when there are none."""
    if rules is None or rules.WhichOneof("type") != "repeated" or not rules.repeated.HasField("items"):
        return None
    return rules.repeated.items


def allowed_values(rules: Any, values: Iterable[tuple[str, int]]) -> list[str]:
    """Return the names of an enum's values, given with their numbers, that the rules leave."""
    enum = rules.enum if rules is not None and rules.WhichOneof("type") == "enum" else None
    only = set(getattr(enum, "in")) if enum is not None else set()
    never = set(enum.not_in) if enum is not None else set()
    return [name for name, number in values if (not only or number in only) and number not in never]
