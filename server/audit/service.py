"""Reading the audit log: what happened in a developer's account, a page at a time."""

from server.audit.model import AuditEvent
from server.audit.store import AuditStore
from server.errors import InvalidRequest, Violation
from server.ids import DeveloperId
from server.paging import DEFAULT_PAGE_SIZE, PageTokens
from server.peppers import Peppers
from server.postgres.pool import Database


class AuditLog:
    """Shows developers what was changed in their account, by themselves and by others."""

    def __init__(self, database: Database, peppers: Peppers) -> None:
        self._database = database
        self._page_tokens = PageTokens(peppers, "ListAuditEvents")

    async def list(
        self, developer_id: DeveloperId, page_size: int, page_token: str, target_id: str
    ) -> tuple[list[AuditEvent], str]:
        """Return a page of events, newest first, and the token of the next page (empty at the end).

        `page_size` is 1 to 100, or 0 for 20; `target_id` is what they happened to, empty for anything.

        Raises:
            InvalidRequest: the page token was not made for this list and target, or no id is written like the target.
        """
        if not target_id.isprintable():
            raise InvalidRequest([Violation("target_id", "must be the id of a key, an OAuth client or a developer")])
        limit, owner = page_size or DEFAULT_PAGE_SIZE, f"{developer_id} {target_id}"
        after = self._page_tokens.read(page_token, owner) if page_token else None
        events = await AuditStore(self._database).list_newest(developer_id, limit + 1, after, target_id or None)
        if len(events) <= limit:
            return events, ""
        last = events[limit - 1]
        return events[:limit], self._page_tokens.after(owner, last.created_at, last.id)
