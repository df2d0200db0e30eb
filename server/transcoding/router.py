"""Which method a request is for: routes read from service descriptors and compiled once into a trie.

Literals win over `*`, `*` over `**`, whatever the order of registration, with backtracking. Paths are not normalised:
an empty segment, a dot segment or a trailing slash matches nothing. Only literals match in every escaped spelling.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from google.api.annotations_pb2 import http
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from server.transcoding.parameters import takes_text
from server.transcoding.template import DOTS, REST, STAR, InvalidTemplate, Template, literal, parse

ANY_METHOD = "*"
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A token (RFC 9110 section 9.1)."""


class InvalidRoute(ValueError):
    """A `google.api.http` rule cannot be served; the message names the RPC, or both for a duplicate."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """One HTTP binding of one RPC. `body` and `response_body` are as in `google.api.HttpRule`."""

    verb: str
    template: Template
    rpc: MethodDescriptor
    body: str = ""
    response_body: str = ""
    rpc_path: str = dataclasses.field(init=False)
    """The RPC's name on the wire: `/package.Service/Method`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rpc_path", f"/{self.rpc.containing_service.full_name}/{self.rpc.name}")


class Match(NamedTuple):
    """The route of a request and the escaped text of its template's variables."""

    route: Route
    captures: tuple[str, ...]


class Miss(NamedTuple):
    """No route. `allowed` lists the methods that the path does have: none is a 404, else a 405."""

    allowed: tuple[str, ...] = ()


_Methods = dict[str, Route]
"""The routes of one template by HTTP method."""


class _Node:
    """A place in the trie. By template verb, `ends` holds the routes that end here, `rests` those of `**`."""

    __slots__ = ("ends", "literals", "rests", "star")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.star: _Node | None = None
        self.ends: dict[str, _Methods] = {}
        self.rests: dict[str, _Methods] = {}


