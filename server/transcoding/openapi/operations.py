"""The operations of an OpenAPI document: one for each route, with what its path, query, headers and body take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from server.transcoding.codec.any import is_special
from server.transcoding.codec.wellknown import HTTP_BODY
from server.transcoding.openapi.paths import parts_of
from server.transcoding.openapi.rules import Schema
from server.transcoding.openapi.schemas import Schemas, reference
from server.transcoding.parameters import takes_text
from server.transcoding.router import Route, find_field
from server.transcoding.template import STAR

_JSON = "application/json"
_LINES = "application/x-ndjson"
_EVENTS = "text/event-stream"
_ANYTHING: Schema = {"*/*": {}}
_MAX_DEPTH, _MAX_PARAMETERS = 3, 200
"""How deep query parameters are listed, and how many: of messages that hold one another there is no end of paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A request header that every operation takes."""

    name: str
    description: str
    required: bool = True
    example: str = ""


class Operations:
    """Describes routes. Those of `anonymous` services take no access token and none of the `headers`."""

    def __init__(
        self, schemas: Schemas, comments: Mapping[str, str], headers: Sequence[Header], anonymous: frozenset[str]
    ) -> None:
        self._anonymous = anonymous
        self._schemas = schemas
        self._comments = comments
        self._headers = [_header(header) for header in headers]
        self._seen: set[str] = set()

    def operation(self, route: Route) -> Schema:
        """Describe one route. A second route of an RPC gets a numbered operation id, as ids must be unique."""
        rpc = route.rpc
        operation: Schema = {"tags": [rpc.containing_service.name], "summary": rpc.name}
        if rpc.full_name in self._comments:
            operation["description"] = self._comments[rpc.full_name]
        operation["operationId"] = self._unique(rpc.name)
        is_anonymous = rpc.containing_service.full_name in self._anonymous
        headers = [] if is_anonymous else self._headers
        parameters = [*headers, *self._path_parameters(route), *self._query_parameters(route)]
        if is_anonymous:
            operation["security"] = []
        if parameters:
            operation["parameters"] = parameters
        if route.body:
            operation["requestBody"] = {"content": self._body_content(route), "required": True}
        if rpc.GetOptions().deprecated:
            operation["deprecated"] = True
        operation["responses"] = self._responses(route)
        return operation

    def _unique(self, name: str) -> str:
        candidate, number = name, 1
        while candidate in self._seen:
            number += 1
            candidate = f"{name}{number}"
        self._seen.add(candidate)
        return candidate

    def _body(self, route: Route) -> Schema:
        message = route.rpc.input_type
        if route.body == "*":
            return self._schemas.message(message, {variable.field for variable in route.template.variables})
        return self._schemas.field(message.fields_by_name[route.body])

    def _body_content(self, route: Route) -> Schema:
        if _is_raw(route.rpc.input_type, "" if route.body == "*" else route.body):
            return _ANYTHING
        schema = self._body(route)
        return {_LINES: {"schema": schema}} if route.rpc.client_streaming else _content(schema)

    def _response_content(self, route: Route) -> Schema:
        message = route.rpc.output_type
        if _is_raw(message, route.response_body):
            return _ANYTHING
        if route.response_body:
            schema = self._schemas.field(message.fields_by_name[route.response_body])
        else:
            schema = self._schemas.message(message)
        if not route.rpc.server_streaming:
            return _content(schema)
        each = {"schema": schema}
        return {_LINES: each, _EVENTS: each, _JSON: {"schema": {"type": "array", "items": schema}}}

    def _responses(self, route: Route) -> Schema:
        return {
            "200": {"description": "The call succeeded.", "content": self._response_content(route)},
            "400": {"description": "The request is invalid.", "content": _content(reference("ValidationError"))},
            "default": {"description": "The call failed.", "content": _content(reference("Error"))},
        }

    def _path_parameters(self, route: Route) -> Iterator[Schema]:
        for part in parts_of(route.template).values():
            field = cast("FieldDescriptor", find_field(route.rpc.input_type, part.field))  # or there were no route
            schema = self._schemas.field(field)
            if part.sentence:
                told = [part.sentence, schema.get("description", "")]
                schema = {"type": "string", "description": "\n\n".join(filter(None, told))}
            if schema.get("type") == "string" and part.wildcard == STAR:
                schema = {"minLength": 1, **schema}
            yield _parameter(part.name, "path", schema, required=True)

    def _query_parameters(self, route: Route) -> Iterator[Schema]:
        if route.body == "*":
            return
        taken = {variable.field for variable in route.template.variables} | {route.body}
        for path, field in islice(_leaves(route.rpc.input_type, (), ""), _MAX_PARAMETERS):
            if path not in taken and path.partition(".")[0] != route.body:
                yield _parameter(path, "query", self._schemas.field(field), required=False)


def _leaves(message: Descriptor, above: tuple[str, ...], prefix: str) -> Iterator[tuple[str, FieldDescriptor]]:
    """Yield what a query string can set: scalars, lists of them, and text forms, inside messages too, not too deep."""
    for field in message.fields:
        path = prefix + field.name
        inner = field.message_type
        if takes_text(field):
            yield path, field
        elif inner is None or field.is_repeated or is_special(inner):
            continue
        elif len(above) < _MAX_DEPTH and inner.full_name not in {*above, message.full_name}:
            yield from _leaves(inner, (*above, message.full_name), f"{path}.")


def _parameter(name: str, place: str, schema: Schema, *, required: bool) -> Schema:
    schema = dict(schema)
    items = schema.get("items")
    description = schema.pop("description", None) or (items.get("description") if items else None)
    parameter: Schema = {"name": name, "in": place}
    if description:
        parameter["description"] = description
    return {**parameter, "required": required, "schema": schema}


def _header(header: Header) -> Schema:
    schema: Schema = {"type": "string"}
    if header.example:
        schema["example"] = header.example
    return {
        "name": header.name,
        "in": "header",
        "description": header.description,
        "required": header.required,
        "schema": schema,
    }


def _content(schema: Schema) -> Schema:
    return {_JSON: {"schema": schema}}


def _is_raw(message: Descriptor, field: str) -> bool:
    """Tell whether a message, or its field of that name, is bytes of any type instead of JSON."""
    kind = message.fields_by_name[field].message_type if field else message
    return kind is not None and kind.full_name == HTTP_BODY
