"""Seals by AES-256-GCM: of what the database keeps for a cookie, and of what a browser carries in the cookie itself.

What a browser carries costs us no row, whoever asks for it; it opens as often as it is sent until its time is over.
"""

import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.peppers import Peppers

_NONCE_BYTES: Final = 12
_VERSION_BYTES: Final = 4


def seal(key: bytes, plain: bytes, bound: bytes) -> bytes:
    """Seal `plain` under a key of 32 bytes; it opens only together with what it is `bound` to."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound)


def open_seal(key: bytes, sealed: bytes, bound: bytes) -> bytes | None:
    """Return what was sealed, None when it is not whole, bound to something else or under another key."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):
        return None


class CarriedSeal:
    """Seals what browsers carry for one purpose, e.g. `portal-login/v1`, under the current pepper."""

    def __init__(self, peppers: Peppers, purpose: str, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix seconds."""
        self._peppers = peppers
        self._purpose = purpose
        self._clock = clock

    def seal(self, content: Mapping[str, Any], lifetime: timedelta) -> str:
        """Return what the browser is to carry. `content` is whatever JSON can hold; it does not open after `lifetime`.

        Some 4,000 bytes are what browsers keep of a cookie: the result is a third longer than the JSON, and 60 more.
        """
        version = self._peppers.current
        key = self._peppers.derive(self._purpose, version)
        if key is None:
            raise LookupError("the current pepper is always held")
        number = version.to_bytes(_VERSION_BYTES)
        document = {"until": self._clock() + lifetime.total_seconds(), "content": dict(content)}
        sealed = seal(key, json.dumps(document).encode(), number)
        return base64.urlsafe_b64encode(number + sealed).rstrip(b"=").decode()

    def open(self, carried: str) -> Mapping[str, Any] | None:
        """Return what was sealed, None when it is none of ours, its time is over, or its pepper is gone."""
        try:
            held = base64.b64decode(carried + "=" * (-len(carried) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return None
        number, sealed = held[:_VERSION_BYTES], held[_VERSION_BYTES:]
        key = self._peppers.derive(self._purpose, int.from_bytes(number))
        plain = open_seal(key, sealed, number) if key else None
        if plain is None:
            return None
        document: dict[str, Any] = json.loads(plain)
        content: Mapping[str, Any] = document["content"]
        return content if self._clock() < document["until"] else None
