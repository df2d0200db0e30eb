"""The shape of an access token before any cryptography: a JWS in compact serialization, read without any tolerance.

Libraries forgive a good deal (padding, unknown headers, duplicate members); what is refused here never reaches one.
"""

import base64
from dataclasses import dataclass
from typing import TypeGuard

from server.identity.strict_json import JsonObject, parse_object

MAX_TOKEN_SIZE = 8 * 1024
"""Longest token that is looked at, in characters."""
_MAX_HEADER_SIZE = 1024
_MAX_TEXT_SIZE = 255

# Members that would let a token bring or name its own key, change what is signed, or demand extensions (RFC 8725
# section 3.10, RFC 7797, RFC 7515 section 4.1.11). Any other unknown member is ignored, as RFC 7515 section 4 asks.
_REFUSED_HEADERS = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"})


class RefusedError(Exception):
    """A token is not accepted. The text is one of a few fixed words for the log, never a part of the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactToken:
    """A well-formed token whose signature and claims nobody has checked yet."""

    algorithm: str
    key_id: str | None
    media_type: str | None
    """The header `typ` in lower case."""
    claims: JsonObject


def parse_compact(token: str) -> CompactToken:
    """Take a token apart, strictly (RFC 7515 section 7.1).

    The caller has checked that it is ASCII of at most MAX_TOKEN_SIZE. Raises RefusedError.
    """
    segments = token.split(".")
    if len(segments) != 3 or not all(segments):
        raise RefusedError("shape")
    header, claims, _signature = (_decode(segment) for segment in segments)
    if len(header) > _MAX_HEADER_SIZE:
        raise RefusedError("header_size")
    return _read_header(_parse(header), _parse(claims))


def is_text(value: object) -> TypeGuard[str]:
    """Tell whether a claim is text that may be stored and compared: 1 to 255 characters, all of them printable.

    Printable leaves out control characters (PostgreSQL cannot hold NUL), lone surrogates (UTF-8 cannot encode them),
    line separators and invisible format characters.
    """
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT_SIZE and value.isprintable()


def _read_header(header: JsonObject, claims: JsonObject) -> CompactToken:
    if not _REFUSED_HEADERS.isdisjoint(header):
        raise RefusedError("header_member")
    algorithm = _find_text(header, "alg")
    if algorithm is None:
        raise RefusedError("alg")
    media_type = _find_text(header, "typ")
    return CompactToken(
        algorithm=algorithm,
        key_id=_find_text(header, "kid"),
        media_type=None if media_type is None else media_type.lower(),
        claims=claims,
    )


def _find_text(header: JsonObject, name: str) -> str | None:
    if name not in header:
        return None
    value = header[name]
    if not is_text(value):
        raise RefusedError(name)
    return value


def _parse(data: bytes) -> JsonObject:
    try:
        return parse_object(data)
    except ValueError:
        raise RefusedError("json") from None


def _decode(segment: str) -> bytes:
    """Decode base64url without padding; only the one spelling that an encoder produces is accepted."""
    try:
        data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        raise RefusedError("base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=") != segment.encode("ascii"):
        raise RefusedError("base64url")
    return data
