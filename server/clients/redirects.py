"""The rules for redirect URIs: `https`, `http` to a loopback literal, or a private-use scheme with a dot. No I/O.

A URI is kept exactly as it is given and compared character by character, so it is never repaired here: what browsers
and libraries read in more than one way is refused, with what to write instead (RFC 6749 section 3.1.2, RFC 8252
section 7, RFC 9700 sections 2.1 and 4.1).
"""

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote

from server.errors import Violation

MAXIMUM_REDIRECT_URIS = 20
MAXIMUM_LENGTH = 2000

_LOOPBACKS = ("127.0.0.1", "[::1]")
_RUNNING = frozenset(
    {"about", "blob", "content", "data", "file", "filesystem", "intent", "jar", "javascript", "vbscript", "view-source"}
)
"""Schemes by which a browser runs or opens something itself instead of visiting a site or an application."""
_ANSWERED = frozenset({"code", "error", "error_description", "error_uri", "iss", "response", "state"})
"""Parameters of an authorization response: each may be there once only (RFC 6749 section 3.1, RFC 9207)."""
_NEVER = (
    (r"#", "must not have a fragment: leave out # and what follows (RFC 6749 section 3.1.2)"),
    (r"\*", "must not have a wildcard: it is compared character by character, so register each URI"),
    (
        r"""["'<>\\^`{|}]""",
        "must not contain quotes, angle brackets, braces, backslashes, ^, ` or |: percent-encode them",
    ),
    (r"%(?![0-9A-Fa-f]{2})", "must have two hexadecimal digits after each %: write %25 for the sign itself"),
    (r"%(?:[01][0-9A-Fa-f]|7[Ff])", "must not contain an encoded control character: leave it out"),
)
_FAULTS_ANYWHERE = [(re.compile(pattern), fault) for pattern, fault in _NEVER]
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_USE_HTTPS = "must begin with https://, or for a native app with http://127.0.0.1, http://[::1] or com.example.app:/"


def check_redirect_uris(uris: Sequence[str]) -> list[Violation]:
    """Judge all redirect URIs of a client: 1 to 20, each once, and each by its own text."""
    if not 1 <= len(uris) <= MAXIMUM_REDIRECT_URIS:
        return [Violation("redirect_uris", f"must name 1 to {MAXIMUM_REDIRECT_URIS} URIs")]
    violations = []
    for position, uri in enumerate(uris):
        fault = "is there twice: name it once" if uri in uris[:position] else find_fault(uri)
        if fault is not None:
            violations.append(Violation(f"redirect_uris[{position}]", fault))
    return violations


def find_fault(uri: str) -> str | None:
    """Tell what is wrong with a redirect URI and what to write instead; None when nothing is."""
    if fault := _fault_of_characters(uri):
        return fault
    match = _SCHEME.fullmatch(uri)
    if match is None:
        return _USE_HTTPS
    scheme, rest = match[1], match[2]
    if scheme.lower() in _RUNNING:
        return f"must not use the scheme {scheme.lower()}: a browser would act on it itself; {_USE_HTTPS}"
    if scheme != scheme.lower():
        return "must have its scheme in lower case: it is compared character by character"
    if scheme in ("https", "http"):
        return _fault_of_web(scheme, rest)
    return _fault_of_private_use(scheme, rest)


def _fault_of_characters(uri: str) -> str | None:
    if not 1 <= len(uri) <= MAXIMUM_LENGTH:
        return f"must have 1 to {MAXIMUM_LENGTH} characters"
    for position, character in enumerate(uri):
        if not "!" <= character <= "~":
            shown = f"U+{ord(character):04X}, character {position + 1}"
            return f"must be printable ASCII without spaces ({shown}): percent-encode it, write a host in Punycode"
    return next((fault for pattern, fault in _FAULTS_ANYWHERE if pattern.search(uri)), None)


def _fault_of_web(scheme: str, rest: str) -> str | None:
    if not rest.startswith("//"):
        return f"must have // after {scheme}: and then a host"
    authority, path, query = _parts(rest[2:])
    host, port, fault = _split(authority)
    if fault is None and scheme == "http" and host not in _LOOPBACKS:
        fault = _fault_of_plain(host)
    return fault or _fault_of_host(host) or _fault_of_port(port) or _fault_of_path(path) or _fault_of_query(query)


