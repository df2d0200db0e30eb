"""What a developer is. No I/O."""

from dataclasses import dataclass
from datetime import datetime

from server.ids import DeveloperId


@dataclass(frozen=True, slots=True, kw_only=True)
class Developer:
    """A registered developer. `suspended_at` None: in good standing."""

    id: DeveloperId
    suspended_at: datetime | None
