"""An OpenAPI 3.1 document of the routes that `router` reads, with the protos' own comments and rules.

Names are those that clients were promised: schemas `package_Message`, operations by RPC, tags by service. The output
depends on the descriptors alone, byte for byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from server.transcoding.openapi.comments import comments_of
from server.transcoding.openapi.operations import Header, Operations
from server.transcoding.openapi.paths import path_of
from server.transcoding.openapi.rules import Rules, Schema
from server.transcoding.openapi.schemas import COMPONENT, Schemas, reference
from server.transcoding.router import routes_of

__all__ = ["Header", "Info", "document"]

_BEARER = "bearer"
_METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"})
"""OpenAPI has no place for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What a document says about the API as a whole. `server` is its base URL; `bearer` describes its access tokens."""

    title: str
    version: str
    description: str = ""
    server: str = ""
    bearer: str = ""


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
    operations = Operations(schemas, comments, headers, frozenset(anonymous))
    found = [pool.FindServiceByName(name) for name in services]
    paths = _paths(found, operations)
    result: dict[str, Any] = {"openapi": "3.1.0", "info": _info(info)}
    if info.server:
        result["servers"] = [{"url": info.server}]
    result["security"] = [{_BEARER: []}] if info.bearer else []
    result["tags"] = [_tag(service, comments) for service in found]
    result["paths"] = paths
    _close(schemas.components, paths)
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


def _paths(services: Sequence[ServiceDescriptor], operations: Operations) -> dict[str, dict[str, Schema]]:
    """Describe the routes by path and method. Of those that only their patterns tell apart the first has the place."""
    paths: dict[str, dict[str, Schema]] = {}
    for route in chain.from_iterable(map(routes_of, services)):
        path, method = path_of(route.template), route.verb.lower()
        if route.verb in _METHODS and method not in paths.get(path, ()):
            paths.setdefault(path, {})[method] = operations.operation(route)
    return paths


def _close(components: Mapping[str, Schema], paths: Mapping[str, Mapping[str, Schema]]) -> None:
    """Say of the messages that occur in requests only that unknown fields are refused; answers may grow new ones."""
    operations = [operation for methods in paths.values() for operation in methods.values()]
    asked = _mentioned([operation.get("requestBody") for operation in operations], components)
    answered = _mentioned([operation["responses"] for operation in operations], components)
    for name in asked - answered:
        components[name]["additionalProperties"] = False


def _mentioned(roots: Sequence[Any], components: Mapping[str, Schema]) -> set[str]:
    """Return the components that schemas refer to, directly or through others."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            name = str(value.get("$ref", "")).removeprefix(COMPONENT)
            if name in components and name not in found:
                found.add(name)
                waiting.append(components[name])
    return found


_CODE = {"type": "string", "description": "Symbolic name of the failure, for programs."}
_DETAILS = {
    "type": "array",
    "items": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
    "description": "What else the service says of the failure, each message with the URL of its type.",
}
_ERRORS: Mapping[str, Schema] = {
    "Error": {
        "type": "object",
        "properties": {
            "code": _CODE,
            "message": {"type": "string", "description": "What went wrong, for people."},
            "details": _DETAILS,
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
                "items": reference("FieldViolation"),
                "description": "One entry for each faulty field; empty when the fault is in no single field.",
            },
            "details": _DETAILS,
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
