"""The reference of the API: complete, with command lines that are the reader's own."""

import shlex
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from tests.integration.portal.visitor import Visitor
from tests.service import Service


async def document(alice: Visitor) -> Any:
    return await alice.rest("GET", "/openapi.json")


async def test_every_operation_is_named_and_leads_to_its_description(alice: Visitor) -> None:
    page = await alice.open("/portal/reference")
    services: dict[str, str] = {}

    for path, operations in (await document(alice))["paths"].items():
        for method, operation in operations.items():
            service, name = operation["tags"][0], operation["operationId"]
            assert f"{method.upper()} {path} {name}" in page.text
            assert ("a", f"/portal/reference/{service}#call-{name}") in {
                (tag, has.get("href", "")) for tag, has in page.document.attributes
            }
            if service not in services:
                services[service] = (await alice.open(f"/portal/reference/{service}")).html
            assert f'id="call-{name}"' in services[service]


async def test_every_link_within_a_page_leads_somewhere(alice: Visitor) -> None:
    names = [tag["name"] for tag in (await document(alice))["tags"]]
    for path in ("/portal/reference", *(f"/portal/reference/{name}" for name in names)):
        page = await alice.open(path)
        ids = [has["id"] for _, has in page.document.attributes if has.get("id")]
        assert len(ids) == len(set(ids))
        targets = {href[1:] for _, href in page.document.links if href.startswith("#")}
        assert targets <= set(ids)


async def test_the_pages_are_light(alice: Visitor) -> None:
    for tag in (await document(alice))["tags"]:
        page = await alice.open(f"/portal/reference/{tag['name']}")
        assert len(page.response.content) < 60_000


async def test_without_a_key_something_stands_for_its_prefix(alice: Visitor) -> None:
    page = await alice.open("/portal/reference")

    assert "ang_live_XXXXXXXX_…" in page.text
    assert "You have no live key yet" in page.text


async def test_calls_with_a_key_carry_the_prefix_of_the_newest_that_lives(alice: Visitor) -> None:
    older = await alice.new_key("Older")
    newer = await alice.new_key('<img src=x onerror="alert(1)">')
    revoked = await alice.new_key("Revoked")
    await alice.rest("POST", f"/v1/developer/keys/{revoked['apiKey']['id']}/revoke", {})

    page = await alice.open("/portal/reference")

    assert f"x-api-key: {newer['apiKey']['keyPrefix']}_…" in page.text
    assert '<img src=x onerror="alert(1)">' in page.text
    for other in (older, revoked):
        assert other["apiKey"]["keyPrefix"] not in page.html
    for made in (older, newer, revoked):
        assert made["secret"] not in page.html
    assert not [has for _, has in page.document.attributes if "onerror" in has]


async def test_a_command_line_works_as_it_stands(alice: Visitor, service: Service) -> None:
    page = await alice.open("/portal/reference/DeveloperService")
    commands = [has["data-copy"] for _, has in page.document.attributes if "data-copy" in has]
    command = next(text for text in commands if '/v1/developer/keys"' in text and "-d " in text)

    words = shlex.split(command.replace("\\\n", "").replace("$TOKEN", service.token()))
    headers = dict(word.split(": ", 1) for before, word in pairwise(words) if before == "-H")
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(words[1], content=words[words.index("-d") + 1], headers=headers)

    assert answer.status_code == 200, answer.text
    assert answer.json()["apiKey"]["name"] == "Production"


@pytest.mark.parametrize("name", ["Nothing", "developerservice", "%3Cscript%3E", "..%2f..", "x" * 300])
async def test_a_service_that_there_is_not_is_not_found(alice: Visitor, name: str) -> None:
    page = await alice.open(f"/portal/reference/{name}")

    assert page.status == 404
    assert "<script>" not in page.html


async def test_in_arabic_what_is_english_says_so(alice: Visitor) -> None:
    alice.browser.cookies["lang"] = "ar"

    page = await alice.open("/portal/reference")
    service = await alice.open("/portal/reference/BillingService")

    for each in (page, service):
        assert '<html lang="ar" dir="rtl"' in each.html
    assert "حدود المعدل" in page.text
    assert "معاملات GetStatement" in service.html
    assert '<div lang="en" dir="ltr"><p>BillingService shows developers' in service.html
