"""What one HTTP connection may use, as numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds; the defaults are for the public port (design.md section 4, "HTTP defences")."""

    head_bytes: int = 16 * 1024
    """Request line and headers together; also chunk framing and trailers between two pieces of a body."""
    headers: int = 100
    target_bytes: int = 8 * 1024
    head_seconds: float = 5.0
    """From a request's first byte to the end of its headers."""
    body_seconds: float = 10.0
    """From the end of the headers to the end of the body, while we are reading."""
    idle_seconds: float = 30.0
    """Without a request; also for a client that has stopped reading to take what was written."""
    linger_seconds: float = 1.0
    """For reading on after a last answer, so that the client can see it (RFC 9112 section 9.6)."""
    pipelined: int = 100
    """Requests that wait for the answer to an earlier one of the same connection."""
    connections: int = 1000
    """Of the whole server; each costs a file descriptor."""
