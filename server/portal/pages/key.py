"""One key: what it is, what it was used for, why calls were refused, and which of its secrets are in use."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from sdk.developer.v1.api_key_pb2 import ApiKey
from sdk.portal.v1.account_pb2 import AuditEvent
from sdk.portal.v1.key_secret_service_pb2 import SECRET_STATE_IN_GRACE, SecretVersion
from sdk.usage.v1 import usage_service_pb2 as usage
from sdk.verification.v1 import verdict_pb2 as verdicts
from starlette.responses import Response
from starlette.routing import Route

from server.pages.formats import moment_of, write_number
from server.pages.languages import translatable
from server.pages.reader import Reader
from server.portal.advice import advise
from server.portal.expiry import CHOICES
from server.portal.lives import life_of
from server.portal.portal import Portal, Visit
from server.portal.series import SCALES, Scale
from server.portal.usage_chart import calls_chart, refusal_chart, secret_chart
from server.times import format_time

KEY: Final = "/portal/keys/{key_id}"

OUTCOMES: Final[Mapping[int, str]] = {
    verdicts.VERDICT_VALID: translatable("Accepted"),
    verdicts.VERDICT_REVOKED: translatable("The key was revoked"),
    verdicts.VERDICT_EXPIRED: translatable("The key had expired"),
    verdicts.VERDICT_ROTATED_OUT: translatable("An old secret, after its grace period"),
    verdicts.VERDICT_DEVELOPER_SUSPENDED: translatable("Your account was suspended"),
    verdicts.VERDICT_ENVIRONMENT_MISMATCH: translatable("A key of the other environment"),
    verdicts.VERDICT_INSUFFICIENT_SCOPE: translatable("The key lacks a scope"),
    verdicts.VERDICT_QUOTA_EXCEEDED: translatable("The month's quota was used up"),
    verdicts.VERDICT_RATE_LIMITED: translatable("Too many calls at a time"),
}
LIMITS: Final[Mapping[int, str]] = {
    usage.LIMIT_KEY_RATE: translatable("Rate of this key"),
    usage.LIMIT_DEVELOPER_RATE: translatable("Rate of all your keys together"),
    usage.LIMIT_MONTHLY_QUOTA: translatable("Quota of the month"),
}
NOTICES: Final[Mapping[str, str]] = {
    "renamed": translatable("The key has its new name."),
    "expiry": translatable("The key's expiry was changed."),
    "ended": translatable("The old secret works no more."),
    "revoked": translatable("The key is revoked. No server accepts it any more."),
}
_EVENTS: Final = 10
_LISTED_REFUSALS: Final = 50


def routes(portal: Portal) -> list[Route]:
    """Return the pages' routes."""
    return [
        portal.get(KEY, show_usage),
        portal.get(f"{KEY}/throttling", show_throttling),
        portal.get(f"{KEY}/secrets", show_secrets),
        portal.get(f"{KEY}/settings", show_settings),
    ]


async def show_usage(visit: Visit) -> Response:
    """Show the key and its use, by minute, hour or day; what happened to it is left out when the page refreshes."""
    key_id, scale = visit.path("key_id"), scale_of(visit)
    key, used, events = await asyncio.gather(
        visit.calls.get_key(key_id), visit.calls.get_key_usage(key_id, scale.granularity), _events(visit, key_id)
    )
    return render_key(
        visit,
        "key.html",
        key,
        view="usage",
        usage=used,
        scale=scale,
        scales=SCALES.values(),
        outcomes=[(OUTCOMES[count.outcome], count.calls) for count in used.outcomes if count.outcome in OUTCOMES],
        events=events,
        chart=calls_chart(visit.reader, used, scale, name="calls"),
    )


async def show_throttling(visit: Visit) -> Response:
    """Say why calls were refused for their number: by which limit, when, and how much room there is now."""
    key_id, scale = visit.path("key_id"), scale_of(visit)
    key, why, used = await asyncio.gather(
        visit.calls.get_key(key_id),
        visit.calls.explain_throttling(key_id, scale.granularity),
        visit.calls.get_key_usage(key_id, scale.granularity),
    )
    return render_key(
        visit,
        "key_throttling.html",
        key,
        view="throttling",
        why=why,
        scale=scale,
        scales=SCALES.values(),
        limit_names=LIMITS,
        refusals=why.refusals[:_LISTED_REFUSALS],
        advice=visit.reader.gettext(advise(why)),
        chart=refusal_chart(visit.reader, why.refusals, used, scale),
    )


