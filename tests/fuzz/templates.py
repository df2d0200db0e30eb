"""Random `google.api.http` rules made into routers, and random paths matched by them, beside a naive oracle."""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import unquote

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

from server.transcoding.binding import Binding, Request
from server.transcoding.codec.message import Codecs
from server.transcoding.router import InvalidRoute, Match, Route, Router, routes_of
from server.transcoding.template import Template
from server.transcoding.violation import InvalidRequest, Refusal
from tests.fuzz.mutation import mutated

_VERBS = ("get", "post", "put", "patch", "delete")
_SEGMENTS = (
    "a",
    "b",
    "*",
    "*",
    "**",
    "{id}",
    "{other}",
    "{id=*}",
    "{id=**}",
    "{id=a/*}",
    "{child.id=*/b/*}",
    "{id=a/**}",
)
_ODD_SEGMENTS = (
    "{many}",
    "{child}",
    "{no}",
    "{id=}",
    "{}",
    "{id=*",
    "a}",
    "",
    ".",
    "..",
    "%2e",
    "%41",
    "é",
    "{id=**}/a",
    "a b",
)
_PATH_SEGMENTS = (
    "a",
    "b",
    "c",
    "",
    ".",
    "..",
    "%2F",
    "%zz",
    "%FF",
    "%00",
    "a:b",
    "a:v",
    ":v",
    ":",
    "*",
    "**",
    "é",
    "a%20b",
)
_BODIES = ("", "", "*", "other", "child", "many", "nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Rules (method, template, body) and requests (method, path, query) for them."""

    rules: tuple[tuple[str, str, str], ...]
    requests: tuple[tuple[str, str, str], ...]

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Trial":
        """Read what was written as JSON."""
        return cls(**{name: tuple(tuple(each) for each in value) for name, value in document.items()})


def trial_of(seed: int, number: int) -> Trial:
    """Make one trial. The same seed and number always give the same."""
    rng = Random(f"templates/{seed}/{number}")
    rules = tuple((rng.choice(_VERBS), _template(rng), rng.choice(_BODIES)) for _ in range(rng.randint(1, 5)))
    requests = []
    for _ in range(12):
        path = (
            "/"
            + "/".join(rng.choice(_PATH_SEGMENTS) for _ in range(rng.randint(1, 4)))
            + rng.choice(("", "", ":v", "/"))
        )
        query = rng.choice(("", "id=a", "other=%zz", "child.id=a", "child=a", "many=a&many=b", "no=1", "id=a&id=b"))
        requests.append((rng.choice((*_VERBS, "head")).upper(), path, query))
    return Trial(rules=rules, requests=tuple(requests))


def faults_of(trial: Trial) -> list[tuple[str, str]]:
    """Compile the rules and match the paths; return what went wrong, by its kind and in particular."""
    try:
        routes = tuple(routes_of(_service(trial)))
        router = Router(routes)
    except InvalidRoute:
        return []
    codecs = Codecs()
    bindings = {route: Binding(route, codecs) for route in routes}
    return [fault for request in trial.requests for fault in _faults(router, bindings, *request)]


def _faults(
    router: Router, bindings: dict[Route, Binding], method: str, path: str, query: str
) -> list[tuple[str, str]]:
    found = router.match(method, path)
    fitting = [route for route in bindings if _fits(route.template, path)]
    told = f"{method} {path}: {found}"
    if not isinstance(found, Match):
        if any(route.verb == method for route in fitting) and not (found.allowed or _is_empty(bindings, path)):
            return [("a path that fits was not found", told)]
        return [("a path that fits nothing has methods", told)] if found.allowed and not fitting else []
    if found.route not in fitting or found.route.verb not in {method, "GET" if method == "HEAD" else method}:
        return [("a path was found as one that it does not fit", told)]
    if len(found.captures) != len(found.route.template.variables):
        return [("a path has too few captures", told)]
    try:
        Request(bindings[found.route], found.captures, query, b"")()
    except (InvalidRequest, Refusal):
        return []
    return []


def _is_empty(routes: Iterable[Route], path: str) -> bool:
    """Tell whether a verb that there is follows an empty segment: `/v1/books/:burn` is no book called `:burn`."""
    head, _, verb = path.rpartition(":")
    return head.endswith("/") and any(each.template.verb and _fits(each.template, f"{head}-:{verb}") for each in routes)


def _fits(template: Template, path: str) -> bool:
    """Match segment by segment, without any precedence."""
    parts = [] if path == "/" else path[1:].split("/")
    if template.verb:
        name, colon, verb = parts[-1].rpartition(":") if parts else ("", "", "")
        if not colon or _read(verb) != _read(template.verb) or not (name or len(parts) == 1):
            return False
        parts[-1:] = [name] if name else []
    if "" in parts or any(_read(part) in {".", ".."} for part in parts):
        return False
    wanted = [segment for segment in template.segments if segment != "**"]
    if len(parts) < len(wanted) or (len(parts) > len(wanted) and len(wanted) == len(template.segments)):
        return False
    return all(each in {"*", part} or _read(each) == _read(part) for each, part in zip(wanted, parts, strict=False))


def _read(text: str) -> str:
    return unquote(text, "latin-1")


def _template(rng: Random) -> str:
    segments = [rng.choice(_SEGMENTS if rng.random() < 0.93 else _ODD_SEGMENTS) for _ in range(rng.randint(1, 4))]
    text = "/" + "/".join(segments) + rng.choice(("", "", ":v", ":b"))
    return mutated(rng, text.encode(), 1).decode("latin-1") if rng.random() < 0.05 else text


def _service(trial: Trial) -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="t.proto", package="t", syntax="proto3", dependency=["google/api/annotations.proto"]
    )
    message = file.message_type.add(name="M")
    for number, (name, label) in enumerate((("id", 1), ("other", 1), ("many", 3)), 1):
        message.field.add(name=name, number=number, type=field.TYPE_STRING, label=label)
    message.field.add(name="child", number=4, type=field.TYPE_MESSAGE, type_name=".t.M", label=field.LABEL_OPTIONAL)
    service = file.service.add(name="S")
    for number, (verb, template, body) in enumerate(trial.rules):
        method = service.method.add(name=f"Do{number}", input_type=".t.M", output_type=".t.M")
        options: Any = method.options
        rule = options.Extensions[annotations_pb2.http]
        setattr(rule, verb, template)
        rule.body = body
    pool = DescriptorPool()
    needed = descriptor_pb2.FileDescriptorProto
    for name in ("google.protobuf.descriptor", "google.api.http", "google.api.annotations"):
        pool.Add(needed.FromString(_SOURCES[name]))
    pool.Add(file)
    return pool.FindServiceByName("t.S")


_SOURCES = {
    "google.protobuf.descriptor": descriptor_pb2.DESCRIPTOR.serialized_pb,
    "google.api.http": annotations_pb2.DESCRIPTOR.dependencies[0].serialized_pb,
    "google.api.annotations": annotations_pb2.DESCRIPTOR.serialized_pb,
}
