"""A reporter of leaks as our server sees one: a key pair, the document that publishes it, signatures."""

import base64
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def pem(key: Any) -> str:
    """Write the public half of a key."""
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


class Reporter:
    """Signs reports with one key."""

    def __init__(self, key_id: str = "key-1", *, is_current: bool = True) -> None:
        self.key_id = key_id
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.entry = {"key_identifier": key_id, "key": pem(self._key), "is_current": is_current}

    def sign(self, body: bytes, algorithm: HashAlgorithm | None = None) -> str:
        """Sign a body as the protocol demands."""
        return base64.b64encode(self._key.sign(body, ec.ECDSA(algorithm or SHA256()))).decode()

    def headers(self, body: bytes) -> dict[str, str]:
        """Make the two headers of a report."""
        return {"Github-Public-Key-Identifier": self.key_id, "Github-Public-Key-Signature": self.sign(body)}


def published(*reporters: Reporter) -> dict[str, Any]:
    """Make the document of public keys."""
    return {"public_keys": [reporter.entry for reporter in reporters]}
