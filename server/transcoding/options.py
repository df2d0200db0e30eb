"""What an application may choose about its transcoder, and which headers it cannot choose."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from server.transcoding.violation import InvalidRequest

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""What concerns one connection only (RFC 9110 section 7.6.1), and the address of this server."""
_BODY = frozenset({"content-encoding", "content-length", "content-type"})
_NAME = re.compile(r"[a-z0-9_.-]+")
"""What gRPC takes as a key of metadata; every such name is a header's name too."""


def may_come_in(name: str) -> bool:
    """Tell whether a request header may become metadata: never what servers say or speak of this connection."""
    never = ("content-", "grpc-", "x-ratelimit-", "www-authenticate")
    return bool(_NAME.fullmatch(name)) and name not in _HOP_BY_HOP and not name.startswith(never)


def may_go_out(name: str) -> bool:
    """Tell whether metadata may become a response header: never gRPC's own, nor what describes the body as sent."""
    return bool(_NAME.fullmatch(name)) and name not in _HOP_BY_HOP | _BODY and not name.startswith("grpc-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of one transcoder. Raises `ValueError` for a list of headers with one that may never cross."""

    max_body: int = 1024 * 1024
    """Bytes of a request body; more is a 413."""
    timeout: float = 30.0
    """Seconds a call may take at most; a client may ask for less. The handler sees what is left, and is cancelled at
    the end (504)."""
    stream_timeout: float | None = None
    """The same for an RPC that streams; None for no deadline but the one that a client asks for."""
    min_gzip: int = 1024
    """Bytes from which a response message is compressed for a client that asks for gzip; 0 for never."""
    ignores_unknown_query: bool = False
    """Whether query parameters that are no fields of the request are ignored instead of refused."""
    domain: str = ""
    """The `google.rpc.ErrorInfo.domain` whose reasons become the `code` of an error body; empty for none."""
    reason_statuses: Mapping[str, int] = field(default_factory=dict)
    """HTTP statuses of reasons of that domain, where they differ from the gRPC status's own."""
    codes: Mapping[str, str] = field(default_factory=dict)
    """What to write as `code` instead of a canonical gRPC name or one of the transcoder's own: `NOT_FOUND`,
    `METHOD_NOT_ALLOWED`, `NOT_ACCEPTABLE`, `PAYLOAD_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE`, `INVALID_ARGUMENT`,
    `INTERNAL`."""
    hidden_details: frozenset[str] = frozenset({"google.rpc.DebugInfo"})
    """Full names of the message types whose status details no client gets to see."""
    challenge: str = "Bearer"
    """The `WWW-Authenticate` of a 401 whose RPC sent none (RFC 9110 section 11.6.1)."""
    bad_request: Callable[[Sequence[tuple[str, str]]], Exception] = InvalidRequest
    """Makes the exception that a lazily read request raises in the handler, from pairs of field and description."""
    on_refused: Callable[[int], Sequence[tuple[bytes, bytes]]] = lambda _: ()
    """Told the HTTP status of each request that is refused before it reaches an RPC; returns headers for its answer."""
    request_headers: Sequence[str] = (
        "authorization",
        "x-api-key",
        "x-request-id",
        "traceparent",
        "tracestate",
        "accept-language",
        "user-agent",
        "idempotency-key",
    )
    """Request headers that become invocation metadata; a final `*` stands for any ending. A repeated one becomes
    repeated metadata, and one ending in `-bin` is decoded from base64."""
    single_headers: Sequence[str] = ("authorization", "x-api-key", "idempotency-key")
    """Those of them that are refused when they are repeated (400): two credentials are never one caller's."""
    response_headers: Sequence[str] = (
        "x-ratelimit-*",
        "x-request-id",
        "www-authenticate",
        "cache-control",
        "retry-after",
        "etag",
        "location",
        "link",
        "deprecation",
        "sunset",
    )
    """Initial metadata that become response headers; a final `*` stands for any ending."""

    def __post_init__(self) -> None:
        for names, may_cross in ((self.request_headers, may_come_in), (self.response_headers, may_go_out)):
            for name in names:
                if not may_cross(name.removesuffix("*")):
                    raise ValueError(f"header {name!r} may not cross between HTTP and gRPC; names are in lower case")
        if not (self.challenge.isascii() and self.challenge.isprintable() and self.challenge.strip()):
            raise ValueError("a challenge is some printable ASCII text")
