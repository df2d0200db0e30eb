"""Which route takes a request."""

import pytest
from google.protobuf import descriptor_pool
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.router import InvalidRoute, Match, Miss, Route, Router, routes_of
from server.transcoding.template import REST, STAR, Template, unescape
from server.transcoding.violation import Refused
from tests.unit.transcoding.kitchen import SERVICE, service_of


def router(*rules: str) -> Router:
    """Build a router for RPCs R0, R1, … with these rules; those that begin with `stream` stream their responses."""
    methods = "".join(
        f"rpc R{index}(M) returns ({'stream ' if rule.startswith('stream ') else ''}M)"
        f"{{ option (google.api.http) = {{{rule.removeprefix('stream ')}}}; }}"
        for index, rule in enumerate(rules)
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
        ("POST", "/v1/keys/7%3Aburn", "405 DELETE GET HEAD OPTIONS PATCH"),
        ("GET", "/v1/keys/7%3Aburn", "R2 7%3Aburn"),
        ("POST", "/v1/keys/7:%62urn", "R6 7"),
        ("POST", "/v1/keys/7:Burn", "405 DELETE GET HEAD OPTIONS PATCH"),
        ("GET", "/v1/keys/7:", "R2 7:"),
        ("GET", "/v1/keys/%", "R2 %"),
        ("GET", "/v1/keys/...", "R2 ..."),
        ("GET", "/v1/%6Beys", "R0"),
        ("GET", "/v1/%6beys/%6Catest", "R3"),
        ("GET", "/v1/files/a:burn", "R5 a:burn"),
        ("HEAD", "/v1/keys", "R0"),
        ("HEAD", "/v1/keys/7", "R2 7"),
        # the wrong method
        ("DELETE", "/v1/keys", "405 GET HEAD OPTIONS POST"),
        ("OPTIONS", "/v1/keys/7", "405 DELETE GET HEAD OPTIONS PATCH"),
        ("HEAD", "/v1/keys/7:burn", "405 OPTIONS POST"),
        ("GET", "/v1/keys/7:burn", "405 OPTIONS POST"),
        ("get", "/v1/keys", "405 GET HEAD OPTIONS POST"),
        ("PUT", "/v1/keys/latest", "405 DELETE GET HEAD OPTIONS PATCH"),
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
        ("GET", "/v1/keys%2F7", "404"),
        ("GET", "/v1%2Fkeys", "404"),
        ("GET", "/v1/./keys", "404"),
        ("GET", "/v1/keys/.", "404"),
        ("GET", "/v1/keys/%2E", "404"),
        ("GET", "/v1/keys/.%2e", "404"),
        ("GET", "/v1/keys/..%2f", "R2 ..%2f"),
        ("POST", "/v1/keys/..:burn", "405 DELETE GET HEAD OPTIONS PATCH"),
        ("POST", "/v1/keys/:burn", "404"),
        ("GET", "/v1/files/a/", "404"),
        ("GET", "/v1/files/a/%2e%2e/b", "404"),
        ("GET", "/v1/keys?", "404"),
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
        'patch: "/v1/keys/{id}" additional_bindings {delete: "/v1/keys/{id}"}',
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
    assert found(table, "HEAD", "/any") == "R1"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/a/b/c", "R0 "),
        ("GET", "/a/b/c/d", "R0 d"),
        ("GET", "/a/x/c", "R1 x/c"),
        ("GET", "/a/b/x/e", "R2 b x"),
        ("GET", "/a/b/x/y", "R3 b/x/y"),
        ("GET", "/a/b/x", "R1 b/x"),
        ("GET", "/a/b", "R3 b"),
        ("GET", "/a", "R3 "),
        ("GET", "/", "R4"),
        ("GET", "/b", "R4"),
        ("GET", "/b:go", "R5"),
        ("POST", "/:go", "405 GET HEAD OPTIONS"),
        ("GET", "/:go", "R5"),
        ("PUT", "/a/b/x/e", "405 GET HEAD OPTIONS"),
    ],
)
def test_the_best_of_all_that_match_is_found_by_going_back(method: str, path: str, expected: str) -> None:
    table = router(
        'get: "/a/b/c/{id=**}"',
        'get: "/a/{id=*/*}"',
        'get: "/a/{id}/{other}/e"',
        'get: "/a/{id=**}"',
        'get: "/**"',
        'get: "/**:go"',
    )

    assert found(table, method, path) == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/a/1", "R0 1"),
        ("POST", "/a/1:go", "R1 1"),
        ("PUT", "/a/b:go", "R2"),
        ("POST", "/a/b:go", "R1 b"),
        ("GET", "/a/b:go", "405 OPTIONS POST PUT"),
        ("DELETE", "/a/1:go", "405 OPTIONS POST"),
        ("DELETE", "/a/1", "405 GET HEAD OPTIONS"),
        ("GET", "/c:go", "R3 c:go"),
        ("PUT", "/c:go", "405 GET HEAD OPTIONS"),
    ],
)
def test_a_verb_that_exists_at_a_path_takes_it_for_every_method(method: str, path: str, expected: str) -> None:
    table = router('get: "/a/{id}"', 'post: "/a/{id}:go"', 'put: "/a/b:go"', 'get: "/{id}"')

    assert found(table, method, path) == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/a", "R0"),
        ("HEAD", "/a", "405 GET OPTIONS"),
        ("PUT", "/a", "405 GET OPTIONS"),
        ("HEAD", "/b", "R2"),
        ("GET", "/b", "R1"),
        ("PUT", "/b", "405 GET HEAD OPTIONS"),
        ("OPTIONS", "/c", "R3"),
        ("PUT", "/c", "405 OPTIONS"),
    ],
)
def test_head_is_a_get_that_has_an_end(method: str, path: str, expected: str) -> None:
    table = router(
        'stream get: "/a"',
        'get: "/b"',
        'custom: {kind: "HEAD" path: "/b"}',
        'custom: {kind: "OPTIONS" path: "/c"}',
    )

    assert found(table, method, path) == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/x", "R0 x"),
        ("POST", "/x", "R1"),
        ("PUT", "/x/y:go", "R2 x/y"),
        ("HEAD", "/x", "R0 x"),
        ("GET", "/%78", "R0 %78"),
        ("GET", "/{id=x}", "404"),
        ("*", "/x", "405 GET HEAD OPTIONS POST"),
    ],
)
def test_a_variable_may_be_one_text_only(method: str, path: str, expected: str) -> None:
    assert found(router('get: "/{id=x}"', 'post: "/x"', 'put: "/{id=x/y}:go"'), method, path) == expected


