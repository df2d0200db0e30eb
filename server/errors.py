"""What can go wrong, in the domain's own terms: one error class per kind, each with a sentence fit for callers.

Mapped once to gRPC (`rpc/status.py`) and once to HTTP (`transcoding/errors.py`). Nothing here knows either protocol.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import islice
from typing import NamedTuple

_LISTED, _ROOM = 20, 3000
"""How many violations are listed at most, and how many bytes of them: a small request must not cause a huge answer."""
_TOLD, _TOLD_LENGTH = 5, 500
"""How many of them the message repeats, and how long it may be."""


class Kind(Enum):
    """Why a call failed. The value is the public code, a name of `sdk.shared.v1.ErrorCode` (contract section 3)."""

    INVALID_REQUEST = "ERROR_CODE_INVALID_REQUEST"
    UNAUTHENTICATED = "ERROR_CODE_UNAUTHENTICATED"
    PERMISSION_DENIED = "ERROR_CODE_PERMISSION_DENIED"
    NOT_FOUND = "ERROR_CODE_NOT_FOUND"
    CONFLICT = "ERROR_CODE_CONFLICT"
    RATE_LIMITED = "ERROR_CODE_RATE_LIMITED"
    OVERLOADED = "ERROR_CODE_OVERLOADED"
    UNAVAILABLE = "ERROR_CODE_UNAVAILABLE"
    INTERNAL = "ERROR_CODE_INTERNAL"
    UNIMPLEMENTED = "ERROR_CODE_UNIMPLEMENTED"


class Violation(NamedTuple):
    """One faulty field of a request.

    `field` is the dotted path (`scopes[0]`) in proto names, or a header's name; `description` tells fault and fix.
    """

    field: str
    description: str


class Error(Exception):
    """Base of every expected failure. `message` and `metadata` reach the caller: no secret, no other owner's data."""

    kind: Kind = Kind.INTERNAL

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})


class InvalidRequest(Error):
    """The request fails validation. Many faults are named at once, not only the first."""

    kind = Kind.INVALID_REQUEST

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = _bounded(violations)
        told = "; ".join(f"{violation.field}: {violation.description}" for violation in self.violations[:_TOLD])
        more = len(violations) - min(_TOLD, len(self.violations))
        super().__init__(f"{told[:_TOLD_LENGTH]}; and {more} more" if more else told[:_TOLD_LENGTH])


def _bounded(violations: Sequence[Violation]) -> tuple[Violation, ...]:
    """Keep what fits into the 8 KiB of trailing metadata that gRPC clients accept, beside everything else there."""
    kept = []
    room = _ROOM
    for violation in islice(violations, _LISTED):
        room -= len(violation.field.encode(errors="replace")) + len(violation.description.encode(errors="replace"))
        if room < 0:
            break
        kept.append(violation)
    return tuple(kept) or tuple(violations[:1])


class Unauthenticated(Error):
    """No credential, or one that is invalid or expired; one sentence for all so that nothing can be probed.

    `sent` says whether a credential was presented, which decides the challenge (RFC 6750 section 3.1).
    """

    kind = Kind.UNAUTHENTICATED

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class PermissionDenied(Error):
    """The credential is valid, but its user may not do this."""

    kind = Kind.PERMISSION_DENIED


class NotFound(Error):
    """The resource does not exist or is not visible to this caller; both look the same to the last byte."""

    kind = Kind.NOT_FOUND


class Conflict(Error):
    """The request conflicts with the current state."""

    kind = Kind.CONFLICT


class RateLimited(Error):
    """The credential's rate limit is used up for `retry_after` more seconds (contract section 5)."""

    kind = Kind.RATE_LIMITED

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Rate limit exceeded. Retry after {retry_after}s.")
        self.retry_after = retry_after


class Overloaded(Error):
    """The server has more calls in flight than it accepts."""

    kind = Kind.OVERLOADED
    retry_after = 1

    def __init__(self) -> None:
        super().__init__("The server is busy. Retry with back-off.")


class Unavailable(Error):
    """A part that the answer depends on cannot be reached. A change may have happened: retry with its request id."""

    kind = Kind.UNAVAILABLE
    retry_after = 1

    def __init__(self, message: str = "The service cannot answer right now. Retry with back-off.") -> None:
        super().__init__(message)


class Unimplemented(Error):
    """The service has no such method."""

    kind = Kind.UNIMPLEMENTED
