"""All OAuth clients, making one, and the page that shows a client's new secret, once."""

from collections.abc import Mapping, Sequence
from typing import Final

from sdk.portal.v1 import oauth_client_service_pb2 as clients
from sdk.portal.v1.oauth_client_pb2 import (
    O_AUTH_CLIENT_TYPE_CONFIDENTIAL,
    O_AUTH_CLIENT_TYPE_PUBLIC,
    O_AUTH_CLIENT_TYPE_UNSPECIFIED,
)
from starlette.responses import Response
from starlette.routing import Route

from server.errors import Kind
from server.pages.forms import Form
from server.pages.languages import translatable
from server.portal.portal import Portal, Visit
from server.rpc.in_process import CallFailed

CLIENTS: Final = "/portal/clients"
NEW: Final = "/portal/clients/new"
SECRET: Final = "/portal/clients/{client_id}/secret"  # noqa: S105 - a path

_TYPES: Final = {"public": O_AUTH_CLIENT_TYPE_PUBLIC, "confidential": O_AUTH_CLIENT_TYPE_CONFIDENTIAL}
_TOLD_LENGTH: Final = 60
"""Of a faulty URI, in characters."""
_NOTICES: Final = {"deleted": translatable("The client is deleted. Its tokens stop working within seconds.")}


def routes(portal: Portal) -> list[Route]:
    """Return the pages' routes; `new` comes before every client's own page."""
    return [
        portal.get(CLIENTS, list_clients),
        portal.get(NEW, new_client),
        portal.post(NEW, create_client),
        portal.get(SECRET, show_secret),
        portal.post(SECRET, confirm_stored),
    ]


async def list_clients(visit: Visit) -> Response:
    """Show a page of the clients."""
    page_token = visit.query("page")
    try:
        answer = await visit.calls.list_clients(page_token=page_token)
    except CallFailed as failed:
        if failed.kind is not Kind.INVALID_REQUEST or not page_token:
            raise
        return visit.redirect(CLIENTS)  # the place in the list is not known any more: its first page is
    notice = _NOTICES.get(visit.query("done"), "")
    return visit.render(
        "clients.html",
        active="clients",
        clients=answer.clients,
        first_href=CLIENTS if page_token else "",
        next_href=f"{CLIENTS}?page={answer.next_page_token}" if answer.next_page_token else "",
        notice=notice and visit.reader.gettext(notice),
    )


async def new_client(visit: Visit) -> Response:
    """Show the form for a new client."""
    values = {"name": "", "type": "confidential", "redirect_uris": "", "allowed_scopes": ["read"]}
    return _form(visit, values, {})


async def create_client(visit: Visit) -> Response:
    """Make a client; one that has a secret leads to the page that shows it."""
    form = await visit.form()
    uris = read_uris(form)
    request = clients.CreateOAuthClientRequest(
        name=form.text("name"),
        type=_TYPES.get(form.text("type"), O_AUTH_CLIENT_TYPE_UNSPECIFIED),
        redirect_uris=uris,
        allowed_scopes=form.all("allowed_scopes"),
    )
    try:
        answer = await visit.calls.create_client(request)
    except CallFailed as failed:
        return _form(visit, values_of(form), client_faults(visit, failed, uris), status=400)
    path = f"{CLIENTS}/{answer.client.id}"
    if not answer.secret:
        return visit.redirect(f"{path}?done=created")
    response = visit.redirect(f"{path}/secret")
    await visit.portal.reveals.keep(visit.request, response, visit.signed_in.subject, answer.client.id, answer.secret)
    return response


async def show_secret(visit: Visit) -> Response:
    """Show the secret that waits, if this is the first look; else say that it was shown, and what to do without it."""
    client = await visit.calls.get_client(visit.path("client_id"))
    revealed = await visit.portal.reveals.take(visit.request, visit.signed_in.subject, client.id)
    response = visit.render("client_secret.html", active="clients", client=client, revealed=revealed)
    if revealed is not None:
        visit.portal.reveals.note_shown(response, client.id, revealed)
    return response


async def confirm_stored(visit: Visit) -> Response:
    """Go on to the client."""
    client = await visit.calls.get_client(visit.path("client_id"))
    return visit.redirect(f"{CLIENTS}/{client.id}")


def read_uris(form: Form) -> list[str]:
    """Read the redirect URIs of a form, one a line; white space around them and empty lines do not count."""
    return [line.strip() for line in form.text("redirect_uris").split("\n") if line.strip()]


def values_of(form: Form) -> dict[str, object]:
    """Return what was entered, to be shown again."""
    texts: dict[str, object] = {name: form.text(name) for name in ("name", "type", "redirect_uris")}
    return {**texts, "allowed_scopes": form.all("allowed_scopes")}


def client_faults(visit: Visit, failed: CallFailed, uris: Sequence[str]) -> dict[str, str]:
    """Return what is wrong by field; of redirect URIs it is said which one is meant.

    Raises:
        CallFailed: it is not about fields.
    """
    faults = visit.faults(failed)
    fields = (violation.field for violation in failed.violations)
    place = next((field[len("redirect_uris[") : -1] for field in fields if field.startswith("redirect_uris[")), "")
    if place.isdigit() and int(place) < len(uris):
        faults["redirect_uris"] = f"\u2068{uris[int(place)][:_TOLD_LENGTH]}\u2069: {faults['redirect_uris']}"
    return faults


def _form(visit: Visit, values: Mapping[str, object], faults: Mapping[str, str], *, status: int = 200) -> Response:
    return visit.render("client_new.html", status=status, active="clients", values=values, faults=faults)
