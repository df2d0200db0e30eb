"""HTTP headers and gRPC metadata: what crosses, by allow lists, and what a request's own headers say about it."""

import base64
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from server.transcoding.deadlines import timeout_of
from server.transcoding.options import Options, may_come_in, may_go_out
from server.transcoding.violation import Faults, InvalidRequest

Headers = list[tuple[bytes, bytes]]
Metadata = tuple[tuple[str, str | bytes], ...]

_OWN = (
    b"accept",
    b"accept-encoding",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"grpc-timeout",
    b"x-server-timeout",
)
"""The headers that the transcoder reads for itself."""
_ONE_VALUE = frozenset({b"content-length", b"content-type"})
_PLAIN_CONNECTIONS = frozenset({b"", b"close", b"keep-alive", b"Keep-Alive"})
_PRINTABLE = bytes(range(0x20, 0x7F))
"""What is left of a value without these is what metadata cannot hold; `str.isprintable` is slow for long tokens."""
_CACHED_NAMES = 256


class RequestHeaders(NamedTuple):
    """The headers of a request that matter here.

    `length` is None for a body of unknown size; `timeout` is in seconds as the client asks, None when it does not.
    Headers that are lists come whole, their lines joined by commas.
    """

    metadata: Metadata
    content_type: bytes
    content_encoding: bytes
    length: int | None
    accept: bytes
    accept_encoding: bytes
    timeout: float | None


_Rule = tuple[str, bool, bool]
"""What becomes of a header: the key of its metadata or "" for none, whether it is text, and whether it is also kept."""
_IGNORED: _Rule = ("", True, False)


class HeaderRules:
    """The allow lists of an application, compiled."""

    def __init__(self, options: Options) -> None:
        self._once = frozenset(options.single_headers)
        self._rules: dict[bytes, _Rule] = dict.fromkeys(_OWN, ("", True, True))
        for name in options.request_headers:
            if not name.endswith("*"):
                self._rules[name.encode("ascii")] = self._rule(name)
        self._incoming = tuple(name[:-1].encode("ascii") for name in options.request_headers if name.endswith("*"))
        self._outgoing = frozenset(name for name in options.response_headers if not name.endswith("*"))
        self._outgoing_heads = tuple(name[:-1] for name in options.response_headers if name.endswith("*"))
        self._leaving = lru_cache(_CACHED_NAMES)(self._header_of)

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> RequestHeaders:
        """Sort a request's headers. Raises `InvalidRequest` naming each that cannot be metadata or makes no sense."""
        find_rule, heads = self._rules.get, self._incoming
        metadata: list[tuple[str, str | bytes]] = []
        kept: dict[bytes, bytes] = {}
        faults = Faults()
        for name, value in headers:
            rule = find_rule(name)
            if rule is None:
                if not heads or not name.startswith(heads):
                    continue
                rule = self._rule_by_head(name)
            key, is_text, is_kept = rule
            if is_kept:
                kept[name] = value if name not in kept else self._again(name, kept[name], value, faults)
            if not key:
                continue
            if not is_text:
                _read_binary(key, value, metadata, faults)
            elif value.translate(None, _PRINTABLE):
                faults.add(key, "must consist of printable ASCII characters")
            else:
                metadata.append((key, value.decode("ascii")))
        return _sorted(metadata, kept, faults)

    def write(self, metadata: Sequence[tuple[str, str | bytes]]) -> Headers:
        """Return the initial metadata that may leave as response headers; values that cannot are left out."""
        headers: Headers = []
        for key, value in metadata:
            name = self._leaving(key)
            if name is None:
                continue
            if key.endswith("-bin"):
                octets = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
                headers.append((name, base64.b64encode(octets)))
                continue
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if text.isascii() and text.isprintable():
                headers.append((name, text.encode("ascii")))
        return headers

    def _rule(self, name: str) -> _Rule:
        return name, not name.endswith("-bin"), name in self._once or name.encode("ascii") in _OWN

    def _rule_by_head(self, name: bytes) -> _Rule:
        text = name.decode("latin-1")
        return self._rule(text) if may_come_in(text) else _IGNORED

    def _again(self, name: bytes, before: bytes, value: bytes, faults: Faults) -> bytes:
        """Return two lines of a header as one. Of those that have one value a second is a fault, if it differs."""
        key = name.decode("ascii")
        if key not in self._once and name not in _ONE_VALUE:
            return before + b", " + value
        if key in self._once or value != before:
            faults.add(key, "must be given once")
        return before

    def _header_of(self, key: str) -> bytes | None:
        listed = key in self._outgoing or key.startswith(self._outgoing_heads)
        return key.encode("ascii") if listed and may_go_out(key) else None


def _sorted(metadata: list[tuple[str, str | bytes]], kept: dict[bytes, bytes], faults: Faults) -> RequestHeaders:
    find = kept.get
    length, timeout = find(b"content-length"), None
    if length is not None and not (length.isdigit() and len(length) < 20):
        faults.add("content-length", "must be a number of bytes")
    if b"grpc-timeout" in kept or b"x-server-timeout" in kept:
        try:
            timeout = timeout_of(find(b"grpc-timeout"), find(b"x-server-timeout"))
        except InvalidRequest as invalid:
            faults.extend(invalid.violations)
    if faults:
        raise InvalidRequest(faults)
    connection = find(b"connection", b"")
    if connection not in _PLAIN_CONNECTIONS:
        named = {option.strip().lower() for option in connection.decode("latin-1").split(",")}
        metadata = [(key, value) for key, value in metadata if key not in named]  # RFC 9110 section 7.6.1
    return RequestHeaders(
        tuple(metadata),
        find(b"content-type", b""),
        find(b"content-encoding", b"").strip().lower(),
        None if length is None else int(length),
        find(b"accept", b""),
        find(b"accept-encoding", b""),
        timeout,
    )


def _read_binary(key: str, value: bytes, metadata: list[tuple[str, str | bytes]], faults: Faults) -> None:
    """Decode the value of a `-bin` header, as gRPC over HTTP/2 writes it: base64, padded or not, several by commas."""
    for item in value.split(b","):
        digits = item.strip()
        try:
            metadata.append((key, base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)))
        except ValueError:
            faults.add(key, "must be base64")


def peer_of(client: Sequence[object] | None) -> str:
    """Return the caller's address as gRPC writes peers: `ipv4:127.0.0.1:5000`, `ipv6:[::1]:5000`, or `unix:`."""
    if not client or not client[0]:
        return "unix:"
    host, port = client[0], client[1]
    return f"ipv6:[{host}]:{port}" if ":" in str(host) else f"ipv4:{host}:{port}"
