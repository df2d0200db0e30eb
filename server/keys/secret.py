"""The secret of an API key: how it is written, recognised and proved. No I/O, and nothing that could print a secret.

Format: `ang_<live|test>_<8 base62 public id>_<43 base62 random><6 base62 CRC-32>`. The checksum lets scanners drop
false hits offline and lets us refuse typos without a look-up; it proves nothing.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Mapping
from typing import NoReturn

from server.keys.model import Environment

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PUBLIC_LENGTH, _RANDOM_LENGTH, _CHECKSUM_LENGTH = 8, 43, 6
_FORMAT = re.compile(r"(ang_(?:live|test)_[0-9A-Za-z]{8})_[0-9A-Za-z]{49}", re.ASCII)
_MASK = "[secret]"

MINIMUM_PEPPER_BYTES = 32
MAXIMUM_PEPPER_VERSION = 999_999_999  # fits the database's integer and the nine digits of a page token


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


def draw(environment: Environment) -> Secret:
    """Draw a new key: 256 bits from the system's generator behind a fresh public id."""
    public, tail = _base62(secrets.randbelow(62**_PUBLIC_LENGTH), _PUBLIC_LENGTH), secrets.randbelow(62**_RANDOM_LENGTH)
    body = f"ang_{environment.value}_{public}_{_base62(tail, _RANDOM_LENGTH)}"
    return Secret(body + _checksum(body))


def find_prefix(text: str) -> str | None:
    """Read the visible head, e.g. `ang_live_4fGh1JkL`; None when the text is no key of ours by shape or checksum."""
    match = _FORMAT.fullmatch(text)
    if match is None or _checksum(text[:-_CHECKSUM_LENGTH]) != text[-_CHECKSUM_LENGTH:]:
        return None
    return match[1]


def prefix_of(secret: Secret) -> str:
    """Return the visible head of a key that we drew, which is its `keyPrefix`."""
    return secret.reveal()[: -(_RANDOM_LENGTH + _CHECKSUM_LENGTH + 1)]


class Peppers:
    """The keys outside the database that digests and derived keys depend on, by version; the highest is current."""

    def __init__(self, versions: Mapping[int, bytes]) -> None:
        """Take at least one pepper of 32 bytes or more.

        Raises:
            ValueError: there is none, a version is out of range, or a pepper is too short; the text says which.
        """
        if not versions:
            raise ValueError("at least one pepper is needed")
        for version, pepper in versions.items():
            if not 1 <= version <= MAXIMUM_PEPPER_VERSION or len(pepper) < MINIMUM_PEPPER_BYTES:
                raise ValueError(
                    f"pepper {version}: versions are 1 to {MAXIMUM_PEPPER_VERSION}, "
                    f"and a pepper has {MINIMUM_PEPPER_BYTES} bytes or more"
                )
        self._versions = dict(versions)
        self.current = max(self._versions)

    def using(self, version: int | None) -> "Peppers":
        """Return the same peppers with another one current, so that all servers know a new one before any uses it.

        Raises:
            ValueError: there is no such version.
        """
        if version is None:
            return self
        if version not in self:
            raise ValueError(f"there is no pepper {version}")
        chosen = Peppers(self._versions)
        chosen.current = version
        return chosen

    @classmethod
    def parse(cls, text: str) -> "Peppers":
        """Read `1:base64,2:base64`.

        Raises:
            ValueError: the text has another shape or a pepper is too short; the sentence carries no pepper.
        """
        versions: dict[int, bytes] = {}
        for position, entry in enumerate(text.split(","), start=1):
            number, colon, encoded = entry.strip().partition(":")
            if not colon or not number.isascii() or not number.isdigit() or int(number) in versions:
                raise ValueError(f"entry {position} is not VERSION:BASE64 with a version of its own")
            try:
                versions[int(number)] = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                raise ValueError(f"entry {position} is not valid base64") from None
        return cls(versions)

    def __contains__(self, version: int) -> bool:
        return version in self._versions

    def digest(self, secret: Secret, version: int) -> bytes:
        """Compute HMAC-SHA-256 of the whole key under one pepper: 32 bytes, what the database stores."""
        return hmac.digest(self._versions[version], secret.reveal().encode(), "sha256")

    def proves(self, secret: Secret, digest: bytes, version: int) -> bool:
        """Tell in constant time whether a stored digest belongs to this key; False when its pepper is gone."""
        return version in self._versions and hmac.compare_digest(self.digest(secret, version), digest)

    def derive(self, purpose: str, version: int, context: bytes = b"") -> bytes | None:
        """Derive a 32-byte key for one purpose (HKDF-Expand of RFC 5869, one block); None when its pepper is gone."""
        if version not in self._versions:
            return None
        return hmac.digest(self._versions[version], purpose.encode() + b"\0" + context + b"\x01", hashlib.sha256)

    def __repr__(self) -> str:
        return f"Peppers(versions={sorted(self._versions)})"


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
