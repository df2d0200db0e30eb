"""What the pages make of the methods' answers."""

from collections.abc import Mapping

import pytest
from sdk.developer.v1.api_key_pb2 import API_KEY_ENVIRONMENT_LIVE, API_KEY_STATUS_ACTIVE, ApiKey
from sdk.developer.v1.developer_service_pb2 import GetApiKeyResponse, ListApiKeysResponse
from sdk.portal.v1.account_pb2 import AuditEvent, Developer
from sdk.portal.v1.account_service_pb2 import GetDeveloperResponse, ListAuditEventsResponse
from sdk.portal.v1.key_secret_service_pb2 import (
    SECRET_STATE_CURRENT,
    SECRET_STATE_IN_GRACE,
    ListSecretVersionsResponse,
    SecretUse,
    SecretVersion,
)
from sdk.usage.v1 import usage_service_pb2 as usage
from sdk.usage.v1.usage_pb2 import (
    MEDIUM_MUSIC,
    OutcomeCount,
    QuotaUsage,
    StreamCount,
    Usage,
    UsagePoint,
)
from sdk.verification.v1.verdict_pb2 import VERDICT_RATE_LIMITED, VERDICT_VALID

from server.errors import Kind
from server.rpc.in_process import CallFailed
from tests.unit.portal.desk import Answer, Desk

KEY_ID = "key_01jd3m8r5vf4q9zq5k2t7w6x8y"
HOSTILE = "</title><script>alert(1)</script>\"'"

USED = Usage(
    start_time="2026-11-22T13:06:00Z",
    end_time="2026-11-22T14:06:00Z",
    points=[
        UsagePoint(
            start_time="2026-11-22T13:50:00Z",
            calls=700,
            outcomes=[
                OutcomeCount(outcome=VERDICT_VALID, calls=600),
                OutcomeCount(outcome=VERDICT_RATE_LIMITED, calls=100),
            ],
        )
    ],
    calls=700,
    units=600,
    outcomes=[
        OutcomeCount(outcome=VERDICT_VALID, calls=600),
        OutcomeCount(outcome=VERDICT_RATE_LIMITED, calls=100),
    ],
    throttled_share=1 / 7,
    calls_per_second=1.25,
    quota=QuotaUsage(
        limit=1_000_000,
        used=900_000,
        forecast=1_300_000,
        exhausted_at="2026-11-25T08:00:00Z",
        resets_at="2026-12-01T00:00:00Z",
    ),
    streams=[StreamCount(medium=MEDIUM_MUSIC, acquisitions=12, billable=9)],
)
LIMITS = usage.GetLimitsResponse(
    tier="free",
    key_rate=usage.RateRule(requests=600, window_seconds=60),
    developer_rate=usage.RateRule(requests=1200, window_seconds=60),
    developer_standing=usage.RateStanding(remaining=1150),
    monthly_quota=1_000_000,
    live_keys=3,
    max_keys=10,
    concurrent_streams=2,
)
FINDINGS = usage.ListKeyFindingsResponse(
    findings=[
        usage.KeyFinding(key_id=KEY_ID, name=HOSTILE, key_prefix="ang_live_4fGh1JkL", finding=finding, scopes=scopes)
        for finding, scopes in (
            (usage.FINDING_OLD_SECRET_IN_USE, []),
            (usage.FINDING_NEVER_USED, []),
            (usage.FINDING_SCOPE_UNUSED, ["stream"]),
        )
    ],
    counts=[usage.FindingCount(finding=usage.FINDING_NEVER_USED, keys=4)],
)
KEY = GetApiKeyResponse(
    api_key=ApiKey(
        id=KEY_ID,
        name=HOSTILE,
        key_prefix="ang_live_4fGh1JkL",
        status=API_KEY_STATUS_ACTIVE,
        scopes=["read"],
        created_at="2026-10-01T00:00:00Z",
        expires_at="2026-11-25T00:00:00Z",
        environment=API_KEY_ENVIRONMENT_LIVE,
    )
)
WHY = usage.ExplainThrottlingResponse(
    limits=[
        usage.LimitStanding(
            limit=usage.LIMIT_KEY_RATE,
            units=600,
            window_seconds=60,
            remaining=120,
            exhausted_at="2026-11-22T14:20:00Z",
            resets_at="2026-11-22T14:06:30Z",
            refused_calls=100,
        ),
        usage.LimitStanding(limit=usage.LIMIT_DEVELOPER_RATE, units=1200, window_seconds=60, remaining=1150),
        usage.LimitStanding(limit=usage.LIMIT_MONTHLY_QUOTA, units=1000, remaining=0, resets_at="2026-12-01T00:00:00Z"),
    ],
    refusals=[
        usage.Refusal(start_time="2026-11-22T13:50:00Z", limit=usage.LIMIT_KEY_RATE, refused_calls=100, calls=700)
    ],
    key_calls_per_second=11.7,
    developer_calls_per_second=12.3,
)
VERSIONS = ListSecretVersionsResponse(
    versions=[
        SecretVersion(
            version=2,
            prefix="ang_live_4fGh1JkL",
            state=SECRET_STATE_CURRENT,
            created_at="2026-11-22T13:00:00Z",
            calls=5,
            calls_last_hour=5,
            last_used_at="2026-11-22T14:00:00Z",
            uses=[SecretUse(start_time="2026-11-22T13:00:00Z", calls=5)],
        ),
        SecretVersion(
            version=1,
            prefix="ang_live_0ldOne00",
            state=SECRET_STATE_IN_GRACE,
            created_at="2026-10-01T00:00:00Z",
            expires_at="2026-11-22T15:00:00Z",
            calls=900,
            calls_last_hour=41,
            last_used_at="2026-11-22T14:04:00Z",
            last_client_ip="198.51.100.7",
            last_operation=HOSTILE,
        ),
    ]
)
ANSWERS: Mapping[str, Answer] = {
    "GetUsage": usage.GetUsageResponse(usage=USED),
    "GetKeyUsage": usage.GetKeyUsageResponse(usage=USED),
    "GetLimits": LIMITS,
    "ListKeyFindings": FINDINGS,
    "GetApiKey": KEY,
    "ExplainThrottling": WHY,
    "ListSecretVersions": VERSIONS,
    "ListAuditEvents": ListAuditEventsResponse(
        events=[AuditEvent(created_at="2026-11-22T13:00:00Z", action="key.rotated", actor="operator")]
    ),
    "ListApiKeys": ListApiKeysResponse(api_keys=[KEY.api_key]),
}


