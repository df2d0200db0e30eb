"""The audit log: what happened in the account, newest first."""

from urllib.parse import urlencode

from sdk.portal.v1.account_pb2 import AuditEvent
from starlette.responses import Response
from starlette.routing import Route

from server.errors import Kind
from server.pages.reader import Reader
from server.portal.details import write_detail
from server.portal.portal import Portal, Visit
from server.rpc.in_process import CallFailed

AUDIT = "/portal/audit"

_PAGE_SIZE = 50


def routes(portal: Portal) -> list[Route]:
    """Return the page's route."""
    return [portal.get(AUDIT, show)]


async def show(visit: Visit) -> Response:
    """Show a page of events, of everything or of one key or client."""
    target, page_token = visit.query("target"), visit.query("page")
    try:
        answer = await visit.calls.list_audit_events(target_id=target, page_size=_PAGE_SIZE, page_token=page_token)
    except CallFailed as failed:
        if failed.kind is not Kind.INVALID_REQUEST:
            raise
        return visit.redirect(AUDIT)  # neither the place in the list nor its target is known
    return visit.render(
        "audit.html",
        active="audit",
        events=[(event, _details(visit.reader, event)) for event in answer.events],
        target=target,
        first_href=_address(target, "") if page_token else "",
        next_href=_address(target, answer.next_page_token) if answer.next_page_token else "",
    )


def _details(reader: Reader, event: AuditEvent) -> list[tuple[str, str]]:
    return [(name, write_detail(reader, name, text)) for name, text in sorted(event.details.items())]


def _address(target: str, page_token: str) -> str:
    given = {name: value for name, value in (("target", target), ("page", page_token)) if value}
    return f"{AUDIT}?{urlencode(given)}" if given else AUDIT
