"""The account: who the developer is, which tier it has, and asking for another."""

import asyncio
from collections.abc import Mapping

from google.protobuf.field_mask_pb2 import FieldMask
from sdk.portal.v1 import account_service_pb2 as account
from sdk.portal.v1.account_pb2 import Developer
from starlette.responses import Response
from starlette.routing import Route

from server.pages.languages import translatable
from server.portal.portal import Portal, Visit
from server.rpc.in_process import CallFailed

ACCOUNT = "/portal/account"

_FIELDS = ("display_name", "contact_email", "organisation")
_NOTICES = {
    "saved": translatable("Your account was changed."),
    "terms": translatable("You accepted the current terms."),
    "requested": translatable("Your wish was passed on to the platform's operators."),
}


def routes(portal: Portal) -> list[Route]:
    """Return the page's routes."""
    return [
        portal.get(ACCOUNT, show),
        portal.post(ACCOUNT, save),
        portal.post(f"{ACCOUNT}/terms", accept_terms),
        portal.post(f"{ACCOUNT}/tier", request_tier),
    ]


async def show(visit: Visit) -> Response:
    """Show the account."""
    return await _page(visit)


async def save(visit: Visit) -> Response:
    """Change who the developer is."""
    form = await visit.form()
    values = {name: form.text(name) for name in _FIELDS}
    request = account.UpdateDeveloperRequest(**values, update_mask=FieldMask(paths=_FIELDS))
    try:
        developer = await visit.calls.update_developer(request)
    except CallFailed as failed:
        return await _page(visit, values=values, faults=visit.faults(failed))
    await visit.portal.sessions.note_name(visit.signed_in.cookie, developer.display_name)
    return visit.redirect(f"{ACCOUNT}?done=saved")


async def accept_terms(visit: Visit) -> Response:
    """Accept the terms that are in force."""
    version = (await visit.form()).text("terms_version")
    mask = FieldMask(paths=["terms_version"])
    try:
        await visit.calls.update_developer(account.UpdateDeveloperRequest(terms_version=version, update_mask=mask))
    except CallFailed as failed:
        return await _page(visit, faults=visit.faults(failed))
    return visit.redirect(f"{ACCOUNT}?done=terms")


async def request_tier(visit: Visit) -> Response:
    """Ask the operators for another tier."""
    form = await visit.form()
    try:
        await visit.calls.request_tier(form.text("tier"), form.text("reason"))
    except CallFailed as failed:
        values = {"tier": form.text("tier"), "reason": form.text("reason")}
        return await _page(visit, values=values, faults=visit.faults(failed))
    return visit.redirect(f"{ACCOUNT}?done=requested")


async def _page(
    visit: Visit, *, values: Mapping[str, str] | None = None, faults: Mapping[str, str] | None = None
) -> Response:
    developer, tiers = await asyncio.gather(visit.calls.get_developer(), visit.calls.list_tiers())
    notice = _NOTICES.get(visit.query("done"), "")
    return visit.render(
        "account.html",
        status=400 if faults else 200,
        active="account",
        developer=developer,
        tiers=tiers,
        choices=[(tier.name, tier.name) for tier in tiers if tier.name != developer.tier],
        values={**_told(developer), "tier": developer.requested_tier, "reason": "", **(values or {})},
        faults=faults or {},
        notice=notice and visit.reader.gettext(notice),
        subject=visit.signed_in.subject,
    )


def _told(developer: Developer) -> dict[str, str]:
    return {name: getattr(developer, name) for name in _FIELDS}