@pytest.mark.parametrize("path", ["/@me/a%20b", "/%40me/a%20b", "/%40%6D%65/%61%20b"])
def test_a_literal_matches_in_every_spelling(path: str) -> None:
    assert found(router('get: "/@me/a%20b"'), "GET", path) == "R0"
    assert found(router('get: "/%40me/%61%20b"'), "GET", path) == "R0"


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (['get: "/a/{id}"', 'get: "/a/{other}"'], ["t.S.R0", "t.S.R1", "/a/{id}"]),
        (['get: "/a/{id=**}:v"', 'get: "/a/**:v"'], ["t.S.R0", "t.S.R1"]),
        (['get: "/a" additional_bindings {get: "/a"}'], ["t.S.R0"]),
        (['get: "/a/{id=b/*}"', 'get: "/a/b/{id}"'], ["t.S.R0", "t.S.R1", "/a/{id=b/*}", "/a/b/{id}"]),
        (['get: "/abc"', 'get: "/%61bc"'], ["t.S.R0", "t.S.R1"]),
        (['custom: {kind: "*" path: "/a"}', 'custom: {kind: "*" path: "/a"}'], ["t.S.R0", "t.S.R1"]),
        (['post: "/a/{id}" additional_bindings {put: "/b"}', 'put: "/b"'], ["t.S.R0", "t.S.R1", "PUT /b"]),
        (['custom: {path: "/a"}'], ["t.S.R0", "method"]),
        (['custom: {kind: "A B" path: "/a"}'], ["t.S.R0", "A B"]),
        (['get: "/a/{id.x}"'], ["t.S.R0", "id.x"]),
        (['get: "/a/{child.nothing}"'], ["t.S.R0", "child.nothing"]),
        (['post: "/a/{id}" body: "id"'], ["t.S.R0", "id"]),
        (['post: "/a" body: "child.id"'], ["t.S.R0", "child.id"]),
        (['get: "/a" response_body: "child.id"'], ["t.S.R0", "child.id"]),
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


