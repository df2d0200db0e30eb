"""The local issuer: an RSA key of our own in the data directory that signs RFC 9068 access tokens.

A configured issuer replaces it. It has no HTTP of its own: the web root publishes `jwks()`, and `server/authorization/`
decides who is given its tokens.
"""

import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from joserfc import jwt
from joserfc.jwk import RSAKey

from server.identity.compact import is_text
from server.identity.strict_json import JsonObject
from server.private_file import PrivateFileError, read_or_create

FIRST_PARTY_CLIENT = "developer-cli"
"""The `client_id` of tokens made on the command line, which no user has granted and nothing can revoke."""

_KEY_FILE = "issuer-key.pem"
_KEY_BITS = 2048
_ALGORITHM = "RS256"


class LocalIssuer:
    """Signs access tokens with one RSA key. Whoever can read the key's file can sign tokens for any developer."""

    def __init__(
        self, key: RSAPrivateKey, *, issuer: str, audience: str, clock: Callable[[], float] = time.time
    ) -> None:
        """Sign as `issuer` for `audience`; `clock` gives Unix seconds."""
        self._key = RSAKey.import_key(key)
        self._key_id = self._key.thumbprint()
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    @classmethod
    def open(cls, data_dir: Path, *, issuer: str, audience: str, clock: Callable[[], float] = time.time) -> Self:
        """Load the key from `data_dir`, making both on the first start; several processes may do so at once.

        Blocks on files and for the fraction of a second that a new key takes. Raises
        PrivateFileError when it cannot be made or used.
        """
        return cls(_load_key(data_dir / _KEY_FILE), issuer=issuer, audience=audience, clock=clock)

    def jwks(self) -> JsonObject:
        """Return the JWK Set to publish (RFC 7517): the public key under its RFC 7638 thumbprint."""
        return {"keys": [{**self._key.as_dict(private=False), "kid": self._key_id, "use": "sig", "alg": _ALGORITHM}]}

    def issue(
        self,
        subject: str,
        *,
        client_id: str = FIRST_PARTY_CLIENT,
        scope: str = "read stream",
        lifetime: timedelta = timedelta(hours=1),
        token_id: str = "",
    ) -> str:
        """Sign one access token for `subject`, valid from now for `lifetime` (RFC 9068 section 2.2).

        `token_id` is the claim `jti`, unique for each token; empty draws one. Raises ValueError for a subject that no
        verifier would accept.
        """
        if not is_text(subject):
            raise ValueError("the subject must be 1 to 255 printable characters")
        now = int(self._clock())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "client_id": client_id,
            "scope": scope,
            "iat": now,
            "exp": now + int(lifetime.total_seconds()),
            "jti": token_id or secrets.token_urlsafe(16),
        }
        header = {"alg": _ALGORITHM, "typ": "at+jwt", "kid": self._key_id}
        return jwt.encode(header, claims, self._key, algorithms=[_ALGORITHM])


def _draw_key() -> bytes:
    key = generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(path: Path) -> RSAPrivateKey:
    pem = read_or_create(path, _draw_key)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey) or key.key_size < _KEY_BITS:
        raise PrivateFileError(f"{path} holds no RSA key of at least {_KEY_BITS} bits: remove it, a new one is made")
    return key
