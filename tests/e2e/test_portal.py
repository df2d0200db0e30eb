"""What the portal shows, over gRPC and over REST: accounts, OAuth clients, secrets, billing, tokens."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.clients import AUTH_ROUTES, PORTAL_ROUTES, USAGE_ROUTES, Client

ABSENT_KEY = "key_01jd3m8r5vf4q9zq5k2t7w6x8y"
ABSENT_CLIENT = "client_01jd3m8r5vf4q9zq5k2t7w6x8y"
APPLICATION: dict[str, Any] = {
    "name": "Player",
    "type": "O_AUTH_CLIENT_TYPE_CONFIDENTIAL",
    "redirectUris": ["https://player.example/signed-in"],
    "allowedScopes": ["read", "stream"],
}
PROFILE: dict[str, Any] = {"displayName": "Alice's Apps", "contactEmail": "alice@example.com", "termsVersion": "1"}
REQUESTS: dict[str, dict[str, Any]] = {
    "ExplainThrottling": {"id": ABSENT_KEY},
    "ListSecretVersions": {"id": ABSENT_KEY},
    "EndGrace": {"id": ABSENT_KEY, "version": 1},
    "CreateOAuthClient": APPLICATION,
    "GetOAuthClient": {"id": ABSENT_CLIENT},
    "UpdateOAuthClient": {"id": ABSENT_CLIENT, "name": "a"},
    "RotateClientSecret": {"id": ABSENT_CLIENT},
    "DeleteOAuthClient": {"id": ABSENT_CLIENT},
    "RegisterDeveloper": PROFILE,
    "UpdateDeveloper": {"displayName": "a"},
    "RequestTier": {"tier": "standard"},
    "GetStatement": {"month": "2026-01"},
    "ListStatementLines": {"month": "2026-01"},
    "GetKeyUsage": {"id": ABSENT_KEY},
}


@pytest.mark.parametrize("method", USAGE_ROUTES | PORTAL_ROUTES)
async def test_none_of_it_is_there_without_a_token(client: Client, method: str) -> None:
    answer = await client.call(method, REQUESTS.get(method, {}), authorize=False)
    assert answer.code == "ERROR_CODE_UNAUTHENTICATED"


@pytest.mark.parametrize("method", AUTH_ROUTES)
async def test_tokens_are_asked_for_without_one(client: Client, method: str) -> None:
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", method)
    assert client.spell("client_id") in answer.fields


async def test_a_developer_registers_once(client: Client) -> None:
    registered = (await client.get("RegisterDeveloper", **PROFILE))["developer"]
    assert (registered["displayName"], registered["termsVersion"]) == ("Alice's Apps", "1")
    assert (await client.get("GetDeveloper"))["developer"] == registered
    await client.fail("ERROR_CODE_CONFLICT", "RegisterDeveloper", **PROFILE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("displayName", ""),
        ("displayName", "a\u202eb"),
        ("contactEmail", "nobody"),
        ("organisation", "x" * 101),
        ("termsVersion", "0"),
    ],
)
async def test_what_is_wrong_with_a_registration_is_named(client: Client, field: str, value: str) -> None:
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "RegisterDeveloper", **(PROFILE | {field: value}))
    proto_name = {"displayName": "display_name", "contactEmail": "contact_email", "termsVersion": "terms_version"}
    assert answer.fields == [client.spell(proto_name.get(field, field))]


async def test_an_account_is_changed_field_by_field(client: Client) -> None:
    await client.get("RegisterDeveloper", **PROFILE)
    changed = await client.get("UpdateDeveloper", organisation="Acme", updateMask="organisation")
    assert (changed["developer"]["organisation"], changed["developer"]["displayName"]) == ("Acme", "Alice's Apps")


async def test_everything_that_happens_is_told_newest_first(client: Client) -> None:
    key = (await client.new_key())["apiKey"]
    await client.get("UpdateApiKey", id=key["id"], name="Staging")
    told = (await client.get("ListAuditEvents", targetId=key["id"]))["events"]
    assert [event["action"] for event in told] == ["key.updated", "key.created"]
    first = await client.get("ListAuditEvents", pageSize=1)
    second = await client.get("ListAuditEvents", pageSize=1, pageToken=first["nextPageToken"])
    assert [page["events"][0]["action"] for page in (first, second)] == ["key.updated", "key.created"]


async def test_a_clients_secret_is_told_once_and_replaced(client: Client) -> None:
    made = await client.get("CreateOAuthClient", **APPLICATION)
    assert made["secret"].startswith(made["client"]["secretPrefix"])
    assert (await client.get("GetOAuthClient", id=made["client"]["id"]))["client"] == made["client"]
    rotated = await client.get("RotateClientSecret", id=made["client"]["id"])
    assert rotated["secret"] != made["secret"]
    assert [secret["version"] for secret in rotated["client"]["secrets"]] == [2, 1]
    assert (await client.get("ListOAuthClients"))["clients"] == [rotated["client"]]


async def test_a_public_client_has_no_secret(client: Client) -> None:
    made = await client.get("CreateOAuthClient", **(APPLICATION | {"type": "O_AUTH_CLIENT_TYPE_PUBLIC"}))
    assert made["secret"] == made["client"]["secretPrefix"] == ""
    await client.fail("ERROR_CODE_CONFLICT", "RotateClientSecret", id=made["client"]["id"])


@pytest.mark.parametrize("uri", ["http://player.example/", "https://*.example/", "javascript:alert(1)", "https://a/#b"])
async def test_a_redirect_uri_that_will_not_do_is_named(client: Client, uri: str) -> None:
    wish = APPLICATION | {"redirectUris": ["https://player.example/", uri]}
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "CreateOAuthClient", **wish)
    assert answer.fields == [client.spell("redirect_uris[1]")]


@pytest.mark.parametrize("method", ["GetOAuthClient", "UpdateOAuthClient", "RotateClientSecret", "DeleteOAuthClient"])
async def test_someone_elses_client_looks_absent(client: Client, stranger: Client, method: str) -> None:
    request: dict[str, Any] = {"name": "mine"} if method == "UpdateOAuthClient" else {}
    foreign_id = (await stranger.get("CreateOAuthClient", **APPLICATION))["client"]["id"]
    foreign = await client.fail("ERROR_CODE_NOT_FOUND", method, id=foreign_id, **request)
    absent = await client.fail("ERROR_CODE_NOT_FOUND", method, id=ABSENT_CLIENT, **request)
    assert foreign.message == absent.message
    assert (await stranger.get("GetOAuthClient", id=foreign_id))["client"]["name"] == "Player"


async def test_a_deleted_client_is_gone(client: Client) -> None:
    client_id = (await client.get("CreateOAuthClient", **APPLICATION))["client"]["id"]
    await client.get("DeleteOAuthClient", id=client_id)
    await client.fail("ERROR_CODE_NOT_FOUND", "GetOAuthClient", id=client_id)
    assert (await client.get("ListOAuthClients"))["clients"] == []


async def test_an_old_secret_is_ended_before_its_time(client: Client) -> None:
    key_id = (await client.new_key())["apiKey"]["id"]
    await client.get("RotateApiKey", id=key_id)
    current, old = (await client.get("ListSecretVersions", id=key_id))["versions"]
    assert (current["state"], old["state"]) == ("SECRET_STATE_CURRENT", "SECRET_STATE_IN_GRACE")
    ended = (await client.get("EndGrace", id=key_id, version=1))["version"]
    assert ended["state"] == "SECRET_STATE_ENDED"
    await client.fail("ERROR_CODE_CONFLICT", "EndGrace", id=key_id, version=1)
    await client.fail("ERROR_CODE_CONFLICT", "EndGrace", id=key_id, version=2)


async def test_keys_are_found_by_state_environment_and_text(client: Client) -> None:
    live = (await client.new_key(name="Web", environment="API_KEY_ENVIRONMENT_LIVE"))["apiKey"]
    test = (await client.new_key(name="Worker 100%"))["apiKey"]
    revoked = (await client.get("RevokeApiKey", id=(await client.new_key(name="Old"))["apiKey"]["id"]))["apiKey"]

    async def found(**wanted: Any) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = (await client.get("ListApiKeys", **wanted))["apiKeys"]
        return listed

    assert await found(status="API_KEY_STATUS_REVOKED") == [revoked]
    assert await found(environment="API_KEY_ENVIRONMENT_LIVE") == [live]
    assert await found(query="100%") == await found(query="wORKER") == await found(query=test["keyPrefix"]) == [test]
    assert await found(query="%") == [test]


async def test_a_page_token_goes_with_its_filter(client: Client) -> None:
    for _ in range(2):
        await client.new_key()
    token = (await client.get("ListApiKeys", pageSize=1, status="API_KEY_STATUS_ACTIVE"))["nextPageToken"]
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "ListApiKeys", pageSize=1, pageToken=token)
    assert answer.fields == [client.spell("page_token")]


async def test_a_key_without_expiry_is_worth_a_look(client: Client) -> None:
    key = (await client.new_key())["apiKey"]
    found = await client.get("ListKeyFindings")
    assert {finding["finding"]: finding["keyId"] for finding in found["findings"]} == {"FINDING_NO_EXPIRY": key["id"]}


async def test_every_limit_stands_beside_its_room(client: Client) -> None:
    key = (await client.new_key())["apiKey"]
    limits = (await client.get("ExplainThrottling", id=key["id"]))["limits"]
    assert [limit["limit"] for limit in limits] == ["LIMIT_KEY_RATE", "LIMIT_DEVELOPER_RATE", "LIMIT_MONTHLY_QUOTA"]
    assert all(limit["remaining"] == limit["units"] for limit in limits)


async def test_the_statement_of_a_month_without_streams_is_empty(client: Client) -> None:
    month = datetime.now(UTC).strftime("%Y-%m")
    statement = (await client.get("GetStatement", month=month))["statement"]
    assert (statement["total"], statement["closed"]) == ("0", False)
    assert await client.get("ListStatementLines", month=month) == {"lines": [], "nextPageToken": ""}


async def test_an_unknown_refresh_token_is_told_from_an_unknown_client(client: Client) -> None:
    token = {"refreshToken": "x" * 43}
    wrong = await client.call("RefreshToken", token | {"clientId": "developer-portal"}, authorize=False)
    unknown = await client.call("RefreshToken", token | {"clientId": ABSENT_CLIENT}, authorize=False)
    assert (wrong.code, wrong.fields) == ("ERROR_CODE_INVALID_REQUEST", [client.spell("refresh_token")])
    assert unknown.code == "ERROR_CODE_UNAUTHENTICATED"