def test_a_variable_may_be_inside_the_field_that_is_the_body() -> None:
    assert found(router('patch: "/a/{child.id}" body: "child"'), "PATCH", "/a/x") == "R0 x"


def test_a_rule_is_read_from_any_pool() -> None:
    service = service_of('rpc R(M) returns (M) { option (google.api.http) = {get: "/a"}; }')

    assert service.file.pool is not descriptor_pool.Default()
    assert [str(route.template) for route in routes_of(service)] == ["/a"]


def test_a_route_knows_the_name_of_its_rpc_on_the_wire() -> None:
    (route,) = routes_of(service_of('rpc R(M) returns (M) { option (google.api.http) = {get: "/a"}; }'))

    assert route.rpc_path == "/t.S/R"


_SEGMENTS = st.text(st.sampled_from("ab:%2Fe.*{}\xe9\xff\0") | st.characters(max_codepoint=255), max_size=5)
_TABLE = Router(routes_of(SERVICE))


@given(st.sampled_from(["GET", "HEAD", "POST", "PATCH", "DELETE", "*", ""]), st.lists(_SEGMENTS, max_size=6))
@settings(deadline=None)
def test_any_path_is_matched_or_missed(method: str, segments: list[str]) -> None:
    assert isinstance(_TABLE.match(method, "/".join(segments)), Match | Miss)
    match = _TABLE.match(method, "/v1/" + "/".join(segments))

    assert isinstance(match, Match | Miss)
    for capture in match.captures if isinstance(match, Match) else ():
        try:
            unescape(capture)
        except Refused:
            continue


_RANKS = {STAR: 1, REST: 2}
_ROUTES = st.tuples(
    st.sampled_from(["GET", "POST"]),
    st.lists(st.sampled_from(["a", "b", STAR]), max_size=3),
    st.sampled_from([[], [REST]]),
).map(lambda drawn: (drawn[0], (*drawn[1], *drawn[2])))


def takes(template: tuple[str, ...], path: list[str]) -> bool:
    """Tell whether a template's segments match a path's."""
    if template[-1:] == (REST,):
        return len(path) >= len(template) - 1 and takes(template[:-1], path[: len(template) - 1])
    return len(template) == len(path) and all(want in {STAR, got} for want, got in zip(template, path, strict=True))


@given(st.lists(_ROUTES, unique=True, max_size=8), st.lists(st.sampled_from("abc"), max_size=4))
@settings(deadline=None)
def test_of_all_templates_that_match_the_first_by_rank_wins(
    routes: list[tuple[str, tuple[str, ...]]], path: list[str]
) -> None:
    rpc = SERVICE.methods_by_name["GetBook"]
    table = Router(Route(verb=verb, template=Template(segments=segments), rpc=rpc) for verb, segments in routes)
    matching = [(verb, segments) for verb, segments in routes if takes(segments, path)]
    posts = [segments for verb, segments in matching if verb == "POST"]

    match = table.match("POST", "/" + "/".join(path))

    if isinstance(match, Match):
        assert match.route.template.segments == min(
            posts, key=lambda segments: [_RANKS.get(one, 0) for one in segments]
        )
    else:
        assert posts == []
        assert match.allowed == (("GET", "HEAD", "OPTIONS") if matching else ())
