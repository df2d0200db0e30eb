"""Path, query and body into one message: one value from one place, and nothing ignored."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.binding import Binding, Request
from server.transcoding.codec.message import Codecs
from server.transcoding.codec.nesting import Holders
from server.transcoding.media import JSON, LINES, Content, Kind
from server.transcoding.router import Match, Route, Router, routes_of
from server.transcoding.spelling import find_head
from server.transcoding.violation import MAX_VIOLATIONS, InvalidRequest, Refusal
from tests.unit.transcoding.kitchen import SERVICE, compile_proto, message, pool_of
from tests.unit.transcoding.kitchen_app import serve

PROTOBUF = Content(Kind.PROTOBUF, "application/x-protobuf")
PNG = Content(Kind.OTHER, "image/png")
INNER = "quota.inner."
LONG_INDEX = "9" * 5000
"""More digits than Python makes a number of."""
BAD_TIME = "has no JSON form: a Timestamp of 0 seconds and 1000000000 nanoseconds is no time from year 1 to 9999"

TAKER = pool_of(
    compile_proto("""
syntax = "proto3";
package t;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Color { COLOR_UNSPECIFIED = 0; COLOR_RED = 1; }
message M {
  int32 count = 1; int64 big = 2; bool flag = 3; Color color = 4; double ratio = 5; bytes octets = 6;
  optional int32 maybe = 7; google.protobuf.Timestamp at = 8; google.protobuf.Int64Value wrapped = 9;
  oneof pick { string left = 10; M right = 11; }
  string text = 12; M child = 13; repeated M many = 14; map<string, string> labels = 15; repeated bool flags = 16;
}
service Taker {
  rpc Take(M) returns (M) { option (google.api.http) = {
    get: "/count/{count}" additional_bindings {post: "/count/{count}" body: "*"}
    additional_bindings {get: "/big/{big}"} additional_bindings {get: "/flag/{flag}"}
    additional_bindings {get: "/color/{color}"} additional_bindings {get: "/ratio/{ratio}"}
    additional_bindings {get: "/octets/{octets}"} additional_bindings {get: "/maybe/{maybe}"}
    additional_bindings {get: "/at/{at}"} additional_bindings {get: "/wrapped/{wrapped}"}
    additional_bindings {get: "/left/{left}"} additional_bindings {get: "/child/{child.count}"}
    additional_bindings {get: "/text/{text=**}"} additional_bindings {post: "/two/{left}" body: "*"}
    additional_bindings {post: "/maybe/{maybe}" body: "*"} additional_bindings {post: "/at" body: "at"}
    additional_bindings {post: "/nested/{child.count}" body: "*"}
    additional_bindings {post: "/many" body: "many"} additional_bindings {post: "/labels" body: "labels"}
    additional_bindings {post: "/count" body: "count"} additional_bindings {post: "/child" body: "child"}
    additional_bindings {get: "/none"}
  }; }
  rpc TakeAny(google.protobuf.Struct) returns (M) { option (google.api.http) = {post: "/struct" body: "*"}; }
  rpc TakeValue(google.protobuf.Value) returns (M) { option (google.api.http) = {post: "/value" body: "*"}; }
  rpc Stream(stream M) returns (M) { option (google.api.http) = {post: "/stream" body: "*"}; }
}
""")
).FindServiceByName("t.Taker")
NEEDER = pool_of(
    compile_proto("""
syntax = "proto2";
package t2;
import "google/api/annotations.proto";
message M { required string the_name = 1; optional int32 count = 2; repeated M parts = 3; }
service Needer {
  rpc Need(M) returns (M) { option (google.api.http) = {
    post: "/need" body: "*" additional_bindings {get: "/need/{the_name}"} additional_bindings {get: "/need"}
  }; }
}
""")
).FindServiceByName("t2.Needer")
ESCAPER = pool_of(
    compile_proto("""
