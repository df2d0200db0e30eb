"""Who may call, and what callers are told about themselves: credentials, developers, call ids and rate limits."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import ROUTES, Client
from tests.e2e.conftest import PUBLIC_URL, client_of
from tests.service import serving

ABSENT = "key_01jd3m8r5vf4q9zq5k2t7w6x8y"
REQUESTS: dict[str, dict[str, Any]] = {
    "CreateApiKey": {"name": "a", "scopes": ["read"]},
    "ListApiKeys": {},
    "GetApiKey": {"id": ABSENT},
    "UpdateApiKey": {"id": ABSENT, "name": "a"},
    "RotateApiKey": {"id": ABSENT},
    "RevokeApiKey": {"id": ABSENT},
}


@pytest.mark.parametrize("method", ROUTES)
async def test_a_call_without_a_token_is_challenged(client: Client, method: str) -> None:
    answer = await client.call(method, REQUESTS[method], authorize=False)
    assert answer.code == "ERROR_CODE_UNAUTHENTICATED"
    assert answer.headers["www-authenticate"] == f'Bearer realm="{PUBLIC_URL}"'
    assert "x-ratelimit-limit" not in answer.headers


@pytest.mark.parametrize("method", ROUTES)
async def test_a_call_with_a_bad_token_is_told_so_and_no_more(client: Client, method: str) -> None:
    header, claims, signature = client.token.split(".")
    bad_tokens = ["x", "a.b.c", f"{header}.{claims}.{signature[:-4]}AAAA", f"{header}.{claims}.", client.token + "A"]
    answers = [await client.bearing(token).call(method, REQUESTS[method]) for token in bad_tokens]
    assert {answer.code for answer in answers} == {"ERROR_CODE_UNAUTHENTICATED"}
    assert len({answer.message for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {
        f'Bearer realm="{PUBLIC_URL}", error="invalid_token"'
    }


async def test_credentials_come_before_everything_else(client: Client) -> None:
    answer = await client.call("CreateApiKey", {"name": "x" * 5000, "scopes": ["no"]}, authorize=False)
    assert answer.code == "ERROR_CODE_UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("bearer {}", "OK"),
        ("BEARER {}", "OK"),
        ("Bearer   {}", "OK"),
        ("{}", "ERROR_CODE_UNAUTHENTICATED"),
        ("Basic {}", "ERROR_CODE_UNAUTHENTICATED"),
        ("Bearer", "ERROR_CODE_UNAUTHENTICATED"),
        ("Bearer {} {}", "ERROR_CODE_UNAUTHENTICATED"),
        ("Bearer {},Bearer {}", "ERROR_CODE_UNAUTHENTICATED"),
    ],
)
async def test_the_token_stands_behind_the_scheme(client: Client, authorization: str, code: str) -> None:
    headers = [("authorization", authorization.replace("{}", client.token))]
    assert (await client.call("ListApiKeys", {}, headers=headers, authorize=False)).code == code


async def test_two_authorizations_are_one_too_many(client: Client) -> None:
    answer = await client.call("ListApiKeys", {}, headers=[("authorization", f"Bearer {client.token}")])
    assert (answer.code, answer.fields) == ("ERROR_CODE_INVALID_REQUEST", ["Authorization"])


async def test_a_token_and_an_api_key_together_are_refused(client: Client) -> None:
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "ListApiKeys", headers=[("x-api-key", "anything")])
    assert answer.fields == ["x-api-key"]


async def test_an_api_key_alone_manages_nothing(client: Client) -> None:
    secret = (await client.new_key())["secret"]
    answer = await client.call("ListApiKeys", {}, headers=[("x-api-key", secret)], authorize=False)
    assert answer.code == "ERROR_CODE_UNAUTHENTICATED"


async def test_every_call_has_an_id_of_its_own(client: Client) -> None:
    calls = [await client.call("ListApiKeys", {}) for _ in range(3)]
    assert len({call.headers["x-request-id"] for call in calls}) == 3


async def test_a_callers_own_request_id_header_is_not_taken_for_ours(client: Client) -> None:
    answer = await client.call("ListApiKeys", {}, headers=[("x-request-id", "mine")])
    assert answer.headers["x-request-id"] != "mine"


async def test_whoever_is_no_developer_is_told_how_to_become_one(
    database_url: str, data_dir: Path, protocol: str
) -> None:
    async with serving(database_url, data_dir, auto_register=False) as service, client_of(service, protocol) as client:
        answers = {method: await client.call(method, request) for method, request in REQUESTS.items()}
    assert {answer.code for answer in answers.values()} == {"ERROR_CODE_PERMISSION_DENIED"}
    assert all("Register in the Developer Portal" in answer.message for answer in answers.values())
    assert all("x-ratelimit-remaining" in answer.headers for answer in answers.values())


async def test_the_limit_counts_down_and_then_refuses_until_it_is_time(
    database_url: str, data_dir: Path, protocol: str
) -> None:
    async with (
        serving(database_url, data_dir, management_rate="3/60") as service,
        client_of(service, protocol) as client,
    ):
        answers = [await client.call("ListApiKeys", {}) for _ in range(4)]
        other = await client.bearing(service.token()).call("ListApiKeys", {})
    assert [answer.code for answer in answers] == ["OK", "OK", "OK", "ERROR_CODE_RATE_LIMITED"]
    assert [answer.headers["x-ratelimit-limit"] for answer in answers] == ["3"] * 4
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert all(0 < int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61 for answer in answers)
    refused = answers[-1]
    assert refused.retry_after is not None
    assert 50 < refused.retry_after <= 60
    assert refused.message == f"Rate limit exceeded. Retry after {refused.retry_after}s."
    assert (other.code, other.headers["x-ratelimit-remaining"]) == ("OK", "2")


async def test_faulty_calls_count_and_unauthenticated_ones_do_not(
    database_url: str, data_dir: Path, protocol: str
) -> None:
    async with (
        serving(database_url, data_dir, management_rate="2/60") as service,
        client_of(service, protocol) as client,
    ):
        await client.bearing("nonsense").fail("ERROR_CODE_UNAUTHENTICATED", "ListApiKeys")
        faulty = await client.fail("ERROR_CODE_INVALID_REQUEST", "ListApiKeys", pageSize=-1)
        absent = await client.fail("ERROR_CODE_NOT_FOUND", "GetApiKey", id=ABSENT)
        limited = await client.fail("ERROR_CODE_RATE_LIMITED", "ListApiKeys")
    remaining = [answer.headers["x-ratelimit-remaining"] for answer in (faulty, absent, limited)]
    assert remaining == ["1", "0", "0"]
