"""What an application may choose about its transcoder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from server.transcoding.violation import InvalidRequest

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of one transcoder. Raises `ValueError` when an allow list names what may never cross."""

    max_body: int = 1024 * 1024
    """Bytes of a request body; more is a 413."""
    timeout: float = 30.0
    """Seconds a call may take; the handler sees what is left, and is cancelled at the end (504)."""
    domain: str = ""
    """The `google.rpc.ErrorInfo.domain` whose reasons become the `code` of an error body."""
    reason_statuses: Mapping[str, int] = field(default_factory=dict)
    """HTTP statuses of reasons of that domain, where they differ from the gRPC status's own."""
    codes: Mapping[str, str] = field(default_factory=dict)
    """What to write as `code` instead of a canonical gRPC name or one of the transcoder's own: `NOT_FOUND`,
    `METHOD_NOT_ALLOWED`, `PAYLOAD_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE`, `INVALID_ARGUMENT`, `INTERNAL`."""
    bad_request: Callable[[Sequence[tuple[str, str]]], Exception] = InvalidRequest
    """Makes the exception that a lazily read request raises in the handler, from pairs of field and description."""
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
    """Request headers that become invocation metadata; a repeated one becomes repeated metadata."""
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
        for name in (*self.request_headers, *self.response_headers):
            if name != name.lower() or name in _HOP_BY_HOP or name.startswith(("grpc-", ":", "*")):
                raise ValueError(f"header {name!r} may not cross between HTTP and gRPC; names are in lower case")
