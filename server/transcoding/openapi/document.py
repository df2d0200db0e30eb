"""An OpenAPI 3.1 document of the routes that `router` reads, with the protos' own comments and rules.

Names are those that clients were promised: schemas `package_Message`, operations by RPC, tags by service. The output
depends on the descriptors alone, byte for byte.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from server.transcoding.codec.wellknown import well_known
from server.transcoding.openapi.comments import comments_of
from server.transcoding.openapi.rules import Rules, Schema
from server.transcoding.openapi.schemas import Schemas
from server.transcoding.router import Route, find_field, routes_of
from server.transcoding.template import REST, STAR

_JSON = "application/json"
_BEARER = "bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What a document says about the API as a whole. `server` is its base URL; `bearer` describes its access tokens."""

    title: str
    version: str
    description: str = ""
    server: str = ""
    bearer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A request header that every operation takes."""

    name: str
    description: str
    required: bool = True
    example: str = ""


def document(
    files: FileDescriptorSet,
    services: Sequence[str],
    info: Info,
    *,
    headers: Sequence[Header] = (),
    anonymous: Sequence[str] = (),
) -> dict[str, Any]:
    """Describe services, given by full name, of a descriptor set that holds all their imports, best with source info.

    Operations of `anonymous` ones take no access token and none of the `headers`.
    Raises `KeyError` for a service that is not in the set, `InvalidRoute` for a rule that cannot be served.
    """
    pool = DescriptorPool()
    for file in files.file:
        pool.Add(file)
    comments = comments_of(files)
    schemas = Schemas(comments, Rules(pool))
    operations = _Operations(schemas, comments, headers, frozenset(anonymous))
    found = [pool.FindServiceByName(name) for name in services]
    paths: dict[str, dict[str, Any]] = {}
    for service in found:
        for route in routes_of(service):
            paths.setdefault(_path(route), {})[route.verb.lower()] = operations.operation(route)
    result: dict[str, Any] = {"openapi": "3.1.0", "info": _info(info)}
    if info.server:
        result["servers"] = [{"url": info.server}]
    result["security"] = [{_BEARER: []}] if info.bearer else []
    result["tags"] = [_tag(service, comments) for service in found]
    result["paths"] = paths
    result["components"] = {"schemas": dict(sorted({**schemas.components, **_ERRORS}.items()))}
    if info.bearer:
        scheme = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": info.bearer}
        result["components"]["securitySchemes"] = {_BEARER: scheme}
    return result


def _info(info: Info) -> Schema:
    described = {"description": info.description} if info.description else {}
    return {"title": info.title, **described, "version": info.version}


def _tag(service: ServiceDescriptor, comments: Mapping[str, str]) -> Schema:
    described = {"description": comments[service.full_name]} if service.full_name in comments else {}
    return {"name": service.name, **described}


def _path(route: Route) -> str:
    """Return the route's template with each variable as one parameter, since OpenAPI knows no patterns in paths."""
    pieces: list[str] = []
    position = 0
    segments = route.template.segments
    for variable in route.template.variables:
        pieces += [*segments[position : variable.start], f"{{{variable.field}}}"]
        position = len(segments) if variable.end is None else variable.end
    verb = f":{route.template.verb}" if route.template.verb else ""
    return "/" + "/".join([*pieces, *segments[position:]]) + verb


class _Operations:
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
            operation["requestBody"] = {"content": _content(self._body(route)), "required": True}
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

    def _responses(self, route: Route) -> Schema:
        message = route.rpc.output_type
        if route.response_body:
            schema = self._schemas.field(message.fields_by_name[route.response_body])
        else:
            schema = self._schemas.message(message)
        return {
            "200": {"description": "The call succeeded.", "content": _content(schema)},
            "400": {"description": "The request is invalid.", "content": _content(_reference("ValidationError"))},
            "default": {"description": "The call failed.", "content": _content(_reference("Error"))},
        }

    def _path_parameters(self, route: Route) -> Iterator[Schema]:
        for variable in route.template.variables:
            field = find_field(route.rpc.input_type, variable.field)
            if field is not None:
                schema = self._schemas.field(field)
                if schema.get("type") == "string":
                    schema = _path_text(schema, route.template.segments[variable.start : variable.end])
                yield _parameter(variable.field, "path", schema, required=True)

    def _query_parameters(self, route: Route) -> Iterator[Schema]:
        if route.body == "*":
            return
        taken = {variable.field for variable in route.template.variables} | {route.body}
        for path, field in _leaves(route.rpc.input_type, (), ""):
            if path not in taken and path.partition(".")[0] != route.body:
                yield _parameter(path, "query", self._schemas.field(field), required=False)


def _path_text(schema: Schema, segments: Sequence[str]) -> Schema:
    """Add what a path demands of a variable: no empty value, and the literals of a pattern such as `projects/*`."""
    if tuple(segments) == (STAR,):
        return {"minLength": 1, **schema}
    pattern = "/".join({STAR: "[^/]+", REST: ".*"}.get(segment, segment.replace(".", r"\.")) for segment in segments)
    return {**schema, "pattern": f"^{pattern}$"}


def _leaves(message: Descriptor, above: tuple[str, ...], prefix: str) -> Iterator[tuple[str, FieldDescriptor]]:
    """Yield what a query string can set: scalars, lists of them, and text forms, also inside messages; no recursion."""
    for field in message.fields:
        path = prefix + field.name
        inner = field.message_type
        if inner is None:
            yield path, field
        elif field.is_repeated:
            continue
        elif (form := well_known(inner)) is not None:
            if form.parse is not None:
                yield path, field
        elif inner.full_name not in above and inner.full_name != message.full_name:
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


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_CODE = {"type": "string", "description": "Symbolic name of the failure, for programs."}
_ERRORS: Mapping[str, Schema] = {
    "Error": {
        "type": "object",
        "properties": {
            "code": _CODE,
            "message": {"type": "string", "description": "What went wrong, for people."},
        },
        "description": "Why a call failed.",
    },
    "ValidationError": {
        "type": "object",
        "properties": {
            "code": _CODE,
            "message": {"type": "string", "description": "All violations in one sentence."},
            "violations": {
                "type": "array",
                "items": _reference("FieldViolation"),
                "description": "One entry for each faulty field; empty when the fault is in no single field.",
            },
        },
        "required": ["violations"],
        "description": "Why a request was refused.",
    },
    "FieldViolation": {
        "type": "object",
        "properties": {
            "field": {
                "type": "string",
                "description": "Dotted path of the field as the request spelled it, the name of a header, or `body`.",
            },
            "description": {"type": "string", "description": "What is wrong with the field, and what it takes."},
        },
        "required": ["field", "description"],
        "description": "One faulty field of a request.",
    },
}
