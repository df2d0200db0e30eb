"""One OAuth client: what it is, its secrets, walking its flow, changing it and its end."""

import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from sdk.portal.v1 import oauth_client_service_pb2 as clients
from sdk.portal.v1.oauth_client_pb2 import O_AUTH_CLIENT_TYPE_CONFIDENTIAL, OAuthClient
from starlette.responses import Response
from starlette.routing import Route

from server.pages.forms import Form
from server.pages.languages import translatable
from server.portal.pages.clients import CLIENTS, client_faults, read_uris, values_of
from server.portal.portal import Portal, Visit
from server.portal.try_it import draw_trial
from server.rpc.in_process import CallFailed

CLIENT: Final = "/portal/clients/{client_id}"

NOTICES: Final[Mapping[str, str]] = {
    "created": translatable("The client is made. As a public client it has no secret."),
    "saved": translatable("The client was changed."),
}
_CHANGEABLE: Final = ("name", "redirect_uris", "allowed_scopes")
_NOT_THE_NAME: Final = translatable("That is not the client's name. Nothing was deleted.")

ClientPage = Callable[..., Awaitable[Response]]


def routes(portal: Portal, *, can_try: bool) -> list[Route]:
    """Return the pages' routes. `can_try`: the authorization server is ours, so that a flow can be walked here."""

    def page(handler: ClientPage) -> Callable[[Visit], Awaitable[Response]]:
        return partial(handler, can_try=can_try)

    trying = [portal.get(f"{CLIENT}/try", page(show_trial))] if can_try else []
    return [
        *trying,
        portal.get(CLIENT, page(show)),
        portal.get(f"{CLIENT}/settings", page(show_settings)),
        portal.post(f"{CLIENT}/settings", page(save)),
        portal.post(f"{CLIENT}/rotate", page(rotate)),
        portal.post(f"{CLIENT}/delete", page(delete)),
    ]


async def show(visit: Visit, *, can_try: bool) -> Response:
    """Show what the client is, and its secrets."""
    client = await visit.calls.get_client(visit.path("client_id"))
    return _page(visit, "client.html", client, view="client", can_try=can_try, faults={})


async def show_settings(visit: Visit, *, can_try: bool) -> Response:
    """Show what can be changed about the client."""
    return _settings(visit, await visit.calls.get_client(visit.path("client_id")), can_try=can_try)


async def show_trial(visit: Visit, *, can_try: bool) -> Response:
    """Show a link that begins the client's flow, and the call that trades the code; each look draws new secrets."""
    client = await visit.calls.get_client(visit.path("client_id"))
    uris, scopes = list(client.redirect_uris), list(client.allowed_scopes)
    uri = visit.query("uri") if visit.query("uri") in uris else next(iter(uris), "")
    asked = [scope for scope in visit.request.query_params.getlist("scope") if scope in scopes] or scopes
    trial = draw_trial(client, visit.portal.public_url, uri, asked)
    return _page(
        visit,
        "client_try.html",
        client,
        view="try",
        can_try=can_try,
        trial=trial,
        uri=uri,
        asked=asked,
        issuer=visit.portal.public_url,
    )


async def save(visit: Visit, *, can_try: bool) -> Response:
    """Change name, redirect URIs and scopes."""
    form, client_id = await visit.form(), visit.path("client_id")
    uris = read_uris(form)
    request = clients.UpdateOAuthClientRequest(
        id=client_id,
        name=form.text("name"),
        redirect_uris=uris,
        allowed_scopes=form.all("allowed_scopes"),
        update_mask=FieldMask(paths=_CHANGEABLE),
    )
    try:
        await visit.calls.update_client(request)
    except CallFailed as failed:
        faults = client_faults(visit, failed, uris)
        client = await visit.calls.get_client(client_id)
        return _settings(visit, client, can_try=can_try, faults=faults, values=values_of(form))
    return visit.redirect(f"{CLIENTS}/{client_id}?done=saved")


async def rotate(visit: Visit, *, can_try: bool) -> Response:
    """Give the client a new secret, and lead to the page that shows it.

    The form says which secret was the newest when it was made: sent twice, it gives one new secret.
    """
    form, client = await visit.form(), await visit.calls.get_client(visit.path("client_id"))
    path = f"{CLIENTS}/{client.id}/secret"
    if client.secrets and form.text("newest") != str(client.secrets[0].version):
        return visit.redirect(path)
    request = clients.RotateClientSecretRequest(
        id=client.id, expire_previous_now=bool(form.text("expire_previous_now"))
    )
    try:
        answer = await visit.calls.rotate_client_secret(request)
    except CallFailed as failed:
        faults = visit.faults(failed)
        return _page(visit, "client.html", client, view="client", status=409, can_try=can_try, faults=faults)
    response = visit.redirect(path)
    await visit.portal.reveals.keep(
        visit.request, response, visit.signed_in.subject, client.id, answer.secret, answer.previous_expires_at
    )
    return response


async def delete(visit: Visit, *, can_try: bool) -> Response:
    """Remove the client, if its name was typed."""
    client = await visit.calls.get_client(visit.path("client_id"))
    if not _names(await visit.form(), client):
        faults = {"confirm": visit.reader.gettext(_NOT_THE_NAME)}
        return _settings(visit, client, can_try=can_try, faults=faults)
    await visit.calls.delete_client(client.id)
    return visit.redirect(f"{CLIENTS}?done=deleted")


def _settings(
    visit: Visit,
    client: OAuthClient,
    *,
    can_try: bool,
    faults: Mapping[str, str] | None = None,
    values: Mapping[str, object] | None = None,
) -> Response:
    """Answer with the settings; with faults it is the answer to a form, and `values` are what was entered."""
    kept = {"name": client.name, "redirect_uris": "\n".join(client.redirect_uris)}
    return _page(
        visit,
        "client_settings.html",
        client,
        view="settings",
        status=400 if faults else 200,
        can_try=can_try,
        faults=faults or {},
        values=values or {**kept, "allowed_scopes": client.allowed_scopes},
    )


def _page(
    visit: Visit, template: str, client: OAuthClient, *, view: str, status: int = 200, **context: Any
) -> Response:
    """Answer with one of the pages of a client, which share their head."""
    notice = NOTICES.get(visit.query("done"), "")
    return visit.render(
        template,
        status=status,
        active="clients",
        client=client,
        is_confidential=client.type == O_AUTH_CLIENT_TYPE_CONFIDENTIAL,
        view=view,
        notice=notice and visit.reader.gettext(notice),
        **context,
    )


def _names(form: Form, client: OAuthClient) -> bool:
    """Tell whether the client's name was typed; white space around it does not count, nor how letters are composed."""
    typed = unicodedata.normalize("NFC", form.text("confirm"))
    return typed.strip() == client.name.strip()
