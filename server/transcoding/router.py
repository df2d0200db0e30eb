"""Which method a request is for: routes read from service descriptors and compiled once into a trie.

Literals win over `*`, `*` over `**`, whatever the order of registration, with backtracking. Paths are taken as they
are: an empty segment, a dot segment or a trailing slash matches nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.api.annotations_pb2 import http
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from server.transcoding.template import DOTS, REST, STAR, InvalidTemplate, Template, parse

ANY_METHOD = "*"


class InvalidRoute(ValueError):
    """A `google.api.http` rule cannot be served; the message names the RPC, or both for a duplicate."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """One HTTP binding of one RPC. `body` and `response_body` are as in `google.api.HttpRule`."""

    verb: str
    template: Template
    rpc: MethodDescriptor
    body: str = ""
    response_body: str = ""

    @property
    def rpc_path(self) -> str:
        """The RPC's name on the wire: `/package.Service/Method`."""
        return f"/{self.rpc.containing_service.full_name}/{self.rpc.name}"


class Match(NamedTuple):
    """The route of a request and the escaped text of its template's variables."""

    route: Route
    captures: tuple[str, ...]


class Miss(NamedTuple):
    """No route. `allowed` lists the methods that the path does have: none is a 404, else a 405."""

    allowed: tuple[str, ...] = ()


class _Node:
    """A place in the trie. By template verb, `ends` holds the routes that end here, `rests` those of `**`."""

    __slots__ = ("ends", "literals", "rests", "star")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.star: _Node | None = None
        self.ends: dict[str, dict[str, Route]] = {}
        self.rests: dict[str, dict[str, Route]] = {}


class Router:
    """The compiled routes. Raises `InvalidRoute` when two of them would take the same requests."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self._verbs: set[str] = set()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        table = node.ends
        for segment in route.template.segments:
            if segment == REST:
                table = node.rests
                break
            if segment == STAR:
                node.star = node = node.star or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
            table = node.ends
        methods = table.setdefault(route.template.verb, {})
        other = methods.setdefault(route.verb, route)
        if other is not route:
            raise InvalidRoute(
                f"{other.rpc.full_name} and {route.rpc.full_name} both claim {route.verb} {other.template} "
                f"(the second as {route.template})"
            )
        if route.template.verb:
            self._verbs.add(route.template.verb)

    def match(self, method: str, path: str) -> Match | Miss:
        """Find the route for an HTTP method and a raw, still escaped path."""
        if path[:1] != "/":
            return Miss()
        segments = path[1:].split("/")
        if "" in segments or not DOTS.isdisjoint([segment.lower() for segment in segments]):
            return Miss()
        allowed: set[str] = set()
        name, colon, verb = segments[-1].rpartition(":")
        if colon and name and verb in self._verbs:
            stripped = [*segments[:-1], name]
            route = _find(self._root, stripped, 0, verb, method, allowed)
            if route is not None:
                return Match(route, route.template.capture(stripped))
            if allowed:
                return Miss(_sorted(allowed))
        route = _find(self._root, segments, 0, "", method, allowed)
        return Match(route, route.template.capture(segments)) if route is not None else Miss(_sorted(allowed))


def _find(node: _Node, segments: list[str], index: int, verb: str, method: str, allowed: set[str]) -> Route | None:
    """Search depth first. Every node is visited at most once, so the trie's size bounds the work."""
    if index == len(segments):
        found = _pick(node.ends, verb, method, allowed)
    else:
        found = None
        child = node.literals.get(segments[index])
        if child is not None:
            found = _find(child, segments, index + 1, verb, method, allowed)
        if found is None and node.star is not None:
            found = _find(node.star, segments, index + 1, verb, method, allowed)
    if found is None and node.rests:
        found = _pick(node.rests, verb, method, allowed)
    return found


def _pick(table: dict[str, dict[str, Route]], verb: str, method: str, allowed: set[str]) -> Route | None:
    methods = table.get(verb)
    if methods is None:
        return None
    allowed.update(methods)
    return methods.get(method) or methods.get(ANY_METHOD)


def _sorted(allowed: set[str]) -> tuple[str, ...]:
    extra = {"OPTIONS"} if allowed else set()
    if "GET" in allowed:
        extra.add("HEAD")
    return tuple(sorted((allowed | extra) - {ANY_METHOD}))


def routes_of(service: ServiceDescriptor) -> Iterator[Route]:
    """Read the routes of a service's methods; a method without the annotation has none. Raises `InvalidRoute`."""
    for rpc in service.methods:
        options: Any = rpc.GetOptions()
        if not options.HasExtension(http):
            continue
        rule: HttpRule = options.Extensions[http]
        yield _route(rpc, rule)
        for additional in rule.additional_bindings:
            if additional.additional_bindings:
                raise InvalidRoute(f"{rpc.full_name} nests additional_bindings")
            yield _route(rpc, additional)


def _route(rpc: MethodDescriptor, rule: HttpRule) -> Route:
    pattern = rule.WhichOneof("pattern")
    if pattern is None:
        raise InvalidRoute(f"{rpc.full_name} has a rule without a path")
    verb, path = (
        (rule.custom.kind, rule.custom.path) if pattern == "custom" else (pattern.upper(), getattr(rule, pattern))
    )
    try:
        template = parse(path)
    except InvalidTemplate as fault:
        raise InvalidRoute(f"{rpc.full_name}: {fault}") from None
    for variable in template.variables:
        field = find_field(rpc.input_type, variable.field)
        if field is None or field.is_repeated or field.message_type is not None:
            raise InvalidRoute(f"{rpc.full_name}: {path!r} binds {variable.field!r}, which is no singular scalar field")
    if rule.body not in {"", "*"} and rule.body not in rpc.input_type.fields_by_name:
        raise InvalidRoute(f"{rpc.full_name}: body {rule.body!r} is no field of {rpc.input_type.full_name}")
    if rule.response_body and rule.response_body not in rpc.output_type.fields_by_name:
        raise InvalidRoute(
            f"{rpc.full_name}: response_body {rule.response_body!r} is no field of {rpc.output_type.full_name}"
        )
    return Route(verb=verb, template=template, rpc=rpc, body=rule.body, response_body=rule.response_body)


def find_field(message: Descriptor, path: str) -> FieldDescriptor | None:
    """Find the field that a dotted path of proto names leads to, through singular messages only."""
    *parents, last = path.split(".")
    for parent in parents:
        field = message.fields_by_name.get(parent)
        if field is None or field.is_repeated or field.message_type is None:
            return None
        message = field.message_type
    return message.fields_by_name.get(last)
