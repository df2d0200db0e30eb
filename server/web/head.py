"""What a request's head must look like beyond what the parser already refuses, and the answer when it does not.

llhttp in its strict mode refuses, among others: duplicate, listed, signed or overflowing Content-Length,
Content-Length with Transfer-Encoding, a coding after `chunked`, folded lines, bare CR or LF, controls in values, blanks
before the colon.
"""

import re
from collections.abc import Sequence
from typing import Final

import httptools
import structlog

from server.web.answers import INTERNAL, ErrorAnswer, malformed
from server.web.asgi import Header

log = structlog.get_logger(__name__)

# RFC 9110 section 7.2 and RFC 3986 section 3.2: a registered name or IPv4, or a bracketed IP literal; then a port.
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z:.%_~-]+\])(?::[0-9]*)?")
_UPGRADING: Final = (b"upgrade", b"http2-settings")
_JUDGED: Final = frozenset((b"host", b"transfer-encoding"))

_MALFORMED: Final = malformed("The request is not valid HTTP.")
_BAD_VERSION: Final = malformed("Only HTTP/1.1 and HTTP/1.0 are spoken here.")
_BAD_TARGET: Final = malformed("The request target is not a path or an http URL.")
_BAD_HOST: Final = malformed("A request needs exactly one valid Host header.")
_BAD_CODING: Final = malformed("The only Transfer-Encoding understood is chunked, once, in HTTP/1.1.")


class RefusedError(Exception):
    """The request must not be served; `answer` says why, and the connection ends with it."""

    def __init__(self, answer: ErrorAnswer) -> None:
        super().__init__(answer.message)
        self.answer = answer


def answer_to(error: httptools.HttpParserError) -> ErrorAnswer:
    """Tell our own refusal and the parser's verdict from a mistake in a callback, which is ours and logged."""
    cause = error.__context__
    if isinstance(cause, RefusedError):
        return cause.answer
    if cause is None or isinstance(cause, httptools.HttpParserError):
        return _MALFORMED
    log.error("http_callback_failed", exc_info=cause)
    return INTERNAL


def check_head(version: str, headers: Sequence[Header]) -> None:
    """Refuse what two servers in a row could read differently (RFC 9112 sections 3.2, 6.1 and 6.3).

    Raises RefusedError. Host: exactly one and well formed, but HTTP/1.0 may have none.
    """
    if version not in ("1.1", "1.0"):
        raise RefusedError(_BAD_VERSION)
    judged = [header for header in headers if header[0] in _JUDGED]
    hosts = 0
    for name, value in judged:
        if name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value):
                raise RefusedError(_BAD_HOST)
        elif version == "1.0" or value.lower() != b"chunked":
            raise RefusedError(_BAD_CODING)
    if hosts > 1 or (not hosts and version == "1.1"):
        raise RefusedError(_BAD_HOST)


def origin_form(method: bytes, target: bytes) -> bytes:
    """Return `target` as path and query (RFC 9112 section 3.2). `*` is for OPTIONS only.

    Raises RefusedError.
    """
    if method == b"CONNECT" or b"#" in target:
        raise RefusedError(_BAD_TARGET)
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    if not target.lower().startswith((b"http://", b"https://")):
        raise RefusedError(_BAD_TARGET)
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError as error:
        raise RefusedError(_BAD_TARGET) from error
    return (url.path or b"/") + (b"?" + url.query if url.query else b"")


def without_upgrade(method: bytes, target: bytes, version: str, headers: Sequence[Header]) -> bytes:
    """Write the head again as if no Upgrade had been asked for, which a server may do (RFC 9110 section 7.8).

    Clients of the Java standard library ask for h2c in their first request, whatever it is.
    """
    lines = [b"%s %s HTTP/%s" % (method, target, version.encode())]
    for name, value in headers:
        if name == b"connection":
            kept = [option for option in value.split(b",") if option.strip().lower() not in _UPGRADING]
            lines.append(b"connection: " + b",".join(kept))
        elif name not in _UPGRADING:
            lines.append(b"%s: %s" % (name, value))
    return b"\r\n".join([*lines, b"", b""])
