"""What the document says of bodies that are not one JSON document, and of what requests and errors may hold."""

from typing import Any

from server.transcoding.openapi.document import Header, Info, document
from tests.unit.transcoding.kitchen import FILES, compile_proto

INFO = Info(title="Kitchen", version="1")
KITCHEN = document(FILES, ["kitchen.v1.Kitchen"], INFO)
NAME = "kitchen.v1.Kitchen"
REF = "#/components/schemas/kitchen_v1_"


def operation(verb: str, path: str) -> Any:
    return KITCHEN["paths"][path][verb]


def test_a_stream_comes_in_three_forms() -> None:
    content = operation("get", "/v1/books:watch")["responses"]["200"]["content"]

    book = {"$ref": f"{REF}Book"}
    assert content == {
        "application/x-ndjson": {"schema": book},
        "text/event-stream": {"schema": book},
        "application/json": {"schema": {"type": "array", "items": book}},
    }


def test_a_stream_of_requests_is_lines() -> None:
    imports = operation("post", "/v1/books:import")

    assert imports["requestBody"]["content"] == {"application/x-ndjson": {"schema": {"$ref": f"{REF}Book"}}}
    assert imports["responses"]["200"]["content"].keys() == {"application/json"}


def test_raw_bytes_are_of_any_type() -> None:
    anything: Any = {"*/*": {}}
    assert operation("get", "/v1/books/{name}:download")["responses"]["200"]["content"] == anything
    assert operation("get", "/v1/books:download")["responses"]["200"]["content"] == anything
    assert operation("post", "/v1/books/{name}:upload")["requestBody"]["content"] == anything
    assert operation("post", "/v1/reflect")["requestBody"]["content"] == anything


def test_messages_of_requests_alone_take_no_other_fields() -> None:
    schemas = KITCHEN["components"]["schemas"]

    assert schemas["kitchen_v1_PatchBookRequest"]["additionalProperties"] is False
    for answered_too in ("kitchen_v1_Book", "kitchen_v1_Sink", "kitchen_v1_Inner", "Error"):
        assert "additionalProperties" not in schemas[answered_too]


def test_errors_may_have_details() -> None:
    for name in ("Error", "ValidationError"):
        details = KITCHEN["components"]["schemas"][name]["properties"]["details"]
        assert details["items"]["properties"]["@type"] == {"type": "string"}
        assert "details" not in KITCHEN["components"]["schemas"][name].get("required", ())


def test_anonymous_services_take_no_token_and_no_headers() -> None:
    described = document(
        FILES,
        ["kitchen.v1.Kitchen"],
        INFO,
        headers=[Header(name="X-Tenant", description="d")],
        anonymous=[NAME],
    )
    titles = described["paths"]["/v1/books:titles"]["get"]

    assert titles["security"] == []
    assert "header" not in {parameter["in"] for parameter in titles["parameters"]}


def test_a_header_may_have_an_example_and_a_number_may_be_in_a_path() -> None:
    files = compile_proto(
        'syntax = "proto3"; package t; import "google/api/annotations.proto"; message M { int32 id = 1; M m = 2;'
        ' repeated M ms = 3; } service S { rpc R(M) returns (M) { option (google.api.http) = {get: "/{id}"}; } }'
    )
    described = document(files, ["t.S"], INFO, headers=[Header(name="X-A", description="d", example="e")])

    header, number = described["paths"]["/{id}"]["get"]["parameters"]
    assert header["schema"] == {"type": "string", "example": "e"}
    assert number["schema"] == {"type": "integer", "format": "int32"}


def test_query_parameters_of_messages_that_hold_one_another_have_an_end() -> None:
    names = [f"M{number}" for number in range(9)]
    fields = " ".join(f"{name} m{number} = {number + 2};" for number, name in enumerate(names))
    messages = " ".join(f"message {name} {{ string id = 1; {fields} }}" for name in names)
    files = compile_proto(
        f'syntax = "proto3"; package t; import "google/api/annotations.proto"; {messages}'
        ' service S { rpc R(M0) returns (M0) { option (google.api.http) = {get: "/a"}; } }'
    )

    parameters = document(files, ["t.S"], INFO)["paths"]["/a"]["get"]["parameters"]

    assert len(parameters) == 200
    assert max(parameter["name"].count(".") for parameter in parameters) == 3


def test_methods_that_openapi_has_no_place_for_are_left_out() -> None:
    files = compile_proto(
        'syntax = "proto3"; package t; import "google/api/annotations.proto"; message M {} service S {'
        ' rpc R(M) returns (M) { option (google.api.http) = {custom: {kind: "PURGE" path: "/a"} '
        ' additional_bindings {custom: {kind: "HEAD" path: "/a"}}}; } }'
    )

    assert document(files, ["t.S"], INFO)["paths"].keys() == {"/a"}
    assert document(files, ["t.S"], INFO)["paths"]["/a"].keys() == {"head"}
