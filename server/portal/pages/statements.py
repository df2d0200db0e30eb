"""A month's statement: its sums, its lines, and both as files that are written while they are read."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from sdk.billing.v1.billing_service_pb2 import ListStatementLinesResponse, Statement
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from server.errors import Kind
from server.portal import statement_files as files
from server.portal.months import Month, find_month
from server.portal.portal import Portal, Visit
from server.portal.streams import MEDIA
from server.rpc.in_process import CallFailed

STATEMENT: Final = "/portal/statements/{month}"

_SHOWN: Final = 50
"""Lines on a page."""
_FETCHED: Final = 1000
"""Lines of a file that are fetched at a time."""
_CLIENTS: Final = 100
"""As many clients as a developer can have, which are as many as one page of ListOAuthClients holds."""


def routes(portal: Portal) -> list[Route]:
    """Return the pages' routes; the files come first, since a month's page would take their names for its month."""
    return [
        portal.get(f"{STATEMENT}.csv", send_csv),
        portal.get(f"{STATEMENT}.json", send_json),
        portal.get(STATEMENT, show),
    ]


async def show(visit: Visit) -> Response:
    """Show the statement and a page of its lines."""
    month, page_token = _month(visit), visit.query("page")
    path = f"/portal/statements/{month}"
    try:
        statement, lines, names = await asyncio.gather(
            visit.calls.get_statement(str(month)),
            visit.calls.list_statement_lines(str(month), page_size=_SHOWN, page_token=page_token),
            client_names(visit),
        )
    except CallFailed as failed:
        if failed.kind is not Kind.INVALID_REQUEST or not page_token:
            raise
        return visit.redirect(path)  # the place in the list is not known any more: its first page is
    return visit.render(
        "statement.html",
        active="usage",
        month=month,
        statement=statement,
        names=names,
        media=MEDIA,
        lines=lines.lines,
        path=path,
        first_href=f"{path}#lines" if page_token else "",
        next_href=f"{path}?page={lines.next_page_token}#lines" if lines.next_page_token else "",
    )


async def send_csv(visit: Visit) -> Response:
    """Send all lines as CSV."""
    month = _month(visit)
    first = await _page(visit, month, "")

    async def written() -> AsyncIterator[bytes]:
        yield files.csv_head()
        async for page in _pages(visit, month, first):
            yield files.csv_lines(page.lines)

    return _file(visit, month, "csv", "text/csv; charset=utf-8; header=present", written())


async def send_json(visit: Visit) -> Response:
    """Send the statement with all its lines as JSON."""
    month = _month(visit)
    statement, first = await asyncio.gather(visit.calls.get_statement(str(month)), _page(visit, month, ""))
    return _file(visit, month, "json", "application/json", _json(visit, month, statement, first))


async def client_names(visit: Visit) -> Mapping[str, str]:
    """Return what the user's clients are called, by id. Clients that are gone are not among them."""
    answer = await visit.calls.list_clients(page_size=_CLIENTS)
    return {client.id: client.name for client in answer.clients}


async def _json(
    visit: Visit, month: Month, statement: Statement, first: ListStatementLinesResponse
) -> AsyncIterator[bytes]:
    yield files.json_head(statement)
    is_first = True
    async for page in _pages(visit, month, first):
        yield files.json_lines(page.lines, is_first=is_first)
        is_first = is_first and not page.lines
    yield files.json_tail()


async def _pages(
    visit: Visit, month: Month, first: ListStatementLinesResponse
) -> AsyncIterator[ListStatementLinesResponse]:
    """Return the pages from the first on. A call that fails raises CallFailed, which cuts the answer off."""
    page = first
    yield page
    while page.next_page_token:
        page = await _page(visit, month, page.next_page_token)
        yield page


async def _page(visit: Visit, month: Month, page_token: str) -> ListStatementLinesResponse:
    return await visit.calls.list_statement_lines(str(month), page_size=_FETCHED, page_token=page_token)


def _file(visit: Visit, month: Month, ending: str, media_type: str, written: AsyncIterator[bytes]) -> Response:
    headers = {
        "content-type": media_type,
        "content-disposition": f'attachment; filename="statement-{month}.{ending}"',
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    if visit.request.method == "HEAD":
        return Response(headers=headers)
    return StreamingResponse(written, headers=headers)


def _month(visit: Visit) -> Month:
    """Return the month of the path. Raises HTTPException with 404 for what is none, or has not begun."""
    month = find_month(visit.path("month"), visit.now)
    if month is None:
        raise HTTPException(404)
    return month
