"""Our OpenAPI document as the reference shows it."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from server.portal.openapi_view import Description, Field, prose, read_description

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "gen" / "openapi" / "openapi.json").read_text(encoding="utf-8")
)
SERVER = "https://platform.example"


@pytest.fixture(scope="module")
def description() -> Description:
    return read_description(json.dumps({**DOCUMENT, "servers": [{"url": SERVER}]}).encode())


def field(fields: tuple[Field, ...], name: str) -> Field:
    return next(each for each in fields if each.name == name)


def test_every_operation_of_the_document_is_there_once(description: Description) -> None:
    shown = [
        (operation.path, operation.method.lower())
        for service in description.services
        for operation in service.operations
    ]
    assert sorted(shown) == sorted(
        (path, method) for path, operations in DOCUMENT["paths"].items() for method in operations
    )
    anchors = [operation.anchor for service in description.services for operation in service.operations]
    assert len(set(anchors)) == len(anchors)


def test_a_request_is_told_with_its_rules(description: Description) -> None:
    service = description.find("DeveloperService")
    assert service is not None
    create = next(each for each in service.operations if each.name == "CreateApiKey")

    name, scopes = field(create.body, "name"), field(create.body, "scopes")
    assert (name.kind, name.required) == ("string", True)
    assert name.rules == ("length at least 1", "length at most 100")
    assert scopes.kind == "string[]"
    assert scopes.rules == ("at least 1 items", "each once", "one of read, stream")
    assert "<code>read</code>" in scopes.description


def test_what_fields_hold_is_told_once_with_its_service(description: Description) -> None:
    for service in description.services:
        anchors = {message.anchor for message in service.messages}
        assert len(anchors) == len(service.messages)
        held = [
            each
            for fields in (
                *(operation.body for operation in service.operations),
                *(operation.answer for operation in service.operations),
                *(message.fields for message in service.messages),
            )
            for each in fields
        ]
        assert {each.message for each in held if each.message} == anchors


def test_the_header_of_the_token_is_not_repeated(description: Description) -> None:
    for service in description.services:
        for operation in service.operations:
            assert "Authorization" not in [parameter.name for parameter in operation.parameters]


def test_every_command_line_is_one_to_the_shell_and_sends_json(description: Description) -> None:
    for service in description.services:
        for operation in service.operations:
            words = shlex.split(operation.curl.replace("\\\n", ""))
            address = next(word for word in words if word.startswith(SERVER))
            assert words[0] == "curl"
            assert "{" not in address
            assert ("authorization: Bearer $TOKEN" in words) is (service.name != "AuthService")
            if operation.body:
                assert isinstance(json.loads(words[words.index("-d") + 1]), dict)
            usual = "POST" if operation.body else "GET"
            assert (words[1:3] == ["-X", operation.method]) is (operation.method != usual)


def test_a_path_is_filled_in_by_the_caller(description: Description) -> None:
    service = description.find("KeySecretService")
    assert service is not None
    end = next(each for each in service.operations if each.name == "EndGrace")
    assert f'"{SERVER}/v1/developer/keys/$ID/secrets/$VERSION/end-grace"' in end.curl


def test_there_is_no_service_of_another_name(description: Description) -> None:
    assert description.find("Nothing") is None


def test_nothing_in_the_document_is_markup() -> None:
    assert prose("a <b> `<i>` & c\n\nsecond\nline") == (
        "<p>a &lt;b&gt; <code>&lt;i&gt;</code> &amp; c</p><p>second line</p>"
    )
    assert prose("") == ""