@pytest.fixture
def desk() -> Desk:
    return Desk(ANSWERS)


async def test_the_overview_tells_how_things_stand(desk: Desk) -> None:
    page = await desk.open("/portal/")

    assert page.status == 200
    for told in (
        "1.25",
        "1,150 of 1,200 calls left in this window",
        "14.3%",
        "3 of 10",
        "900,000 of 1,000,000 units used",
        "1,300,000 by the end of the month",
        "At this pace the quota runs out Nov 25, 2026 08:00 UTC",
        "Music, billable 9",
        "600 calls in any 60 seconds",
    ):
        assert told in page.text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(1, "في أي ثانية واحدة"), (2, "في أي ثانيتين"), (10, "في أي 10 ثوانٍ"), (3600, "في أي 3,600 ثانية")],
)
async def test_rates_are_counted_as_arabic_counts(seconds: int, told: str) -> None:
    limits = usage.GetLimitsResponse()
    limits.CopyFrom(LIMITS)
    limits.key_rate.window_seconds = seconds

    page = await Desk({**ANSWERS, "GetLimits": limits}, language="ar").open("/portal/")

    assert f"الاستدعاءات: 600 {told}" in page.text


async def test_the_overview_groups_findings_and_says_what_to_do(desk: Desk) -> None:
    page = await desk.open("/portal/")

    assert "An old secret is still in use" in page.text
    assert "give them the new one" in page.text
    assert "and 3 more keys" in page.text
    assert [href for text, href in page.document.links if text == HOSTILE] == [
        f"/portal/keys/{KEY_ID}/secrets",
        f"/portal/keys/{KEY_ID}",
        f"/portal/keys/{KEY_ID}",
    ]
    assert "<script>alert" not in page.html


async def test_a_refresh_asks_for_what_changes_only(desk: Desk) -> None:
    page = await desk.open("/portal/", x_refresh="1")

    assert page.status == 200
    assert sorted(desk.methods.called) == ["GetLimits", "GetUsage"]
    assert 'id="now" data-live' in page.html


async def test_the_throttling_page_says_which_limit_when_and_what_to_do(desk: Desk) -> None:
    page = await desk.open(f"/portal/keys/{KEY_ID}/throttling")

    assert page.status == 200
    for told in (
        "This key is steadily faster than its limit.",
        "120 of 600 units left",
        "100 calls refused",
        "At this pace you run out at Nov 22, 2026 14:20:00 UTC",
        "At this pace it does not run out.",
        "Used up until Dec 1, 2026",
        "11.7 calls per second with this key, 12.3 with all your keys",
        "Nov 22, 2026 13:50 UTC Rate of this key 100 700",
    ):
        assert told in page.text


async def test_a_limit_that_is_used_up_is_not_said_to_run_out_later() -> None:
    limit = usage.LimitStanding(
        limit=usage.LIMIT_KEY_RATE,
        units=600,
        window_seconds=60,
        exhausted_at="2026-11-22T14:05:30Z",
        resets_at="2026-11-22T14:06:30Z",
    )
    answers = {**ANSWERS, "ExplainThrottling": usage.ExplainThrottlingResponse(limits=[limit])}

    page = await Desk(answers).open(f"/portal/keys/{KEY_ID}/throttling")

    assert "Used up until Nov 22, 2026 14:06:30 UTC" in page.text
    assert "you run out at" not in page.text


async def test_the_rotation_view_shows_the_light_and_the_last_caller(desk: Desk) -> None:
    page = await desk.open(f"/portal/keys/{KEY_ID}/secrets")

    assert "Still in use: 41 calls in the last hour." in page.text
    assert "198.51.100.7" in page.text
    assert 'class="light stop"' in page.html
    assert "41 in the last hour, 900 in the last 30 days" in page.text


