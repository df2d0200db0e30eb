"""What Envoy is answered: the parts that need no Envoy to be seen."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from envoyproxy.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue, HeaderValueOption
from envoyproxy.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from google.protobuf.message import Message

from server.errors import Unavailable
from server.limits.model import Decision
from server.verification.cache import Entry
from server.verification.envoy import Authorization
from server.verification.model import Presented, Question
from server.verification.service import Answer
from server.verification.verdict import Verdict
from tests.unit.verification.entries import entry_of

KEY = "ang_live_4fGh1JkL_x"
DECISION = Decision(allowed=True, limit=10, remaining=4, reset_seconds=30.0, retry_seconds=0.0, tightest=0)


class Verification:
    """Answers what it was told to, and remembers what it was asked."""

    def __init__(self, answer: Answer | Exception) -> None:
        self.answer = answer
        self.asked: list[Presented] = []

    async def verify(self, presented: Presented) -> Answer:
        self.asked.append(presented)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def standing(self, entry: Entry) -> Decision:
        return DECISION


async def check(verification: Any, headers: Any = None, **extensions: str) -> CheckResponse:
    request = CheckRequest()
    request.attributes.request.http.headers.update({"x-api-key": KEY} if headers is None else headers)
    request.attributes.context_extensions.update(extensions)
    request.attributes.source.address.socket_address.address = "192.0.2.7"
    context: Any = None
    return await Authorization(verification).Check(request, context)


def headers_of(options: Any) -> dict[str, str]:
    assert all(option.append_action == HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD for option in options)
    return {option.header.key: option.header.value for option in options}


def denial(response: CheckResponse) -> tuple[int, dict[str, Any], dict[str, str]]:
    denied = response.denied_response
    assert response.status.code != 0
    return denied.status.code, json.loads(denied.body), headers_of(denied.headers)


def valid(**changes: Any) -> Answer:
    entry = entry_of("a")
    entry.key = replace(entry.key, **changes)
    return Answer(Verdict.VALID, entry, DECISION, None)


async def test_the_route_says_what_is_needed() -> None:
    verification = Verification(valid())

    await check(verification, scopes="read,stream", environment="live", operation="catalog.search", cost="7")

    question = Question(("read", "stream"), "live", "catalog.search", 7)
    assert verification.asked == [Presented(KEY, question, "192.0.2.7")]


async def test_a_request_that_may_pass_gets_an_identity_and_loses_its_key() -> None:
    response = await check(Verification(valid(scopes=frozenset({"stream", "read"}))))

    assert response.status.code == 0
    assert headers_of(response.ok_response.headers) == {
        "x-developer-id": "dev_1",
        "x-api-key-id": "key_a",
        "x-api-key-scopes": "read,stream",
    }
    assert list(response.ok_response.headers_to_remove) == ["x-api-key"]
    told = headers_of(response.ok_response.response_headers_to_add)
    assert set(told) == {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


async def test_a_retiring_secret_is_told_in_both_headers() -> None:
    retired, ends = datetime(2030, 1, 31, 12, tzinfo=UTC), datetime(2030, 1, 31, 13, tzinfo=UTC)

    response = await check(Verification(valid(secret_retired_at=retired, secret_expires_at=ends)))

    told = headers_of(response.ok_response.response_headers_to_add)
    assert told["deprecation"] == "@1896091200"
    assert told["sunset"] == "Thu, 31 Jan 2030 13:00:00 GMT"


@pytest.mark.parametrize(
    ("verdict", "status", "code"),
    [
        (Verdict.MALFORMED, 401, "ERROR_CODE_UNAUTHENTICATED"),
        (Verdict.NOT_FOUND, 401, "ERROR_CODE_UNAUTHENTICATED"),
        (Verdict.REVOKED, 401, "ERROR_CODE_UNAUTHENTICATED"),
        (Verdict.EXPIRED, 401, "ERROR_CODE_UNAUTHENTICATED"),
        (Verdict.ROTATED_OUT, 401, "ERROR_CODE_UNAUTHENTICATED"),
        (Verdict.DEVELOPER_SUSPENDED, 403, "ERROR_CODE_PERMISSION_DENIED"),
        (Verdict.ENVIRONMENT_MISMATCH, 403, "ERROR_CODE_PERMISSION_DENIED"),
        (Verdict.INSUFFICIENT_SCOPE, 403, "ERROR_CODE_PERMISSION_DENIED"),
        (Verdict.QUOTA_EXCEEDED, 429, "ERROR_CODE_RATE_LIMITED"),
        (Verdict.RATE_LIMITED, 429, "ERROR_CODE_RATE_LIMITED"),
    ],
)
async def test_each_refusal_has_its_status(verdict: Verdict, status: int, code: str) -> None:
    decision = replace_decision() if verdict is Verdict.RATE_LIMITED else None
    entry = None if verdict in (Verdict.MALFORMED, Verdict.NOT_FOUND) else entry_of("a")

    seen, body, headers = denial(await check(Verification(Answer(verdict, entry, decision))))

    assert (seen, body["code"]) == (status, code)
    assert headers["content-type"] == "application/json"
    assert ("x-ratelimit-limit" in headers) is (status != 401)
    assert ("www-authenticate" in headers) is (status == 401)
    assert ("retry-after" in headers) is (status == 429)


def replace_decision() -> Decision:
    return DECISION._replace(allowed=False, remaining=0, retry_seconds=22.2)


async def test_bad_keys_cannot_be_told_apart() -> None:
    verdicts = (Verdict.MALFORMED, Verdict.NOT_FOUND, Verdict.REVOKED, Verdict.EXPIRED, Verdict.ROTATED_OUT)
    answers: list[Message] = [await check(Verification(Answer(verdict, entry_of("a")))) for verdict in verdicts]
    answers.append(await check(Verification(valid()), headers={}))

    assert all(answer == answers[0] for answer in answers)


async def test_the_sentence_of_a_429_is_the_contracts() -> None:
    answer = Answer(Verdict.RATE_LIMITED, entry_of("a"), replace_decision())

    _, body, headers = denial(await check(Verification(answer)))

    assert body["message"] == "Rate limit exceeded. Retry after 23s."
    assert headers["retry-after"] == "23"


async def test_a_used_up_quota_comes_back_with_the_month() -> None:
    _, _, headers = denial(await check(Verification(Answer(Verdict.QUOTA_EXCEEDED, entry_of("a")))))

    back = datetime.now(UTC) + timedelta(seconds=int(headers["retry-after"]))
    assert back.day == 1


async def test_an_outage_is_a_503_and_no_entry() -> None:
    status, body, headers = denial(await check(Verification(Unavailable())))

    assert (status, body["code"], headers["retry-after"]) == (503, "ERROR_CODE_UNAVAILABLE", "1")


@pytest.mark.parametrize("headers", [{"x-api-key": KEY, "authorization": "Bearer x"}, {"x-api-key": f"{KEY},{KEY}"}])
async def test_two_credentials_are_a_400(headers: dict[str, str]) -> None:
    verification = Verification(valid())

    status, body, _ = denial(await check(verification, headers))

    assert (status, body["code"]) == (400, "ERROR_CODE_INVALID_REQUEST")
    assert body["violations"][0]["field"] == "x-api-key"
    assert verification.asked == []


@pytest.mark.parametrize(
    "extensions",
    [
        {"scope": "read"},
        {"scopes": "read;stream"},
        {"scopes": ""},
        {"environment": "prod"},
        {"cost": "0"},
        {"cost": "10001"},
        {"cost": "-1"},
        {"cost": "٣"},
        {"operation": "a b"},
        {"operation": "x" * 65},
    ],
)
async def test_a_route_that_cannot_be_understood_is_closed(extensions: dict[str, str]) -> None:
    verification = Verification(valid())

    status, body, _ = denial(await check(verification, **extensions))

    assert (status, body["code"]) == (500, "ERROR_CODE_INTERNAL")
    assert verification.asked == []


@pytest.mark.parametrize("address", ["10.0.0.1\0", "1" * 46, "@pipe", "fe80::1%eth0"])
async def test_an_odd_address_is_left_out(address: str) -> None:
    request = CheckRequest()
    request.attributes.request.http.headers["x-api-key"] = KEY
    request.attributes.source.address.socket_address.address = address
    verification: Any = Verification(valid())
    context: Any = None

    await Authorization(verification).Check(request, context)

    assert verification.asked[0].client_ip == ""


async def test_headers_that_come_one_by_one_are_read_too() -> None:
    request = CheckRequest()
    raw = HeaderValue(key="X-Api-Key", raw_value=KEY.encode())
    request.attributes.request.http.header_map.CopyFrom(HeaderMap(headers=[raw]))
    verification = Verification(valid())
    context: Any = None

    await Authorization(verification).Check(request, context)  # type: ignore[arg-type]
    assert verification.asked[0].text == KEY

    request.attributes.request.http.header_map.headers.append(raw)
    response = await Authorization(verification).Check(request, context)  # type: ignore[arg-type]
    assert denial(response)[0] == 400
