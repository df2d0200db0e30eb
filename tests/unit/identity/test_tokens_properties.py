"""Whatever is sent as a token: verified, or Unauthenticated; never another exception."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import Unauthenticated
from server.identity.tokens import TokenVerifier
from tests.unit.identity.conftest import MakeVerifier
from tests.unit.identity.forge import Forge, claims, encode

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
CLAIM = st.sampled_from([*claims(), "nbf", "cnf", "act", ""])
HEADER = st.sampled_from(["alg", "typ", "kid", "crit", "jwk", "b64", "cty", "other"])


async def _accepts(verifier: TokenVerifier, token: str) -> bool:
    try:
        return bool(await verifier.verify(token))
    except Unauthenticated:
        return False


@relaxed
@given(st.text() | st.text(alphabet="aeyJ0.-_=") | st.binary().map(lambda data: data.decode("latin-1")))
async def test_any_text_is_refused(make_verifier: MakeVerifier, text: str) -> None:
    assert not await _accepts(make_verifier(), text)


@relaxed
@given(st.lists(st.binary(min_size=1).map(encode) | JSON.map(json.dumps).map(encode), min_size=3, max_size=3))
async def test_any_three_segments_are_refused(make_verifier: MakeVerifier, segments: list[str]) -> None:
    assert not await _accepts(make_verifier(), ".".join(segments))


@relaxed
@given(st.data())
async def test_a_good_token_changed_anywhere_is_refused(
    forge: Forge, make_verifier: MakeVerifier, data: st.DataObject
) -> None:
    token = forge.token()
    start = data.draw(st.integers(0, len(token) - 1))
    end = data.draw(st.integers(start, len(token)))
    changed = token[:start] + data.draw(st.text(max_size=4)) + token[end:]
    assert await _accepts(make_verifier(), changed) == (changed == token)


@relaxed
@given(name=CLAIM, value=JSON, profile=st.sampled_from(["rfc9068", "jwt"]))
async def test_signed_claims_of_any_type_raise_nothing_else(
    forge: Forge, make_verifier: MakeVerifier, name: str, value: Any, profile: str
) -> None:
    await _accepts(make_verifier(profile=profile), forge.token(**{name: value}))


@relaxed
@given(name=HEADER, value=JSON)
async def test_signed_headers_of_any_type_raise_nothing_else(
    forge: Forge, make_verifier: MakeVerifier, name: str, value: Any
) -> None:
    await _accepts(make_verifier(), forge.token_with_header(**{name: value}))
