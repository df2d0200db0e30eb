"""What was learned, ready to serve: linked descriptors in a pool of their own, and the OpenAPI document of them."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from server.gateway.files import CannotLearn
from server.gateway.reflection import Description
from server.transcoding.openapi.document import Info, document
from server.transcoding.openapi.operations import Operations
from server.transcoding.openapi.rules import Rules
from server.transcoding.openapi.schemas import Schemas
from server.transcoding.router import InvalidRoute, Router, routes_of

_NAMED_IN_TITLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The services that have routes, and the files they came from. Equal descriptions have equal fingerprints."""

    services: tuple[ServiceDescriptor, ...]
    files: FileDescriptorSet
    fingerprint: str


def link(description: Description) -> Catalogue:
    """Link the files of a description; the pool of generated code is not touched.

    Raises:
        CannotLearn: the files do not fit together, a rule cannot be served, two claim the same, or there is none.
    """
    files = FileDescriptorSet(file=description.files)
    pool = DescriptorPool()
    try:
        for file in files.file:
            pool.Add(file)
        services = [pool.FindServiceByName(name) for name in description.services]
    except (KeyError, TypeError, ValueError):  # protobuf's text tells of its own functions
        raise CannotLearn("The upstream's proto files do not fit together: a type they use is not in them.") from None
    try:
        routes = [route for service in services for route in routes_of(service)]
        Router(routes)
    except InvalidRoute as fault:
        raise CannotLearn(f"The upstream has google.api.http rules that cannot be served: {fault}.") from None
    if not routes:
        raise CannotLearn(
            f"No method of the upstream's services ({', '.join(description.services)}) has a google.api.http rule; "
            "annotate those to serve (google/api/annotations.proto)."
        )
    served = {route.rpc.containing_service.full_name for route in routes}
    return Catalogue(
        services=tuple(service for service in services if service.full_name in served),
        files=files,
        fingerprint=fingerprint_of(description),
    )


def fingerprint_of(description: Description) -> str:
    """Return a text that changes with what was described, and with nothing else."""
    digest = hashlib.sha256("\n".join(description.services).encode())
    for file in description.files:
        digest.update(hashlib.sha256(file.SerializeToString(deterministic=True)).digest())
    return digest.hexdigest()


def openapi_of(catalogue: Catalogue) -> dict[str, Any]:
    """Describe the routes. The version is the descriptors' own: it changes when they do."""
    names = [service.full_name for service in catalogue.services]
    title = ", ".join(names[:_NAMED_IN_TITLE]) + (" and more" if len(names) > _NAMED_IN_TITLE else "")
    return document(catalogue.files, names, Info(title=title, version=catalogue.fingerprint[:12]))


def openapi_json(catalogue: Catalogue, option: int = 0) -> bytes:
    """Write the description of the routes as JSON, with options of orjson. Raises `CannotLearn`, naming the RPC."""
    try:
        return orjson.dumps(openapi_of(catalogue), option=option)
    except Exception as fault:  # what is linked need not make sense, and an upstream can think of anything
        culprit = _find_culprit(catalogue)
        what = f"what {culprit} takes or gives" if culprit else "something in the upstream's proto files"
        why = f"{what} cannot be described ({type(fault).__name__})"
        raise CannotLearn(f"The OpenAPI document cannot be made: {why}.") from None


def _find_culprit(catalogue: Catalogue) -> str | None:
    """Find the first RPC that cannot be described."""
    culprit = None
    with suppress(Exception):
        operations = Operations(Schemas({}, Rules(catalogue.services[0].file.pool)), {}, (), frozenset())
        for service in catalogue.services:
            for route in routes_of(service):
                culprit = route.rpc.full_name
                operations.operation(route)
        culprit = None
    return culprit
