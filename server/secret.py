"""Secrets that we draw: how they are written and recognised. No I/O, and nothing that could print one.

Format: `ang_<kind>_<8 base62 public id>_<43 base62 random><6 base62 CRC-32>`. The checksum lets scanners drop false
hits offline and lets us refuse typos without a look-up; it proves nothing.
"""

import re
import secrets
import zlib
from typing import NoReturn

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PUBLIC_LENGTH, _RANDOM_LENGTH, _CHECKSUM_LENGTH = 8, 43, 6
_MASK = "[secret]"


class Secret:
    """A full API key. Prints, formats, pickles and compares as nothing of use; `reveal` is the only way to its text."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the key itself, for the one response that carries it or for its digest."""
        return self.__text

    def __repr__(self) -> str:
        return _MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")


class SecretFormat:
    """The secrets of some kinds, e.g. `live` and `test`, which stand in their text."""

    def __init__(self, *kinds: str) -> None:
        self._written = re.compile(rf"(ang_(?:{'|'.join(kinds)})_[0-9A-Za-z]{{8}})_[0-9A-Za-z]{{49}}", re.ASCII)

    def find_prefix(self, text: str) -> str | None:
        """Read the visible head, e.g. `ang_live_4fGh1JkL`; None when the text is not of these by shape or checksum."""
        match = self._written.fullmatch(text)
        if match is None or checksum(text[:-_CHECKSUM_LENGTH]) != text[-_CHECKSUM_LENGTH:]:
            return None
        return match[1]


def draw_secret(kind: str) -> Secret:
    """Draw a new secret: 256 bits from the system's generator behind a fresh public id."""
    public, tail = _base62(secrets.randbelow(62**_PUBLIC_LENGTH), _PUBLIC_LENGTH), secrets.randbelow(62**_RANDOM_LENGTH)
    body = f"ang_{kind}_{public}_{_base62(tail, _RANDOM_LENGTH)}"
    return Secret(body + checksum(body))


def prefix_of(secret: Secret) -> str:
    """Return the visible head of a secret that we drew."""
    return secret.reveal()[: -(_RANDOM_LENGTH + _CHECKSUM_LENGTH + 1)]


def checksum(body: str) -> str:
    """Compute the last six characters of a secret from all before them."""
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
