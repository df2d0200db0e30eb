"""The OpenAPI document: of the kitchen, and of the published service against its published structure."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from server.transcoding.openapi.document import Header, Info, document
from tests.unit.transcoding.kitchen import FILES, compile_proto

INFO = Info(title="Kitchen", version="1", description="d", server="http://127.0.0.1", bearer="An access token.")
KITCHEN = document(FILES, ["kitchen.v1.Kitchen"], INFO)
SCHEMAS: dict[str, Any] = KITCHEN["components"]["schemas"]
SINK: dict[str, Any] = SCHEMAS["kitchen_v1_Sink"]["properties"]

REF = "#/components/schemas/"
PUBLISHED: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/v1/developer/keys": {
            "post": {
                "tags": ["DeveloperService"],
                "summary": "CreateApiKey",
                "operationId": "CreateApiKey",
                "parameters": [
{"name": "Authorization", "in": "header", "required": True, "schema": {"type": "string"}}
],
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": REF + "sdk_developer_v1_CreateApiKeyRequest"}}
                    },
                    "required": True,
                },
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {"$ref": REF + "sdk_developer_v1_CreateApiKeyResponse"}
                            }
                        }
                    },
                    "400": {"content": {"application/json": {"schema": {"$ref": REF + "ValidationError"}}}},
                    "default": {"content": {"application/json": {"schema": {"$ref": REF + "Error"}}}},
                },
            }
        }
    },
    "components": {
        "schemas": {
            "sdk_developer_v1_CreateApiKeyRequest": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 100, "minLength": 1},
                    "scopes": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                },
                "required": ["name"],
            },
            "sdk_developer_v1_CreateApiKeyResponse": {
                "type": "object",
                "properties": {
                    "apiKey": {"$ref": REF + "sdk_developer_v1_ApiKey"},
                    "secret": {"type": "string"},
                },
            },
            "sdk_developer_v1_ApiKey": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "name": {"type": "string"},
                    "keyPrefix": {"type": "string"},
                    "status": {
                        "type": "string",
                        "enum": ["API_KEY_STATUS_UNSPECIFIED", "API_KEY_STATUS_ACTIVE", "API_KEY_STATUS_REVOKED"],
                    },
                    "scopes": {"type": "array", "items": {"type": "string"}},
                    "createdAt": {"type": "string"},
                    "lastUsedAt": {"type": "string"},
                    "expiresAt": {"type": "string"},
                },
            },
            "ValidationError": {
                "type": "object",
                "properties": {"violations": {"type": "array", "items": {"$ref": REF + "FieldViolation"}}},
                "required": ["violations"],
            },
            "Error": {"type": "object", "properties": {"message": {"type": "string"}}},
            "FieldViolation": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
                "required": ["field", "description"],
            },
        }
    },
}  # fmt: skip


def differences(published: Any, ours: Any, path: str = "") -> list[str]:
    """List where `ours` lacks or changes what is published; additions to objects are allowed."""
    if isinstance(published, dict) and isinstance(ours, dict):
        missing = [f"{path}/{key}" for key in published if key not in ours]
        return missing + [
            line
            for key in published.keys() & ours.keys()
            for line in differences(published[key], ours[key], f"{path}/{key}")
        ]
    if isinstance(published, list) and isinstance(ours, list) and len(published) == len(ours):
        return [line for old, new in zip(published, ours, strict=True) for line in differences(old, new, f"{path}[]")]
    return [] if published == ours else [f"{path}: {published} became {ours}"]


def test_create_api_key_is_structurally_what_was_published() -> None:
    files = FileDescriptorSet.FromString(Path("gen/sdk.binpb").read_bytes())
    header = Header(name="Authorization", description="An access token.", example="Bearer eyJ…")

    ours = document(files, ["sdk.developer.v1.DeveloperService"], INFO, headers=[header])

    assert differences(PUBLISHED, ours) == []
    assert ours["components"]["schemas"]["sdk_developer_v1_CreateApiKeyRequest"]["required"] == ["name"]


def test_the_document_has_its_frame() -> None:
    assert list(KITCHEN) == ["openapi", "info", "servers", "security", "tags", "paths", "components"]
    assert KITCHEN["info"] == {"title": "Kitchen", "description": "d", "version": "1"}
    assert KITCHEN["security"] == [{"bearer": []}]
    assert KITCHEN["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_a_document_may_do_without_server_and_tokens() -> None:
    bare = document(FILES, [], Info(title="t", version="1"))

    assert list(bare) == ["openapi", "info", "security", "tags", "paths", "components"]
    assert bare["security"] == []
    assert set(bare["components"]["schemas"]) == {"Error", "FieldViolation", "ValidationError"}


def test_the_document_is_the_same_every_time() -> None:
    assert json.dumps(document(FILES, ["kitchen.v1.Kitchen"], INFO)) == json.dumps(KITCHEN)


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(KITCHEN)

    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in SCHEMAS


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for item in KITCHEN["paths"].values() for operation in item.values()]

    assert len(set(ids)) == len(ids)
    assert {"GetBook", "GetBook2"} <= set(ids)


def test_query_parameters_are_in_proto_spelling() -> None:
    parameters = {parameter["name"]: parameter for parameter in KITCHEN["paths"]["/v1/books"]["get"]["parameters"]}

    assert list(parameters) == [
        "query", "page_size", "tags", "inner.nums", "inner.deep_name", "exact", "color", "since", "big", "note", "one",
        "two",
    ]  # fmt: skip
    assert parameters["tags"]["schema"] == {"type": "array", "items": {"type": "string"}}
    assert not any(parameter["required"] for parameter in parameters.values())


def test_a_body_field_is_the_body_and_the_rest_the_query() -> None:
    patch = KITCHEN["paths"]["/v1/shelves/{book.name.1}/books/{book.name.2}"]["patch"]

    assert patch["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("kitchen_v1_Book")
    assert [parameter["name"] for parameter in patch["parameters"]] == [
        "book.name.1",
        "book.name.2",
        "update_mask",
        "allow_missing",
    ]


def test_a_response_body_is_the_response() -> None:
    schema = KITCHEN["paths"]["/v1/books:titles"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    assert (schema["type"], schema["items"]["$ref"]) == ("array", "#/components/schemas/kitchen_v1_Book")


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        ("anInt32", {"type": "integer", "format": "int32"}),
        ("aUint32", {"type": "integer", "minimum": 0, "maximum": 4294967295}),
        ("anInt64", {"type": "string", "format": "int64"}),
        ("aUint64", {"type": "string", "pattern": "^[0-9]+$"}),
        ("aDouble", {"type": "number", "format": "double"}),
        ("aBool", {"type": "boolean"}),
        ("someBytes", {"type": "string", "contentEncoding": "base64"}),
        ("child", {"$ref": REF + "kitchen_v1_Sink"}),
        ("children", {"type": "array", "items": {"$ref": REF + "kitchen_v1_Sink"}}),
        ("labels", {"type": "object", "additionalProperties": {"type": "string"}}),
        ("sinks", {"type": "object", "additionalProperties": {"$ref": REF + "kitchen_v1_Sink"}}),
        ("time", {"type": "string", "format": "date-time"}),
        ("mask", {"type": "string"}),
        ("value", {}),
        ("struct", {"type": "object"}),
        ("int64Value", {"type": ["string", "null"], "format": "int64"}),
        ("empty", {"$ref": REF + "google_protobuf_Empty"}),
        ("nullField", {"type": "null"}),
        (
            "color",
            {
                "type": "string",
                "enum": ["COLOR_UNSPECIFIED", "COLOR_RED", "COLOR_GREEN"],
                "description": "Color is a color.",
            },
        ),
    ],
)
def test_a_field_has_its_schema(field: str, schema: dict[str, Any]) -> None:
    assert SINK[field] == schema


def test_comments_become_descriptions() -> None:
    assert SCHEMAS["kitchen_v1_Sink"]["description"] == "Sink has a field of every type."


_RULED = """
syntax = "proto3"; package r;
import "google/api/annotations.proto"; import "buf/validate/validate.proto";
message M {
  string id = 1 [(buf.validate.field).required = true];
  string word = 2 [(buf.validate.field).required = true, (buf.validate.field).string = {pattern: "^a" len: 3}];
  int32 count = 3 [(buf.validate.field).int32 = {gt: 1 lte: 9}];
  int64 big = 4 [(buf.validate.field).int64 = {gt: 1 lte: 9}];
  repeated E kinds = 5 [(buf.validate.field).repeated = {max_items: 2 unique: true items: {enum: {not_in: 0}}}];
  map<string, string> pairs = 6 [(buf.validate.field).map.max_pairs = 3];
  string old = 7 [deprecated = true, (buf.validate.field).string.email = true];
  E kind = 8 [(buf.validate.field).enum = {in: [1]}];
  bytes raw = 9 [(buf.validate.field).bytes.max_len = 3];
  string free = 10 [(buf.validate.field).cel = {id: "x" expression: "true"}];
}
enum E { E_UNSPECIFIED = 0; E_A = 1; E_B = 2; }
service S { rpc R(M) returns (M) { option deprecated = true; option (google.api.http) = {put: "/a/{id}" body: "*"}; } }
"""


def test_rules_become_keywords() -> None:
    ruled = document(compile_proto(_RULED, imports=Path("gen/sdk.binpb")), ["r.S"], INFO)

    schema = ruled["components"]["schemas"]["r_M"]
    properties = schema["properties"]
    assert schema["required"] == ["word"]
    assert properties["word"] == {"type": "string", "pattern": "^a", "minLength": 3, "maxLength": 3}
    assert properties["count"] == {"type": "integer", "format": "int32", "exclusiveMinimum": 1, "maximum": 9}
    assert properties["big"] == {"type": "string", "format": "int64"}
    assert properties["kinds"] == {
        "type": "array",
        "items": {"type": "string", "enum": ["E_A", "E_B"]},
        "maxItems": 2,
        "uniqueItems": True,
    }
    assert properties["pairs"]["maxProperties"] == 3
    assert properties["old"] == {"type": "string", "format": "email", "deprecated": True}
    assert properties["kind"]["enum"] == ["E_A"]
    assert properties["raw"] == {"type": "string", "contentEncoding": "base64"}
    assert properties["free"] == {"type": "string"}
    assert ruled["paths"]["/a/{id}"]["put"]["deprecated"] is True


def test_a_chain_of_types_longer_than_the_stack_is_described() -> None:
    chain = "".join(f"message M{index} {{ M{index + 1} next = 1; }}" for index in range(1000))
    files = compile_proto(
        f'syntax = "proto3"; package c; import "google/api/annotations.proto"; {chain}'
        " message M1000 { M0 first = 1; }"
        ' service S { rpc R(M0) returns (M0) { option (google.api.http) = {post: "/a" body: "*"}; } }'
    )

    schemas = document(files, ["c.S"], INFO)["components"]["schemas"]

    assert schemas["c_M999"]["properties"] == {"next": {"$ref": REF + "c_M1000"}}
    assert schemas["c_M1000"]["properties"] == {"first": {"$ref": REF + "c_M0"}}


def test_a_well_known_type_can_be_a_whole_answer() -> None:
    files = compile_proto(
        'syntax = "proto3"; package w; import "google/api/annotations.proto"; import "google/protobuf/struct.proto";'
        " message M {} service S { rpc R(M) returns (google.protobuf.Struct) {"
        ' option (google.api.http) = {get: "/a"}; } }'
    )

    answer = document(files, ["w.S"], INFO)["paths"]["/a"]["get"]["responses"]["200"]

    assert answer["content"] == {"application/json": {"schema": {"type": "object"}}}


def test_a_type_that_is_only_named_like_a_wrapper_is_none() -> None:
    files = compile_proto(
        """syntax = "proto3"; package t; import "google/api/annotations.proto"; import "google/protobuf/type.proto";
        service S { rpc Get(google.protobuf.EnumValue) returns (google.protobuf.EnumValue) {
          option (google.api.http) = {get: "/v1/values/{name}"};
        } }"""
    )

    schemas = document(files, ["t.S"], INFO)["components"]["schemas"]

    assert schemas["google_protobuf_EnumValue"]["properties"].keys() == {"name", "number", "options"}
