"""CreateApiKey, over gRPC and over REST."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.keys.secret import find_prefix
from tests.e2e.clients import Client


async def test_a_new_key_is_active_and_comes_with_its_secret(client: Client) -> None:
    answer = await client.get("CreateApiKey", name="Production", scopes=["read", "stream"])
    key = answer["apiKey"]
    assert re.fullmatch(r"key_[0-9a-z]{26}", key["id"])
    assert find_prefix(answer["secret"]) == key["keyPrefix"]
    assert datetime.now(UTC) - datetime.fromisoformat(key["createdAt"]) < timedelta(minutes=1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", key["createdAt"])
    assert {name: key[name] for name in key if name not in ("id", "keyPrefix", "createdAt")} == {
        "name": "Production",
        "status": "API_KEY_STATUS_ACTIVE",
        "scopes": ["read", "stream"],
        "lastUsedAt": "",
        "expiresAt": "",
        "environment": "API_KEY_ENVIRONMENT_TEST",
    }


async def test_the_answer_with_a_secret_is_not_to_be_stored_by_caches(client: Client) -> None:
    answer = await client.call("CreateApiKey", {"name": "a", "scopes": ["read"]})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("environment", "shown", "prefix"),
    [
        ("API_KEY_ENVIRONMENT_UNSPECIFIED", "API_KEY_ENVIRONMENT_TEST", "ang_test_"),
        ("API_KEY_ENVIRONMENT_TEST", "API_KEY_ENVIRONMENT_TEST", "ang_test_"),
        ("API_KEY_ENVIRONMENT_LIVE", "API_KEY_ENVIRONMENT_LIVE", "ang_live_"),
    ],
)
async def test_the_environment_stands_in_the_secret(client: Client, environment: str, shown: str, prefix: str) -> None:
    answer = await client.new_key(environment=environment)
    assert answer["apiKey"]["environment"] == shown
    assert answer["secret"].startswith(prefix)


async def test_an_expiry_is_shown_in_utc(client: Client) -> None:
    answer = await client.new_key(expiresAt="2999-01-01T02:00:00.5+02:00")
    assert answer["apiKey"]["expiresAt"] == "2999-01-01T00:00:00.500000Z"


async def test_names_are_kept_in_normal_form_and_need_not_be_unique(client: Client) -> None:
    first = await client.new_key(name="Cafe\u0301")
    second = await client.new_key(name="Café")
    assert first["apiKey"]["name"] == second["apiKey"]["name"] == "Café"
    assert first["apiKey"]["id"] != second["apiKey"]["id"]


@pytest.mark.parametrize("name", ["a", "é" * 100, "👩‍👩‍👧‍👦 family", "مفاتيح\u200cمن", "a b", "\U00020000" * 100])
async def test_a_good_name_comes_back_as_it_was_given(client: Client, name: str) -> None:
    assert (await client.new_key(name=name))["apiKey"]["name"] == name


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({"scopes": ["read"]}, ["name"]),
        ({"name": "", "scopes": ["read"]}, ["name"]),
        ({"name": "x" * 101, "scopes": ["read"]}, ["name"]),
        ({"name": "a\nb", "scopes": ["read"]}, ["name"]),
        ({"name": "a\0b", "scopes": ["read"]}, ["name"]),
        ({"name": "a\u202eb", "scopes": ["read"]}, ["name"]),
        ({"name": "a\ufdd0", "scopes": ["read"]}, ["name"]),
        ({"name": "  ", "scopes": ["read"]}, ["name"]),
        ({"name": "a"}, ["scopes"]),
        ({"name": "a", "scopes": []}, ["scopes"]),
        ({"name": "a", "scopes": ["read", "read"]}, ["scopes"]),
        ({"name": "a", "scopes": ["read", "write"]}, ["scopes[1]"]),
        ({"name": "a", "scopes": ["", "READ"]}, ["scopes[0]", "scopes[1]"]),
        ({"name": "a", "scopes": ["read"], "environment": 7}, ["environment"]),
        ({"name": "a", "scopes": ["read"], "environment": -1}, ["environment"]),
        ({"name": "a", "scopes": ["read"], "expiresAt": "tomorrow"}, ["expires_at"]),
        ({"name": "a", "scopes": ["read"], "expiresAt": "2999-01-01T00:00:00"}, ["expires_at"]),
        ({"name": "a", "scopes": ["read"], "expiresAt": "2999-02-30T00:00:00Z"}, ["expires_at"]),
        ({"name": "a", "scopes": ["read"], "expiresAt": "2020-01-01T00:00:00Z"}, ["expires_at"]),
        ({"name": "a", "scopes": ["read"], "expiresAt": "2" * 41}, ["expires_at"]),
        ({"name": "a", "scopes": ["read"], "requestId": "no uuid"}, ["request_id"]),
        ({"name": "\0", "scopes": ["read"], "expiresAt": "never"}, ["name", "expires_at"]),
        (
            {"name": "x" * 101, "scopes": ["no"], "requestId": "1", "environment": 9},
            ["name", "scopes[0]", "environment", "request_id"],
        ),
    ],
)
async def test_every_faulty_field_is_named(client: Client, request_: dict[str, Any], fields: list[str]) -> None:
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "CreateApiKey", **request_)
    assert answer.fields == [client.spell(path) for path in fields]
    assert all(description for _, description in answer.violations)


async def test_a_refused_request_creates_nothing(client: Client) -> None:
    await client.fail(
        "ERROR_CODE_INVALID_REQUEST", "CreateApiKey", name="a", scopes=["read"], expiresAt="1999-12-31T23:59:59Z"
    )
    assert (await client.get("ListApiKeys"))["apiKeys"] == []
