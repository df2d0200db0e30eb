"""Which route takes a request."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.router import InvalidRoute, Match, Miss, Router, routes_of
from tests.unit.transcoding.kitchen import SERVICE, service_of


def router(*rules: str) -> Router:
    """Build a router for RPCs R0, R1, … with these rules."""
    methods = "".join(
        f"rpc R{index}(M) returns (M) {{ option (google.api.http) = {{{rule}}}; }}" for index, rule in enumerate(rules)
    )
    return Router(routes_of(service_of(methods)))


def found(table: Router, method: str, path: str) -> str:
    """Return the RPC that takes a request, with its captures, or the status that answers it."""
    match = table.match(method, path)
    if isinstance(match, Miss):
        return " ".join(["405", *match.allowed]) if match.allowed else "404"
    return " ".join([match.route.rpc.name, *match.captures])


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/keys", "R0"),
        ("POST", "/v1/keys", "R1"),
        ("GET", "/v1/keys/7", "R2 7"),
        ("GET", "/v1/keys/latest", "R3"),
        ("GET", "/v1/keys/7/parts", "R4 7"),
        ("GET", "/v1/keys/latest/parts", "R4 latest"),
        ("GET", "/v1/files/a", "R5 a"),
        ("GET", "/v1/files/a/b%2Fc", "R5 a/b%2Fc"),
        ("GET", "/v1/files", "R5 "),
        ("POST", "/v1/keys/7:burn", "R6 7"),
        ("POST", "/v1/keys/a:b:burn", "R6 a:b"),
        ("GET", "/v1/keys/a:b", "R2 a:b"),
        ("GET", "/v1/keys/7:other", "R2 7:other"),
        ("GET", "/v1/keys/:x", "R2 :x"),
        ("GET", "/v1/keys/a%2Fb", "R2 a%2Fb"),
        # the wrong method
        ("DELETE", "/v1/keys", "405 GET HEAD OPTIONS POST"),
        ("GET", "/v1/keys/7:burn", "405 OPTIONS POST"),
        ("get", "/v1/keys", "405 GET HEAD OPTIONS POST"),
        ("PUT", "/v1/keys/latest", "405 GET HEAD OPTIONS PATCH"),
        ("PATCH", "/v1/keys/latest", "R7 latest"),
        # nothing there
        ("GET", "/", "404"),
        ("GET", "", "404"),
        ("GET", "*", "404"),
        ("GET", "v1/keys", "404"),
        ("GET", "//v1/keys", "404"),
        ("GET", "/v1//keys", "404"),
        ("GET", "/v1/keys/", "404"),
        ("GET", "/v1/keys//parts", "404"),
        ("GET", "/v1/files/", "404"),
        ("GET", "/v1/files/a//b", "404"),
        ("GET", "/v1/keys/..", "404"),
        ("GET", "/v1/keys/%2e%2E", "404"),
        ("GET", "/v1/files/../keys", "404"),
        ("GET", "/V1/keys", "404"),
        ("GET", "/v1/keys/7/8", "404"),
        ("GET", "/v1/%6Beys", "404"),
    ],
)  # fmt: skip
def test_a_request_finds_its_route(method: str, path: str, expected: str) -> None:
    table = router(
        'get: "/v1/keys"',
        'post: "/v1/keys"',
        'get: "/v1/keys/{id}"',
        'get: "/v1/keys/latest"',
        'get: "/v1/keys/{id}/parts"',
        'get: "/v1/files/{id=**}"',
        'post: "/v1/keys/{id}:burn"',
        'patch: "/v1/keys/{id}"',
    )

    assert found(table, method, path) == expected


def test_the_order_of_registration_does_not_matter() -> None:
    rules = ['get: "/a/{id=**}"', 'get: "/a/{id}"', 'get: "/a/b"', 'get: "/a/{id}/c"', 'get: "/a/b/d"']
    for table in (router(*rules), router(*reversed(rules))):
        paths = ["/a/b", "/a/x", "/a/b/c", "/a/b/d", "/a/b/e"]
        templates = [
            str(match.route.template) for path in paths if isinstance(match := table.match("GET", path), Match)
        ]

        assert templates == ["/a/b", "/a/{id}", "/a/{id}/c", "/a/b/d", "/a/{id=**}"]


def test_additional_bindings_and_custom_methods_are_routes_too() -> None:
    table = router(
        'get: "/a" additional_bindings {put: "/b"} additional_bindings {custom: {kind: "PURGE" path: "/c"}}',
        'custom: {kind: "*" path: "/any"}',
    )

    assert [found(table, *request) for request in (("GET", "/a"), ("PUT", "/b"), ("PURGE", "/c"))] == ["R0"] * 3
    assert found(table, "ANYTHING", "/any") == "R1"


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (['get: "/a/{id}"', 'get: "/a/{other}"'], ["t.S.R0", "t.S.R1", "/a/{id}"]),
        (['get: "/a/{id=**}:v"', 'get: "/a/**:v"'], ["t.S.R0", "t.S.R1"]),
        (['get: "/a" additional_bindings {get: "/a"}'], ["t.S.R0"]),
        (['get: "/a/"'], ["t.S.R0", "/a/"]),
        (['get: "/a/{nothing}"'], ["t.S.R0", "nothing"]),
        (['get: "/a/{child}"'], ["t.S.R0", "child"]),
        (['get: "/a/{many}"'], ["t.S.R0", "many"]),
        (['get: "/a/{many.id}"'], ["t.S.R0", "many.id"]),
        (['post: "/a" body: "nothing"'], ["t.S.R0", "nothing"]),
        (['get: "/a" response_body: "nothing"'], ["t.S.R0", "nothing"]),
        (['body: "*"'], ["t.S.R0"]),
        (['get: "/a" additional_bindings {get: "/b" additional_bindings {get: "/c"}}'], ["t.S.R0"]),
    ],
)
def test_a_rule_that_cannot_be_served_is_refused_with_the_names_of_its_methods(
    rules: list[str], words: list[str]
) -> None:
    with pytest.raises(InvalidRoute) as refusal:
        router(*rules)

    assert all(word in str(refusal.value) for word in words)


def test_a_method_without_a_rule_has_no_route() -> None:
    assert list(routes_of(service_of("rpc R(M) returns (M);"))) == []


def test_a_nested_field_may_be_bound() -> None:
    assert found(router('get: "/a/{child.child.id}"'), "GET", "/a/x") == "R0 x"


_SEGMENTS = st.text(alphabet="ab:%2F.*{}é", max_size=5)


@given(st.sampled_from(["GET", "POST", "PATCH", "DELETE"]), st.lists(_SEGMENTS, max_size=6))
@settings(deadline=None)
def test_any_path_is_matched_or_missed(method: str, segments: list[str]) -> None:
    table = Router(routes_of(SERVICE))

    match = table.match(method, "/" + "/".join(segments))

    assert isinstance(match, Match | Miss)
