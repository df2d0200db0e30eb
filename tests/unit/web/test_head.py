"""What makes a request's head acceptable."""

import pytest

from server.web.head import RefusedError, check_head, origin_form, without_upgrade


@pytest.mark.parametrize(
    "host",
    ["a", "", "example.com", "example.com:8080", "127.0.0.1:", "[::1]:8080", "xn--bcher-kva.example", "a_b.example"],
)
def test_good_hosts(host: str) -> None:
    check_head("1.1", [(b"host", host.encode())])


@pytest.mark.parametrize(
    "host",
    ["a b", "a, b", "a/b", "user@a", "http://a", "a:port", "[::1", "::1", "a?b", "a#b", "a\\b", "a\tb", "\xe9", "a\n"],
)
def test_bad_hosts(host: str) -> None:
    with pytest.raises(RefusedError, match="Host"):
        check_head("1.1", [(b"host", host.encode("latin-1"))])


def test_a_request_names_one_host() -> None:
    check_head("1.0", [])
    for version, hosts in (("1.1", 0), ("1.1", 2), ("1.0", 2)):
        with pytest.raises(RefusedError, match="exactly one"):
            check_head(version, [(b"host", b"a")] * hosts)


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2", "3.0"])
def test_other_versions_are_not_spoken(version: str) -> None:
    with pytest.raises(RefusedError, match=r"HTTP/1\.1"):
        check_head(version, [(b"host", b"a")])


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity", b"xchunked", b"chunked, chunked", b"chunked;q=1"])
def test_chunked_is_the_only_coding(coding: bytes) -> None:
    check_head("1.1", [(b"host", b"a"), (b"transfer-encoding", b"Chunked")])
    with pytest.raises(RefusedError, match="chunked"):
        check_head("1.1", [(b"host", b"a"), (b"transfer-encoding", coding)])


def test_http_1_0_has_no_chunks() -> None:
    with pytest.raises(RefusedError, match=r"HTTP/1\.1"):
        check_head("1.0", [(b"transfer-encoding", b"chunked")])


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        (b"GET", b"/a?b=c", b"/a?b=c"),
        (b"GET", b"//a/b", b"//a/b"),
        (b"GET", b"http://host/a?b=c", b"/a?b=c"),
        (b"GET", b"HTTP://host", b"/"),
        (b"GET", b"https://host?b", b"/?b"),
        (b"OPTIONS", b"*", b"*"),
    ],
)
def test_targets_become_path_and_query(method: bytes, target: bytes, expected: bytes) -> None:
    assert origin_form(method, target) == expected


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b"*"),
        (b"GET", b"host:80"),
        (b"GET", b"ftp://host/a"),
        (b"GET", b"http://"),
        (b"GET", b"http://a:99999999/"),
        (b"CONNECT", b"host:443"),
        (b"CONNECT", b"/a"),
    ],
)
def test_targets_that_are_no_resource_of_ours(method: bytes, target: bytes) -> None:
    with pytest.raises(RefusedError, match="target"):
        origin_form(method, target)


def test_an_upgrade_is_taken_out_of_the_head_and_the_rest_stays() -> None:
    headers = [
        (b"host", b"a"),
        (b"connection", b"Upgrade, close, HTTP2-Settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAMAAABk"),
        (b"content-length", b"3"),
    ]
    head = without_upgrade(b"POST", b"/a", "1.1", headers)
    assert head == b"POST /a HTTP/1.1\r\nhost: a\r\nconnection:  close\r\ncontent-length: 3\r\n\r\n"
