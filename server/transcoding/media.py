"""Media types: what a request's body is, and in which form a response is wanted (RFC 9110 sections 8.3 and 12.5.1)."""

from enum import Enum
from functools import lru_cache
from typing import NamedTuple

_CHARSETS = frozenset({"utf-8", "utf8"})
_PROTOBUF = frozenset({"application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf"})
_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})


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
