"""Paths in the document: patterns written out, and no route lost."""

from typing import Any

import pytest

from server.transcoding.openapi.document import Info, document
from server.transcoding.openapi.paths import parts_of, path_of
from server.transcoding.template import parse
from tests.unit.transcoding.kitchen import FILES, compile_proto

INFO = Info(title="Kitchen", version="1")
KITCHEN = document(FILES, ["kitchen.v1.Kitchen"], INFO)


def shelves(*rules: str) -> Any:
    """Describe one method per rule, all on M{string name, string note, int32 number}, and return the paths."""
    rpcs = "".join(
        f"rpc R{index}(M) returns (M) {{ option (google.api.http) = {{ {rule} }}; }}"
        for index, rule in enumerate(rules)
    )
    files = compile_proto(
        'syntax = "proto3"; package t; import "google/api/annotations.proto";'
        "message M {\n// Where it is.\nstring name = 1;\nstring note = 2; int32 number = 3; }"
        f"service S {{ {rpcs} }}"
    )
    return document(files, ["t.S"], INFO)["paths"]


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/v1/{name}", "/v1/{name}"),
        ("/v1/{name=*}:burn", "/v1/{name}:burn"),
        ("/v1/{name=**}", "/v1/{name}"),
        ("/v1/{name=shelves/*}", "/v1/shelves/{name.1}"),
        ("/v1/{a.name=shelves/*/books/*}/notes/{note}:x", "/v1/shelves/{a.name.1}/books/{a.name.2}/notes/{note}:x"),
        ("/v1/{name=files/*/**}", "/v1/files/{name.1}/{name.2}"),
        ("/v1/{name=fixed}/{note=fixed/too}", "/v1/fixed/fixed/too"),
        ("/v1/a", "/v1/a"),
    ],
)
def test_a_pattern_is_written_out(template: str, path: str) -> None:
    parsed = parse(template)

    assert path_of(parsed) == path
    assert [part.name for part in parts_of(parsed).values()] == [
        segment.partition("}")[0] for segment in path.split("{")[1:]
    ]


def test_a_path_names_its_variables() -> None:
    assert KITCHEN["paths"]["/v1/books/{name}:burn"].keys() == {"post"}
    (name,) = KITCHEN["paths"]["/v1/books/{name}"]["get"]["parameters"]
    assert name == {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def test_a_part_says_what_it_is_a_part_of() -> None:
    paths = shelves('get: "/v1/{name=shelves/*/**}"', 'get: "/v2/{note=a/*}/{number}"')

    first, second = paths["/v1/shelves/{name.1}/{name.2}"]["get"]["parameters"][:2]
    told = "of 2 in `name`, which is `shelves/*/**`.\n\nWhere it is."
    assert first == {
        "name": "name.1",
        "in": "path",
        "description": f"Wildcard 1 {told}",
        "required": True,
        "schema": {"minLength": 1, "type": "string"},
    }
    assert (second["description"], second["schema"]) == (f"Wildcard 2 {told}", {"type": "string"})
    note, number, *query = paths["/v2/a/{note.1}/{number}"]["get"]["parameters"]
    assert note["description"] == "Wildcard 1 of 1 in `note`, which is `a/*`."
    assert (number["name"], number["schema"]["type"]) == ("number", "integer")
    assert [parameter["name"] for parameter in query] == ["name"]


def test_routes_that_differ_in_their_patterns_have_paths_of_their_own() -> None:
    paths = shelves('get: "/v1/{name=shelves/*}"', 'get: "/v1/{name=shelves/*/books/*}"', 'get: "/v1/{name=desks/*}"')

    assert {path: item["get"]["operationId"] for path, item in paths.items()} == {
        "/v1/shelves/{name.1}": "R0",
        "/v1/shelves/{name.1}/books/{name.2}": "R1",
        "/v1/desks/{name.1}": "R2",
    }


def test_of_routes_that_only_patterns_tell_apart_the_first_stays() -> None:
    paths = shelves('get: "/v1/{name}"', 'get: "/v1/{name=**}"', 'delete: "/v1/{name=**}"')

    assert {method: operation["operationId"] for method, operation in paths["/v1/{name}"].items()} == {
        "get": "R0",
        "delete": "R2",
    }
