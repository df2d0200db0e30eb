"""All API keys, and making one."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode
from uuid import uuid4

from sdk.developer.v1 import developer_service_pb2 as developer
from sdk.developer.v1.api_key_pb2 import (
    API_KEY_ENVIRONMENT_LIVE,
    API_KEY_ENVIRONMENT_TEST,
    API_KEY_ENVIRONMENT_UNSPECIFIED,
    API_KEY_STATUS_ACTIVE,
    API_KEY_STATUS_REVOKED,
)
from starlette.responses import Response
from starlette.routing import Route

from server.errors import Kind
from server.pages.forms import Form
from server.portal.expiry import CHOICES, USUAL, BadExpiryError, read_expiry
from server.portal.lives import life_of
from server.portal.portal import Portal, Visit
from server.rpc.in_process import CallFailed
from server.times import format_time

KEYS: Final = "/portal/keys"
NEW: Final = "/portal/keys/new"

_STATUSES: Final = {"active": API_KEY_STATUS_ACTIVE, "revoked": API_KEY_STATUS_REVOKED}
_ENVIRONMENTS: Final = {"live": API_KEY_ENVIRONMENT_LIVE, "test": API_KEY_ENVIRONMENT_TEST}
_LONGEST_QUERY: Final = 100


def routes(portal: Portal) -> list[Route]:
    """Return the pages' routes; `new` comes before every key's own page."""
    return [portal.get(KEYS, list_keys), portal.get(NEW, new_key), portal.post(NEW, create_key)]


async def list_keys(visit: Visit) -> Response:
    """Show a page of the keys that fit the filter."""
    wanted = {
        "status": visit.query("status") if visit.query("status") in _STATUSES else "",
        "environment": visit.query("environment") if visit.query("environment") in _ENVIRONMENTS else "",
        "q": visit.query("q").strip()[:_LONGEST_QUERY],
    }
    page_token = visit.query("page")
    try:
        answer = await _find_keys(visit, wanted, page_token)
    except CallFailed as failed:
        if failed.kind is not Kind.INVALID_REQUEST or not page_token:
            raise
        return visit.redirect(_address(wanted))  # the place in the list is not known any more: its first page is
    return visit.render(
        "keys.html",
        active="keys",
        keys=[(key, life_of(key, visit.now)) for key in answer.api_keys],
        wanted=wanted,
        filtered=any(wanted.values()),
        first_href=_address(wanted) if page_token else "",
        next_href=_address({**wanted, "page": answer.next_page_token}) if answer.next_page_token else "",
    )


async def new_key(visit: Visit) -> Response:
    """Show the form for a new key."""
    values = {"name": "", "scopes": ["read"], "environment": "test", "expiry": USUAL, "last_day": ""}
    return _form(visit, values, {}, request_id=str(uuid4()), since=format_time(visit.now))


async def create_key(visit: Visit) -> Response:
    """Make a key and lead to the page that shows its secret; a form that was sent before leads to the same key."""
    form = await visit.form()
    request_id, since = form.text("request_id"), form.text("since")
    try:
        request = developer.CreateApiKeyRequest(
            name=form.text("name"),
            scopes=form.all("scopes"),
            environment=_ENVIRONMENTS.get(form.text("environment"), API_KEY_ENVIRONMENT_UNSPECIFIED),
            expires_at=read_expiry(form, visit.reader.zone, visit.now),
            request_id=request_id,
        )
        answer = await visit.calls.create_key(request)
    except BadExpiryError as fault:
        return _form(
            visit,
            _values(form),
            {"last_day": visit.reader.gettext(str(fault))},
            request_id=request_id,
            since=since,
            status=400,
        )
    except CallFailed as failed:
        faults = visit.faults(failed)
        # What is corrected is another request: under the old id the methods would take it for the first one.
        return _form(visit, _values(form), faults, request_id=str(uuid4()), since=format_time(visit.now), status=400)
    response = visit.redirect(f"{KEYS}/{answer.api_key.id}/secret")
    await visit.portal.reveals.keep(visit.request, response, visit.signed_in.subject, answer.api_key.id, answer.secret)
    return response


async def _find_keys(visit: Visit, wanted: Mapping[str, str], page_token: str) -> developer.ListApiKeysResponse:
    return await visit.calls.list_keys(
        status=_STATUSES.get(wanted["status"], 0),
        environment=_ENVIRONMENTS.get(wanted["environment"], 0),
        query=wanted["q"],
        page_token=page_token,
    )


def _form(
    visit: Visit,
    values: Mapping[str, object],
    faults: Mapping[str, str],
    *,
    request_id: str,
    since: str,
    status: int = 200,
) -> Response:
    return visit.render(
        "key_new.html",
        status=status,
        active="keys",
        values=values,
        faults=faults,
        request_id=request_id,
        since=since,
        expiries=CHOICES,
        today=visit.now.astimezone(visit.reader.zone).date().isoformat(),
    )


def _values(form: Form) -> dict[str, object]:
    texts: dict[str, object] = {name: form.text(name) for name in ("name", "environment", "expiry", "last_day")}
    return {**texts, "scopes": form.all("scopes")}


def _address(parameters: Mapping[str, str]) -> str:
    given = {name: value for name, value in parameters.items() if value}
    return f"{KEYS}?{urlencode(given)}" if given else KEYS
