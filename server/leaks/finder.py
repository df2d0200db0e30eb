"""Finding our secrets in any bytes by form and checksum alone: no database, no key, no file is opened here."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from server.secret import Secret, SecretFormat

PUBLISHED_PATTERN = "ang_(live|test|oauth)_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}"
"""What scanners of others search for (docs/leaks.md); PCRE, RE2, POSIX extended and Python read it alike."""

_KINDS = ("live", "test", "oauth")
_KEPT = 2 * len("ang_oauth_12345678_") + 2 * 49
"""Bytes of each chunk that the next one is searched together with; more than any occurrence has, less one."""

_NARROW = re.compile(PUBLISHED_PATTERN.encode())
# In UTF-16, big or little endian: a zero byte between every two characters, so it does not matter which half is zero.
_WIDE = re.compile(
    b"a\0n\0g\0_\0(?:l\0i\0v\0e|t\0e\0s\0t|o\0a\0u\0t\0h)\0_\0(?:[0-9A-Za-z]\0){8}_\0(?:[0-9A-Za-z]\0){48}[0-9A-Za-z]"
)
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # byte order marks are no column
_WRITTEN = re.compile(rf"(ang_(?:{'|'.join(_KINDS)})_[0-9A-Za-z]{{8}})_[0-9A-Za-z]+", re.ASCII)
_HIDDEN = len("_") + 49  # how much of a candidate its prefix leaves out

find_prefix = SecretFormat(*_KINDS).find_prefix
"""Read the prefix of a text that is, as a whole, a secret by form and checksum; None when it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What has the form of a secret of ours, and where it begins.

    `offset` counts bytes from 0; `line` and `column` count from 1, columns in bytes (in UTF-16 in units of two).
    `is_genuine` tells whether the checksum is right; without, it only looks alike.
    """

    secret: Secret
    prefix: str
    offset: int
    line: int
    column: int
    is_genuine: bool


def find_candidates(chunks: Iterable[bytes]) -> Iterator[Candidate]:
    """Find every candidate in a stream, wherever its chunks are cut, in memory of a chunk.

    In the order of their offsets within each chunk; overlapping ones are all found.
    """
    buffer, start = b"", 0  # what is searched, and the offset at which it begins
    places = _Places()
    for chunk in chunks:
        if not chunk:
            continue
        searched = len(buffer)
        buffer += chunk
        if start == 0 and searched < len(_MARKS[0]):
            places.skip_mark(buffer)
        for begin, end in _occurrences(buffer, searched):
            places.move(buffer, start, start + begin)
            yield _candidate(buffer[begin:end], start + begin, places)
        kept = min(len(buffer), _KEPT)
        places.move(buffer, start, start + len(buffer) - kept)
        start += len(buffer) - kept
        buffer = buffer[len(buffer) - kept :]


def redact(text: str) -> str:
    """Shorten every secret in a text to its prefix, and replace what does not print."""
    shortened = _WRITTEN.sub(r"\1_[masked]", text)
    return "".join(character if character.isprintable() else "\ufffd" for character in shortened)


def _occurrences(buffer: bytes, searched: int) -> list[tuple[int, int]]:
    """Find the bounds of all that ends after `searched`: what ends before was found with the chunk before."""
    found = list(_search(_NARROW, buffer, searched))
    if b"\0" in buffer:
        found += _search(_WIDE, buffer, searched)
        found.sort()
    return found


def _search(pattern: re.Pattern[bytes], buffer: bytes, searched: int) -> Iterator[tuple[int, int]]:
    match = pattern.search(buffer)
    while match is not None:
        if match.end() > searched:
            yield match.span()
        match = pattern.search(buffer, match.start() + 1)  # the tail of what looks alike may begin a genuine one


def _candidate(found: bytes, offset: int, places: "_Places") -> Candidate:
    unit = 2 if b"\0" in found else 1
    text = found[::unit].decode("ascii")
    return Candidate(
        secret=Secret(text),
        prefix=text[:-_HIDDEN],
        offset=offset,
        line=places.line,
        column=(offset - places.line_start) // unit + 1,
        is_genuine=find_prefix(text) is not None,
    )


class _Places:
    """Counts lines as the search moves on; it never looks back."""

    def __init__(self) -> None:
        self.line = 1
        self.line_start = 0
        self._at = 0

    def skip_mark(self, beginning: bytes) -> None:
        """Let the first column come after the mark with which some files begin."""
        self.line_start = next((len(mark) for mark in _MARKS if beginning.startswith(mark)), 0)

    def move(self, buffer: bytes, start: int, offset: int) -> None:
        """Go on to an offset; `buffer`, which begins at `start`, holds all from the last one to this."""
        if offset <= self._at:
            return
        begin, end = self._at - start, offset - start
        self.line += buffer.count(b"\n", begin, end)
        last = buffer.rfind(b"\n", begin, end)
        if last >= 0:
            self.line_start = start + last + 1
        self._at = offset
