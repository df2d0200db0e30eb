"""Damage to bytes: what a careless or hostile sender might do to something that was well formed."""

from collections.abc import Callable, Sequence
from random import Random

_TOKENS = (
    *(b"\x00", b"\r\n", b"\r", b"\n", b"\r\n\r\n", b" ", b"\t", b":", b",", b";", b'"', b"\\", b"{", b"}", b"[", b"]"),
    *(b"%", b"%00", b"%zz", b"%2F", b"%FF", b"/", b"//", b"/../", b"?", b"&", b"=", b"#", b"*", b"\xff", b"\xc3\x28"),
    *(b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"null", b"true", b"NaN", b"-0", b"1e999", b"9" * 30),
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"GET ", b"POST ", b"HEAD ", b"chunked", b"content-length: 5\r\n"),
    *(b"transfer-encoding: chunked\r\n", b"connection: close\r\n", b"content-encoding: gzip\r\n", b"0\r\n\r\n"),
    *(b"expect: 100-continue\r\n", b"upgrade: h2c\r\nconnection: upgrade\r\n", b"\r\n x: folded", b"A" * 300),
)


def mutated(rng: Random, data: bytes, most: int = 4) -> bytes:
    """Return `data` after one to `most` random changes."""
    for _ in range(rng.randint(1, most)):
        data = rng.choice(_CHANGES)(rng, data)
    return data


def _flip(rng: Random, data: bytes) -> bytes:
    if not data:
        return data
    place = rng.randrange(len(data))
    return data[:place] + bytes((data[place] ^ (1 << rng.randrange(8)),)) + data[place + 1 :]


def _cut(rng: Random, data: bytes) -> bytes:
    start, end = _slice(rng, data)
    return data[:start] + data[end:]


def _end(rng: Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _double(rng: Random, data: bytes) -> bytes:
    start, end = _slice(rng, data)
    return data[:end] + data[start:]


def _insert(rng: Random, data: bytes) -> bytes:
    place = rng.randint(0, len(data))
    return data[:place] + rng.choice(_TOKENS) + data[place:]


def _noise(rng: Random, data: bytes) -> bytes:
    place = rng.randint(0, len(data))
    return data[:place] + rng.randbytes(rng.randint(1, 8)) + data[place:]


def _double_line(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
    return b"\r\n".join(lines)


def _number(rng: Random, data: bytes) -> bytes:
    """Change one run of digits, be it a length, a version or a value."""
    places = [place for place in range(len(data)) if data[place : place + 1].isdigit()]
    if not places:
        return data
    place = rng.choice(places)
    number = rng.choice((b"0", b"-1", b"1", b"7", b"+5", b"00", b"0x10", b"65536", b"4294967296", b"9" * 20, b""))
    return data[:place] + number + data[place + 1 :]


def _slice(rng: Random, data: bytes) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 1, 2, 4, 16, 64)))


_CHANGES: Sequence[Callable[[Random, bytes], bytes]] = (
    *(_flip, _flip, _cut, _end, _double, _insert, _insert, _noise, _double_line, _number, _number),
)
