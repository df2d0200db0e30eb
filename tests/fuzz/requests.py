"""HTTP requests for every route of the kitchen: well formed as HTTP, not always as requests of their methods."""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from urllib.parse import quote

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from server.transcoding.router import Route, routes_of
from tests.fuzz.documents import Documents, octets
from tests.fuzz.mutation import mutated
from tests.fuzz.vocabulary import (
    ACCEPTS,
    CODINGS,
    METHODS,
    NAMES,
    OTHERS,
    PLAIN_SEGMENTS,
    SEGMENTS,
    TIMEOUTS,
    TYPES,
    VALUES,
)
from tests.unit.transcoding.kitchen import SERVICE

ROUTES: Sequence[Route] = tuple(routes_of(SERVICE))
_RICH = [route for route in ROUTES if route.rpc.input_type.name == "Sink"]
"""Those that take a field of every type."""


@dataclass(slots=True, kw_only=True)
class HttpRequest:
    """One request. A body is sent with its length, or in chunks of `chunk` bytes."""

    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None
    chunk: int = 0

    def wire(self) -> bytes:
        """Return what is sent."""
        headers = [("host", "kitchen.test"), *self.headers]
        body = self.body or b""
        if self.chunk:
            headers.append(("transfer-encoding", "chunked"))
            pieces = [body[start : start + self.chunk] for start in range(0, len(body), self.chunk)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
        elif self.body is not None:
            headers.append(("content-length", str(len(body))))
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode() + body


def any_request(rng: Random) -> HttpRequest:
    """Make a request to any of the routes."""
    route = rng.choice(ROUTES if rng.random() < 0.8 else _RICH)
    method = route.verb if rng.random() < 0.93 else rng.choice(METHODS[:-1])
    request = HttpRequest(
        method="HEAD" if method == "GET" and rng.random() < 0.05 else method, target=_target(rng, route)
    )
    if route.body or rng.random() < 0.05:
        _add_body(rng, request, route)
    _add_headers(rng, request)
    return request


def _target(rng: Random, route: Route) -> str:
    tame = rng.random() < 0.7
    written: list[str] = []
    for segment in route.template.segments:
        if segment in {"*", "**"}:
            count = rng.randint(1, 3) if segment == "**" else 1
            written += [rng.choice(SEGMENTS[:PLAIN_SEGMENTS] if tame else SEGMENTS) for _ in range(count)]
        else:
            written.append(segment)
    path = "/" + "/".join(written) + (f":{route.template.verb}" if route.template.verb else "")
    if rng.random() < 0.03:
        path = rng.choice(
            (path + "/", "/" + path, path.upper(), path + "%", path * 30, "*", "/" * 300, "http://a" + path)
        )
    if rng.random() < (0.1 if route.body == "*" else 0.6):
        path += "?" + _query(rng, route.rpc.input_type)
    return "".join(char if "!" <= char <= "~" else quote(char) for char in path)


def _query(rng: Random, message: Descriptor) -> str:
    pairs = []
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8, 60))):
        found: FieldDescriptor = rng.choice(list(message.fields))
        name = rng.choice((found.name, found.json_name)) if rng.random() < 0.9 else rng.choice(NAMES)
        if found.message_type is not None and rng.random() < 0.7 and found.message_type.fields:
            name += "." + rng.choice(list(found.message_type.fields)).name
        pairs.append(f"{name}={rng.choice(VALUES)}" if rng.random() < 0.97 else name)
    return rng.choice(("&", "&", "&", "&&", ";")).join(pairs)


def _add_body(rng: Random, request: HttpRequest, route: Route) -> None:
    documents = Documents(rng, rng.choice((0.0, 0.02, 0.15)))
    found = None if route.body in {"", "*"} else route.rpc.input_type.fields_by_name[route.body]
    whole = route.rpc.input_type if found is None or found.message_type is None else found.message_type
    kind, body = "application/json", b""
    chance = rng.random()
    if chance < 0.12:
        kind, body = "application/x-protobuf", octets(rng, whole)
    elif whole.full_name == "google.api.HttpBody":
        kind, body = rng.choice(TYPES), rng.randbytes(rng.choice((0, 1, 100, 5_000)))
    elif route.rpc.client_streaming:
        kind = "application/x-ndjson"
        lines = [documents.text(whole) for _ in range(rng.choice((0, 1, 2, 5, 30)))]
        body = _encoded(rng.choice(("\n", "\n", "\r\n", "\n\n")).join(lines) + rng.choice(("", "\n")))
    else:
        body = _encoded(documents.text(whole) if found is None else documents.field_text(found))
    if rng.random() < 0.2:
        body = mutated(rng, body)
    if rng.random() < 0.01:
        body = body * rng.choice((3, 100)) if rng.random() < 0.9 else b" " * (2**20 + rng.randint(-2, 2))
    request.headers.append(("content-type", kind if rng.random() < 0.93 else rng.choice(TYPES)))
    if rng.random() < 0.1:
        request.headers.append(("content-encoding", "gzip" if rng.random() < 0.8 else rng.choice(CODINGS)))
        body = _compressed(rng, body)
    request.body = body
    request.chunk = rng.choice((1, 7, 1_000)) if rng.random() < 0.3 and len(body) < 5_000 else 0


def _compressed(rng: Random, body: bytes) -> bytes:
    chance = rng.random()
    if chance < 0.05:
        return gzip.compress(bytes(rng.choice((2**20, 2**20 + 1, 2**24))), compresslevel=1)
    packed = gzip.compress(body, compresslevel=1, mtime=0)
    if chance < 0.6:
        return packed
    return rng.choice(
        (
            packed[: rng.randint(0, len(packed))],
            mutated(rng, packed),
            packed + packed,
            packed + b"\0" * 8,
            gzip.compress(packed, mtime=0),
            zlib.compress(body),
            body,
            b"",
        )
    )


def _add_headers(rng: Random, request: HttpRequest) -> None:
    listed: tuple[tuple[str, Sequence[str], float], ...] = (
        ("accept", ACCEPTS, 0.4),
        ("grpc-timeout", TIMEOUTS, 0.05),
        ("accept-encoding", CODINGS, 0.2),
        *((name, values, 0.02) for name, values in OTHERS),
    )
    for name, values, chance in listed:
        while rng.random() < chance:
            request.headers.append((name, rng.choice(values)))
    if rng.random() < 0.01:
        request.headers += [
            (f"x-{number}", "a" * rng.choice((1, 100, 300))) for number in range(rng.choice((50, 96, 120)))
        ]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
