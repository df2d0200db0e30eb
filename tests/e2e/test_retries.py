"""Request ids: a change may be asked for again without happening twice, over gRPC and over REST."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.clients import Client


async def test_the_same_request_has_the_same_answer_secret_included(client: Client) -> None:
    request_id = str(uuid4())
    first = await client.new_key(requestId=request_id)
    assert await client.new_key(requestId=request_id) == first
    assert await client.new_key(requestId=request_id.upper()) == first
    assert len((await client.get("ListApiKeys"))["apiKeys"]) == 1


async def test_a_rotation_is_repeated_as_safely(client: Client) -> None:
    key = (await client.new_key())["apiKey"]
    request_id = str(uuid4())
    first = await client.get("RotateApiKey", id=key["id"], requestId=request_id)
    assert await client.get("RotateApiKey", id=key["id"], requestId=request_id) == first
    assert (await client.get("GetApiKey", id=key["id"]))["apiKey"] == first["apiKey"]


async def test_retries_at_the_same_moment_make_one_key(client: Client) -> None:
    request_id = str(uuid4())
    answers = await asyncio.gather(*(client.new_key(requestId=request_id) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert len((await client.get("ListApiKeys"))["apiKeys"]) == 1


async def test_a_request_id_is_not_for_another_request(client: Client) -> None:
    request_id = str(uuid4())
    await client.new_key(name="one", requestId=request_id)
    answer = await client.fail(
        "ERROR_CODE_INVALID_REQUEST", "CreateApiKey", name="two", scopes=["read"], requestId=request_id
    )
    assert answer.fields == [client.spell("request_id")]


async def test_each_method_and_each_developer_has_request_ids_of_its_own(client: Client, stranger: Client) -> None:
    request_id = str(uuid4())
    mine = await client.new_key(requestId=request_id)
    theirs = await stranger.new_key(requestId=request_id)
    rotated = await client.get("RotateApiKey", id=mine["apiKey"]["id"], requestId=request_id)
    assert len({mine["secret"], theirs["secret"], rotated["secret"]}) == 3


@pytest.mark.parametrize("form", ["{}", '"{}"'])
async def test_the_idempotency_header_is_a_request_id(client: Client, form: str) -> None:
    request_id = str(uuid4())
    headers = [("Idempotency-Key", form.replace("{}", request_id))]
    request: dict[str, Any] = {"name": "Production", "scopes": ["read"]}
    first = await client.get("CreateApiKey", headers=headers, **request)
    assert await client.get("CreateApiKey", headers=headers, **request) == first
    assert await client.get("CreateApiKey", requestId=request_id, **request) == first
    assert await client.get("CreateApiKey", headers=headers, requestId=request_id, **request) == first


async def test_the_idempotency_header_must_not_differ_from_the_field(client: Client) -> None:
    answer = await client.fail(
        "ERROR_CODE_INVALID_REQUEST",
        "CreateApiKey",
        headers=[("Idempotency-Key", str(uuid4()))],
        name="a",
        scopes=["read"],
        requestId=str(uuid4()),
    )
    assert answer.fields == ["Idempotency-Key"]
    assert (await client.get("ListApiKeys"))["apiKeys"] == []


async def test_an_idempotency_header_that_is_no_uuid_is_named_as_the_header(client: Client) -> None:
    answer = await client.fail(
        "ERROR_CODE_INVALID_REQUEST",
        "CreateApiKey",
        headers=[("Idempotency-Key", "again")],
        name="a",
        scopes=["read"],
    )
    assert answer.fields == ["Idempotency-Key"]


async def test_a_refused_request_leaves_its_id_free(client: Client) -> None:
    request_id = str(uuid4())
    await client.fail(
        "ERROR_CODE_INVALID_REQUEST",
        "CreateApiKey",
        name="a",
        scopes=["read"],
        expiresAt="1999-01-01T00:00:00Z",
        requestId=request_id,
    )
    await client.new_key(requestId=request_id)
