"""A reader of statements: all pages of a month, and what its lines sum up to."""

from collections import defaultdict

from server.billing.model import Month, StatementLine, StatementSum
from server.billing.service import Statements
from server.ids import DeveloperId


async def read_lines(
    statements: Statements, developer_id: DeveloperId, month: str, page_size: int = 0
) -> list[StatementLine]:
    """Read all lines of a month, page by page."""
    lines: list[StatementLine] = []
    token = ""
    while True:
        page = await statements.lines(developer_id, month, page_size, token)
        lines += page.lines
        token = page.next_page_token
        if not token:
            return lines


def sums_of(lines: list[StatementLine], month: Month) -> list[StatementSum]:
    """Add lines up by client and medium."""
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for line in lines:
        sums[line.client_id, line.medium][line.acquired_at < month.start] += line.amount
    return [StatementSum(*whose, *amounts) for whose, amounts in sorted(sums.items())]
