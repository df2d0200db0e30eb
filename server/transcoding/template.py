"""Path templates of `google.api.http`: parsing, printing, and reading captures out of a path.

The grammar is the one in google/api/http.proto. Which template a path matches is the router's business.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import unquote, unquote_to_bytes

from server.transcoding.violation import Refused

STAR = "*"
REST = "**"
DOTS = frozenset({".", ".."})
"""Segments that intermediaries resolve away, escaped or not (RFC 3986 section 5.2.4); they name nothing here."""

_PIECE = re.compile(r"\{(?P<field>[^{}=]+)(?:=(?P<inner>[^{}]+))?\}|(?P<plain>[^/{}]+)")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()+,;=@]|%[0-9A-Fa-f]{2})+", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)


class InvalidTemplate(ValueError):
    """The text is not a path template; the message says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A field bound to the segments from `start` to `end` (exclusive); `end` None is the end of the path (`**`)."""

    field: str
    start: int
    end: int | None

    @property
    def multiple(self) -> bool:
        """Whether the value may span segments, so that an escaped slash stays escaped in it."""
        return self.end is None or self.end - self.start > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A parsed template. `segments` holds literals, `*` and `**`; `verb` is the text after the colon, or empty."""

    segments: tuple[str, ...]
    variables: tuple[Variable, ...] = ()
    verb: str = ""

    def __str__(self) -> str:
        return "/" + "/".join(self._pieces()) + (f":{self.verb}" if self.verb else "")

    def _pieces(self) -> Iterator[str]:
        starts = {variable.start: variable for variable in self.variables}
        index = 0
        while index < len(self.segments):
            variable = starts.get(index)
            if variable is None:
                yield self.segments[index]
                index += 1
                continue
            end = len(self.segments) if variable.end is None else variable.end
            inner = "/".join(self.segments[index:end])
            yield f"{{{variable.field}}}" if inner == STAR else f"{{{variable.field}={inner}}}"
            index = end

    def capture(self, segments: Sequence[str]) -> tuple[str, ...]:
        """Return the still escaped text of each variable in a path that matches, in the order of `variables`."""
        captures: tuple[str, ...] = ()
        for variable in self.variables:
            captures += ("/".join(segments[variable.start : variable.end]),)
        return captures


def parse(text: str) -> Template:
    """Parse a template. Raises `InvalidTemplate`."""
    if not text.startswith("/"):
        raise InvalidTemplate(f"template {text!r} must begin with a slash")
    path, colon, verb = text.partition(":")
    if colon and not _LITERAL.fullmatch(verb):
        raise InvalidTemplate(f"template {text!r} has the verb {verb!r}, which is not a literal")
    segments: list[str] = []
    variables: list[Variable] = []
    for piece in _pieces(text, path):
        if piece["plain"] is not None:
            segments.append(_segment(text, piece["plain"]))
            continue
        start = len(segments)
        segments.extend(_segment(text, inner) for inner in (piece["inner"] or STAR).split("/"))
        end = None if segments[-1] == REST else len(segments)
        variables.append(Variable(field=_field(text, piece["field"]), start=start, end=end))
    _check(text, segments, variables)
    return Template(segments=tuple(segments), variables=tuple(variables), verb=verb)


def _pieces(text: str, path: str) -> Iterator[re.Match[str]]:
    position = 0
    while position < len(path):
        piece = _PIECE.match(path, position + 1) if path[position] == "/" else None
        if piece is None:
            _refuse(text, position)
        yield piece
        position = piece.end()


def _refuse(text: str, position: int) -> NoReturn:
    raise InvalidTemplate(f"template {text!r} has no valid segment at position {position}")


def _segment(text: str, segment: str) -> str:
    if segment not in {STAR, REST} and (not _LITERAL.fullmatch(segment) or literal(segment) in DOTS):
        raise InvalidTemplate(f"template {text!r} has the segment {segment!r}, which no path can match")
    return segment


def _field(text: str, field: str) -> str:
    if not _FIELD.fullmatch(field):
        raise InvalidTemplate(f"template {text!r} binds {field!r}, which is not a field path")
    return field


def _check(text: str, segments: Sequence[str], variables: Sequence[Variable]) -> None:
    if REST in segments[:-1]:
        raise InvalidTemplate(f"template {text!r} has segments after '**'")
    fields = [variable.field for variable in variables]
    if len(set(fields)) != len(fields):
        raise InvalidTemplate(f"template {text!r} binds a field twice")


def literal(raw: str) -> str:
    """Return what a literal or a segment of a path stands for, one character per octet; equal ones match.

    Escapes are the same text in another spelling (RFC 3986 section 6.2.2.2). Malformed ones stay as they are.
    """
    return unquote(raw, "latin-1")


def unescape(raw: str, *, keep_slashes: bool = False, plus_is_space: bool = False) -> str:
    """Decode what came as one character per octet: percent escapes, but not `%2F` with `keep_slashes`, and UTF-8.

    Raises `Refused` for malformed escapes, malformed UTF-8 and NUL.
    """
    if plus_is_space:
        raw = raw.replace("+", " ")
    if "%" not in raw and raw.isascii() and "\0" not in raw:
        return raw
    if _BAD_ESCAPE.search(raw):
        raise Refused("has a malformed percent escape")
    if keep_slashes:
        raw = raw.replace("%2F", "%252F").replace("%2f", "%252f")
    octets = unquote_to_bytes(raw.encode("latin-1"))
    if 0 in octets:
        raise Refused("must not contain a NUL character")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise Refused("is not valid UTF-8") from None
