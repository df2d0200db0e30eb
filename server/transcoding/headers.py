"""HTTP headers and gRPC metadata: what crosses, by allow lists, and what a request's own headers say about its body."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from server.transcoding.options import Options
from server.transcoding.violation import Faults, InvalidRequest

Headers = list[tuple[bytes, bytes]]
Metadata = tuple[tuple[str, str | bytes], ...]

_JSON_TYPES = frozenset(
    {b"", b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"}
)
_CHARSETS = frozenset({"utf-8", "utf8"})


class RequestHeaders(NamedTuple):
    """The headers of a request that matter here. `length` is None for a body of unknown size."""

    metadata: Metadata
    content_type: bytes
    content_encoding: bytes
    length: int | None


class HeaderRules:
    """The allow lists of an application, compiled."""

    def __init__(self, options: Options) -> None:
        self._incoming = {name.encode("ascii"): name for name in options.request_headers}
        self._outgoing = frozenset(name for name in options.response_headers if not name.endswith("*"))
        self._prefixes = tuple(name[:-1] for name in options.response_headers if name.endswith("*"))

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> RequestHeaders:
        """Sort a request's headers. Raises `InvalidRequest` naming each that cannot be metadata or makes no sense."""
        metadata: list[tuple[str, str | bytes]] = []
        content_type = content_encoding = b""
        length: int | None = None
        faults = Faults()
        for name, value in headers:
            if name in self._incoming:
                text = value.decode("latin-1")
                if text.isascii() and text.isprintable():
                    metadata.append((self._incoming[name], text))
                else:
                    faults.add(self._incoming[name], "must consist of printable ASCII characters")
            elif name == b"content-type":
                content_type = value
            elif name == b"content-length":
                length = int(value) if value.isdigit() and len(value) < 20 else None
                if length is None:
                    faults.add("content-length", "must be a number of bytes")
            elif name == b"content-encoding":
                content_encoding = value.strip().lower()
        if faults:
            raise InvalidRequest(faults)
        return RequestHeaders(tuple(metadata), content_type, content_encoding, length)

    def write(self, metadata: Sequence[tuple[str, str | bytes]]) -> Headers:
        """Return the initial metadata that may leave as response headers."""
        headers: Headers = []
        for name, value in metadata:
            if name not in self._outgoing and not name.startswith(self._prefixes or ("\0",)):
                continue
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if text.isascii() and text.isprintable():
                headers.append((name.encode("ascii"), text.encode("ascii")))
        return headers


def is_json(content_type: bytes) -> bool:
    """Tell whether a body of this type is read: `application/json` or any `+json`, in UTF-8; no type at all is JSON."""
    if content_type in _JSON_TYPES:
        return True
    media_type, *parameters = content_type.decode("latin-1").lower().split(";")
    kind, _, subtype = media_type.strip().partition("/")
    if not (kind == "application" and (subtype == "json" or subtype.endswith("+json"))):
        return False
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in _CHARSETS:
            return False
    return True


def peer_of(client: Sequence[object] | None) -> str:
    """Return the caller's address as gRPC writes peers: `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000`, or `unix:`."""
    if not client or not client[0]:
        return "unix:"
    host, port = client[0], client[1]
    return f"ipv6:[{host}]:{port}" if ":" in str(host) else f"ipv4:{host}:{port}"
