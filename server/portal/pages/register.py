"""Becoming a developer: told once who one is, and the terms accepted."""

from collections.abc import Mapping
from typing import NamedTuple

from sdk.portal.v1 import account_service_pb2 as account
from starlette.responses import Response
from starlette.routing import Route

from server.errors import Kind
from server.pages.languages import translatable
from server.pages.security import same_origin_path
from server.portal.portal import REGISTER, Portal, Visit
from server.rpc.in_process import CallFailed

_FIELDS = ("display_name", "contact_email", "organisation")
_NOT_ACCEPTED = translatable("Read the terms and tick the box to accept them.")


class _Terms(NamedTuple):
    version: str
    url: str


def routes(portal: Portal) -> list[Route]:
    """Return the page's routes, which are for those who have not registered yet."""
    return [
        portal.get(REGISTER, show, registered=False),
        portal.post(REGISTER, register, registered=False),
    ]


async def show(visit: Visit) -> Response:
    """Show the form; who has registered already goes on."""
    if visit.signed_in.name:
        return visit.redirect(_following(visit.query("next")))
    terms = await _terms(visit)
    if terms is None:
        return visit.redirect(_following(visit.query("next")))
    return _form(visit, terms, dict.fromkeys(_FIELDS, ""), {}, following=visit.query("next"))


async def register(visit: Visit) -> Response:
    """Register, and go on to where the user came from."""
    form = await visit.form()
    values, following = {name: form.text(name) for name in _FIELDS}, form.text("next")
    accepted = form.text("terms_version")
    if not accepted:
        terms = await _terms(visit)
        if terms is None:
            return visit.redirect(_following(following))
        faults = {"terms_version": visit.reader.gettext(_NOT_ACCEPTED)}
        return _form(visit, terms, values, faults, following=following, status=400)
    try:
        request = account.RegisterDeveloperRequest(**values, terms_version=accepted)
        developer = await visit.calls.register(request)
    except CallFailed as failed:
        faults = visit.faults(failed)
        terms = await _terms(visit)
        if terms is None:  # somebody was faster, in another window
            return visit.redirect(_following(following))
        return _form(visit, terms, values, faults, following=following, accepted=accepted, status=400)
    await visit.portal.sessions.note_name(visit.signed_in.cookie, developer.display_name)
    return visit.redirect(_following(following))


async def _terms(visit: Visit) -> _Terms | None:
    """Return the terms to accept; None when the user is registered. Raises CallFailed."""
    try:
        developer = await visit.calls.get_developer()
    except CallFailed as failed:
        told = failed.metadata or {}
        if failed.kind is not Kind.PERMISSION_DENIED or told.get("reason") != "not_registered":
            raise
        return _Terms(told.get("terms_version", ""), told.get("terms_url", ""))
    if developer.display_name:
        await visit.portal.sessions.note_name(visit.signed_in.cookie, developer.display_name)
        return None
    return _Terms(developer.current_terms_version, developer.current_terms_url)


def _form(
    visit: Visit,
    terms: _Terms,
    values: Mapping[str, str],
    faults: Mapping[str, str],
    *,
    following: str,
    accepted: str = "",
    status: int = 200,
) -> Response:
    """Answer with the form; the box stays ticked while `accepted` is the version of the terms that it is about."""
    return visit.render(
        "register.html",
        status=status,
        active="",
        values=values,
        faults=faults,
        terms=terms,
        ticked=bool(accepted) and accepted == terms.version,
        following=following,
    )


def _following(path: str) -> str:
    """Return where to go on, which is never this page again."""
    safe = same_origin_path(path)
    return "/portal/" if safe.startswith(REGISTER) else safe
