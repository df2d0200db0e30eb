"""Which tokens are verified, by which key, and for how long one is remembered."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from server.errors import Unauthenticated
from server.identity.jwks import StaticKeySet
from tests.unit.identity.conftest import MakeVerifier, refusal
from tests.unit.identity.forge import ISSUER, NOW, Forge, Members, claims


async def test_a_good_token_becomes_its_claims(forge: Forge, make_verifier: MakeVerifier) -> None:
    raw = forge.token()

    token = await make_verifier().verify(raw)

    assert (token.issuer, token.subject, token.client_id, token.token_id) == (
        ISSUER,
        "alice",
        "developer-cli",
        "token-1",
    )
    assert token.scopes == {"read", "stream"}
    assert token.expires_at == datetime.fromtimestamp(NOW + 3600, UTC)
    assert token.digest == sha256(raw.encode()).digest()
    assert raw not in repr(token)


async def test_a_key_inside_the_token_is_not_listened_to(stranger: Forge, make_verifier: MakeVerifier) -> None:
    assert (
        await refusal(make_verifier(), stranger.token_with_header(jwk=stranger.jwk(), kid="key-1")) == "header_member"
    )


async def test_a_token_of_another_key_is_refused(stranger: Forge, make_verifier: MakeVerifier) -> None:
    assert await refusal(make_verifier(), stranger.token()) == "signature"


@pytest.mark.parametrize(("alg", "reason"), [("HS256", "alg"), ("RS256", "signature")])
async def test_the_public_key_is_no_shared_secret(
    forge: Forge, make_verifier: MakeVerifier, alg: str, reason: str
) -> None:
    assert await refusal(make_verifier(), forge.confused_token(alg)) == reason


async def test_the_jwt_profile_takes_plain_jwts_too(forge: Forge, make_verifier: MakeVerifier) -> None:
    verifier = make_verifier(profile="jwt")
    bare = claims(jti=..., client_id=..., iat=...)
    for header in (forge.header(typ="JWT"), forge.header(typ="jwt"), forge.header(typ=...), forge.header()):
        token = await verifier.verify(forge.sign(header, bare))
        assert (token.client_id, token.token_id) == (None, None)


@pytest.mark.parametrize(
    ("media_type", "changes", "reason"),
    [
        ("logout+jwt", {}, "typ"),
        ("", {}, "typ"),
        ("application/jwt", {}, "typ"),
        ("JWT", {"jti": 7}, "jti"),
        ("JWT", {"client_id": None}, "client_id"),
        ("JWT", {"iat": NOW + 31}, "iat"),
        ("JWT", {"exp": ...}, "exp"),
        ("JWT", {"sub": ...}, "sub"),
        ("JWT", {"aud": ...}, "aud"),
    ],
)
async def test_the_jwt_profile_forgives_nothing_else(
    forge: Forge, make_verifier: MakeVerifier, media_type: str, changes: Members, reason: str
) -> None:
    token = forge.sign(forge.header(typ=media_type), claims(**changes))
    assert await refusal(make_verifier(profile="jwt"), token) == reason


async def test_only_listed_clients_are_let_in(forge: Forge, make_verifier: MakeVerifier) -> None:
    verifier = make_verifier(client_ids=frozenset({"developer-cli"}), profile="jwt")
    assert await verifier.verify(forge.token())
    assert await refusal(verifier, forge.token(client_id="third-party")) == "client_id"
    assert await refusal(verifier, forge.token(client_id=...)) == "client_id"


@pytest.mark.parametrize(
    "other", [{"kid": "key-2"}, {"kid": ...}, {}], ids=["two keys", "one without id", "same id twice"]
)
async def test_a_key_that_is_not_the_only_one_is_no_key(
    forge: Forge, stranger: Forge, make_verifier: MakeVerifier, other: Members
) -> None:
    verifier = make_verifier(keys=StaticKeySet({"keys": [forge.jwk(), stranger.jwk(**other)]}))
    ambiguous = forge.token_with_header() if other == {} else forge.token_with_header(kid=...)
    assert await refusal(verifier, ambiguous) == "key"


async def test_a_token_without_key_id_skips_keys_of_other_algorithms(
    forge: Forge, stranger: Forge, make_verifier: MakeVerifier
) -> None:
    verifier = make_verifier(keys=StaticKeySet({"keys": [stranger.jwk(alg="RS512"), forge.jwk()]}))
    assert await verifier.verify(forge.token_with_header(kid=...))


async def test_a_verified_token_is_remembered_until_it_expires(forge: Forge, make_verifier: MakeVerifier) -> None:
    now = float(NOW)
    verifier = make_verifier(clock=lambda: now)
    raw = forge.token(exp=NOW + 60)

    first = await verifier.verify(raw)
    now = NOW + 89.9
    assert await verifier.verify(raw) is first
    now = NOW + 90.0
    assert await refusal(verifier, raw) == "exp"


async def test_a_refused_token_is_not_remembered(forge: Forge, make_verifier: MakeVerifier) -> None:
    now = float(NOW)
    verifier = make_verifier(clock=lambda: now)
    raw = forge.token(nbf=NOW + 60)

    assert await refusal(verifier, raw) == "nbf"
    now = NOW + 60.0
    assert (await verifier.verify(raw)).subject == "alice"


async def test_the_log_tells_the_reason_and_nothing_of_the_token(
    forge: Forge, make_verifier: MakeVerifier, log: list[Any]
) -> None:
    raw = forge.token(sub="canary-subject", aud="canary-audience")

    with pytest.raises(Unauthenticated):
        await make_verifier().verify(raw)

    assert log == [{"event": "access_token_refused", "reason": "aud", "log_level": "info"}]


@pytest.mark.parametrize("algorithms", [[], ["none"], ["HS256"], ["RS256", "HS256"], ["rs256"]])
def test_a_verifier_of_other_than_public_key_signatures_cannot_be_made(
    make_verifier: MakeVerifier, algorithms: list[str]
) -> None:
    with pytest.raises(ValueError, match="algorithms"):
        make_verifier(algorithms=algorithms)


@pytest.mark.parametrize("missing", ["issuer", "audience"])
def test_a_verifier_without_issuer_or_audience_cannot_be_made(make_verifier: MakeVerifier, missing: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        make_verifier(**{missing: ""})
