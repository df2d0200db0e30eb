"""Redirect URIs: what may be registered, and what is refused with which advice."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.clients.redirects import MAXIMUM_LENGTH, check_redirect_uris, find_fault

GOOD = [
    "https://example.com",
    "https://example.com/",
    "https://example.com/cb",
    "https://example.com/cb/",
    "https://example.com/cb?tenant=1&x=a%20b",
    "https://example.com/cb?next=https://example.com/",
    "https://example.com?",
    "https://example.com:8443/cb",
    "https://example.com:443/cb",
    "https://example.com:65535",
    "https://example.com//cb",
    "https://sub.domain.example.co.uk/a;b=c/d,e+f/~g/(h)!$&=",
    "https://xn--bcher-kva.example/cb",
    "https://192.0.2.7/cb",
    "https://[2001:db8::1]:8443/cb",
    "https://localhost/cb",
    "https://1.example/cb",
    "https://0x7f.example/cb",
    "https://example.com/...",
    "https://example.com/..a/a..",
    "https://example.com/%2F%2f%C3%A9",
    "https://example.com/cb?encoded=1&statement=2",
    "http://127.0.0.1",
    "http://127.0.0.1/cb",
    "http://127.0.0.1:8765/cb?x=1",
    "http://[::1]/cb",
    "http://[::1]:8765/cb",
    "com.example.app:/cb",
    "com.example.app:/",
    "com.example.app:/a/b?c=d",
    "com.example.app://signed-in/cb",
    "com.example-app.x1:/cb",
    "com.example:/x",
    f"https://example.com/{'a' * (MAXIMUM_LENGTH - 20)}",
    f"https://{'a' * 63}.example/",
]

BAD = [
    ("", "1 to 2000 characters"),
    (f"https://example.com/{'a' * (MAXIMUM_LENGTH - 19)}", "1 to 2000 characters"),
    ("example.com/cb", "must begin with https://"),
    ("/cb", "must begin with https://"),
    ("//example.com/cb", "must begin with https://"),
    ("://example.com", "must begin with https://"),
    ("1com.example:/x", "must begin with https://"),
    ("com_example.app:/x", "must begin with https://"),
    ("HTTPS://example.com/cb", "scheme in lower case"),
    ("Https://example.com/cb", "scheme in lower case"),
    ("HTTP://127.0.0.1/cb", "scheme in lower case"),
    ("Com.Example.App:/cb", "scheme in lower case"),
    ("javascript:alert(1)", "must not use the scheme javascript"),
    ("JavaScript:alert(1)", "must not use the scheme javascript"),
    ("javascript://example.com/%0Aalert(1)", "encoded control character"),
    ("data:text/html,x", "must not use the scheme data"),
    ("vbscript:x", "must not use the scheme vbscript"),
    ("file:///etc/passwd", "must not use the scheme file"),
    ("blob:https://example.com/1", "must not use the scheme blob"),
    ("about:blank", "must not use the scheme about"),
    ("intent://scan/", "must not use the scheme intent"),
    ("view-source:https://example.com", "must not use the scheme view-source"),
    ("myapp:/x", "any application may claim"),
    ("myapp://x", "any application may claim"),
    ("ftp://example.com/cb", "any application may claim"),
    ("wss://example.com/cb", "any application may claim"),
    ("mailto:someone", "any application may claim"),
    ("urn:ietf:wg:oauth:2.0:oob", "any application may claim"),
    ("https:/example.com/cb", "must have // after https:"),
    ("https:example.com/cb", "must have // after https:"),
    ("https:", "must have // after https:"),
    ("http:127.0.0.1/cb", "must have // after http:"),
    ("https://", "must name a host"),
    ("https:///x", "must name a host"),
    ("https://:443/x", "must name a host"),
    ("https://?x", "must name a host"),
    ("https://user@example.com/cb", "user name"),
    ("https://user:password@example.com/cb", "user name"),
    ("https://@example.com/cb", "user name"),
    ("https://example.com@evil.example/cb", "user name"),
    ("http://127.0.0.1@evil.example/cb", "user name"),
    ("com.example.app://user@x/cb", "user name"),
    ("https://a.b\\@c", "backslashes"),
    ("https://example.com\\cb", "backslashes"),
    ('https://example.com/"', "quotes"),
    ("https://example.com/'", "quotes"),
    ("https://example.com/<x>", "angle brackets"),
    ("https://example.com/{id}", "braces"),
    ("https://example.com/`", "quotes"),
    ("https://example.com/^|", "quotes"),
    ("https://example.com/c b", "U+0020, character 22"),
    (" https://example.com/cb", "U+0020, character 1"),
    ("https://example.com/cb\n", "U+000A"),
    ("https://example.com/\tcb", "U+0009"),
    ("https://example.com/\x00", "U+0000"),
    ("https://example.com/\x7f", "U+007F"),
    ("https://bücher.example/cb", "Punycode"),
    ("https://example.com/café", "percent-encode"),
    ("https://ex\u200bample.com/cb", "U+200B"),
    ("https://example\u3002com/cb", "U+3002"),
    ("https://\u202eelpmaxe.com", "U+202E"),
    ("https://example.com/cb#", "fragment"),
    ("https://example.com/cb#x", "fragment"),
    ("com.example.app:/cb#x", "fragment"),
    ("https://*.example.com/cb", "wildcard"),
    ("https://example.com/*", "wildcard"),
    ("https://example.com:*/cb", "wildcard"),
    ("https://example.com/%", "two hexadecimal digits"),
    ("https://example.com/%2", "two hexadecimal digits"),
    ("https://example.com/%zz", "two hexadecimal digits"),
    ("https://example.com/%0d%0aSet-Cookie:x", "encoded control character"),
    ("https://example.com/%00", "encoded control character"),
    ("https://example.com/%7F", "encoded control character"),
    ("https://exa%6dple.com/cb", "letters, digits, hyphens"),
    ("https://Example.com/cb", "host in lower case"),
    ("com.example.app://Host/cb", "host in lower case"),
    ("https://example.com./cb", "dot at the end"),
    ("http://localhost./cb", "must not use localhost"),
    ("https://example..com/cb", "letters, digits, hyphens"),
    ("https://.example.com/cb", "letters, digits, hyphens"),
    ("https://-example.com/cb", "letters, digits, hyphens"),
    ("https://example-.com/cb", "letters, digits, hyphens"),
    ("https://exa_mple.com/cb", "letters, digits, hyphens"),
    ("https://exam,ple.com/cb", "letters, digits, hyphens"),
    ("https://exam;ple.com/cb", "letters, digits, hyphens"),
    (f"https://{'a' * 64}.example/", "letters, digits, hyphens"),
    (f"https://{'a.' * 127}example/", "letters, digits, hyphens"),
    ("https://xn--.example/cb", "letters, digits, hyphens"),
    ("https://xn--abc-.example/cb", "letters, digits, hyphens"),
    ("https://xn--99999999.example/cb", "valid Punycode"),
    ("https://0x7f.1/cb", "four decimal numbers"),
    ("https://2130706433/cb", "four decimal numbers"),
    ("https://127.1/cb", "four decimal numbers"),
    ("https://example.1/cb", "four decimal numbers"),
    ("https://example.0x1/cb", "four decimal numbers"),
    ("https://1.2.3.4.5/cb", "four decimal numbers"),
    ("https://256.1.1.1/cb", "four decimal numbers"),
    ("https://010.0.0.1/cb", "four decimal numbers"),
    ("https://[::1", "IPv6 address in brackets"),
    ("https://[]/cb", "IPv6 address in brackets"),
    ("https://[::1]x/cb", "IPv6 address in brackets"),
    ("https://[example.com]/cb", "IPv6 address in brackets"),
    ("https://[v1.x]/cb", "IPv6 address in brackets"),
    ("https://::1/cb", "must name a host"),
    ("https://[0:0:0:0:0:0:0:1]/cb", "as [::1]"),
    ("https://[2001:DB8::1]/cb", "as [2001:db8::1]"),
    ("https://[fe80::1%25eth0]/cb", "zone"),
    ("https://example.com:/cb", "port from 1 to 65535"),
    ("https://example.com:0/cb", "port from 1 to 65535"),
    ("https://example.com:00443/cb", "port from 1 to 65535"),
    ("https://example.com:65536/cb", "port from 1 to 65535"),
    ("https://host:99999", "port from 1 to 65535"),
    ("https://example.com:-1/cb", "port from 1 to 65535"),
    ("https://example.com:+1/cb", "port from 1 to 65535"),
    ("https://example.com:80:80/cb", "port from 1 to 65535"),
    ("https://example.com:8o/cb", "port from 1 to 65535"),
    ("https://[::1]:/cb", "port from 1 to 65535"),
    ("http://localhost/cb", "RFC 8252 section 8.3"),
    ("http://localhost:3000/cb", "http://127.0.0.1"),
    ("http://example.com/cb", "must begin with https://"),
    ("http://127.0.0.1.evil.com/cb", "must begin with https://"),
    ("http://evil.com/127.0.0.1", "must begin with https://"),
    ("http://127.0.0.2/cb", "must begin with https://"),
    ("http://127.1/cb", "must begin with https://"),
    ("http://0x7f.1", "must begin with https://"),
    ("http://2130706433", "must begin with https://"),
    ("http://0177.0.0.1/cb", "must begin with https://"),
    ("http://0.0.0.0/cb", "must begin with https://"),
    ("http://[::]/cb", "must begin with https://"),
    ("http://[0:0:0:0:0:0:0:1]/cb", "must begin with https://"),
    ("http://[::ffff:127.0.0.1]/cb", "must begin with https://"),
    ("http:///cb", "must begin with https://"),
    ("http://127.0.0.1:0/cb", "port from 1 to 65535"),
    ("https://example.com/a/../b", "as part of its path"),
    ("https://example.com/./b", "as part of its path"),
    ("https://example.com/..", "as part of its path"),
    ("https://example.com/%2e%2E/b", "as part of its path"),
    ("https://example.com/.%2e", "as part of its path"),
    ("com.example.app:/../x", "as part of its path"),
    ("https://example.com/cb?code=1", "must not have code in its query"),
    ("https://example.com/cb?x=1&state", "must not have state in its query"),
    ("https://example.com/cb?%69ss=x", "must not have iss in its query"),
    ("com.example.app:/cb?error=x", "must not have error in its query"),
    ("com.example.app:", "must have a / after com.example.app:"),
    ("com.example.app:cb", "must have a / after com.example.app:"),
    ("example.com:443/cb", "must have a / after example.com:"),
    ("com.example.app://", "must name a host"),
    ("com.example.app:///cb", "must name a host"),
    ("com..app:/cb", "in reverse"),
    ("com.:/cb", "in reverse"),
    ("com.example+app:/cb", "in reverse"),
    ("com.-example:/cb", "in reverse"),
]


@pytest.mark.parametrize("uri", GOOD)
def test_it_may_be_registered(uri: str) -> None:
    assert find_fault(uri) is None


@pytest.mark.parametrize(("uri", "advice"), BAD)
def test_it_is_refused_with_advice(uri: str, advice: str) -> None:
    fault = find_fault(uri)
    assert fault is not None
    assert advice in fault


def test_each_faulty_one_is_named_by_its_place() -> None:
    uris = ["https://example.com/cb", "http://localhost/cb", "https://example.com/cb", "https://example.com/cb#x"]
    violations = check_redirect_uris(uris)
    assert [violation.field for violation in violations] == [f"redirect_uris[{place}]" for place in (1, 2, 3)]
    assert "twice" in violations[1].description


@pytest.mark.parametrize(("count", "faults"), [(0, 1), (1, 0), (20, 0), (21, 1)])
def test_there_are_one_to_twenty(count: int, faults: int) -> None:
    violations = check_redirect_uris([f"https://example.com/{number}" for number in range(count)])
    assert [violation.field for violation in violations] == ["redirect_uris"] * faults


@given(
    st.text()
    | st.from_regex(r"(https?|[a-z.]{3,9}):/{0,3}[!-~]{0,30}", fullmatch=True)
    | st.from_regex(r"https?://(127\.0\.0\.1|\[::1\]|[a-z]+\.[a-z]+)[!-~]{0,9}", fullmatch=True)
)
def test_what_passes_is_read_in_the_same_way_by_others(uri: str) -> None:
    if find_fault(uri) is not None:
        return
    parts = urlsplit(uri)
    assert uri.isascii()
    assert uri.isprintable()
    assert (parts.username, parts.password, parts.fragment) == (None, None, "")
    assert parts.scheme == "https" or "." in parts.scheme or parts.hostname in {"127.0.0.1", "::1"}
    assert parts.port is None or 1 <= parts.port <= 65535
    assert parts.hostname or "." in parts.scheme
