"""Update masks: given ones are checked, absent ones inferred from the body."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.binding import Binding, Request
from server.transcoding.codec.message import Codecs
from server.transcoding.mask import faults_of, find_mask, mask_field, named_paths
from server.transcoding.media import JSON, Content, Kind
from server.transcoding.router import Match, Router, routes_of
from server.transcoding.violation import InvalidRequest
from tests.unit.transcoding.kitchen import compile_proto, descriptor, message, pool_of

PROTOBUF = Content(Kind.PROTOBUF, "application/x-protobuf")
SERVICE = pool_of(
    compile_proto("""
syntax = "proto3";
package t;
import "google/api/annotations.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";
message Part { string title = 1; Part inner = 2; }
message Thing {
  string name = 1; string other_name = 2; Part part = 3; repeated Part parts = 4; map<string, Part> by_name = 5;
  google.protobuf.Timestamp at = 6;
}
message Ask {
  string name = 1; Thing thing = 2; google.protobuf.FieldMask the_mask = 3; repeated Thing things = 4; string text = 5;
  google.protobuf.Timestamp at = 6; repeated google.protobuf.FieldMask masks = 7;
}
message Two { google.protobuf.FieldMask one = 1; google.protobuf.FieldMask two = 2; }
service S {
  rpc Change(Ask) returns (Ask) { option (google.api.http) = {
    patch: "/all/{name}" body: "*" additional_bindings {patch: "/thing/{name}" body: "thing"}
    additional_bindings {patch: "/named/{thing.name}" body: "thing"}
    additional_bindings {patch: "/things" body: "things"} additional_bindings {patch: "/text" body: "text"}
    additional_bindings {patch: "/at" body: "at"} additional_bindings {patch: "/mask" body: "the_mask"}
    additional_bindings {patch: "/none"} additional_bindings {put: "/all/{name}" body: "*"}
  }; }
  rpc ChangeTwo(Two) returns (Two) { option (google.api.http) = {patch: "/two" body: "*"}; }
}
""")
).FindServiceByName("t.S")
ROUTES = tuple(routes_of(SERVICE))
ROUTER = Router(ROUTES)
CODECS = Codecs()
THING = SERVICE.file.message_types_by_name["Thing"]


def request(method: str, target: str, body: str | bytes, content: Content = JSON) -> Request:
    """Make the request of a method, path and query."""
    path, _, query = target.partition("?")
    match = ROUTER.match(method, path)
    assert isinstance(match, Match)
    octets = body.encode() if isinstance(body, str) else body
    return Request(Binding(match.route, CODECS), match.captures, query, octets, content)


def paths(target: str, body: str | bytes, content: Content = JSON, method: str = "PATCH") -> list[str]:
    """Bind a request and return the paths of its mask."""
    bound: Any = request(method, target, body, content)()
    return list(bound.the_mask.paths)


def refused(target: str, body: str | bytes, content: Content = JSON) -> list[tuple[str, str]]:
    """Bind a PATCH that is invalid and return its violations."""
    with pytest.raises(InvalidRequest) as invalid:
        request("PATCH", target, body, content)()
    return [(field, description) for field, description in invalid.value.violations]


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        ("/all/a", '{"text": "x"}', ["text"]),
        ("/all/a", '{"name": "a", "theMask": "", "text": null}', ["text"]),
        ("/all/a", '{"thing": {"otherName": "x", "part": {"inner": {}}}}', ["thing.other_name", "thing.part.inner"]),
        ("/all/a", '{"things": [{"name": "x"}], "at": "2020-01-01T00:00:00Z"}', ["things", "at"]),
        ("/all/a", "{}", []),
        ("/all/a", "", []),
        ("/thing/a", '{"name": "x", "byName": {"x": {}}}', ["name", "by_name"]),
        ("/thing/a", '{"name": "x", "parts": []}', ["name", "parts"]),
        ("/thing/a", "null", []),
        ("/named/a", '{"name": "a", "otherName": ""}', ["other_name"]),
        ("/named/a?theMask=name", '{"otherName": "x"}', ["name"]),
        ("/things", '[{"name": "x"}]', []),
        ("/text", '"x"', []),
        ("/at", '"2020-01-01T00:00:00Z"', []),
        ("/none?text=x", "", []),
    ],
)
def test_a_mask_is_inferred_from_what_the_body_names(target: str, body: str, expected: list[str]) -> None:
    assert paths(target, body) == expected


def test_only_a_patch_infers_a_mask() -> None:
    assert paths("/all/a", '{"text": "x"}', method="PUT") == []


def test_a_protobuf_body_names_nothing() -> None:
    assert paths("/all/a", b"\x2a\x01x", PROTOBUF) == []
    assert paths("/all/a", b"\x2a\x01x\x1a\x06\x0a\x04text", PROTOBUF) == ["text"]


def test_a_request_with_two_masks_has_none_of_its_own() -> None:
    bound: Any = request("PATCH", "/two", '{"one": "anything"}')()

    assert (list(bound.one.paths), list(bound.two.paths)) == (["anything"], [])


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        ("/all/a", '{"theMask": "thing.otherName,text,text"}', ["thing.other_name", "text", "text"]),
        ("/all/a", '{"theMask": "*"}', ["*"]),
        ("/all/a", '{"theMask": "things,thing.byName,thing.parts,thing.part.inner.inner"}',
            ["things", "thing.by_name", "thing.parts", "thing.part.inner.inner"]),
        ("/thing/a?theMask=otherName,part.title", '{"name": "x"}', ["other_name", "part.title"]),
        ("/thing/a?the_mask=other_name", "", ["other_name"]),
        ("/things?theMask=anything", "[]", ["anything"]),
        ("/text?theMask=anything", '"x"', ["anything"]),
        ("/mask", '"anything"', ["anything"]),
        ("/none?theMask=anything", "", ["anything"]),
    ],
)  # fmt: skip
def test_a_given_mask_stays_as_it_is(target: str, body: str, expected: list[str]) -> None:
    assert paths(target, body) == expected


@pytest.mark.parametrize(
    ("target", "body", "field", "words"),
    [
        ("/all/a", '{"theMask": "nothing"}', "theMask", ["names 'nothing', which is not a known field"]),
        ("/all/a", '{"the_mask": "x.y,text,z"}', "the_mask",
            ["names 'x.y', which is not a known field", "names 'z', which is not a known field"]),
        ("/all/a", '{"theMask": "things.name"}', "theMask", ["names 'things.name', which is not a known field"]),
        ("/all/a", '{"theMask": "thing.byName.x"}', "theMask", ["names 'thing.by_name.x', which is not a known field"]),
        ("/all/a", '{"theMask": "text.x"}', "theMask", ["names 'text.x', which is not a known field"]),
        ("/all/a", '{"theMask": "*,text"}', "theMask", ["names * beside other paths, where it must be alone"]),
        ("/thing/a?theMask=text", "{}", "theMask", ["names 'text', which is not a known field"]),
        ("/thing/a?the_mask=thing.name", "", "the_mask", ["names 'thing.name', which is not a known field"]),
    ],
)  # fmt: skip
def test_a_mask_must_fit_what_the_body_updates(target: str, body: str, field: str, words: list[str]) -> None:
    assert refused(target, body) == [(field, description) for description in words]


def test_a_mask_of_a_protobuf_body_is_checked_under_its_own_name() -> None:
    assert refused("/all/a", b"\x1a\x07\x0a\x05\xc3\xa9.\n ", PROTOBUF) == [
        ("the_mask", "names '\\xe9.\\n ', which is not a known field")
    ]


def test_a_bad_mask_is_told_with_all_other_faults() -> None:
    assert refused("/all/%zz", '{"theMask": "nothing", "text": 1}') == [
        ("text", "must be a string"),
        ("name", "has a malformed percent escape"),
        ("theMask", "names 'nothing', which is not a known field"),
    ]


def test_of_many_bad_paths_the_first_hundred_are_told() -> None:
    mask = ",".join(f"x{number}" for number in range(1000))

    assert len(refused("/all/a", f'{{"theMask": "{mask}"}}')) == 100


def test_a_long_path_is_shortened() -> None:
    assert list(faults_of(["x" * 1000], THING)) == [f"names '{'x' * 64}', which is not a known field"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("PatchBookRequest", "update_mask"), ("Sink", "mask"), ("Book", None), ("google.protobuf.FieldMask", None)],
)
def test_the_mask_of_a_request_is_its_only_one(name: str, expected: str | None) -> None:
    assert mask_field(descriptor(name)) == expected


def test_which_routes_have_a_mask() -> None:
    found = {str(route.template): mask.name for route in ROUTES if (mask := find_mask(route, CODECS)) is not None}

    assert found == {"/all/{name}": "the_mask", "/thing/{name}": "the_mask", "/named/{thing.name}": "the_mask"}


_NAMED = st.lists(
    st.sampled_from(["name", "otherName", "part", "parts", "by_name", "at", "title", "inner", "*", "", "x"]), max_size=3
).map(".".join)


@given(st.lists(_NAMED, max_size=4))
@settings(deadline=None)
def test_a_path_is_a_fault_or_can_be_applied(given_paths: list[str]) -> None:
    wrong = list(faults_of(given_paths, THING))

    for path in given_paths:
        holder = message("google.protobuf.FieldMask")(paths=[path])
        valid = path == "*" or holder.IsValidForDescriptor(THING)
        assert valid is not any(repr(path) in fault for fault in wrong)


def test_unknown_names_in_a_document_name_nothing() -> None:
    assert list(named_paths(CODECS.of(THING), {"x": 1, "part": {"y": {}}, "name": 1}, frozenset())) == ["name"]
