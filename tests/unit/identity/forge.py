"""Tokens made by hand, right and wrong: no library stands between a test and the bytes it wants to send."""

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "https://issuer.example/tenant"
AUDIENCE = "https://api.example"
NOW = 1_800_000_000
"""The time of every test, Unix seconds."""

Members = dict[str, Any]


def encode(data: bytes | str | Mapping[str, Any]) -> str:
    """Write bytes, text or JSON as base64url without padding."""
    if isinstance(data, Mapping):
        data = json.dumps(data)
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def claims(**changes: Any) -> Members:
    """Return the claims of a good token with changes; `...` removes one."""
    good: Members = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "client_id": "developer-cli",
        "scope": "read stream",
        "iat": NOW,
        "exp": NOW + 3600,
        "jti": "token-1",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


@dataclass
class Forge:
    """An issuer's key and everything one can make with it."""

    key_id: str = "key-1"
    key: RSAPrivateKey = field(default_factory=lambda: generate_private_key(public_exponent=65537, key_size=2048))

    def jwk(self, **changes: Any) -> Members:
        """Return the public key as a JWK with changes; `...` removes a member."""
        numbers = self.key.public_key().public_numbers()
        good: Members = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.key_id,
            "n": encode(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": encode(numbers.e.to_bytes(3, "big")),
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not ...}

    def header(self, **changes: Any) -> Members:
        """Return the header of a good token with changes; `...` removes a member."""
        good: Members = {"alg": "RS256", "typ": "at+jwt", "kid": self.key_id}
        return {name: value for name, value in {**good, **changes}.items() if value is not ...}

    def sign(self, header: bytes | str | Members, payload: bytes | str | Members) -> str:
        """Sign any header and payload with RS256, whatever the header says."""
        return self.seal(f"{encode(header)}.{encode(payload)}")

    def seal(self, signing_input: str) -> str:
        """Sign two segments as they are and append the third."""
        signature = self.key.sign(signing_input.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signing_input}.{encode(signature)}"

    def token(self, **changes: Any) -> str:
        """Make a token whose claims are good but for the changes."""
        return self.sign(self.header(), claims(**changes))

    def token_with_header(self, **changes: Any) -> str:
        """Make a token whose header is good but for the changes."""
        return self.sign(self.header(**changes), claims())

    def confused_token(self, alg: str = "HS256") -> str:
        """Make a token signed with HMAC under the public key's PEM (RFC 8725 section 2.1)."""
        secret = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signing_input = f"{encode(self.header(alg=alg))}.{encode(claims())}"
        return f"{signing_input}.{encode(hmac.digest(secret, signing_input.encode(), 'sha256'))}"
