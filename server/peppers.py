"""The keys outside the database that digests, seals and page tokens depend on, by version. No I/O."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from server.secret import Secret

MINIMUM_PEPPER_BYTES = 32
MAXIMUM_PEPPER_VERSION = 999_999_999  # fits the database's integer and the nine digits of a page token


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
