"""Verification of access tokens: JWTs signed by one trusted issuer (RFC 9068, RFC 8725), and a cache of verified ones.

Shape is checked in `compact.py`, claims in `claims.py`; keys come from a `KeySource`. Nothing of a token is logged.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple, Protocol, Self

import structlog
from cachetools import LRUCache

from server.errors import Unauthenticated
from server.identity.claims import ClaimRules, TokenProfile, check_claims
from server.identity.compact import MAX_TOKEN_SIZE, RefusedError, parse_compact
from server.identity.principal import AccessToken
from server.identity.signing_keys import SUPPORTED_ALGORITHMS, VerificationKey

REFUSED = "The access token is not valid: send a current one as `authorization: Bearer <token>`."
"""The one sentence for every token that is not accepted, so that nothing can be probed."""

_CACHED_TOKENS = 4096  # about 1 KiB each

_log = structlog.get_logger(__name__)


class KeySource(Protocol):
    """Where the issuer's public keys come from."""

    async def find_key(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """Return the one key that suits, or None. Raises Unavailable when no keys are known and none can be had now."""

    def holds(self, key: VerificationKey) -> bool:
        """Tell whether the issuer still publishes `key`."""


class _Verified(NamedTuple):
    token: AccessToken
    key: VerificationKey
    valid_until: float


class TokenVerifier:
    """Decides whether an access token is good, now."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        keys: KeySource,
        profile: TokenProfile = "rfc9068",
        algorithms: Sequence[str] = ("RS256",),
        client_ids: frozenset[str] | None = None,
        leeway: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Accept tokens of exactly `issuer` for `audience`, signed with one of `algorithms`.

        `client_ids` limits the clients they were issued to (None: any), `leeway` is in seconds, `clock` gives Unix
        seconds. Raises ValueError for an empty issuer or audience and for an algorithm that is not asymmetric.
        """
        if not issuer or not audience:
            raise ValueError("the issuer and the audience of access tokens must not be empty")
        if not algorithms or not SUPPORTED_ALGORITHMS.issuperset(algorithms):
            raise ValueError(f"the algorithms of access tokens must be among {', '.join(sorted(SUPPORTED_ALGORITHMS))}")
        self._rules = ClaimRules(
            issuer=issuer, audience=audience, profile=profile, client_ids=client_ids, leeway=leeway
        )
        self._keys = keys
        self._clock = clock
        self._algorithms = frozenset(algorithms)
        self._cache: LRUCache[bytes, _Verified] = LRUCache(_CACHED_TOKENS)

    def call_issuer(self, name: str) -> Self:
        """Return this verifier, which from now on names the issuer so in what it returns: accounts outlive its URL."""
        self._rules = replace(self._rules, known_as=name)
        return self

    async def verify(self, token: str) -> AccessToken:
        """Return what `token` says if it is valid.

        Raises Unauthenticated, with the same sentence whatever the fault, and Unavailable when the issuer's keys have
        never been fetched and cannot be now.
        """
        try:
            return await self._verify(token)
        except RefusedError as refused:
            _log.info("access_token_refused", reason=str(refused))
            raise Unauthenticated(REFUSED, sent=True) from None

    async def _verify(self, token: str) -> AccessToken:
        if len(token) > MAX_TOKEN_SIZE or not token.isascii():
            raise RefusedError("shape")
        digest = sha256(token.encode("ascii")).digest()
        known = self._cache.get(digest)
        if known is not None and self._clock() < known.valid_until and self._keys.holds(known.key):
            return known.token
        return await self._verify_anew(token, digest)

    async def _verify_anew(self, token: str, digest: bytes) -> AccessToken:
        """Check everything, claims before the signature: only a token that claims our issuer may cause a key fetch."""
        self._cache.pop(digest, None)
        parsed = parse_compact(token)
        if parsed.algorithm not in self._algorithms:
            raise RefusedError("alg")
        verified = check_claims(parsed, self._rules, digest=digest, now=self._clock())
        key = await self._keys.find_key(parsed.key_id, parsed.algorithm)
        if key is None:
            raise RefusedError("key")
        if not key.has_signed(token, parsed.algorithm):
            raise RefusedError("signature")
        valid_until = verified.expires_at.timestamp() + self._rules.leeway
        self._cache[digest] = _Verified(verified, key, valid_until)
        return verified
