"""Which keys a list shows. No I/O."""

import json
from dataclasses import dataclass

from server.errors import Violation
from server.ids import DeveloperId
from server.keys.model import Environment, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFilter:
    """What listed keys have in common; None and empty text mean any.

    `query` is part of the name, in upper or lower case, or the beginning of the prefix. Nothing in it is a wildcard.
    """

    status: Status | None = None
    environment: Environment | None = None
    query: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether every key passes."""
        return self.status is None and self.environment is None and not self.query

    @property
    def fault(self) -> Violation | None:
        """What is wrong with it."""
        if "\0" in self.query:
            return Violation("query", "must not contain U+0000: leave it out")
        return None

    def list_of(self, developer_id: DeveloperId) -> str:
        """Name the list that a page token continues; without a filter it is the developer's id, as it ever was."""
        if self.is_empty:
            return developer_id
        status, environment = self.status and self.status.value, self.environment and self.environment.value
        return f"{developer_id} {json.dumps([status, environment, self.query])}"


EVERY_KEY = KeyFilter()
