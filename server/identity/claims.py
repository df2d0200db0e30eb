"""What the claims of an access token must say (RFC 9068 section 4, RFC 8725), as functions of claims and time alone."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from server.identity.compact import CompactToken, RefusedError, is_text
from server.identity.principal import AccessToken
from server.identity.strict_json import JsonObject

TokenProfile = Literal["rfc9068", "jwt"]
"""`rfc9068` is the standard; `jwt` also takes the `typ` JWT or none, and tokens without `jti`, `client_id` or `iat`."""

_MEDIA_TYPES: dict[TokenProfile, frozenset[str | None]] = {
    "rfc9068": frozenset({"at+jwt", "application/at+jwt"}),
    "jwt": frozenset({"at+jwt", "application/at+jwt", "jwt", None}),
}
_END_OF_TIME = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second a datetime can hold
_SCOPE = re.compile(r"[\x20-\x7e]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """Whose tokens are accepted, for whom, and how strictly."""

    issuer: str
    audience: str
    profile: TokenProfile
    client_ids: frozenset[str] | None
    """Allowed values of `client_id`; None allows any."""
    leeway: float
    """How far the issuer's clock may be off, in seconds."""
    known_as: str = ""
    """The name under which accounts of the issuer's subjects are kept; empty: the issuer's own."""


def check_claims(token: CompactToken, rules: ClaimRules, *, digest: bytes, now: float) -> AccessToken:
    """Turn the claims of a token into an AccessToken if every rule holds at `now` (Unix seconds).

    Raises RefusedError. The caller answers for the signature.
    """
    claims = token.claims
    if token.media_type not in _MEDIA_TYPES[rules.profile]:
        raise RefusedError("typ")
    if claims.get("iss") != rules.issuer:
        raise RefusedError("iss")
    if not _is_addressed_to(rules.audience, claims.get("aud")):
        raise RefusedError("aud")
    expires = _check_times(claims, rules, now)
    complete = rules.profile == "rfc9068"
    client_id = _text(claims, "client_id") if complete or "client_id" in claims else None
    if rules.client_ids is not None and client_id not in rules.client_ids:
        raise RefusedError("client_id")
    return AccessToken(
        issuer=rules.known_as or rules.issuer,
        subject=_text(claims, "sub"),
        client_id=client_id,
        token_id=_text(claims, "jti") if complete or "jti" in claims else None,
        scopes=_scopes(claims.get("scope", "")),
        expires_at=datetime.fromtimestamp(expires, UTC),
        digest=digest,
    )


def _is_addressed_to(audience: str, claim: object) -> bool:
    """Tell whether `aud` names us: as a string, or in an array of nothing but strings (RFC 7519 section 4.1.3)."""
    if isinstance(claim, list):
        return all(isinstance(entry, str) for entry in claim) and audience in claim
    return claim == audience


def _check_times(claims: JsonObject, rules: ClaimRules, now: float) -> float:
    """Check `exp`, `nbf` and `iat` and return `exp`; a token is valid while now < exp + leeway."""
    expires = _time(claims, "exp")
    not_before = _time(claims, "nbf") if "nbf" in claims else 0
    issued = _time(claims, "iat") if rules.profile == "rfc9068" or "iat" in claims else 0
    if now >= expires + rules.leeway:
        raise RefusedError("exp")
    for name, moment in (("nbf", not_before), ("iat", issued)):
        if moment > now + rules.leeway:
            raise RefusedError(name)
    return expires


def _time(claims: JsonObject, name: str) -> float:
    """Read a NumericDate (RFC 7519 section 2) between 1970 and 9999."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _END_OF_TIME:
        raise RefusedError(name)
    return value


def _text(claims: JsonObject, name: str) -> str:
    value = claims.get(name)
    if not is_text(value):
        raise RefusedError(name)
    return value


def _scopes(claim: object) -> frozenset[str]:
    """Split the space-delimited claim `scope` (RFC 8693 section 4.2); without it the token has no scopes."""
    if not isinstance(claim, str) or not _SCOPE.fullmatch(claim):
        raise RefusedError("scope")
    return frozenset(claim.split())
