"""What an audit event is, once it is read. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change in an account. `action` is text, since a newer release may have written it."""

    id: str
    created_at: datetime
    action: str
    target_id: str
    call_id: str
    details: Mapping[str, object]
    actor: str | None
    """Who did it: None is the developer, else `operator` or the like."""
