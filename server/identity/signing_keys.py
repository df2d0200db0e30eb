"""The public keys of an issuer: which entries of its key set can be used, for what, and finding the right one.

No I/O here: `jwks.py` gets the documents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import base64_to_int

from server.identity.compact import MAX_TOKEN_SIZE, is_text

# Asymmetric algorithms only (RFC 7518 section 3.1); a symmetric one would turn a published key into a shared secret.
_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EC_ALGORITHMS = {"P-256": frozenset({"ES256"}), "P-384": frozenset({"ES384"}), "P-521": frozenset({"ES512"})}
SUPPORTED_ALGORITHMS = _RSA_ALGORITHMS.union(*_EC_ALGORITHMS.values())

_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_RSA_BITS = range(2048, 8192 + 1)  # RFC 7518 section 3.3 asks for 2048; beyond 8192 a verification costs milliseconds
_MAX_EXPONENT = 2**32
_MAX_KEYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One usable public key. Two are equal when id, key material (RFC 7638 thumbprint) and algorithms are."""

    key_id: str | None
    thumbprint: str
    algorithms: frozenset[str]
    public_key: RSAKey | ECKey = field(repr=False, compare=False)

    def has_signed(self, token: str, algorithm: str) -> bool:
        """Tell whether the signature of a compact JWS is this key's, made with exactly `algorithm`."""
        registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        registry.max_header_length = registry.max_signature_length = MAX_TOKEN_SIZE
        try:
            jws.deserialize_compact(token, self.public_key, registry=registry)
        except (JoseError, ValueError, TypeError):
            return False
        return algorithm in self.algorithms


@dataclass(frozen=True, slots=True)
class KeySet:
    """An immutable set of usable keys, as one fetch saw it."""

    keys: frozenset[VerificationKey]

    def find(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """Return the one key that suits the id and the algorithm; None when there is none or more than one.

        A token without a key id thus needs a set with exactly one suitable key.
        """
        suitable = [
            key for key in self.keys if algorithm in key.algorithms and (key_id is None or key.key_id == key_id)
        ]
        return suitable[0] if len(suitable) == 1 else None


def parse_key_set(document: Mapping[str, object]) -> KeySet:
    """Read a JWK Set (RFC 7517 section 5) and keep the keys that can verify signatures of a supported algorithm.

    Entries that cannot be used are left out (section 5 asks for that): other types, private or symmetric keys, other
    uses, weak or broken keys. Raises ValueError when the document is no key set at all.
    """
    entries = document.get("keys")
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise ValueError("not a JWK Set")
    keys = (_usable_key(entry) for entry in entries if isinstance(entry, dict))
    return KeySet(frozenset(key for key in keys if key is not None))


def _usable_key(entry: dict[str, object]) -> VerificationKey | None:
    key_id = entry.get("kid")
    if not (key_id is None or is_text(key_id)):
        return None
    algorithms = _algorithms(entry)
    public_key = _import_public_key(entry) if algorithms and _is_for_verification(entry) else None
    if public_key is None:
        return None
    return VerificationKey(
        key_id=key_id,
        thumbprint=public_key.thumbprint(),
        algorithms=algorithms,
        public_key=public_key,
    )


def _algorithms(entry: dict[str, object]) -> frozenset[str]:
    """Return the algorithms a key may be used with: those of its type and curve, or of these the one it names."""
    possible: frozenset[str] = frozenset()
    match entry.get("kty"), entry.get("crv"):
        case "RSA", _:
            possible = _RSA_ALGORITHMS
        case "EC", str(curve):
            possible = _EC_ALGORITHMS.get(curve, possible)
    declared = entry.get("alg")
    return possible if declared is None else possible.intersection([declared] if isinstance(declared, str) else [])


def _is_for_verification(entry: dict[str, object]) -> bool:
    """Tell whether `use` and `key_ops` allow verifying, and nothing secret has been published (RFC 7517 section 4)."""
    operations = entry.get("key_ops", ["verify"])
    return (
        entry.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and _SECRET_MEMBERS.isdisjoint(entry)
    )


def _import_public_key(entry: dict[str, object]) -> RSAKey | ECKey | None:
    """Load the key material; None when it is broken, too weak or too large."""
    material = {name: value for name in ("kty", "n", "e", "crv", "x", "y") if isinstance(value := entry.get(name), str)}
    try:
        if material["kty"] == "EC":
            return ECKey.import_key({**material})
        numbers = RSAPublicNumbers(e=base64_to_int(material["e"]), n=base64_to_int(material["n"]))
        return RSAKey.import_key(numbers.public_key()) if _is_sound(numbers) else None
    except (JoseError, LookupError, ValueError):
        return None


def _is_sound(numbers: RSAPublicNumbers) -> bool:
    return numbers.n.bit_length() in _RSA_BITS and numbers.n % 2 == 1 and numbers.e <= _MAX_EXPONENT
