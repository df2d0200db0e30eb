"""Requests with more faults than anyone wants to read: answered shortly, and as what they are."""

from typing import Any

import pytest

from tests.e2e.clients import Client

_WORDS = [f"{number:05x}" for number in range(100_000)]


@pytest.mark.parametrize("count", [1, 30, 300, 100_000])
async def test_bad_scopes_are_an_invalid_request_however_many(client: Client, count: int) -> None:
    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "CreateApiKey", name="a", scopes=_WORDS[:count])

    assert all(field.startswith("scopes") for field in answer.fields)
    assert 1 <= len(answer.fields) <= 20
    assert len(answer.message) <= 1000


@pytest.mark.parametrize("count", [1, 15, 120, 100_000])
async def test_unknown_mask_paths_are_an_invalid_request_however_many(client: Client, count: int) -> None:
    key = (await client.new_key())["apiKey"]
    change: dict[str, Any] = {"id": key["id"], "updateMask": ",".join(f"f{word}" for word in _WORDS[:count])}

    answer = await client.fail("ERROR_CODE_INVALID_REQUEST", "UpdateApiKey", **change)

    assert {field.lower().replace("_", "") for field in answer.fields} == {"updatemask"}
    assert 1 <= len(answer.fields) <= 20
    assert len(answer.message) <= 1000


async def test_a_name_is_measured_as_it_is_stored(client: Client) -> None:
    key = (await client.new_key(name="e\u0301" * 60))["apiKey"]
    assert key["name"] == "\u00e9" * 60