async def show_secrets(visit: Visit) -> Response:
    """Show who still uses which secret."""
    key, versions = await _secrets(visit)
    return render_secrets(visit, key, versions)


async def show_settings(visit: Visit) -> Response:
    """Show what can be changed about the key."""
    return render_settings(visit, await visit.calls.get_key(visit.path("key_id")))


def render_key(visit: Visit, template: str, key: ApiKey, *, view: str, status: int = 200, **context: Any) -> Response:
    """Answer with one of the pages of a key, which share their head."""
    notice = NOTICES.get(visit.query("done"), "")
    return visit.render(
        template,
        status=status,
        active="keys",
        key=key,
        life=life_of(key, visit.now),
        view=view,
        notice=notice and visit.reader.gettext(notice),
        **context,
    )


def render_secrets(
    visit: Visit, key: ApiKey, versions: Sequence[SecretVersion], *, faults: Mapping[str, str] | None = None
) -> Response:
    """Answer with the rotation view; with faults it is the answer to a form."""
    hour = visit.now.replace(minute=0, second=0, microsecond=0)
    shown = [
        (version, _light(visit.reader, version), secret_chart(visit.reader, version, hour)) for version in versions
    ]
    return render_key(
        visit,
        "key_secrets.html",
        key,
        view="secrets",
        status=409 if faults else 200,
        versions=shown,
        faults=faults or {},
        request_id=str(uuid4()),
    )


def render_settings(
    visit: Visit,
    key: ApiKey,
    *,
    faults: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    """Answer with the settings; with faults it is the answer to a form, and `values` are what was entered."""
    entered = {"name": key.name, "expiry": "date" if key.expires_at else "never", "last_day": "", **(values or {})}
    if not entered["last_day"]:
        entered["last_day"] = _last_day(key, visit.reader)
    return render_key(
        visit,
        "key_settings.html",
        key,
        view="settings",
        status=status,
        faults=faults or {},
        values=entered,
        expiries=CHOICES,
        since=format_time(visit.now),
        today=visit.now.astimezone(visit.reader.zone).date().isoformat(),
    )


def scale_of(visit: Visit) -> Scale:
    """Return the scale that the address asks for; by the minute, unless it does."""
    return SCALES.get(visit.query("by"), SCALES["minute"])


async def _secrets(visit: Visit) -> tuple[ApiKey, Sequence[SecretVersion]]:
    key_id = visit.path("key_id")
    return await asyncio.gather(visit.calls.get_key(key_id), visit.calls.list_secret_versions(key_id))


async def _events(visit: Visit, key_id: str) -> Sequence[AuditEvent]:
    if visit.is_refresh:
        return ()
    return (await visit.calls.list_audit_events(target_id=key_id, page_size=_EVENTS)).events


def _light(reader: Reader, version: SecretVersion) -> tuple[str, str]:
    """Say whether an old secret can end, as a light and in words; nothing for one that is not in its grace period."""
    if version.state != SECRET_STATE_IN_GRACE:
        return "", ""
    if version.safe_to_end:
        return "go", reader.gettext("Safe to end: no call for 15 minutes, while newer secrets are in use.")
    if version.calls_last_hour:
        said = reader.ngettext(
            "Still in use: %(num)s call in the last hour. Ending it now would refuse such calls.",
            "Still in use: %(num)s calls in the last hour. Ending it now would refuse such calls.",
            version.calls_last_hour,
        )
        return "stop", said % {"num": write_number(reader, version.calls_last_hour)}
    return "wait", reader.gettext("Not sure yet: no call in the last hour, but none with a newer secret either.")


def _last_day(key: ApiKey, reader: Reader) -> str:
    """Return the last day on which a key works as a form writes it; empty when it never ends."""
    expires_at = moment_of(key.expires_at)
    if expires_at is None:
        return ""
    return (expires_at.astimezone(reader.zone) - timedelta(microseconds=1)).date().isoformat()