def _fault_of_plain(host: str) -> str:
    if host.rstrip(".").lower() == "localhost":
        return (
            "must not use localhost, which may lead to another interface or machine: write http://127.0.0.1 or "
            "http://[::1], with a port if needed (RFC 8252 section 8.3)"
        )
    return (
        "must begin with https://: without TLS anyone on the way can take the code; plain http is for "
        "http://127.0.0.1 and http://[::1] alone, where native apps listen (RFC 8252 section 7.3)"
    )


def _fault_of_private_use(scheme: str, rest: str) -> str | None:
    labels = scheme.split(".")
    if len(labels) < 2:
        return f"must not use the scheme {scheme}, which any application may claim; {_USE_HTTPS}"
    if not all(map(_LABEL.fullmatch, labels)):
        return "must have a domain name of yours in reverse as its scheme, e.g. com.example.app (RFC 8252 section 7.1)"
    if not rest.startswith("/"):
        return f"must have a / after {scheme}: (RFC 8252 section 7.1)"
    if not rest.startswith("//"):
        _, path, query = _parts(rest)
        return _fault_of_path(path) or _fault_of_query(query)
    authority, path, query = _parts(rest[2:])
    host, port, fault = _split(authority)
    return fault or _fault_of_host(host) or _fault_of_port(port) or _fault_of_path(path) or _fault_of_query(query)


def _parts(text: str) -> tuple[str, str, str]:
    """Split what follows `//` into authority, path and query."""
    before, _, query = text.partition("?")
    authority, slash, path = before.partition("/")
    return authority, slash + path, query


def _split(authority: str) -> tuple[str, str | None, str | None]:
    """Split an authority into host, port (None: no colon) and fault."""
    if "@" in authority:
        return "", None, "must not have a user name or password before the host: leave out all up to @"
    if authority.startswith("["):
        host, bracket, after = authority.partition("]")
        if not bracket or (after and not after.startswith(":")):
            return "", None, "must have an IPv6 address in brackets, e.g. [::1]"
        return host + bracket, after[1:] if after else None, None
    host, colon, port = authority.partition(":")
    return host, port if colon else None, None


def _fault_of_host(host: str) -> str | None:
    if not host:
        return "must name a host after //"
    if host.startswith("["):
        return _fault_of_ipv6(host[1:-1])
    if host != host.lower():
        return "must have its host in lower case: it is compared character by character"
    if host.endswith("."):
        return "must not have a dot at the end of its host: leave it out"
    return _fault_of_labels(host, host.split("."))


def _fault_of_labels(host: str, labels: Sequence[str]) -> str | None:
    if _NUMBER.fullmatch(labels[-1]):  # browsers read every such host as an IPv4 address, in many notations
        return None if _is_ipv4(host) else "must have an IPv4 address as four decimal numbers, e.g. 127.0.0.1"
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        return "must have a host of letters, digits, hyphens and dots, an international name in Punycode (xn--…)"
    return None if all(map(_is_readable, labels)) else "must have a host whose xn-- labels are valid Punycode"


def _fault_of_ipv6(address: str) -> str | None:
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return "must have an IPv6 address in brackets, e.g. [::1]"
    if parsed.scope_id is not None:
        return "must not have a zone in its IPv6 address: it means something on one machine alone"
    return None if address == str(parsed) else f"must write its IPv6 address as [{parsed}]"


def _is_ipv4(host: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(host)) == host
    except ValueError:
        return False


def _is_readable(label: str) -> bool:
    if not label.startswith("xn--"):
        return True
    try:
        return not label[4:].encode().decode("punycode").isascii()
    except UnicodeError:
        return False


def _fault_of_port(port: str | None) -> str | None:
    if port is None or (_PORT.fullmatch(port) and int(port) <= 65535):
        return None
    return "must have a port from 1 to 65535 without leading zeros, or no colon after its host"


def _fault_of_path(path: str) -> str | None:
    if any(unquote(segment) in (".", "..") for segment in path.split("/")):
        return "must not have . or .. as part of its path: write the path that is meant"
    return None


def _fault_of_query(query: str) -> str | None:
    taken = sorted({name for name, _ in parse_qsl(query, keep_blank_values=True)} & _ANSWERED)
    return f"must not have {taken[0]} in its query: the answer will bring its own" if taken else None
