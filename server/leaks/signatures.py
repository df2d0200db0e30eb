"""Who signed a report: the public keys that a reporter publishes, and signatures made with them.

The protocol is that of GitHub's secret scanning partner programme: ECDSA over P-256 and SHA-256 of the raw body.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Mapping

import structlog
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from server.errors import Unavailable
from server.identity.discovery import DocumentFetcher, FetchError, check_url

_FETCH_SECONDS = 5.0
_FRESH_SECONDS = 3600.0  # a key that was withdrawn counts no longer than this, unless the reporter cannot be reached
_PAUSE_SECONDS = 120.0  # between fetches once there are keys: strangers can cause them, and GitHub allows 60 an hour
_FIRST_RETRY_SECONDS = 1.0  # between attempts while there are none
_MAX_KEYS = 100
_MAX_KEY_ID, _MAX_SIGNATURE = 255, 255

_log = structlog.get_logger(__name__)

PublicKeys = Mapping[str, EllipticCurvePublicKey]


class ReporterKeys:
    """The keys a reporter publishes, fetched when a report needs them; the last good ones outlive its outages."""

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Fetch from `url`. Raises ValueError when it is neither https nor this machine."""
        check_url(url)
        self._url = url
        self._monotonic = monotonic
        self._fetcher = DocumentFetcher()
        self._keys: PublicKeys | None = None
        self._flight: asyncio.Task[None] | None = None
        self._asked_at = self._fetched_at = float("-inf")
        self._failed = False

    async def close(self) -> None:
        """Stop fetching and close the connections."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)
        await self._fetcher.close()

    async def have_signed(self, body: bytes, key_id: str, signature: str) -> bool:
        """Tell whether `signature`, DER in base64, is over `body` and of the key that is called `key_id`.

        Raises:
            Unavailable: there are no keys, or not that one, and the reporter cannot be asked.
        """
        if not (0 < len(key_id) <= _MAX_KEY_ID and 0 < len(signature) <= _MAX_SIGNATURE):
            return False
        try:
            written = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        key = await self._find(key_id)
        if key is None:
            return False
        try:
            key.verify(written, body, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    async def _find(self, key_id: str) -> EllipticCurvePublicKey | None:
        known = self._keys is not None and key_id in self._keys
        if not known or self._monotonic() - self._fetched_at >= _FRESH_SECONDS:
            await self._ask()
        key = None if self._keys is None else self._keys.get(key_id)
        if key is None and self._failed:
            raise Unavailable
        return key

    async def _ask(self) -> None:
        """Fetch, or join the fetch under way, unless the last one was just now."""
        if self._flight is None or self._flight.done():
            now = self._monotonic()
            if now - self._asked_at < (_FIRST_RETRY_SECONDS if self._keys is None else _PAUSE_SECONDS):
                return
            self._asked_at = now
            self._flight = asyncio.create_task(self._fetch(), name="fetch reporter keys")
        await asyncio.shield(self._flight)  # a caller that goes away takes nothing from the others

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                self._keys = parse_public_keys(await self._fetcher.fetch(self._url))
        except (FetchError, TimeoutError, ValueError) as fault:
            self._failed = True
            reason = str(fault) or "no answer in time"
            _log.warning("reporter_keys_not_fetched", reason=reason, kept=self._keys is not None)
        else:
            self._failed = False
            self._fetched_at = self._monotonic()


def parse_public_keys(document: Mapping[str, object]) -> PublicKeys:
    """Read `{"public_keys": [{"key_identifier", "key" in PEM, …}]}`; entries that cannot be used are left out.

    A key that is no longer current counts as long as it is published: reports signed before may be on their way.
    Raises ValueError when no usable key is there.
    """
    entries = document.get("public_keys")
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise ValueError("not a document of public keys")
    keys: dict[str, EllipticCurvePublicKey] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        key_id, key = entry.get("key_identifier"), _usable_key(entry.get("key"))
        if isinstance(key_id, str) and key is not None:
            keys[key_id] = key
    if not keys:
        raise ValueError("no usable public key")
    return keys


def _usable_key(text: object) -> EllipticCurvePublicKey | None:
    if not isinstance(text, str):
        return None
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1) else None
