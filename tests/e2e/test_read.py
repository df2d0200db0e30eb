"""GetApiKey and ListApiKeys, over gRPC and over REST."""

import pytest

from tests.e2e.clients import Client

ABSENT = "key_01jd3m8r5vf4q9zq5k2t7w6x8y"


async def test_a_key_is_read_without_its_secret(client: Client) -> None:
    created = await client.new_key(name="Staging")
    answer = await client.get("GetApiKey", id=created["apiKey"]["id"])
    assert answer == {"apiKey": created["apiKey"]}


@pytest.mark.parametrize(
    "id_", [ABSENT, "key_123", "key_", "dev_01jd3m8r5vf4q9zq5k2t7w6x8y", "💾", "a/b", "key_%00", "%", "x" * 100]
)
async def test_an_id_that_names_no_key_is_not_found(client: Client, id_: str) -> None:
    await client.fail("ERROR_CODE_NOT_FOUND", "GetApiKey", id=id_)


async def test_an_id_that_is_too_long_is_named(client: Client) -> None:
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "GetApiKey", id="k" * 101)
    assert answer.fields == ["id"]


@pytest.mark.parametrize("method", ["GetApiKey", "UpdateApiKey", "RotateApiKey", "RevokeApiKey"])
async def test_someone_elses_key_looks_absent(client: Client, stranger: Client, method: str) -> None:
    request = {"name": "mine"} if method == "UpdateApiKey" else {}
    foreign_key = (await stranger.new_key())["apiKey"]["id"]
    foreign = await client.call(method, {"id": foreign_key, **request})
    absent = await client.call(method, {"id": ABSENT, **request})
    assert (foreign.code, foreign.message) == ("ERROR_CODE_NOT_FOUND", absent.message)
    assert _without_time(foreign.sent) == _without_time(absent.sent)
    assert (await stranger.get("GetApiKey", id=foreign_key))["apiKey"]["status"] == "API_KEY_STATUS_ACTIVE"


def _without_time(sent: bytes) -> list[bytes]:
    """Drop the headers that tell what o'clock it is and how many calls were made, which are no part of the answer."""
    return [line for line in sent.splitlines() if not line.startswith((b"date:", b"x-ratelimit-"))]


async def test_a_developer_without_keys_has_an_empty_list(client: Client) -> None:
    assert await client.get("ListApiKeys") == {"apiKeys": [], "nextPageToken": ""}


async def test_keys_are_listed_newest_first_in_every_state_and_without_secrets(client: Client) -> None:
    created = [(await client.new_key(name=f"key {number}"))["apiKey"] for number in range(3)]
    revoked = (await client.get("RevokeApiKey", id=created[1]["id"]))["apiKey"]
    answer = await client.get("ListApiKeys")
    assert answer == {"apiKeys": [created[2], revoked, created[0]], "nextPageToken": ""}


async def test_only_ones_own_keys_are_listed(client: Client, stranger: Client) -> None:
    await stranger.new_key()
    mine = await client.new_key()
    assert (await client.get("ListApiKeys"))["apiKeys"] == [mine["apiKey"]]


async def test_pages_follow_one_another_to_the_end(client: Client) -> None:
    created = [(await client.new_key())["apiKey"]["id"] for _ in range(7)]
    pages: list[list[str]] = []
    token = ""
    while token or not pages:
        answer = await client.get("ListApiKeys", pageSize=3, pageToken=token)
        pages.append([key["id"] for key in answer["apiKeys"]])
        token = answer["nextPageToken"]
    assert pages == [created[:3:-1], created[3:0:-1], created[:1]]


async def test_a_page_has_twenty_keys_unless_asked_otherwise(client: Client) -> None:
    for _ in range(21):
        await client.new_key()
    sizes = {size: len((await client.get("ListApiKeys", pageSize=size))["apiKeys"]) for size in (0, 1, 20, 100)}
    assert sizes == {0: 20, 1: 1, 20: 20, 100: 21}
    assert (await client.get("ListApiKeys"))["nextPageToken"]
    assert not (await client.get("ListApiKeys", pageSize=21))["nextPageToken"]


@pytest.mark.parametrize("size", [-1, 101, 2**31 - 1, -(2**31)])
async def test_a_page_size_out_of_range_is_named(client: Client, size: int) -> None:
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "ListApiKeys", pageSize=size)
    assert answer.fields == [client.spell("page_size")]


@pytest.mark.parametrize("token", ["x", "0", "AAAA", "ä", "A" * 500, "A" * 501, "=", "a b", "../.."])
async def test_a_made_up_page_token_is_named(client: Client, token: str) -> None:
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "ListApiKeys", pageToken=token)
    assert answer.fields == [client.spell("page_token")]


async def test_a_page_token_is_of_no_use_to_another_developer(client: Client, stranger: Client) -> None:
    for _ in range(2):
        await client.new_key()
    token = (await client.get("ListApiKeys", pageSize=1))["nextPageToken"]
    answer = await stranger.fail("ERROR_CODE_INVALID_REQUEST", "ListApiKeys", pageToken=token)
    assert answer.fields == [client.spell("page_token")]
