"""Sources of an issuer's public keys: a remote key set that follows the issuer's rotation, and a fixed one.

What a usable key is stands in `signing_keys.py`, how documents are fetched in `discovery.py`.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping

import structlog

from server.errors import Unavailable
from server.identity.discovery import DocumentFetcher, FetchError, check_issuer_url, check_url, discover_jwks_url
from server.identity.signing_keys import KeySet, VerificationKey, parse_key_set

_FETCH_SECONDS = 5.0  # for metadata and keys together, whatever the issuer does
_UNKNOWN_KEY_SECONDS = 30.0  # an unknown key id may cause at most one fetch in this time
_FIRST_RETRY_SECONDS = 1.0  # pause between attempts while no keys have ever been fetched
_RETRY_SECONDS = 30.0  # pause after a failed refresh while there are keys to go on with
_JITTER = 0.1  # replicas started together do not ask together

_log = structlog.get_logger(__name__)
_random = secrets.SystemRandom()


class StaticKeySet:
    """The keys of a document at hand, for the local issuer and tests."""

    def __init__(self, document: Mapping[str, object]) -> None:
        """Take the usable keys of a JWK Set. Raises ValueError when it is none."""
        self._keys = parse_key_set(document)

    async def find_key(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """Return the one key that suits, or None."""
        return self._keys.find(key_id, algorithm)

    def holds(self, key: VerificationKey) -> bool:
        """Tell whether `key` is one of the set."""
        return key in self._keys.keys

    def ready(self) -> bool:
        """Tell whether tokens can be verified."""
        return bool(self._keys.keys)

    def start(self) -> None:
        """Do nothing: there is nothing to refresh."""

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


class RemoteKeySet:
    """The keys an issuer publishes, refreshed in the background; the last good set outlives the issuer's outages."""

    def __init__(
        self,
        *,
        issuer: str,
        jwks_url: str | None = None,
        refresh_seconds: float = 300.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Fetch from `jwks_url`, or from the address in the metadata of `issuer` when it is None.

        Raises ValueError when the address is neither https nor this machine.
        """
        if jwks_url is None:
            check_issuer_url(issuer)
        else:
            check_url(jwks_url)
        self._issuer = issuer
        self._pinned_url = jwks_url
        self._url = jwks_url
        self._refresh_seconds = refresh_seconds
        self._monotonic = monotonic
        self._fetcher = DocumentFetcher()
        self._keys: KeySet | None = None
        self._flight: asyncio.Task[bool] | None = None
        self._background: asyncio.Task[None] | None = None
        self._asked_at = self._failed_at = float("-inf")

    def start(self) -> None:
        """Begin to fetch and refresh in the background. Needs a running event loop; returns at once."""
        if self._background is None:
            self._background = asyncio.create_task(self._keep_fresh(), name="signing keys")

    async def close(self) -> None:
        """Stop refreshing and close the connections."""
        tasks = [task for task in (self._background, self._flight) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fetcher.close()

    def ready(self) -> bool:
        """Tell whether tokens can be verified: keys have been fetched and at least one of them is usable."""
        return self._keys is not None and bool(self._keys.keys)

    def holds(self, key: VerificationKey) -> bool:
        """Tell whether `key` was published when the issuer was last reached."""
        return self._keys is not None and key in self._keys.keys

    async def find_key(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """Return the one key that suits, or None; an unknown id makes us ask the issuer, at most once in 30 s.

        Raises Unavailable when no keys have ever been fetched and they cannot be now.
        """
        if self._keys is None:
            return (await self._fetch_first()).find(key_id, algorithm)
        key = self._keys.find(key_id, algorithm)
        if key is None and key_id is not None and await self._ask_again():
            key = self._keys.find(key_id, algorithm)
        return key

    async def refresh(self) -> bool:
        """Fetch the keys now, or join the fetch under way, and tell whether that worked; failure changes nothing."""
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._fetch(), name="fetch signing keys")
        return await asyncio.shield(self._flight)  # a caller that goes away takes nothing from the others

    async def _fetch_first(self) -> KeySet:
        if self._is_fetching() or self._monotonic() - self._failed_at >= _FIRST_RETRY_SECONDS:
            await self.refresh()
        if self._keys is None:
            raise Unavailable
        return self._keys

    async def _ask_again(self) -> bool:
        if not self._is_fetching():
            now = self._monotonic()
            if now - self._asked_at < _UNKNOWN_KEY_SECONDS:
                return False
            self._asked_at = now
        return await self.refresh()

    def _is_fetching(self) -> bool:
        return self._flight is not None and not self._flight.done()

    async def _fetch(self) -> bool:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                if self._url is None:
                    self._url = await discover_jwks_url(self._fetcher, self._issuer)
                keys = parse_key_set(await self._fetcher.fetch(self._url))
        except (FetchError, TimeoutError, ValueError) as fault:
            self._failed_at = self._monotonic()
            self._url = self._pinned_url  # the issuer may have moved its keys: discover again
            _log.warning("signing_keys_not_fetched", reason=str(fault) or "no answer in time", kept=self.ready())
            return False
        if self._keys is None or keys.keys != self._keys.keys:
            _log.info("signing_keys_changed", usable=len(keys.keys))
        self._keys = keys
        return True

    async def _keep_fresh(self) -> None:
        while True:
            if await self.refresh():
                pause = self._refresh_seconds
            else:
                pause = min(self._refresh_seconds, _FIRST_RETRY_SECONDS if self._keys is None else _RETRY_SECONDS)
            await asyncio.sleep(pause * _random.uniform(1 - _JITTER, 1 + _JITTER))
