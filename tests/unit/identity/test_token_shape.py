"""How a signed token may and may not be written (RFC 7515, RFC 8725)."""

import json
from typing import Any

import pytest

from tests.unit.identity.conftest import MakeVerifier, refusal
from tests.unit.identity.forge import NOW, Forge, Members, claims, encode

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _cases(table: dict[str, dict[str, Any]]) -> list[Any]:
    """Turn {reason: {name: case}} into parameters."""
    return [
        pytest.param(case, reason, id=f"{reason}: {name}")
        for reason, group in table.items()
        for name, case in group.items()
    ]


@pytest.mark.parametrize(
    "changes",
    [{"typ": "AT+JWT"}, {"typ": "application/at+jwt"}, {"typ": "Application/AT+jwt"}, {"pi.atm": "1"}, {"kid": ...}],
    ids=str,
)
async def test_headers_within_the_rules_are_accepted(
    forge: Forge, make_verifier: MakeVerifier, changes: Members
) -> None:
    assert await make_verifier().verify(forge.token_with_header(**changes))


WRONG_ALGORITHMS = ("none", "None", "NONE", "nOnE", "", "rs256", "RS256 ", "RS512", "HS256", "HS512", "PS256", "ES256")
BAD_HEADERS: dict[str, dict[str, Members]] = {
    "alg": {
        **{f"{name!r}": {"alg": name} for name in WRONG_ALGORITHMS},
        "missing": {"alg": ...},
        "null": {"alg": None},
        "array": {"alg": ["RS256"]},
    },
    "typ": {
        "of an ID token": {"typ": "JWT"},
        "missing": {"typ": ...},
        "null": {"typ": None},
        "of a logout token": {"typ": "logout+jwt"},
        "number": {"typ": 1},
        "empty": {"typ": ""},
    },
    "header_member": {
        "critical extension": {"crit": ["exp"], "exp": NOW},
        "empty critical list": {"crit": []},
        "critical b64": {"crit": ["b64"], "b64": False},
        "b64": {"b64": True},
        "key": {"jwk": {"kty": "oct", "k": "AAAA"}},
        "key address": {"jku": "https://evil.example/jwks"},
        "certificate address": {"x5u": "https://evil.example/cert"},
        "certificate chain": {"x5c": ["MIIB"]},
        "compression": {"zip": "DEF"},
        "encryption": {"enc": "A256GCM"},
    },
    "kid": {
        "empty": {"kid": ""},
        "null": {"kid": None},
        "number": {"kid": 1},
        "array": {"kid": ["key-1"]},
        "NUL": {"kid": "key-1\0"},
        "too long": {"kid": "k" * 256},
    },
    "key": {
        "unknown": {"kid": "key-2"},
        "other case": {"kid": "KEY-1"},
    },
    "header_size": {"1 KiB": {"padding": "x" * 1024}},
}


@pytest.mark.parametrize(("changes", "reason"), _cases(BAD_HEADERS))
async def test_headers_beyond_the_rules_are_refused(
    forge: Forge, make_verifier: MakeVerifier, changes: Members, reason: str
) -> None:
    assert await refusal(make_verifier(), forge.token_with_header(**changes)) == reason


def _odd_encodings(forge: Forge) -> dict[str, dict[str, str]]:
    header, payload, signature = forge.token().split(".")
    good = f"{header}.{payload}.{signature}"
    unsigned = f"{encode(forge.header(alg='none'))}.{payload}"
    text = json.dumps(claims())
    opening = '{"alg":"RS256","typ":"at+jwt","kid":"key-1"'
    return {
        "shape": {
            "empty": "",
            "one segment": header,
            "two segments": f"{header}.{payload}",
            "no signature": f"{header}.{payload}.",
            "no payload": f"{header}..{signature}",
            "no header": f".{payload}.{signature}",
            "only dots": "..",
            "trailing dot": good + ".",
            "leading dot": "." + good,
            "four segments": f"{good}.{signature}",
            "five segments": f"{good}.{signature}.{signature}",
            "unsigned": unsigned + ".",
            "no-break space": good + "\u00a0",
            "ideographic space": "\u3000" + good,
            "fullwidth letter": good.replace("e", "\uff45", 1),
            "half a character": good + "\ud800",
            "JSON serialization": f'{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}',
            "oversized": forge.token(padding="x" * 8192),
        },
        "alg": {"unsigned with a signature": f"{unsigned}.{signature}"},
        "base64url": {
            "padded": good + "==",
            "padded header": forge.seal(f"{header}==.{payload}"),
            "leading space": " " + good,
            "trailing line feed": good + "\n",
            "space inside": f"{header}. {payload}.{signature}",
            "line feed inside a segment": f"{header[:9]}\n{header[9:]}.{payload}.{signature}",
            "NUL": good + "\0",
            "with its scheme": "Bearer " + good,
            "standard alphabet": forge.seal(f"{header}.{encode(json.dumps({'x': '???>>>'})).replace('_', '/')}"),
            "other last bits": forge.seal(f"{header}.{_with_other_last_bits(text)}"),
            "other last bits of the signature": good[:-1] + ALPHABET[ALPHABET.index(good[-1]) + 1],
            "cut short": good[:-1],
        },
        "signature": {
            "one character too many": good + "A",
            "of other claims": f"{header}.{encode(claims(sub='bob'))}.{signature}",
            "of another header": f"{encode(forge.header(typ='AT+JWT'))}.{payload}.{signature}",
            "of nothing": f"{header}.{payload}.AA",
        },
        "json": {
            "duplicate header member": forge.sign(opening + ',"kid":"key-1"}', claims()),
            "duplicate header member, escaped": forge.sign(opening + ',"\\u0061lg":"RS256"}', claims()),
            "duplicate claim": forge.sign(forge.header(), '{"sub":"bob",' + text[1:]),
            "duplicate member deep inside": forge.sign(forge.header(), text[:-1] + ',"x":{"a":1,"a":2}}'),
            "header an array": forge.sign("[]", claims()),
            "payload an array": forge.sign(forge.header(), "[]"),
            "payload no JSON": forge.sign(forge.header(), "foo"),
            "payload a JWT": forge.sign(forge.header(cty="JWT"), good),
            "payload in UTF-16": forge.sign(forge.header(), text.encode("utf-16")),
            "payload with a byte order mark": forge.sign(forge.header(), b"\xef\xbb\xbf" + text.encode()),
            "payload with broken UTF-8": forge.sign(forge.header(), b'{"sub":"\xff"}'),
            "payload nested deeply": forge.sign(forge.header(), b'{"x":' + b"[" * 2000 + b"]" * 2000 + b"}"),
        },
    }


def _with_other_last_bits(text: str) -> str:
    """Encode text so that the unused bits of the last character are not zero."""
    segment = encode(text + " " * ((1 - len(text)) % 3))
    return segment[:-1] + ALPHABET[ALPHABET.index(segment[-1]) + 1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param(name, reason, id=f"{reason}: {name}")
        for reason, group in _odd_encodings(Forge()).items()
        for name in group
    ],
)
async def test_odd_encodings_are_refused(forge: Forge, make_verifier: MakeVerifier, name: str, reason: str) -> None:
    assert await refusal(make_verifier(), _odd_encodings(forge)[reason][name]) == reason
