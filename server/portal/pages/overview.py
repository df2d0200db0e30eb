"""The first page: how things stand now, and what needs attention."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sdk.usage.v1 import usage_service_pb2 as usage
from sdk.usage.v1.usage_pb2 import GRANULARITY_DAY, GRANULARITY_HOUR, MEDIUM_MUSIC, MEDIUM_VIDEO, Usage
from sdk.usage.v1.usage_service_pb2 import Finding, KeyFinding, ListKeyFindingsResponse
from starlette.responses import Response
from starlette.routing import Route

from server.pages.languages import translatable
from server.portal.portal import HOME, Portal, Visit
from server.portal.series import SCALES
from server.portal.usage_chart import calls_chart
from server.times import format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What a kind of finding is called, and what to do about it."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup:
    """The keys with one kind of finding; `more` are not listed."""

    finding: Finding.ValueType
    advice: Advice
    keys: Sequence[KeyFinding]
    more: int


_ADVICE: Final[Mapping[Finding.ValueType, Advice]] = {
    usage.FINDING_OLD_SECRET_IN_USE: Advice(
        title=translatable("An old secret is still in use"),
        text=translatable(
            "Calls with it will be refused when its grace period ends. Find out who calls with it, "
            "and give them the new one."
        ),
    ),
    usage.FINDING_EXPIRES_SOON: Advice(
        title=translatable("Expires soon"),
        text=translatable("Move the expiry on, or create another key and switch to it before this one ends."),
    ),
    usage.FINDING_NEVER_USED: Advice(
        title=translatable("Never used"),
        text=translatable("Nobody has called with it since it was made. Revoke it if nobody is going to."),
    ),
    usage.FINDING_UNUSED: Advice(
        title=translatable("Not used for 90 days"),
        text=translatable("A key that nobody misses is only a risk. Revoke it."),
    ),
    usage.FINDING_SCOPE_UNUSED: Advice(
        title=translatable("Has a scope it does not need"),
        text=translatable("No call has needed it. Create a key with fewer scopes, switch to it, and revoke this one."),
    ),
    usage.FINDING_NO_EXPIRY: Advice(
        title=translatable("Never expires"),
        text=translatable("A key that ends limits what a leak can do. Set an expiry, and rotate before it comes."),
    ),
}


def routes(portal: Portal) -> list[Route]:
    """Return the page's route."""
    return [portal.get(HOME, overview)]


async def overview(visit: Visit) -> Response:
    """Show how things stand. What does not change by the second is left out when the page refreshes itself."""
    calls = visit.calls
    now = asyncio.gather(calls.get_usage(GRANULARITY_HOUR), calls.get_limits())
    if visit.is_refresh:
        (day, limits), month, findings = await now, None, None
    else:
        begin = format_time(visit.now.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
        (day, limits), month, findings = await asyncio.gather(
            now, calls.get_usage(GRANULARITY_DAY, begin), calls.list_key_findings()
        )
    return visit.render(
        "overview.html",
        active="overview",
        usage=day,
        limits=limits,
        streams=month and streams_of(month),
        groups=findings and group_findings(findings),
        chart=calls_chart(visit.reader, day, SCALES["hour"], name="day"),
    )


def streams_of(month: Usage) -> dict[str, int]:
    """Return the billable streams by medium, and all acquisitions."""
    billable = {count.medium: count.billable for count in month.streams}
    return {
        "music": billable.get(MEDIUM_MUSIC, 0),
        "video": billable.get(MEDIUM_VIDEO, 0),
        "acquisitions": sum(count.acquisitions for count in month.streams),
    }


def group_findings(answer: ListKeyFindingsResponse) -> list[FindingGroup]:
    """Put findings of one kind together, in the order of the answer; a kind we have no words for is left out."""
    counts = {count.finding: count.keys for count in answer.counts}
    found: dict[Finding.ValueType, list[KeyFinding]] = {}
    for finding in answer.findings:
        found.setdefault(finding.finding, []).append(finding)
    return [
        FindingGroup(finding=kind, advice=_ADVICE[kind], keys=keys, more=max(0, counts.get(kind, 0) - len(keys)))
        for kind, keys in found.items()
        if kind in _ADVICE
    ]
