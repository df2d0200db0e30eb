"""Path, query and body into one message: one value from one place, and nothing ignored."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf import json_format

from server.transcoding.binding import Binding, Request
from server.transcoding.codec.message import Codecs
from server.transcoding.router import Match, Router, routes_of
from server.transcoding.violation import InvalidRequest
from tests.unit.transcoding.kitchen import SERVICE

ROUTER = Router(routes_of(SERVICE))
CODECS = Codecs()
INNER = "quota.inner."


def request(method: str, target: str, body: str = "") -> Request:
    """Make the request of a method, path and query."""
    path, _, query = target.partition("?")
    match = ROUTER.match(method, path)
    assert isinstance(match, Match)
    return Request(Binding(match.route, CODECS), match.captures, query, body.encode())


def bound(method: str, target: str, body: str = "") -> dict[str, Any]:
    """Bind a request and show its message in proto names."""
    return json_format.MessageToDict(request(method, target, body)(), preserving_proto_field_name=True)


def faults(method: str, target: str, body: str = "") -> list[str]:
    """Bind a request that is invalid and return the fields at fault."""
    with pytest.raises(InvalidRequest) as invalid:
        request(method, target, body)()
    return [violation.field for violation in invalid.value.violations]


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
        # everything at once
        ("PATCH", "/v1/books/%zz?x=1", '{"title": 1}', ["title", "x", "name"]),
    ],
)
def test_what_does_not_fit_is_named(method: str, target: str, body: str, expected: list[str]) -> None:
    assert faults(method, target, body) == expected


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


def test_a_request_is_bound_once() -> None:
    asked = request("GET", "/v1/books/a")

    assert asked() is asked()
