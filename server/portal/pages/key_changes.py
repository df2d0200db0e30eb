"""Changing one key: name, expiry, secrets, end. Each form leads back with a notice, or says its faults."""

import asyncio
import re
import unicodedata

from sdk.developer.v1.api_key_pb2 import ApiKey
from starlette.responses import Response
from starlette.routing import Route

from server.pages.forms import Form
from server.pages.languages import translatable
from server.portal.expiry import BadExpiryError, read_expiry
from server.portal.pages.key import KEY, render_secrets, render_settings
from server.portal.portal import Portal, Visit
from server.rpc.in_process import CallFailed

_NOT_THE_NAME = translatable("That is not the key's name. Nothing was revoked.")
_VERSION = re.compile(r"[0-9]{1,9}")


def routes(portal: Portal) -> list[Route]:
    """Return the forms' routes."""
    return [
        portal.post(f"{KEY}/name", rename),
        portal.post(f"{KEY}/expiry", change_expiry),
        portal.post(f"{KEY}/rotate", rotate),
        portal.post(f"{KEY}/secrets/{{version}}/end", end_grace),
        portal.post(f"{KEY}/revoke", revoke),
    ]


async def rename(visit: Visit) -> Response:
    """Give the key another name."""
    key_id, name = visit.path("key_id"), (await visit.form()).text("name")
    try:
        await visit.calls.rename_key(key_id, name)
    except CallFailed as failed:
        faults = visit.faults(failed)
        key = await visit.calls.get_key(key_id)
        return render_settings(visit, key, faults=faults, values={"name": name}, status=400)
    return visit.redirect(f"/portal/keys/{key_id}/settings?done=renamed")


async def change_expiry(visit: Visit) -> Response:
    """Move the key's end, or take it away."""
    key_id, form = visit.path("key_id"), await visit.form()
    try:
        await visit.calls.set_key_expiry(key_id, read_expiry(form, visit.reader.zone, visit.now))
    except BadExpiryError as fault:
        faults = {"last_day": visit.reader.gettext(str(fault))}
    except CallFailed as failed:
        faults = visit.faults(failed)
    else:
        return visit.redirect(f"/portal/keys/{key_id}/settings?done=expiry")
    values = {"expiry": form.text("expiry"), "last_day": form.text("last_day")}
    key = await visit.calls.get_key(key_id)
    return render_settings(visit, key, faults=faults, values=values, status=400)


async def rotate(visit: Visit) -> Response:
    """Give the key a new secret, and lead to the page that shows it."""
    key_id, form = visit.path("key_id"), await visit.form()
    try:
        answer = await visit.calls.rotate_key(
            key_id, request_id=form.text("request_id"), expire_previous_now=bool(form.text("expire_previous_now"))
        )
    except CallFailed as failed:
        return await _secrets_with(visit, visit.faults(failed))
    response = visit.redirect(f"/portal/keys/{key_id}/secret")
    await visit.portal.reveals.keep(
        visit.request, response, visit.signed_in.subject, key_id, answer.secret, answer.previous_expires_at
    )
    return response


async def end_grace(visit: Visit) -> Response:
    """End an old secret now."""
    key_id, version = visit.path("key_id"), visit.path("version")
    try:
        await visit.calls.end_grace(key_id, int(version) if _VERSION.fullmatch(version) else 0)
    except CallFailed as failed:
        return await _secrets_with(visit, visit.faults(failed))
    return visit.redirect(f"/portal/keys/{key_id}/secrets?done=ended")


async def revoke(visit: Visit) -> Response:
    """Kill the key, if its name was typed."""
    key = await visit.calls.get_key(visit.path("key_id"))
    if not _names(await visit.form(), key):
        faults = {"confirm": visit.reader.gettext(_NOT_THE_NAME)}
        return render_settings(visit, key, faults=faults, status=400)
    try:
        await visit.calls.revoke_key(key.id)
    except CallFailed as failed:
        return render_settings(visit, key, faults=visit.faults(failed), status=409)
    return visit.redirect(f"/portal/keys/{key.id}?done=revoked")


async def _secrets_with(visit: Visit, faults: dict[str, str]) -> Response:
    key_id = visit.path("key_id")
    key, versions = await asyncio.gather(visit.calls.get_key(key_id), visit.calls.list_secret_versions(key_id))
    return render_secrets(visit, key, versions, faults=faults)


def _names(form: Form, key: ApiKey) -> bool:
    """Tell whether the key's name was typed; white space around it does not count, nor how letters are composed."""
    typed = unicodedata.normalize("NFC", form.text("confirm"))
    return typed.strip() == key.name.strip()
