"""Which of a developer's keys are used most, and which ones somebody should look at."""

from server.errors import NotFound
from server.ids import DeveloperId
from server.metering.model import Span
from server.metering.reports import Period
from server.metering.store import UsageStore
from server.postgres.pool import Database
from server.usage.model import Findings, KeyUse
from server.usage.store import KeyStore

_PAGE_SIZE = 20


class KeyAttention:
    """Looks over all keys of a developer at once."""

    def __init__(self, database: Database) -> None:
        self._keys = KeyStore(database)
        self._usage = UsageStore(database)

    async def most_used(self, developer_id: DeveloperId, period: Period, page_size: int) -> list[KeyUse]:
        """Return the keys that were used most during a span, up to `page_size` of them, 0 for the usual 20.

        Raises:
            InvalidRequest: the span is at fault.
            NotFound: there is no such developer.
        """
        start, end = period.bounds()
        account = await self._usage.find_account(developer_id)
        if account is None:
            raise NotFound("There is no such developer.")
        span = Span.choose(period.granularity, start, end, account.now)
        return await self._keys.most_used(developer_id, span, page_size or _PAGE_SIZE, account.now)

    async def findings(self, developer_id: DeveloperId) -> Findings:
        """Return what about a developer's live keys needs attention."""
        return await self._keys.findings(developer_id)