LIGHTS = [
    ({"safe_to_end": True}, "go", "Safe to end"),
    ({"calls_last_hour": 1}, "stop", "Still in use: 1 call in the last hour"),
    ({}, "wait", "Not sure yet"),
]


@pytest.mark.parametrize(("told", "light", "words"), LIGHTS)
async def test_the_light_of_an_old_secret(told: dict[str, int], light: str, words: str) -> None:
    version = SecretVersion(version=1, prefix="ang_live_0ldOne00", state=SECRET_STATE_IN_GRACE, **told)  # type: ignore[arg-type]
    page = await Desk({**ANSWERS, "ListSecretVersions": ListSecretVersionsResponse(versions=[version])}).open(
        f"/portal/keys/{KEY_ID}/secrets"
    )

    assert f'class="light {light}"' in page.html
    assert words in page.text


PATHS = [
    "/portal/",
    "/portal/keys",
    "/portal/keys/new",
    f"/portal/keys/{KEY_ID}",
    f"/portal/keys/{KEY_ID}?by=hour",
    f"/portal/keys/{KEY_ID}?by=day",
    f"/portal/keys/{KEY_ID}/throttling",
    f"/portal/keys/{KEY_ID}/secrets",
    f"/portal/keys/{KEY_ID}/settings",
]


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("path", PATHS)
async def test_pages_hold_no_script_no_style_and_each_id_once(path: str, language: str) -> None:
    page = await Desk(ANSWERS, language=language).open(path)

    assert page.status == 200
    assert f'lang="{language}"' in page.html
    ids = [has["id"] for _, has in page.document.attributes if "id" in has]
    assert sorted(ids) == sorted(set(ids))
    for tag, has in page.document.attributes:
        assert tag not in ("style", "iframe", "object", "base")
        assert tag != "script" or has["src"].startswith("/assets/")
        assert not [name for name in has if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("path", PATHS)
async def test_every_control_has_a_label(path: str, desk: Desk) -> None:
    page = await desk.open(path)

    labelled = {has.get("for") for tag, has in page.document.attributes if tag == "label"}
    controls = [
        has
        for tag, has in page.document.attributes
        if tag in ("input", "select", "textarea") and has.get("type") not in ("hidden", "submit")
    ]
    assert all(has.get("id") in labelled for has in controls)


FAILURES = [
    (CallFailed(Kind.NOT_FOUND, "There is no such API key, or it is not yours."), 404, "There is nothing here"),
    (CallFailed(Kind.UNAVAILABLE, "Retry with back-off.", retry_after=1), 503, "We cannot answer right now"),
    (CallFailed(Kind.OVERLOADED, "The server is busy.", retry_after=1), 503, "We cannot answer right now"),
    (CallFailed(Kind.RATE_LIMITED, "Retry after 23s.", retry_after=23), 429, "Too many requests"),
    (CallFailed(Kind.PERMISSION_DENIED, "This developer account is suspended."), 403, "account is suspended"),
    (CallFailed(Kind.INTERNAL, "Quote call_1."), 500, "Something failed on our side"),
]


@pytest.mark.parametrize(("failed", "status", "told"), FAILURES)
async def test_a_failed_call_becomes_a_page(failed: CallFailed, status: int, told: str) -> None:
    page = await Desk({**ANSWERS, "GetApiKey": failed}).open(f"/portal/keys/{KEY_ID}")

    assert page.status == status
    assert told in page.text
    assert page.headers.get("retry-after") == (str(failed.retry_after) if failed.retry_after else None)


async def test_a_failed_call_is_told_in_the_readers_language() -> None:
    suspended = CallFailed(
        Kind.PERMISSION_DENIED, "This developer account is suspended. Ask the platform's support why."
    )

    page = await Desk({**ANSWERS, "GetApiKey": suspended}, language="ar").open(f"/portal/keys/{KEY_ID}")

    assert page.status == 403
    assert "حساب المطوّر هذا موقوف. اسأل دعم المنصة عن السبب." in page.text
    assert "suspended" not in page.text


async def test_a_token_that_is_refused_ends_the_session() -> None:
    desk = Desk({**ANSWERS, "GetApiKey": CallFailed(Kind.UNAUTHENTICATED, "The access token is not valid.")})

    page = await desk.open(f"/portal/keys/{KEY_ID}?by=day")

    assert page.location.endswith(f"/portal/sign-in?next=%2Fportal%2Fkeys%2F{KEY_ID}%3Fby%3Dday")
    assert desk.sessions.signed_in is None


NEWCOMERS: list[Answer] = [
    GetDeveloperResponse(developer=Developer(id="dev_1")),
    CallFailed(Kind.PERMISSION_DENIED, "Register first.", metadata={"reason": "not_registered"}),
]


@pytest.mark.parametrize("answer", NEWCOMERS)
async def test_a_newcomer_is_sent_to_register(answer: Answer) -> None:
    page = await Desk({**ANSWERS, "GetDeveloper": answer}, name="").open("/portal/keys")

    assert page.location.endswith("/portal/register?next=%2Fportal%2Fkeys")
