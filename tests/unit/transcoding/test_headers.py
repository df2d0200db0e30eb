"""Which headers become metadata, which metadata become headers, and what a request's headers say of it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.transcoding.headers import HeaderRules, Metadata, RequestHeaders, peer_of
from server.transcoding.options import Options
from server.transcoding.violation import InvalidRequest

RULES = HeaderRules(
    Options(
        request_headers=["authorization", "x-api-key", "x-request-id", "accept", "x-trace-bin", "x-custom-*", "x-*"],
        response_headers=["etag", "x-ratelimit-*", "x-note-bin", "g*", "c*"],
    )
)


def read(*headers: tuple[bytes, bytes]) -> RequestHeaders:
    return RULES.read(headers)


def faults_of(*headers: tuple[bytes, bytes]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as raised:
        RULES.read(headers)
    return [(violation.field, violation.description) for violation in raised.value.violations]


def test_only_listed_headers_become_metadata() -> None:
    found = read((b"x-request-id", b"7"), (b"cookie", b"a=b"), (b"authorization", b"Bearer t"))

    assert found.metadata == (("x-request-id", "7"), ("authorization", "Bearer t"))


def test_a_repeated_header_is_repeated_metadata() -> None:
    assert read((b"x-request-id", b"7"), (b"x-request-id", b"8")).metadata == (
        ("x-request-id", "7"),
        ("x-request-id", "8"),
    )


def test_a_pattern_stands_for_any_ending() -> None:
    found = read((b"x-custom-a", b"1"), (b"x-custom-", b"2"), (b"y-custom-a", b"3"))

    assert found.metadata == (("x-custom-a", "1"), ("x-custom-", "2"))


@pytest.mark.parametrize("name", [b"x-ratelimit-limit", b"x-server-timeout", b"x-a!", b"x-\xff", b"x-A"])
def test_a_pattern_is_no_way_in_for_what_the_server_says_or_grpc_cannot_carry(name: bytes) -> None:
    assert read((name, b"1")).metadata == ()


def test_headers_that_servers_set_never_come_in() -> None:
    rules = HeaderRules(Options(request_headers=["w*", "t*", "c*", "g*", "h*"]))
    names = [b"www-authenticate", b"te", b"content-language", b"content-type", b"grpc-timeout", b"grpc-x", b"host"]

    assert rules.read([(name, b"1S") for name in names]).metadata == ()


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key"])
@pytest.mark.parametrize("second", [b"a", b"b"])
def test_a_credential_is_given_once(name: bytes, second: bytes) -> None:
    assert faults_of((name, b"a"), (name, second)) == [(name.decode(), "must be given once")]


def test_which_headers_are_given_once_is_an_option() -> None:
    rules = HeaderRules(Options(request_headers=["x-*", "authorization"], single_headers=["x-one"]))

    assert len(rules.read([(b"authorization", b"a"), (b"authorization", b"b")]).metadata) == 2
    with pytest.raises(InvalidRequest):
        rules.read([(b"x-one", b"a"), (b"x-one", b"a")])


@pytest.mark.parametrize("value", [b"a\nb", b"a\tb", b"\x00", b"\x7f", "ä".encode(), b"\xff"])
def test_a_value_that_metadata_cannot_hold_is_named(value: bytes) -> None:
    assert faults_of((b"x-request-id", value)) == [("x-request-id", "must consist of printable ASCII characters")]


@pytest.mark.parametrize(
    ("sent", "values"),
    [
        (b"YQ==", [b"a"]),
        (b"YQ", [b"a"]),
        (b"YWI=,YQ, /+8=", [b"ab", b"a", b"\xff\xef"]),
        (b"", [b""]),
    ],
)
def test_a_binary_header_is_decoded(sent: bytes, values: list[bytes]) -> None:
    assert read((b"x-trace-bin", sent)).metadata == tuple(("x-trace-bin", value) for value in values)
    assert read((b"x-custom-bin", sent)).metadata == tuple(("x-custom-bin", value) for value in values)


@pytest.mark.parametrize("sent", [b"*", b"a", b"YQ===", b"YQ==YQ==", b"YQ,*", b"Y Q", b"\xff\xff", b"-_8="])
def test_a_binary_header_that_is_no_base64_is_named(sent: bytes) -> None:
    assert faults_of((b"x-trace-bin", sent)) == [("x-trace-bin", "must be base64")]


@pytest.mark.parametrize(
    ("connection", "stays"),
    [
        (b"close", True),
        (b"keep-alive", True),
        (b"Upgrade, HTTP2-Settings", True),
        (b"X-Request-Id", False),
        (b"close , x-request-id", False),
    ],
)
def test_what_connection_names_goes_no_further(connection: bytes, stays: bool) -> None:
    found = read((b"x-request-id", b"7"), (b"connection", connection), (b"x-api-key", b"k"))

    assert (("x-request-id", "7") in found.metadata) is stays
    assert ("x-api-key", "k") in found.metadata


def test_two_lines_of_connection_are_one_list() -> None:
    assert read((b"connection", b"close"), (b"connection", b"x-request-id"), (b"x-request-id", b"7")).metadata == ()


def test_what_a_request_says_of_itself_is_sorted_out() -> None:
    found = read(
        (b"content-type", b"application/json"),
        (b"content-encoding", b" GZIP "),
        (b"content-length", b"12"),
        (b"accept-encoding", b"gzip"),
        (b"accept-encoding", b"br"),
        (b"grpc-timeout", b"2S"),
        (b"x-server-timeout", b"1.5"),
    )

    assert found == RequestHeaders((), b"application/json", b"gzip", 12, b"", b"gzip, br", 1.5)


def test_a_request_may_say_nothing_of_itself() -> None:
    assert read() == RequestHeaders((), b"", b"", None, b"", b"", None)


def test_a_header_of_ours_can_be_metadata_too() -> None:
    found = read((b"accept", b"text/html"), (b"accept", b"*/*"))

    assert found.accept == b"text/html, */*"
    assert found.metadata == (("accept", "text/html"), ("accept", "*/*"))


@pytest.mark.parametrize("name", [b"content-length", b"content-type"])
def test_a_header_with_one_value_may_be_repeated_only_as_it_is(name: bytes) -> None:
    assert read((name, b"1"), (name, b"1")) == read((name, b"1"))
    assert faults_of((name, b"1"), (name, b"2")) == [(name.decode(), "must be given once")]


@pytest.mark.parametrize("length", [b"", b"-1", b"+1", b"1.0", b"1, 1", b"0x1", b" 1", b"1_0", b"9" * 20, "²".encode()])
def test_a_length_is_a_number(length: bytes) -> None:
    assert faults_of((b"content-length", length)) == [("content-length", "must be a number of bytes")]


def test_a_doubled_timeout_is_refused() -> None:
    for name in (b"grpc-timeout", b"x-server-timeout"):
        value = b"1S" if name == b"grpc-timeout" else b"1"
        assert [field for field, _ in faults_of((name, value), (name, value))] == [name.decode()]


def test_every_fault_is_named() -> None:
    faults = faults_of((b"x-api-key", b"\xff"), (b"grpc-timeout", b"1"), (b"content-length", b"x"))

    assert [field for field, _ in faults] == ["x-api-key", "content-length", "grpc-timeout"]


_NAMES = st.sampled_from(
    [b"authorization", b"x-trace-bin", b"x-custom-a", b"accept", b"connection", b"content-length", b"grpc-timeout"]
)


@given(st.lists(st.tuples(_NAMES | st.binary(max_size=6), st.binary(max_size=8)), max_size=6))
def test_any_headers_are_read_or_refused(headers: list[tuple[bytes, bytes]]) -> None:
    try:
        found = RULES.read(headers)
    except InvalidRequest:
        return
    for key, value in found.metadata:
        assert isinstance(value, bytes) == key.endswith("-bin")
        assert isinstance(value, bytes) or (value.isascii() and value.isprintable())


@given(st.binary(max_size=40))
def test_binary_values_cross_unchanged(value: bytes) -> None:
    [(name, sent)] = RULES.write([("x-note-bin", value)])

    assert (name, base64.b64decode(sent)) == (b"x-note-bin", value)
    assert read((b"x-trace-bin", sent)).metadata == (("x-trace-bin", value),)


@pytest.mark.parametrize(
    ("metadata", "headers"),
    [
        ((("etag", "7"), ("x-ratelimit-limit", "9"), ("secret", "s")), [(b"etag", b"7"), (b"x-ratelimit-limit", b"9")]),
        ((("etag", b"7"),), [(b"etag", b"7")]),
        ((("x-note-bin", "text"),), [(b"x-note-bin", b"dGV4dA==")]),
        ((("etag", "a\r\nb"), ("etag", "ä"), ("etag", b"\xff")), []),
        ((("grpc-status", "0"), ("content-length", "1"), ("connection", "x"), ("cache-control", "a")), None),
        ((("x-ratelimit-a b", "1"), ("x-ratelimit-\r\n", "1"), ("x-ratelimit-ä", "1")), []),
    ],
)
def test_listed_metadata_become_headers(metadata: Metadata, headers: list[tuple[bytes, bytes]] | None) -> None:
    assert RULES.write(metadata) == ([(b"cache-control", b"a")] if headers is None else headers)


def test_nothing_leaves_where_nothing_is_listed() -> None:
    assert HeaderRules(Options(response_headers=[])).write([("etag", "7")]) == []


@pytest.mark.parametrize(
    ("client", "peer"),
    [
        (("::1", 5), "ipv6:[::1]:5"),
        (("1.2.3.4", 5), "ipv4:1.2.3.4:5"),
        (("", 0), "unix:"),
        (None, "unix:"),
    ],
)
def test_the_peer_is_written_as_grpc_writes_it(client: tuple[str, int] | None, peer: str) -> None:
    assert peer_of(client) == peer
