"""Which days, months and pages are asked for, and what they hold. What is billable, the ledger has decided."""

from dataclasses import dataclass
from datetime import UTC

from server.billing.model import Month, Position, Statement, StatementLine, StreamDay, choose_days
from server.billing.store import BillingStore
from server.ids import DeveloperId
from server.paging import PageTokens
from server.peppers import Peppers
from server.postgres.pool import Database

_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A page of a statement's lines. `next_page_token` empty: it was the last."""

    month: Month
    lines: tuple[StatementLine, ...]
    next_page_token: str


class Statements:
    """Shows developers what they are billed for. All of it is their own."""

    def __init__(self, database: Database, peppers: Peppers) -> None:
        self._store = BillingStore(database)
        self._tokens = PageTokens(peppers, "ListStatementLines")

    async def stream_days(self, developer_id: DeveloperId, first_day: str, last_day: str) -> list[StreamDay]:
        """Return the streams of some days (UTC, `YYYY-MM-DD`), by client and medium; the last 30 unless named.

        Raises:
            InvalidRequest: the days are at fault.
        """
        now = await self._store.now()
        first, last = choose_days(first_day, last_day, now.astimezone(UTC).date())
        return await self._store.stream_days(developer_id, first, last)

    async def statement(self, developer_id: DeveloperId, month: str) -> Statement:
        """Return the statement of a month (UTC, `YYYY-MM`). Its total is the sum of the amounts of its lines.

        Raises:
            InvalidRequest: the month is at fault.
        """
        now = await self._store.now()
        asked = Month.read(month, now)
        sums = await self._store.sums(developer_id, asked)  # read after the clock: what is closed then is complete
        return Statement(month=asked, closed=asked.is_closed(now), sums=sums)

    async def lines(self, developer_id: DeveloperId, month: str, page_size: int, page_token: str) -> Lines:
        """Return a page of a month's lines in the order in which they were posted, `page_size` 0 for the usual 100.

        Pages of a month that is not closed may miss what is posted meanwhile.

        Raises:
            InvalidRequest: the month is at fault, or the token is not one of this month's list.
        """
        asked = Month.read(month, await self._store.now())
        owner = f"{developer_id}/{asked}"
        after = self._read(page_token, owner) if page_token else Position(asked.start)
        size = page_size or _PAGE_SIZE
        found = await self._store.lines(developer_id, after, asked.end, size + 1)
        lines, token = tuple(found[:size]), ""
        if len(found) > size:
            last = lines[-1]
            token = self._tokens.after(owner, last.posted_at, f"{last.amount}.{last.event_id}")
        return Lines(month=asked, lines=lines, next_page_token=token)

    def _read(self, page_token: str, owner: str) -> Position:
        posted_at, item = self._tokens.read(page_token, owner)
        amount, _, event_id = item.partition(".")
        return Position(posted_at, event_id, int(amount))