class Router:
    """The compiled routes. Raises `InvalidRoute` when two of them would take the same requests.

    A unary GET is also HEAD where no route says otherwise. A path that ends in a verb which some route has there
    belongs to the routes with that verb; otherwise the colon is part of the last segment.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self._verbs: set[str] = set()
        self._constant: dict[tuple[str, str], Match] = {}
        routes = tuple(routes)
        for route in routes:
            self._add(route)
        for route in routes:
            if route.verb == "GET" and not route.rpc.server_streaming:
                self._methods(route.template).setdefault("HEAD", route)

    def _add(self, route: Route) -> None:
        methods = self._methods(route.template)
        other = methods.setdefault(route.verb, route)
        if other is not route:
            raise InvalidRoute(
                f"{other.rpc.full_name} and {route.rpc.full_name} both claim {route.verb} {other.template} "
                f"(the second as {route.template})"
            )
        if route.template.verb:
            self._verbs.add(literal(route.template.verb))
        if {STAR, REST}.isdisjoint(route.template.segments):
            path = str(Template(segments=route.template.segments, verb=route.template.verb))
            self._constant[route.verb, path] = Match(route, route.template.capture(route.template.segments))

    def _methods(self, template: Template) -> _Methods:
        """Return the table of a template, which others that match the same paths share."""
        node = self._root
        tables = node.ends
        for segment in template.segments:
            if segment == REST:
                tables = node.rests
                break
            if segment == STAR:
                node.star = node = node.star or _Node()
            else:
                node = node.literals.setdefault(literal(segment), _Node())
            tables = node.ends
        return tables.setdefault(literal(template.verb), {})

    def match(self, method: str, path: str) -> Match | Miss:
        """Find the route for an HTTP method and a raw, still escaped path."""
        constant = self._constant.get((method, path))  # no wildcard can be better
        if constant is not None:
            return constant
        if path[:1] != "/":
            return Miss()
        name, colon, verb = path.rpartition(":")
        if colon and literal(verb) in self._verbs:
            found = self._search(method, name, literal(verb))
            if found != Miss():
                return found
            if name.endswith("/") and self._search(method, f"{name}-", literal(verb)) != Miss():
                return Miss()  # the verb is there, and the segment before it is empty
        return self._search(method, path, "")

    def _search(self, method: str, path: str, verb: str) -> Match | Miss:
        segments = path[1:].split("/") if path != "/" else []
        literals = [literal(segment) for segment in segments] if "%" in path else segments
        if "" in segments or not DOTS.isdisjoint(literals):
            return Miss()
        straight = _straight(self._root, literals)
        if straight is not None and verb in straight.ends:
            methods = straight.ends[verb]
            route = methods.get(method) or methods.get(ANY_METHOD)
            if route is not None:
                return Match(route, route.template.capture(segments))
        allowed: set[str] = set()
        for methods in _tables(self._root, literals, verb):
            route = methods.get(method) or methods.get(ANY_METHOD)
            if route is not None:
                return Match(route, route.template.capture(segments))
            allowed.update(methods)
        return Miss(tuple(sorted({*allowed, "OPTIONS"}))) if allowed else Miss()


def _straight(root: _Node, literals: list[str]) -> _Node | None:
    """Follow each literal, or `*` where there is none. Where this leads to an end, no other template is better."""
    node = root
    for text in literals:
        child = node.literals.get(text) or node.star
        if child is None:
            return None
        node = child
    return node


def _tables(root: _Node, literals: list[str], verb: str) -> Iterator[_Methods]:
    """Yield the tables of the templates that match, best first. A node is entered once: the trie bounds the work."""
    size = len(literals)
    waiting = [(root, 0)]
    while waiting:
        node, index = waiting.pop()
        while index < size:
            if node.rests:
                waiting.append((node, size + 1))  # when all below it is done
            child, star = node.literals.get(literals[index]), node.star
            index += 1
            if child is None:
                child = star
            elif star is not None:
                waiting.append((star, index))
            if child is None:
                break
            node = child
        else:
            if index == size and verb in node.ends:
                yield node.ends[verb]
            if verb in node.rests:
                yield node.rests[verb]


def routes_of(service: ServiceDescriptor) -> Iterator[Route]:
    """Read the routes of a service's methods; a method without the annotation has none. Raises `InvalidRoute`.

    The service may be of any descriptor pool: the rules are read as this process knows `google.api.http`.
    """
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
    if not _METHOD.fullmatch(verb):
        raise InvalidRoute(f"{rpc.full_name} has the custom method {verb!r}, which is no HTTP method")
    try:
        template = parse(path)
    except InvalidTemplate as fault:
        raise InvalidRoute(f"{rpc.full_name}: {fault}") from None
    route = Route(verb=verb, template=template, rpc=rpc, body=rule.body, response_body=rule.response_body)
    _check(route)
    return route


def _check(route: Route) -> None:
    """Refuse a rule whose fields are none. A body field that is a path variable could only repeat it: refused too."""
    asked, answered = route.rpc.input_type, route.rpc.output_type
    for variable in route.template.variables:
        field = find_field(asked, variable.field)
        if field is None or not takes_text(field) or field.is_repeated:
            raise InvalidRoute(
                f"{route.rpc.full_name}: {route.template} binds {variable.field!r}, which is no singular scalar field"
            )
        if variable.field == route.body:
            raise InvalidRoute(f"{route.rpc.full_name}: {route.body!r} is both the body and in {route.template}")
    if route.body not in {"", "*"} and route.body not in asked.fields_by_name:
        raise InvalidRoute(f"{route.rpc.full_name}: body {route.body!r} is no field of {asked.full_name}")
    if route.response_body and route.response_body not in answered.fields_by_name:
        raise InvalidRoute(
            f"{route.rpc.full_name}: response_body {route.response_body!r} is no field of {answered.full_name}"
        )


def find_field(message: Descriptor, path: str) -> FieldDescriptor | None:
    """Find the field that a dotted path of proto names leads to, through singular messages only."""
    *parents, last = path.split(".")
    for parent in parents:
        field = message.fields_by_name.get(parent)
        if field is None or field.is_repeated or field.message_type is None:
            return None
        message = field.message_type
    return message.fields_by_name.get(last)
