"""UpdateApiKey, RotateApiKey and RevokeApiKey, over gRPC and over REST."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from server.keys.secret import find_prefix
from tests.e2e.clients import Client, GrpcClient

SOONER = "2998-01-01T00:00:00.000000Z"
LATER = "2999-01-01T00:00:00.000000Z"


async def test_a_key_is_renamed_and_nothing_else(client: Client) -> None:
    key = (await client.new_key(expiresAt=LATER))["apiKey"]
    answer = await client.get("UpdateApiKey", id=key["id"], name="Cafe\u0301", updateMask="name")
    assert answer["apiKey"] == {**key, "name": "Café"}
    assert (await client.get("GetApiKey", id=key["id"])) == answer


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "new"}, {"name": "new"}),
        ({"expiresAt": "2998-01-01T02:00:00+02:00"}, {"expiresAt": SOONER}),
        ({"name": "new", "expiresAt": SOONER}, {"name": "new", "expiresAt": SOONER}),
        ({"name": "new", "expiresAt": SOONER, "updateMask": "name"}, {"name": "new"}),
        ({"name": "new", "updateMask": "expiresAt"}, {"expiresAt": ""}),
        ({"expiresAt": "", "updateMask": "expiresAt"}, {"expiresAt": ""}),
        ({"name": "new", "updateMask": "name,expiresAt,name"}, {"name": "new", "expiresAt": ""}),
        ({"name": "new", "updateMask": ""}, {"name": "new"}),
    ],
)
async def test_the_mask_says_what_changes_and_without_one_what_was_set(
    client: Client, change: dict[str, Any], expected: dict[str, Any]
) -> None:
    key = (await client.new_key(expiresAt=LATER))["apiKey"]
    answer = await client.get("UpdateApiKey", id=key["id"], **change)
    assert answer["apiKey"] == {**key, **expected}


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({}, ["update_mask"]),
        ({"updateMask": "name"}, ["name"]),
        ({"name": "", "updateMask": "name"}, ["name"]),
        ({"name": "x" * 101}, ["name"]),
        ({"name": "\0"}, ["name"]),
        ({"expiresAt": "soon"}, ["expires_at"]),
        ({"expiresAt": "1999-01-01T00:00:00Z"}, ["expires_at"]),
        ({"name": "\0", "expiresAt": "soon"}, ["name", "expires_at"]),
        ({"name": "a", "updateMask": "scopes"}, ["update_mask"]),
        ({"name": "a", "updateMask": "id"}, ["update_mask"]),
        ({"name": "a", "updateMask": "status,keyPrefix,name"}, ["update_mask", "update_mask"]),
        ({"name": "a", "updateMask": "apiKey.name"}, ["update_mask"]),
        ({"name": "a", "updateMask": "nothing"}, ["update_mask"]),
    ],
)
async def test_every_faulty_field_of_an_update_is_named(
    client: Client, change: dict[str, Any], fields: list[str]
) -> None:
    key = (await client.new_key())["apiKey"]
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "UpdateApiKey", id=key["id"], **change)
    assert answer.fields == [client.spell(path) for path in fields]
    assert (await client.get("GetApiKey", id=key["id"]))["apiKey"] == key


async def test_an_emptied_field_is_cleared_over_rest_where_the_body_names_it(client: Client) -> None:
    key = (await client.new_key(expiresAt=LATER))["apiKey"]
    answer = await client.call("UpdateApiKey", {"id": key["id"], "expiresAt": ""})
    if isinstance(client, GrpcClient):  # an empty field is not seen on the wire
        assert answer.fields == ["update_mask"]
    else:
        assert answer.body["apiKey"] == {**key, "expiresAt": ""}


async def test_a_rotation_gives_a_new_secret_and_keeps_the_key(client: Client) -> None:
    before = await client.new_key(scopes=["stream"], expiresAt=LATER)
    answer = await client.get("RotateApiKey", id=before["apiKey"]["id"])
    assert answer["secret"] != before["secret"]
    assert find_prefix(answer["secret"]) == answer["apiKey"]["keyPrefix"] != before["apiKey"]["keyPrefix"]
    assert answer["apiKey"] == {**before["apiKey"], "keyPrefix": answer["apiKey"]["keyPrefix"]}
    assert await client.get("GetApiKey", id=before["apiKey"]["id"]) == {"apiKey": answer["apiKey"]}


async def test_the_previous_secret_works_for_an_hour_more(client: Client) -> None:
    key = (await client.new_key())["apiKey"]
    answer = await client.get("RotateApiKey", id=key["id"])
    grace = datetime.fromisoformat(answer["previousExpiresAt"]) - datetime.fromisoformat(key["createdAt"])
    assert timedelta(hours=1) < grace < timedelta(hours=1, minutes=1)


async def test_the_grace_of_a_secret_ends_with_its_key(client: Client) -> None:
    created = (await client.new_key())["apiKey"]["createdAt"]
    soon = (datetime.fromisoformat(created) + timedelta(minutes=30)).isoformat(timespec="microseconds")
    expires_at = soon.replace("+00:00", "Z")
    key = (await client.new_key(expiresAt=expires_at))["apiKey"]
    assert (await client.get("RotateApiKey", id=key["id"]))["previousExpiresAt"] == expires_at


async def test_a_leaked_secret_ends_at_once(client: Client) -> None:
    key = (await client.new_key())["apiKey"]
    answer = await client.get("RotateApiKey", id=key["id"], expirePreviousNow=True)
    assert datetime.fromisoformat(answer["previousExpiresAt"]) - datetime.fromisoformat(key["createdAt"]) < timedelta(
        minutes=1
    )


async def test_the_answer_of_a_rotation_is_not_to_be_stored_by_caches(client: Client) -> None:
    key = (await client.new_key())["apiKey"]
    answer = await client.call("RotateApiKey", {"id": key["id"]})
    assert answer.headers["cache-control"] == "no-store"


async def test_a_sixth_living_secret_is_a_conflict_unless_the_others_end(client: Client) -> None:
    key = (await client.new_key())["apiKey"]
    for _ in range(4):
        await client.get("RotateApiKey", id=key["id"])
    answer = await client.fail("ERROR_CODE_CONFLICT", "RotateApiKey", id=key["id"])
    assert "5 secrets" in answer.message
    await client.get("RotateApiKey", id=key["id"], expirePreviousNow=True)
    await client.get("RotateApiKey", id=key["id"])


async def test_a_revoked_key_is_shown_as_revoked(client: Client) -> None:
    key = (await client.new_key())["apiKey"]
    answer = await client.get("RevokeApiKey", id=key["id"])
    assert answer == {"apiKey": {**key, "status": "API_KEY_STATUS_REVOKED"}}
    assert await client.get("GetApiKey", id=key["id"]) == answer


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("UpdateApiKey", {"name": "a"}),
        ("RotateApiKey", {}),
        ("RotateApiKey", {"expirePreviousNow": True}),
        ("RevokeApiKey", {}),
    ],
)
async def test_a_revoked_key_cannot_change(client: Client, method: str, request_: dict[str, Any]) -> None:
    key = (await client.new_key())["apiKey"]
    revoked = await client.get("RevokeApiKey", id=key["id"])
    answer = await client.fail("ERROR_CODE_CONFLICT", method, id=key["id"], **request_)
    assert "revoked" in answer.message
    assert await client.get("GetApiKey", id=key["id"]) == revoked


@pytest.mark.parametrize("method", ["GetApiKey", "UpdateApiKey", "RotateApiKey", "RevokeApiKey"])
async def test_an_id_that_is_too_long_is_named(client: Client, method: str) -> None:
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", method, id="k" * 101)
    assert "id" in answer.fields


@pytest.mark.parametrize("method", ["UpdateApiKey", "RotateApiKey", "RevokeApiKey"])
async def test_a_key_that_does_not_exist_cannot_change(client: Client, method: str) -> None:
    request: dict[str, Any] = {"name": "a"} if method == "UpdateApiKey" else {}
    for id_ in ("key_01jd3m8r5vf4q9zq5k2t7w6x8y", "nonsense"):
        await client.fail("ERROR_CODE_NOT_FOUND", method, id=id_, **request)