syntax = "proto3";
package t3;
import "google/api/annotations.proto";
message M { int32 sum = 1 [json_name = "a+b"]; int32 sign = 2 [json_name = "a%2Bb"]; }
service Escaper { rpc Escape(M) returns (M) { option (google.api.http) = {get: "/escape"}; } }
""")
).FindServiceByName("t3.Escaper")
ROUTES = tuple(routes_of(TAKER))
ROUTER = Router([*routes_of(SERVICE), *ROUTES, *routes_of(NEEDER), *routes_of(ESCAPER)])
CODECS = {service.file.pool: Codecs() for service in (SERVICE, TAKER, NEEDER, ESCAPER)}


def binding(method: str, path: str, *, ignores_unknown_query: bool = False) -> tuple[Binding, tuple[str, ...]]:
    """Find the binding of a method and path, with its captures."""
    match = ROUTER.match(method, path.encode().decode("latin-1"))
    assert isinstance(match, Match)
    codecs = CODECS[match.route.rpc.containing_service.file.pool]
    return Binding(match.route, codecs, ignores_unknown_query=ignores_unknown_query), match.captures


def request(method: str, target: str, body: str | bytes = "", content: Content = JSON) -> Request:
    """Make the request of a method, path and query."""
    path, _, query = target.partition("?")
    octets = body.encode() if isinstance(body, str) else body
    return Request(*binding(method, path), query.encode().decode("latin-1"), octets, content)


def shown(asked: Request) -> dict[str, Any]:
    """Bind a request and show its message in proto names."""
    return json_format.MessageToDict(asked(), preserving_proto_field_name=True)


def bound(method: str, target: str, body: str | bytes = "", content: Content = JSON) -> dict[str, Any]:
    """Bind the request of a method, path and query and show its message in proto names."""
    return shown(request(method, target, body, content))


def violations(asked: Request) -> list[tuple[str, str]]:
    """Bind a request that is invalid and return its violations."""
    with pytest.raises(InvalidRequest) as invalid:
        asked()
    return [(field, description) for field, description in invalid.value.violations]


def faults(method: str, target: str, body: str | bytes = "", content: Content = JSON) -> list[str]:
    """Bind a request that is invalid and return the fields at fault."""
    return [field for field, _ in violations(request(method, target, body, content))]


@pytest.mark.parametrize(
    ("method", "target", "body", "expected"),
    [
        # path
        ("GET", "/v1/books/moby%20dick", "", {"name": "moby dick"}),
        ("GET", "/v1/books/a%2Fb", "", {"name": "a/b"}),
        ("GET", "/v1/books/a+b", "", {"name": "a+b"}),
        ("GET", "/v1/shelves/1/books/a%2Fb%20c", "", {"name": "shelves/1/books/a%2Fb c"}),
        ("GET", "/v1/files/x/y", "", {"name": "x/y"}),
        ("POST", "/v1/books/a:burn", "", {"name": "a"}),
        ("POST", "/v1/books/a:burn", '{"name": "a"}', {"name": "a"}),
        ("POST", "/v1/books/a:burn", '{"name": ""}', {"name": "a"}),
        # query
        ("GET", "/v1/books", "", {}),
        ("GET", "/v1/books?query=a+b%2B&page_size=5", "", {"query": "a b+", "page_size": 5}),
        ("GET", "/v1/books?pageSize=5", "", {"page_size": 5}),
        ("GET", "/v1/books?tags=a&tags=b", "", {"tags": ["a", "b"]}),
        ("GET", "/v1/books?inner.nums=1&inner.nums=2", "", {"inner": {"nums": [1, 2]}}),
        ("GET", "/v1/books?inner.deepName=x", "", {"inner": {"deep_name": "x"}}),
        ("GET", "/v1/books?exact=1", "", {"exact": True}),
        ("GET", "/v1/books?exact=FALSE", "", {}),
        ("GET", "/v1/books?color=COLOR_RED", "", {"color": "COLOR_RED"}),
        ("GET", "/v1/books?color=2", "", {"color": "COLOR_GREEN"}),
        ("GET", "/v1/books?since=2020-01-01T00%3A00%3A00Z", "", {"since": "2020-01-01T00:00:00Z"}),
        ("GET", "/v1/books?big=9007199254740993", "", {"big": "9007199254740993"}),
        ("GET", "/v1/books?note=hi", "", {"note": "hi"}),
        ("GET", "/v1/books?page_size=&query=&tags=&&", "", {}),
        ("GET", "/v1/books/a?name=a", "", {"name": "a"}),
        # body
        ("PATCH", "/v1/shelves/1/books/2", "", {"book": {"name": "shelves/1/books/2"}}),
        ("PATCH", "/v1/books/a/title", '"x"', {"name": "a", "title": "x"}),
        ("PATCH", "/v1/books/a/title", "null", {"name": "a"}),
        ("POST", "/v1/sinks", '{"nums": []}', {}),
        ("POST", "/v1/sinks", "", {}),
        ("POST", "/many", '[{"count": 1}, {}]', {"many": [{"count": 1}, {}]}),
        ("POST", "/labels?flags=1&flags=f", '{"a": "b"}', {"labels": {"a": "b"}, "flags": [True, False]}),
        ("POST", "/count?right.text=x", "5", {"count": 5, "right": {"text": "x"}}),
        ("POST", "/at", '"2020-01-01T00:00:00Z"', {"at": "2020-01-01T00:00:00Z"}),
        ("POST", "/struct", '{"a": [1]}', {"a": [1.0]}),
        # octets beyond ASCII
        ("GET", "/v1/books/é?name=%C3%A9", "", {"name": "é"}),
        ("GET", "/v1/books?query=é+é", "", {"query": "é é"}),
        # no value of its own
        ("GET", "/none?text&&count=&flags", "", {}),
        ("GET", "/none?text=a;count=1", "", {"text": "a;count=1"}),
        ("GET", "/none?text=%26%3D+%2B=&", "", {"text": "&= +="}),
        ("GET", "/text", "", {}),
    ],
)  # fmt: skip
def test_a_request_becomes_a_message(method: str, target: str, body: str, expected: dict[str, Any]) -> None:
    assert bound(method, target, body) == expected


@pytest.mark.parametrize(
    ("method", "target", "body", "expected"),
    [
        # path
        ("GET", "/v1/books/%zz", "", ["name"]),
        ("GET", "/v1/books/%FF", "", ["name"]),
        ("GET", "/v1/books/a%00", "", ["name"]),
        # path against body and query
        ("POST", "/v1/books/a:burn", '{"name": "b"}', ["name"]),
        ("GET", "/v1/books/a?name=b", "", ["name"]),
        ("PATCH", "/v1/shelves/1/books/2", '{"name": "x"}', ["book.name"]),
        # query
        ("GET", "/v1/books?x=1", "", ["x"]),
        ("GET", "/v1/books?=1", "", [""]),
        ("GET", "/v1/books?inner.x=1", "", ["inner.x"]),
        ("GET", "/v1/books?query.x=1", "", ["query.x"]),
        ("GET", "/v1/books?inner=1", "", ["inner"]),
        ("GET", "/v1/books?labels=1&labels.a=1", "", ["labels", "labels.a"]),
        ("GET", "/v1/books?inners=1&inners.nums=1", "", ["inners", "inners.nums"]),
        ("GET", "/v1/books?page_size=1&page_size=1", "", ["page_size"]),
        ("GET", "/v1/books?page_size=1&pageSize=1", "", ["pageSize"]),
        ("GET", "/v1/books?pageSize=one", "", ["pageSize"]),
        ("GET", "/v1/books?page_size=2147483648", "", ["page_size"]),
        ("GET", "/v1/books?exact=yes", "", ["exact"]),
        ("GET", "/v1/books?color=9", "", ["color"]),
        ("GET", "/v1/books?since=now", "", ["since"]),
        ("GET", "/v1/books?query=%zz&%zz=1", "", ["query", "%zz"]),
        ("GET", "/v1/books?one=1&two=2", "", ["two"]),
        ("POST", "/v1/sinks?a_string=x", "{}", ["a_string"]),
        ("PATCH", "/v1/shelves/1/books/2?book.title=x", "{}", ["book.title"]),
        ("GET", "/v1/books?" + ".".join(["inner"] * 200) + "=1", "", [(".".join(["inner"] * 200))[:200] + "…"]),
        # body
        ("GET", "/v1/books", "{}", ["body"]),
        ("DELETE", "/v1/books/a", "x", ["body"]),
        ("POST", "/v1/sinks", " ", ["body"]),
        ("PATCH", "/v1/shelves/1/books/2", '{"pageCount": "x", "quota": {"y": 1}}', ["book.pageCount", "book.quota.y"]),
        ("PATCH", "/v1/shelves/1/books/2", "[]", ["book"]),
        ("PATCH", "/v1/shelves/1/books/2", "{", ["book"]),
        (
            "GET",
            "/none?right=1&many=1&many.count=1&labels=1&labels.a=1&at.seconds=1",
            "",
            ["right", "many", "many.count", "labels", "labels.a", "at.seconds"],
        ),
        ("GET", "/none?left=a&right.count=1", "", ["right.count"]),
        ("GET", "/none?nothing&count&=&no+thing=1", "", ["nothing", "", "no thing"]),
        ("GET", "/none?count=1;big=2", "", ["count"]),
        ("POST", "/count/1?count=1&x=1", "", ["count", "x"]),
        ("POST", "/child?child=1", "", ["child"]),
        ("POST", "/child?child.count=1", "", ["child.count"]),
        ("POST", "/struct", "[]", ["body"]),
        ("POST", "/many", '[{"count": "x"}, {"y": 1}]', ["many[0].count", "many[1].y"]),
        # everything at once
        ("PATCH", "/v1/books/%zz?x=1", '{"title": 1}', ["title", "x", "name"]),
    ],
)
def test_what_does_not_fit_is_named(method: str, target: str, body: str, expected: list[str]) -> None:
    assert faults(method, target, body) == expected


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        ("/count/0?count=0", "", {}),
        ("/count/5?count=5.0", "", {"count": 5}),
        ("/count/5?count=", "", {"count": 5}),
        ("/big/9007199254740993?big=9007199254740993", "", {"big": "9007199254740993"}),
        ("/flag/true?flag=1", "", {"flag": True}),
        ("/flag/0?flag=false", "", {}),
        ("/color/COLOR_RED?color=1", "", {"color": "COLOR_RED"}),
        ("/color/0?color=COLOR_UNSPECIFIED", "", {}),
        ("/ratio/1e1?ratio=10", "", {"ratio": 10.0}),
        ("/ratio/-0?ratio=0", "", {}),
        ("/octets/_w?octets=/w==", "", {"octets": "/w=="}),
        ("/maybe/0?maybe=0", "", {"maybe": 0}),
        ("/at/2020-01-01T00:00:00Z?at=2020-01-01T01:00:00%2B01:00", "", {"at": "2020-01-01T00:00:00Z"}),
        ("/wrapped/0?wrapped=0", "", {"wrapped": "0"}),
        ("/left/a?left=a", "", {"left": "a"}),
        ("/child/1?child.count=1&child.text=x", "", {"child": {"count": 1, "text": "x"}}),
        ("/text/a/b?text=a/b", "", {"text": "a/b"}),
        ("/count/0", '{"count": 0}', {}),
        ("/count/5", '{"count": "5"}', {"count": 5}),
        ("/count/5", '{"count": 0, "text": "x"}', {"count": 5, "text": "x"}),
        ("/two/a", '{"left": "a"}', {"left": "a"}),
        ("/maybe/0", '{"maybe": 0}', {"maybe": 0}),
        ("/nested/1", '{"child": {"text": "x"}}', {"child": {"count": 1, "text": "x"}}),
    ],
)
def test_a_value_may_be_given_twice_when_it_is_equal(target: str, body: str, expected: dict[str, Any]) -> None:
    assert bound("POST" if body else "GET", target, body) == expected


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        ("/count/5?count=0", "", "count"),
        ("/count/0?count=5", "", "count"),
        ("/big/9007199254740993?big=9007199254740992", "", "big"),
        ("/flag/true?flag=0", "", "flag"),
        ("/flag/false?flag=1", "", "flag"),
        ("/color/COLOR_RED?color=0", "", "color"),
        ("/maybe/1?maybe=0", "", "maybe"),
        ("/at/2020-01-01T00:00:00Z?at=2020-01-01T01:00:00Z", "", "at"),
        ("/wrapped/1?wrapped=0", "", "wrapped"),
        ("/left/a?left=b", "", "left"),
        ("/child/1?child.count=2", "", "child.count"),
        ("/text?text=a", "", "text"),
        ("/text/a%2Fb?text=a/b", "", "text"),
        ("/count/5", '{"count": 6}', "count"),
        ("/count/0", '{"count": 6}', "count"),
        ("/maybe/1", '{"maybe": 0}', "maybe"),
        ("/two/a", '{"left": ""}', "left"),
        ("/nested/1", '{"child": {"count": 2}}', "child.count"),
    ],
)
def test_a_value_given_twice_must_be_equal(target: str, body: str, expected: str) -> None:
    asked = request("POST" if body else "GET", target, body)

    assert violations(asked) == [(expected, "differs from the value in the path")]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [("GET", "/left/a?right.count=1", ""), ("POST", "/two/a", '{"right": {"count": 1}}')],
)
def test_a_path_may_not_set_another_member_of_a_oneof(method: str, target: str, body: str) -> None:
    assert violations(request(method, target, body)) == [("left", "cannot be given together with right")]


@pytest.mark.parametrize(
    ("target", "body", "content", "expected"),
    [
        ("/v1/sinks", message("Sink")(a_string="x").SerializeToString(), PROTOBUF, {"a_string": "x"}),
        ("/v1/sinks", b"", PROTOBUF, {}),
        ("/child", b"\x08\x05", PROTOBUF, {"child": {"count": 5}}),
        ("/child", b"", PROTOBUF, {"child": {}}),
        ("/child?text=x", b"", JSON, {"text": "x"}),
        ("/at", b"\x08\x01", PROTOBUF, {"at": "1970-01-01T00:00:01Z"}),
        ("/count/5", b"\x08\x05", PROTOBUF, {"count": 5}),
        ("/count/5", b"\x62\x01x", PROTOBUF, {"count": 5, "text": "x"}),
        ("/v1/reflect", b"{", JSON, {"content_type": "application/json", "data": "ew=="}),
        ("/v1/reflect", b"\xff", PNG, {"content_type": "image/png", "data": "/w=="}),
        ("/v1/reflect", b"\xff", Content(Kind.JSON, ""), {"data": "/w=="}),
        ("/v1/reflect", b"", Content(Kind.JSON, ""), {}),
        ("/v1/reflect", b"", PNG, {"content_type": "image/png"}),
        ("/v1/books/a:upload?note=x", b"\xff", PROTOBUF,
            {"name": "a", "note": "x", "file": {"content_type": "application/x-protobuf", "data": "/w=="}}),
        ("/v1/books/a:upload", b"", Content(Kind.JSON, ""), {"name": "a"}),
    ],
)  # fmt: skip
def test_a_body_may_be_protobuf_or_raw(target: str, body: bytes, content: Content, expected: dict[str, Any]) -> None:
    assert bound("POST", target, body, content) == expected


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        ("/v1/sinks", b"\xff", [("body", "is not a valid protobuf message kitchen.v1.Sink")]),
        ("/child", b"\x62\x01\xff", [("body", "is not a valid protobuf message t.M")]),
        ("/count/6", b"\x08\x05", [("count", "differs from the value in the path")]),
        ("/count/x?y=1", b"\xff", [("body", "is not a valid protobuf message t.M"), ("y", "is not a known field"),
            ("count", "must be an integer")]),
        ("/count", b"\x08\x05", [("count", "is not valid JSON at line 1, column 1")]),
        ("/at", b"\x10\x80\x94\xeb\xdc\x03", [("at", BAD_TIME)]),
        ("/child", b"\x42\x06\x10\x80\x94\xeb\xdc\x03", [("child.at", BAD_TIME)]),
        ("/count/5", b"\x42\x06\x10\x80\x94\xeb\xdc\x03", [("at", BAD_TIME)]),
        ("/count/6", b"\x08\x05\x42\x06\x10\x80\x94\xeb\xdc\x03",
            [("at", BAD_TIME), ("count", "differs from the value in the path")]),
        ("/struct", b"\x0a\x03\x0a\x01a", [('fields["a"]', "has no JSON form: a Value must be of some kind")]),
        ("/value", b"\x11" + b"\xff" * 8,
            [("body", "has no JSON form: a Value cannot hold a number that is not finite")]),
    ],
)  # fmt: skip
def test_a_protobuf_body_that_does_not_fit_is_refused(target: str, body: bytes, expected: list[Any]) -> None:
    assert violations(request("POST", target, body, PROTOBUF)) == expected


async def test_what_could_not_be_given_back_in_json_is_the_mistake_of_the_client() -> None:
    sink = message("Sink")(a_string="x")
    sink.children.add().time.nanos = 10**9
    protobuf = [("content-type", PROTOBUF.written)]

    response = await serve().send("POST", "/v1/sinks", sink.SerializeToString(), protobuf)

    assert response.status == 400
    assert response.json()["violations"] == [{"field": "children[0].time", "description": BAD_TIME}]


@pytest.mark.parametrize(
    ("method", "target", "body", "content", "expected"),
    [
        ("GET", "/need", "", JSON, [("the_name", "is required")]),
        ("GET", "/need?theName=", "", JSON, [("theName", "is required")]),
        ("GET", "/need?count=x", "", JSON, [("count", "must be an integer")]),
        ("POST", "/need", "{}", JSON, [("theName", "is required")]),
        ("POST", "/need", '{"the_name": "a", "parts": [{"count": 1}]}', JSON, [("parts[0].theName", "is required")]),
        ("POST", "/need", b"\x10\x01", PROTOBUF, [("the_name", "is required")]),
    ],
)
def test_a_required_field_must_be_given(
    method: str, target: str, body: str | bytes, content: Content, expected: list[tuple[str, str]]
) -> None:
    assert violations(request(method, target, body, content)) == expected


def test_a_required_field_may_come_from_anywhere() -> None:
    assert bound("GET", "/need/a") == bound("GET", "/need?the_name=a") == bound("POST", "/need", '{"theName": "a"}')


def test_a_get_takes_no_protobuf_body_either() -> None:
    assert faults("GET", "/none", b"\x08\x05", PROTOBUF) == ["body"]


@pytest.mark.parametrize(
    ("method", "path", "kinds"),
    [
        ("POST", "/v1/sinks", {Kind.JSON, Kind.PROTOBUF}),
        ("POST", "/child", {Kind.JSON, Kind.PROTOBUF}),
        ("POST", "/at", {Kind.JSON, Kind.PROTOBUF}),
        ("POST", "/count", {Kind.JSON}),
        ("POST", "/many", {Kind.JSON}),
        ("POST", "/labels", {Kind.JSON}),
        ("POST", "/stream", {Kind.JSON, Kind.PROTOBUF, Kind.LINES}),
        ("GET", "/none", set(Kind)),
        ("POST", "/v1/reflect", set(Kind)),
        ("POST", "/v1/books/a:upload", set(Kind)),
    ],
)
def test_a_route_knows_which_bodies_it_takes(method: str, path: str, kinds: set[Kind]) -> None:
    asked, _ = binding(method, path)

    assert {kind for kind in Kind if asked.takes(kind)} == kinds


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/none?nothing=1&child.nothing=1&count.x=1&=1&count=5", {"count": 5}),
        ("POST", "/count/5?nothing=1", {"count": 5}),
    ],
)
def test_unknown_parameters_can_be_ignored(method: str, target: str, expected: dict[str, Any]) -> None:
    path, _, query = target.partition("?")

    assert shown(Request(*binding(method, path, ignores_unknown_query=True), query, b"")) == expected


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        (
            "GET",
            "/none?right=1&many.count=1&labels.a=1&at.seconds=1",
            ["right", "many.count", "labels.a", "at.seconds"],
        ),
        ("GET", "/none?count=1&count=1&big=x&%zz=1&text=%zz", ["count", "big", "%zz", "text"]),
        ("GET", "/count/5?count=6", ["count"]),
        ("POST", "/count/5?text=x", ["text"]),
        ("POST", "/child?child.text=x", ["child.text"]),
    ],
)
def test_nothing_else_is_ignored_then(method: str, target: str, expected: list[str]) -> None:
    path, _, query = target.partition("?")
    asked = Request(*binding(method, path, ignores_unknown_query=True), query, b"")

    assert [field for field, _ in violations(asked)] == expected


def test_names_of_parameters_are_remembered_up_to_a_limit() -> None:
    found, _ = binding("GET", "/none")
    for depth in range(80):
        for name in ("child.", "right."):
            for last in ("count", "text", "big", "flag"):
                Request(found, (), f"{name * depth}{last}=1", b"")()

    assert len(found._parameters) == 256
    assert shown(Request(found, (), "right.text=x", b"")) == {"right": {"text": "x"}}


def test_a_name_is_remembered_as_it_was_sent() -> None:
    found, _ = binding("GET", "/escape")
    for _ in range(2):
        assert shown(Request(found, (), "a%2Bb=1", b"")) == {"sum": 1}
        assert shown(Request(found, (), "a%252Bb=1", b"")) == {"sign": 1}
        assert violations(Request(found, (), "a+b=1", b"")) == [("a b", "is not a known field")]


def test_what_can_be_unwritable_is_found_out_at_start_and_once_for_all_routes() -> None:
    codecs, looked_at = Codecs(), Counter[str]()

    def look(kind: Descriptor) -> bool:
        looked_at[kind.full_name] += 1
        return kind.full_name == "google.protobuf.Timestamp"

    codecs.search.suspects = Holders(look)
    bindings = [Binding(route, codecs) for route in ROUTES]
    at_start = looked_at.copy()
    for found in bindings:
        if found.route.body == "child":
            assert violations(Request(found, (), "", b"\x42\x06\x10\x80\x94\xeb\xdc\x03", PROTOBUF)) == [
                ("child.at", BAD_TIME)
            ]

    assert {found._search for found in bindings} == {codecs.search, None}
    assert looked_at == at_start
    assert set(looked_at.values()) == {1}


def test_a_refusal_comes_before_everything_else() -> None:
    refusal = Refusal(413, "PAYLOAD_TOO_LARGE", "The body is too large.")
    asked = Request(*binding("GET", "/none"), "nothing=1", b"x", JSON, refusal)

    for _ in range(2):
        with pytest.raises(Refusal) as raised:
            asked()
        assert raised.value is refusal


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        ("/v1/books/a", "", []),
        ("/v1/books/a", "{}", []),
        ("/v1/books/a", '{"title": "x"}', ["title"]),
        ("/v1/books/a", '{"name": "a", "title": ""}', ["title"]),
        ("/v1/books/a", '{"title": null}', ["title"]),
        ("/v1/books/a", '{"quota": {"inner": {"deepName": "x"}}}', ["quota.inner.deep_name"]),
        ("/v1/books/a", '{"quota": {"inner": {"nums": [], "deepName": null}}}', [INNER + "nums", INNER + "deep_name"]),
        ("/v1/books/a", '{"quota": {}}', ["quota"]),
        ("/v1/books/a", '{"title": "x", "updateMask": "quota"}', ["quota"]),
        ("/v1/books/a", '{"title": "x", "update_mask": null}', ["title"]),
        ("/v1/shelves/1/books/2", '{"pageCount": 1, "tags": [], "name": "shelves/1/books/2"}', ["page_count", "tags"]),
        ("/v1/shelves/1/books/2", '{"publishedAt": "2020-01-01T00:00:00Z"}', ["published_at"]),
        ("/v1/books/a/title", '"x"', []),
        ("/v1/shelves/1/books/2?update_mask=title", '{"pageCount": 1}', ["title"]),
    ],
)  # fmt: skip
def test_a_patch_without_a_mask_means_the_fields_its_body_names(
    target: str, body: str, expected: Iterable[str]
) -> None:
    message: Any = request("PATCH", target, body)()

    assert list(message.update_mask.paths) == expected


@pytest.mark.parametrize(
    ("method", "target", "body", "field", "spelled"),
    [
        ("POST", "/v1/sinks", '{"a_string": "x"}', "a_string", "a_string"),
        ("POST", "/v1/sinks", '{"aString": "x"}', "a_string", "aString"),
        ("POST", "/v1/sinks", "{}", "a_string", "aString"),
        ("POST", "/v1/sinks", "{}", "renamed", "otherName"),
        ("POST", "/v1/sinks", '{"nums": [1]}', "nums[0]", "nums[0]"),
        ("POST", "/v1/sinks", '{"child": {"a_string": ""}}', "child.a_string", "child.a_string"),
        ("POST", "/v1/sinks", '{"child": {"aString": ""}}', "child.a_string", "child.aString"),
        ("POST", "/v1/sinks", '{"children": [{}, {"a_bool": true}]}', "children[1].a_bool", "children[1].a_bool"),
        ("POST", "/v1/sinks", '{"children": [{}, {"a_bool": true}]}', "children[0].a_bool", "children[0].aBool"),
        ("POST", "/v1/sinks", "{}", 'labels["a.b"]', 'labels["a.b"]'),
        ("POST", "/v1/sinks", '{"nums": [1]}', f"nums[{LONG_INDEX}]", f"nums[{LONG_INDEX}]"),
        (
            "POST",
            "/v1/sinks",
            '{"children": [{"a_bool": 1}]}',
            f"children[{LONG_INDEX}].a_bool",
            f"children[{LONG_INDEX}].aBool",
        ),
        ("POST", "/v1/sinks", "{}", "x-api-key", "x-api-key"),
        ("POST", "/v1/sinks", "{}", "no_field.a_string", "no_field.a_string"),
        ("POST", "/v1/sinks", "{}", "child.no_field", "child.no_field"),
        ("POST", "/v1/sinks", "{}", "child[", "child["),
        ("POST", "/v1/sinks", "[]", "a_string", "aString"),
        ("POST", "/v1/sinks", "{}", "", ""),
        ("GET", "/v1/books?pageSize=1", "", "page_size", "pageSize"),
        ("GET", "/v1/books?page_size=1", "", "page_size", "page_size"),
        ("GET", "/v1/books", "", "page_size", "page_size"),
        ("GET", "/v1/books?inner.deepName=1", "", "inner.deep_name", "inner.deepName"),
        ("GET", "/v1/books?tags=1", "", "tags[0]", "tags[0]"),
        ("PATCH", "/v1/shelves/1/books/2", '{"page_count": 1}', "book.page_count", "book.page_count"),
        ("PATCH", "/v1/shelves/1/books/2", "{}", "book.page_count", "book.pageCount"),
        ("PATCH", "/v1/shelves/1/books/2?allowMissing=1", "{}", "allow_missing", "allowMissing"),
        ("POST", "/v1/books/a:burn", "{}", "name", "name"),
        ("POST", "/nested/1", "{}", "child.count", "child.count"),
        ("POST", "/nested/1", '{"child": {"text": "x"}}', "child.count", "child.count"),
        ("POST", "/count?right.maybe=1", "1", "count", "count"),
        ("POST", "/count?right.maybe=1", "1", "right.maybe", "right.maybe"),
        ("POST", "/count?right.maybe=1", "1", "text", "text"),
    ],
)
def test_a_field_is_spelled_as_the_client_wrote_it(
    method: str, target: str, body: str, field: str, spelled: str
) -> None:
    asked = request(method, target, body)
    with suppress(InvalidRequest):
        asked()

    assert asked.spelled(field) == spelled
    assert asked.spelled(spelled) == spelled


@pytest.mark.parametrize(
    ("field", "paths", "head"),
    [
        ("a.b[0].c", ["a", "a.b", "a.b[0].c.d"], "a.b"),
        ("a.b[0].c", ["a.b[0].c", "a.b", "a"], "a.b[0].c"),
        ("a[0]", ["a"], "a"),
        ("ab.c", ["a"], None),
        ("a", ["ab", "a.b"], None),
        ("a", [], None),
        ("", ["a"], None),
        ('a["' + "." * 100_000 + '"]', ["b", "a"], "a"),
    ],
)
def test_the_longest_of_the_parameters_over_a_field_is_its_head(field: str, paths: list[str], head: str | None) -> None:
    assert find_head(field, paths) == head


def test_missing_fields_are_told_up_to_the_limit() -> None:
    parts = ",".join(["{}"] * 1000)
    expected = [f"parts[{index}].theName" for index in range(MAX_VIOLATIONS)]

    assert faults("POST", "/need", f'{{"theName": "x", "parts": [{parts}]}}') == expected


def test_a_client_that_speaks_protobuf_reads_the_names_of_the_proto() -> None:
    asked = request("PATCH", "/v1/shelves/1/books/2?allowMissing=1", b"", PROTOBUF)
    asked()

    assert asked.spelled("book.page_count") == "book.page_count"
    assert asked.spelled("allow_missing") == "allowMissing"


def test_a_line_of_a_stream_is_bound_with_its_path_and_query() -> None:
    asked = request("POST", "/v1/books:import", '{"title": "x"}', LINES)

    assert shown(asked) == {"title": "x"}


_FIELDS = st.sampled_from([field.name for field in TAKER.methods_by_name["Take"].input_type.fields])
_TEXT = st.text(st.sampled_from("=&%+.;0159aftE-") | st.characters(max_codepoint=255), max_size=6)
_PAIRS = st.lists(st.tuples(_FIELDS | _TEXT, _TEXT), max_size=4)
_ROUTES = [route for route in ROUTES if len(route.template.variables) == 1]


@given(st.sampled_from(_ROUTES), _TEXT, _PAIRS, st.binary(max_size=12), st.sampled_from([JSON, PROTOBUF, PNG]))
@settings(deadline=None)
def test_anything_is_bound_or_refused(
    route: Route, capture: str, pairs: list[tuple[str, str]], body: bytes, content: Content
) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs)
    asked = Request(Binding(route, CODECS[TAKER.file.pool]), (capture,), query, body, content)

    with suppress(InvalidRequest):
        assert asked().SerializeToString() is not None


def test_a_request_is_bound_once() -> None:
    asked = request("GET", "/v1/books/a")

    assert asked() is asked()
