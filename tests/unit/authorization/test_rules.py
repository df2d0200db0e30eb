"""The library's rules behind ours: whatever is sent, a decision comes out, and never one that was not asked for."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from server.authorization.grants import Situation, check_authorization, decide_revocation, decide_tokens
from server.authorization.model import AuthorizationCode, Grant, GrantRefused, RefreshToken, RegisteredClient, Tokens
from server.ids import new_grant_id
from server.secret import Secret

CLIENT = RegisteredClient(
    id="client",
    name="A client",
    developer_name="",
    is_confidential=False,
    redirect_uris=("https://a.example/cb",),
    allowed_scopes=frozenset({"read"}),
)
GRANT = Grant(id=new_grant_id(), client_id="client", subject="alice", scopes=("read",), is_live=True)
CODE = AuthorizationCode(redirect_uri="https://a.example/cb", code_challenge="x" * 43, is_used=False, is_current=True)
TOKEN = RefreshToken(is_used=False, is_current=True)

anything = st.one_of(st.text(min_size=1), st.text('"\\ \t\néx.', min_size=1))
names = st.sampled_from(
    ["client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method", "code",
     "code_verifier", "refresh_token", "token", "token_type_hint", "client_secret", "nonce"]
)  # fmt: skip


def sign(grant: Grant, scopes: tuple[str, ...]) -> Tokens:
    assert grant is GRANT
    assert scopes == ("read",)
    return Tokens(access_token=Secret("a"), refresh_token=Secret("r"), scopes=scopes)


GOOD = {
    "redirect_uri": "https://a.example/cb",
    "code_challenge": "x" * 43,
    "code_challenge_method": "S256",
    "code": "c",
    "code_verifier": "v" * 43,
    "refresh_token": "r",
}


@given(st.dictionaries(names, anything), st.sampled_from(["code", "token", "code token", 'é"\\', "none"]))
def test_any_request_for_consent_is_accepted_or_refused(sent: dict[str, str], response_type: str) -> None:
    try:
        scopes = check_authorization(CLIENT, {**GOOD, **sent, "response_type": response_type})
    except GrantRefused as refusal:
        described = set(refusal.sentence)
    else:
        described = set()
        assert scopes == ("read",)
        assert response_type == "code"
        assert {**GOOD, **sent}["code_challenge_method"] == "S256"
        assert GOOD["redirect_uri"] == sent.get("redirect_uri", GOOD["redirect_uri"])
    assert described <= set(map(chr, range(0x20, 0x7F))) - {'"', "\\"}


@given(
    st.dictionaries(names, anything),
    st.sampled_from(["authorization_code", "refresh_token", "password", 'é"\\']),
    st.booleans(),
)
def test_any_request_for_tokens_is_accepted_or_refused(sent: dict[str, str], grant_type: str, found: bool) -> None:
    situation = Situation(client=CLIENT)
    if found:
        situation = replace(situation, grant=GRANT, code=CODE, refresh_token=TOKEN)
    outcome = decide_tokens(situation, {**GOOD, **sent, "grant_type": grant_type}, sign)
    assert (outcome.tokens is None) != (outcome.refusal is None)
    assert not outcome.ends_grant
    if outcome.tokens:
        assert found
        assert grant_type == "refresh_token"


@given(st.dictionaries(names, anything), st.booleans())
def test_any_request_for_revocation_is_accepted_or_refused(sent: dict[str, str], found: bool) -> None:
    situation = Situation(client=CLIENT, grant=GRANT if found else None)
    outcome = decide_revocation(situation, sent)
    assert outcome.ends_grant == (found and "token" in sent)
    assert (outcome.refusal is None) == ("token" in sent)
