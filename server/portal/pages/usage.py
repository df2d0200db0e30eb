"""Usage and billing: streams by day and client, requests by key, the tier and where its limits stand, statements."""

import asyncio
from typing import Final

from sdk.portal.v1.account_pb2 import Developer
from sdk.usage.v1.usage_pb2 import GRANULARITY_DAY
from starlette.responses import Response
from starlette.routing import Route

from server.pages.formats import moment_of
from server.portal.months import Month, find_month, month_of, months_back
from server.portal.pages.statements import client_names
from server.portal.portal import Portal, Visit
from server.portal.streams import by_client, stream_chart, total
from server.times import format_time

USAGE: Final = "/portal/usage"

_MONTHS: Final = 12
_KEYS: Final = 100
"""As many keys as ListKeyUsage returns at most."""


def routes(portal: Portal) -> list[Route]:
    """Return the page's route."""
    return [portal.get(USAGE, show)]


async def show(visit: Visit) -> Response:
    """Show a month: the present one, unless the address names another."""
    month = find_month(visit.query("month"), visit.now) or month_of(visit.now)
    start, end = format_time(month.start), format_time(month.end) if month.end <= visit.now else ""
    calls = visit.calls
    days, keys, used, limits, developer, names = await asyncio.gather(
        calls.list_stream_days(month.first.isoformat(), month.last.isoformat()),
        calls.list_key_usage(GRANULARITY_DAY, start, end, _KEYS),
        calls.get_usage(GRANULARITY_DAY, start, end),
        calls.get_limits(),
        calls.get_developer(),
        client_names(visit),
    )
    months = _months(visit, developer)
    return visit.render(
        "usage.html",
        active="usage",
        month=month,
        months=months if month in months else [month, *months],
        this_month=months[0],
        streams=total(days),
        clients=[(client_id, names.get(client_id, ""), streams) for client_id, streams in by_client(days)],
        chart=stream_chart(visit.reader, days, month.first, month.last),
        keys=keys,
        most_keys=_KEYS,
        usage=used,
        limits=limits,
        developer=developer,
    )


def _months(visit: Visit, developer: Developer) -> list[Month]:
    """Return the months that have a statement, newest first: none before the account began."""
    return months_back(visit.now, moment_of(developer.created_at), _MONTHS)
