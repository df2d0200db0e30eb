"""What a signed token may and may not say (RFC 7519 section 4.1, RFC 9068 section 2.2)."""

import json

import pytest

from tests.unit.identity.conftest import MakeVerifier, refusal
from tests.unit.identity.forge import AUDIENCE, ISSUER, NOW, Forge, Members, claims

GOOD_CLAIMS: dict[str, Members] = {
    "audience in an array": {"aud": ["https://other.example", AUDIENCE]},
    "audience alone in an array": {"aud": [AUDIENCE]},
    "no scope": {"scope": ...},
    "empty scope": {"scope": ""},
    "fractional times": {"exp": NOW + 0.5, "iat": NOW - 0.5},
    "expired within the leeway": {"exp": NOW - 29},
    "not before, within the leeway": {"nbf": NOW + 30},
    "issued in the future, within the leeway": {"iat": NOW + 30},
    "the last second of time": {"exp": 253_402_300_799},
    "longest subject": {"sub": "x" * 255},
    "subject in another script": {"sub": "Zoë 李 👩"},
    "unknown claims": {"extra": {"deep": [1, None]}, "auth_time": "any"},
}


@pytest.mark.parametrize("changes", GOOD_CLAIMS.values(), ids=GOOD_CLAIMS.keys())
async def test_claims_within_the_rules_are_accepted(
    forge: Forge, make_verifier: MakeVerifier, changes: Members
) -> None:
    assert (await make_verifier().verify(forge.token(**changes))).issuer == ISSUER


BAD_CLAIMS: dict[str, Members] = {
    "no issuer": {"iss": ...},
    "another issuer": {"iss": "https://evil.example"},
    "issuer with a slash": {"iss": ISSUER + "/"},
    "issuer in other case": {"iss": ISSUER.upper()},
    "issuer in an array": {"iss": [ISSUER]},
    "no audience": {"aud": ...},
    "another audience": {"aud": "https://other.example"},
    "audience with our name as a prefix": {"aud": AUDIENCE + ".evil.example"},
    "empty array of audiences": {"aud": []},
    "array with a number": {"aud": [AUDIENCE, 1]},
    "array with null": {"aud": [None, AUDIENCE]},
    "nested array": {"aud": [[AUDIENCE]]},
    "audience as an object": {"aud": {AUDIENCE: True}},
    "no expiry": {"exp": ...},
    "expiry null": {"exp": None},
    "expiry as a string": {"exp": str(NOW + 3600)},
    "expiry as a boolean": {"exp": True},
    "expiry as an array": {"exp": [NOW + 3600]},
    "expiry beyond time": {"exp": 253_402_300_800},
    "expiry of four thousand digits": {"exp": 10**4000},
    "negative expiry": {"exp": -1},
    "expired": {"exp": NOW - 30},
    "long expired": {"exp": 0},
    "not before, beyond the leeway": {"nbf": NOW + 31},
    "not before as a string": {"nbf": "0"},
    "not before null": {"nbf": None},
    "issued in the future": {"iat": NOW + 31},
    "issued as a string": {"iat": str(NOW)},
    "no time of issue": {"iat": ...},
    "no subject": {"sub": ...},
    "empty subject": {"sub": ""},
    "subject null": {"sub": None},
    "subject a number": {"sub": 7},
    "subject with NUL": {"sub": "ali\0ce"},
    "subject with a line feed": {"sub": "alice\n"},
    "subject with DEL": {"sub": "alice\x7f"},
    "subject with a C1 control": {"sub": "alice\x85"},
    "subject with a bidi override": {"sub": "alice\u202e"},
    "subject with a line separator": {"sub": "alice\u2028"},
    "subject with half a character": {"sub": "alice\ud800"},
    "subject too long": {"sub": "x" * 256},
    "no client": {"client_id": ...},
    "empty client": {"client_id": ""},
    "client a number": {"client_id": 1},
    "no token id": {"jti": ...},
    "token id null": {"jti": None},
    "token id too long": {"jti": "x" * 256},
    "scope as an array": {"scope": ["read"]},
    "scope null": {"scope": None},
    "scope with a tab": {"scope": "read\tstream"},
    "scope beyond ASCII": {"scope": "read\u2003stream"},
}


@pytest.mark.parametrize("changes", BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
async def test_claims_beyond_the_rules_are_refused(forge: Forge, make_verifier: MakeVerifier, changes: Members) -> None:
    assert [await refusal(make_verifier(), forge.token(**changes))] == list(changes)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "1e999999", "0x7fffffff", "+1", "9" * 4400])
async def test_numbers_that_are_no_json_are_refused(forge: Forge, make_verifier: MakeVerifier, number: str) -> None:
    text = json.dumps(claims()).replace(f'"exp": {NOW + 3600}', f'"exp": {number}')
    assert number in text
    assert await refusal(make_verifier(), forge.sign(forge.header(), text)) in ("json", "exp")
