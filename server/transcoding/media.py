"""Media types: what a request's body is, and in which form a response is wanted (RFC 9110 sections 8.3 and 12.5)."""

import re
from collections.abc import Sequence
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

_CHARSETS = frozenset({"utf-8", "utf8"})
_PROTOBUF = frozenset({"application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf"})
_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_JSON = frozenset({"application/json"})
_EVENTS = frozenset({"text/event-stream"})

ACCEPT_POST = b"application/json, application/x-protobuf"
"""What a route that takes one request reads, as the Accept-Post header of a 415 says it."""
ACCEPT_POST_LINES = b"application/x-ndjson"
"""What a route that takes a stream of requests reads."""


class Kind(Enum):
    """What a body is."""

    JSON = "application/json"
    LINES = "application/x-ndjson"
    PROTOBUF = "application/x-protobuf"
    OTHER = "application/octet-stream"


class Content(NamedTuple):
    """A body's kind, and its Content-Type as it was sent; empty when it was not."""

    kind: Kind
    written: str


JSON = Content(Kind.JSON, "application/json")
LINES = Content(Kind.LINES, "application/x-ndjson")


class Form(Enum):
    """How responses are written: one as JSON or protobuf; a stream as NDJSON, server-sent events or a JSON array."""

    JSON = auto()
    PROTOBUF = auto()
    LINES = auto()
    EVENTS = auto()
    ARRAY = auto()


_UNARY = ((Form.JSON, _JSON), (Form.PROTOBUF, _PROTOBUF))
_STREAMED = ((Form.LINES, _LINES), (Form.EVENTS, _EVENTS), (Form.ARRAY, _JSON))

_ESCAPED = re.compile(r"\\.")
_RANGE = re.compile(r"[!#-'*+.^_`|~0-9a-z-]+/[!#-'*+.^_`|~0-9a-z-]+")
_QUALITY = re.compile(r"0?\.[0-9]{1,9}|0\.?|1(?:\.0{0,9})?")
_EVERYTHING = {"*/*": 1.0}


@lru_cache(maxsize=256)
def content_of(content_type: bytes) -> Content:
    """Tell what a body of this type is. No type is JSON, and so is `+json`; but none in another charset than UTF-8."""
    written = content_type.decode("latin-1")
    media_type, *parameters = written.lower().split(";")
    return Content(_kind(media_type.strip(), parameters), written)


def _kind(media_type: str, parameters: list[str]) -> Kind:
    if media_type in _PROTOBUF:
        return Kind.PROTOBUF
    kind, _, subtype = media_type.partition("/")
    is_json = media_type == "" or (kind == "application" and (subtype == "json" or subtype.endswith("+json")))
    if not (is_json or media_type in _LINES) or not all(_is_utf8(parameter) for parameter in parameters):
        return Kind.OTHER
    return Kind.JSON if is_json else Kind.LINES


def _is_utf8(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() != "charset" or value.strip().strip('"') in _CHARSETS


@lru_cache(maxsize=256)
def unary_form(accept: bytes) -> Form | None:
    """Choose the form of a single response, JSON where the client does not mind; None when it takes neither (406)."""
    return _chosen(accept, _UNARY)


@lru_cache(maxsize=256)
def stream_form(accept: bytes) -> Form | None:
    """Choose the form of a stream of responses, lines where the client does not mind; None when it takes none (406)."""
    return _chosen(accept, _STREAMED)


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: bytes) -> bool:
    """Tell whether a response should be compressed: gzip is asked for, and no less than no coding (section 12.5.3)."""
    codings = _weights(accept_encoding)
    rest = codings.get("*", 0.0)
    gzip = codings.get("gzip", codings.get("x-gzip", rest))
    return gzip > 0 and gzip >= codings.get("identity", 0.0)


def _chosen(accept: bytes, offers: Sequence[tuple[Form, frozenset[str]]]) -> Form | None:
    """Return the form with the highest weight, among equals the one named more exactly, then the first (12.5.1).

    What cannot be read is passed over; an Accept without anything readable asks for nothing.
    """
    weights = _weights(accept)
    ranges = {name: weight for name, weight in weights.items() if _RANGE.fullmatch(name)}
    if "*" in weights:
        ranges.setdefault("*/*", weights["*"])
    best, chosen = (0.0, 0), None
    for form, media_types in offers:
        weighed = _weight(media_types, ranges or _EVERYTHING)
        if weighed[0] > 0 and weighed > best:
            best, chosen = weighed, form
    return chosen


def _weight(media_types: frozenset[str], ranges: dict[str, float]) -> tuple[float, int]:
    """Return the weight that the most exact range gives a type of many names, and how exact that is; 0 for none."""
    named = [ranges[media_type] for media_type in media_types if media_type in ranges]
    if named:
        return max(named), 2
    kind = next(iter(media_types)).partition("/")[0]
    return (ranges[f"{kind}/*"], 1) if f"{kind}/*" in ranges else (ranges.get("*/*", 0.0), 0)


def _weights(header: bytes) -> dict[str, float]:
    """Read a weighed list (section 12.4.2): names in lower case with their weights; other parameters are ignored.

    Weights without the leading zero (`q=.2`) are read too: widespread clients send them.
    """
    weights: dict[str, float] = {}
    text = _ESCAPED.sub("", header.decode("latin-1").lower())
    for member in "".join(text.split('"')[::2]).split(","):  # what is quoted is neither a name nor a weight
        name, *parameters = (part.strip() for part in member.split(";"))
        weight = _quality(parameters)
        if name and weight is not None:
            weights[name] = max(weight, weights.get(name, 0.0))
    return weights


def _quality(parameters: list[str]) -> float | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if _QUALITY.fullmatch(value.strip()) else None
    return 1.0
