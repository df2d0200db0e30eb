import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc.jwk import ECKey, OctKey, RSAKey

from server.identity.signing_keys import parse_key_set
from tests.unit.identity.forge import Forge, Members, encode

WYCHEPROOF = Path(__file__).parents[2] / "golden" / "wycheproof_jws.json"
ACCEPTED_THOUGH_INVALID = {("json_web_key_test.json", 7)}
"""A public key with the ROCA fingerprint: nothing is wrong with the signature, and the issuer's keys are trusted."""


@pytest.mark.parametrize("changes", [{"use": ...}, {"alg": ...}, {"key_ops": ["verify"]}, {"kid": ...}, {"x5c": ["x"]}])
def test_keys_that_can_verify_are_taken(forge: Forge, changes: Members) -> None:
    assert len(parse_key_set({"keys": [forge.jwk(**changes)]}).keys) == 1


UNUSABLE: dict[str, Members] = {
    "no type": {"kty": ...},
    "unknown type": {"kty": "AKP"},
    "type in other case": {"kty": "rsa"},
    "type a list": {"kty": ["RSA"]},
    "for encryption": {"use": "enc"},
    "use a list": {"use": ["sig"]},
    "operations without verify": {"key_ops": ["encrypt"]},
    "operations as text": {"key_ops": "verify"},
    "symmetric algorithm": {"alg": "HS256"},
    "algorithm for encryption": {"alg": "RSA-OAEP"},
    "algorithm of another type": {"alg": "ES256"},
    "algorithm a list": {"alg": ["RS256"]},
    "key id a number": {"kid": 1},
    "empty key id": {"kid": ""},
    "key id with NUL": {"kid": "a\0"},
    "private": {"d": "AQAB"},
    "private prime": {"p": "AQAB"},
    "secret": {"k": "AQAB"},
    "no modulus": {"n": ...},
    "modulus a number": {"n": 3},
    "empty modulus": {"n": ""},
    "modulus no base64url": {"n": "+/=="},
    "modulus padded": {"n": "AQAB="},
    "modulus zero": {"n": "AA"},
    "modulus even": {"n": encode(b"\xff" * 255 + b"\xfe")},
    "modulus short": {"n": encode(b"\xff" * 255)},
    "modulus huge": {"n": encode(b"\xff" * 200_000)},
    "no exponent": {"e": ...},
    "exponent one": {"e": "AQ"},
    "exponent even": {"e": "Ag"},
    "exponent huge": {"e": encode(b"\xff" * 200)},
}


@pytest.mark.parametrize("changes", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_keys_that_cannot_be_used_are_left_out(forge: Forge, stranger: Forge, changes: Members) -> None:
    keys = parse_key_set({"keys": [forge.jwk(**changes), stranger.jwk(kid="good")]})
    assert [key.key_id for key in keys.keys] == ["good"]


@pytest.mark.parametrize(
    "entry",
    [
        None,
        7,
        "key",
        [],
        {},
        OctKey.generate_key(256).as_dict(private=True),
        RSAKey.import_key(rsa.generate_private_key(65537, 2048)).as_dict(private=True),
        {"kty": "EC", "crv": "P-256"},
        {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"},
        {"kty": "EC", "crv": ["P-256"], "x": "AQ", "y": "AQ"},
        ECKey.import_key(ec.generate_private_key(ec.SECP256K1())).as_dict(private=False),
    ],
    ids=lambda entry: str(entry)[:30],
)
def test_entries_of_other_kinds_are_left_out(forge: Forge, entry: object) -> None:
    assert len(parse_key_set({"keys": [entry, forge.jwk()]}).keys) == 1


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"keys": [{}] * 101}])
def test_a_document_that_is_no_key_set_is_an_error(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="JWK Set"):
        parse_key_set(document)


def test_an_elliptic_key_verifies_its_own_algorithm_only() -> None:
    public = ECKey.import_key(ec.generate_private_key(ec.SECP256R1())).as_dict(private=False)
    (key,) = parse_key_set({"keys": [public]}).keys
    assert key.algorithms == {"ES256"}


def _wycheproof() -> list[Any]:
    groups = json.loads(WYCHEPROOF.read_text(encoding="utf-8"))["groups"]
    return [
        pytest.param(group["keys"], test["jws"], _verdict(group, test), id=f"{group['comment']}-{test['tcId']}")
        for group in groups
        for test in group["tests"]
    ]


def _verdict(group: Members, test: Members) -> bool:
    return test["result"] == "valid" or (group["file"], test["tcId"]) in ACCEPTED_THOUGH_INVALID


@pytest.mark.parametrize(("keys", "token", "valid"), _wycheproof())
def test_signatures_are_judged_as_wycheproof_says(keys: list[Members], token: str, valid: bool) -> None:
    usable = parse_key_set({"keys": keys}).keys
    assert any(key.has_signed(token, algorithm) for key in usable for algorithm in key.algorithms) == valid
