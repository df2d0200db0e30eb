"""Requests for consent: which are shown to the user, which are refused by a page, which by a redirect, and how."""

from dataclasses import replace
from urllib.parse import unquote

import pytest

from server.authorization.model import RefusedRequest, UntrustedRequest
from server.errors import InvalidRequest
from tests.integration.authorization.flow import (
    CONFIDENTIAL,
    ISSUER,
    PORTAL,
    PUBLIC,
    REDIRECT_URI,
    VERIFIER,
    Flow,
    authorization_parameters,
    challenge_of,
    response_of,
)

STATE = "a b&c=d/é+%"


async def test_a_good_request_can_be_shown_to_the_user(flow: Flow) -> None:
    request = await flow.request()
    assert request.client is PUBLIC
    assert (request.redirect_uri, request.scopes, request.state) == (REDIRECT_URI, ("read", "stream"), STATE)
    assert request.code_challenge == challenge_of(VERIFIER)
    assert request.prompts == frozenset()


async def test_a_request_can_be_written_down_and_checked_again(flow: Flow) -> None:
    request = await flow.request(prompt="login consent", scope="stream")
    assert await flow.server.check_request(request.parameters()) == request


async def test_our_own_clients_need_no_directory(flow: Flow) -> None:
    assert (await flow.request(PORTAL)).client is PORTAL


@pytest.mark.parametrize("scope", ["", " ", None])
async def test_whoever_names_no_scope_asks_for_all_that_the_client_may_have(flow: Flow, scope: str | None) -> None:
    flow.directory.clients[PUBLIC.id] = replace(PUBLIC, allowed_scopes=frozenset({"stream"}))
    assert (await flow.request(scope=scope)).scopes == ("stream",)


async def test_scopes_are_asked_for_once_and_in_our_order(flow: Flow) -> None:
    assert (await flow.request(scope="stream read stream")).scopes == ("read", "stream")


async def test_what_is_not_known_is_ignored(flow: Flow) -> None:
    request = await flow.request(nonce="n", display="popup", response_mode="fragment", prompt="select_account")
    assert request == await flow.request()


@pytest.mark.parametrize("prompt", ["none", "login", "consent"])
async def test_what_the_client_wants_the_user_to_be_asked_is_told(flow: Flow, prompt: str) -> None:
    assert (await flow.request(prompt=prompt)).prompts == {prompt}


MISMATCHES = {
    "missing": None,
    "empty": "",
    "prefix": REDIRECT_URI[:-1],
    "without its query": REDIRECT_URI.partition("?")[0],
    "more in the query": REDIRECT_URI + "&a=b",
    "trailing slash": REDIRECT_URI.replace("?", "/?"),
    "case of the host": REDIRECT_URI.replace("app.", "APP."),
    "case of the scheme": REDIRECT_URI.replace("https", "HTTPS"),
    "case of the path": REDIRECT_URI.replace("signed", "Signed"),
    "default port": REDIRECT_URI.replace(".example", ".example:443"),
    "other port": "http://127.0.0.1:8080/cb",
    "other scheme": REDIRECT_URI.replace("https", "http"),
    "fragment": REDIRECT_URI + "#",
    "encoded": REDIRECT_URI.replace("signed", "%73igned"),
    "decoded": unquote(REDIRECT_URI),
    "other case of an escape": REDIRECT_URI.replace("%20", "+"),
    "dot segment": REDIRECT_URI.replace("/signed", "/./signed"),
    "user info": REDIRECT_URI.replace("//", "//app.example@evil.example/"),
    "subdomain": REDIRECT_URI.replace("//", "//evil."),
    "longer host": REDIRECT_URI.replace(".example", ".example.evil.example"),
    "white space": REDIRECT_URI + " ",
    "line feed": REDIRECT_URI + "\n",
    "quote": REDIRECT_URI + '"',
    "not ASCII": REDIRECT_URI + "é",
    "localhost for its address": "http://localhost/cb",
    "two at once": REDIRECT_URI + " http://127.0.0.1/cb",
    "another's": "https://other.example/cb",
}


@pytest.mark.parametrize("redirect_uri", MISMATCHES.values(), ids=MISMATCHES)
async def test_a_redirect_uri_that_is_not_registered_to_the_letter_is_never_redirected_to(
    flow: Flow, redirect_uri: str | None
) -> None:
    with pytest.raises(UntrustedRequest) as refused:
        await flow.request(redirect_uri=redirect_uri)
    assert [violation.field for violation in refused.value.violations] == ["redirect_uri"]


@pytest.mark.parametrize("client_id", [None, "", "client_0", PUBLIC.id.upper(), PUBLIC.id + "\n", "\0", "é" * 50])
async def test_an_unknown_client_is_never_redirected_to(flow: Flow, client_id: str | None) -> None:
    with pytest.raises(UntrustedRequest) as refused:
        await flow.request(client_id=client_id)
    assert [violation.field for violation in refused.value.violations] == ["client_id"]


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_a_client_or_redirect_uri_sent_twice_is_not_trusted(flow: Flow, name: str) -> None:
    good = authorization_parameters()
    with pytest.raises(UntrustedRequest):
        await flow.server.check_request([*good, (name, dict(good)[name])])


REFUSALS: dict[str, tuple[dict[str, str | None], str]] = {
    "no response type": ({"response_type": None}, "invalid_request"),
    "implicit": ({"response_type": "token"}, "unsupported_response_type"),
    "hybrid": ({"response_type": "code token"}, "unsupported_response_type"),
    "OpenID": ({"response_type": "id_token"}, "unsupported_response_type"),
    "unspeakable response type": ({"response_type": 'é"\\'}, "unsupported_response_type"),
    "PKCE missing": ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    "challenge missing": ({"code_challenge": None}, "invalid_request"),
    "method missing, which means plain": ({"code_challenge_method": None}, "invalid_request"),
    "plain": ({"code_challenge_method": "plain", "code_challenge": VERIFIER}, "invalid_request"),
    "plain with a hash": ({"code_challenge_method": "plain"}, "invalid_request"),
    "method in lower case": ({"code_challenge_method": "s256"}, "invalid_request"),
    "short challenge": ({"code_challenge": "x" * 42}, "invalid_request"),
    "long challenge": ({"code_challenge": "x" * 44}, "invalid_request"),
    "padded challenge": ({"code_challenge": "x" * 43 + "="}, "invalid_request"),
    "challenge in base64": ({"code_challenge": "x" * 42 + "+"}, "invalid_request"),
    "challenge with a line feed": ({"code_challenge": "x" * 43 + "\n"}, "invalid_request"),
    "unknown scope": ({"scope": "read admin"}, "invalid_scope"),
    "reserved scope": ({"scope": "write"}, "invalid_scope"),
    "scope in upper case": ({"scope": "READ"}, "invalid_scope"),
    "scopes behind a tab": ({"scope": "read\tstream"}, "invalid_scope"),
    "unspeakable scope": ({"scope": '"é\\'}, "invalid_scope"),
    "none and more": ({"prompt": "none login"}, "invalid_request"),
}


@pytest.mark.parametrize(("changes", "error"), REFUSALS.values(), ids=REFUSALS)
async def test_whatever_else_is_wrong_is_told_to_the_client_with_its_state_and_our_name(
    flow: Flow, changes: dict[str, str | None], error: str
) -> None:
    with pytest.raises(RefusedRequest) as refused:
        await flow.request(PUBLIC, **changes)
    assert refused.value.url.startswith(REDIRECT_URI + "&")
    told = response_of(refused.value.url)
    description = told.pop("error_description")
    assert told == {"from": "us all", "x": "", "error": error, "state": STATE, "iss": ISSUER}
    assert set(map(chr, range(0x20, 0x7F))).difference('"\\').issuperset(description)
    assert refused.value.error == error


async def test_a_scope_that_only_other_clients_may_have_is_refused(flow: Flow) -> None:
    flow.directory.clients[PUBLIC.id] = replace(PUBLIC, allowed_scopes=frozenset({"read"}))
    with pytest.raises(RefusedRequest, match="scope must be scopes that the client may have"):
        await flow.request(scope="read stream")


@pytest.mark.parametrize("scope", [None, "", "read"])
async def test_a_client_that_may_have_no_scope_at_all_is_refused_whatever_it_asks_for(
    flow: Flow, scope: str | None
) -> None:
    flow.directory.clients[PUBLIC.id] = replace(PUBLIC, allowed_scopes=frozenset())
    with pytest.raises(RefusedRequest) as refused:
        await flow.request(scope=scope)
    assert refused.value.error == "invalid_scope"


@pytest.mark.parametrize("name", ["response_type", "scope", "code_challenge", "code_challenge_method", "prompt", "é"])
async def test_a_parameter_sent_twice_is_refused(flow: Flow, name: str) -> None:
    good = [*authorization_parameters(), ("prompt", "login"), ("é", "")]
    with pytest.raises(RefusedRequest) as refused:
        await flow.server.check_request([*good, (name, dict(good)[name])])
    told = response_of(refused.value.url)
    assert (told["error"], told["state"]) == ("invalid_request", STATE)
    assert told["error_description"].isascii()


async def test_of_two_states_neither_comes_back(flow: Flow) -> None:
    with pytest.raises(RefusedRequest) as refused:
        await flow.server.check_request([*authorization_parameters(), ("state", "other")])
    assert "state" not in response_of(refused.value.url)


@pytest.mark.parametrize("state", [STATE, " ", "+", "%00", "a=b&iss=https://evil.example", "ж" * 500, "\0\n"])
async def test_the_state_comes_back_as_it_was(flow: Flow, state: str) -> None:
    request = await flow.request(state=state)
    for url in (await flow.server.approve(request, "alice", ["read"]), flow.server.deny(request)):
        assert response_of(url)["state"] == state
        assert response_of(url)["iss"] == ISSUER


async def test_a_state_that_cannot_be_written_is_refused_without_it(flow: Flow) -> None:
    with pytest.raises(RefusedRequest) as refused:
        await flow.request(state="\ud800")
    assert "state" not in response_of(refused.value.url)


async def test_without_a_state_none_comes_back(flow: Flow) -> None:
    assert "state" not in response_of(flow.server.deny(await flow.request(state=None)))
    assert "state" not in response_of(flow.server.deny(await flow.request(state="")))


@pytest.mark.parametrize(
    ("redirect_uri", "start"),
    [
        (REDIRECT_URI, REDIRECT_URI + "&code="),
        ("http://127.0.0.1/cb", "http://127.0.0.1/cb?code="),
        ("com.example.jukebox:/cb", "com.example.jukebox:/cb?code="),
    ],
)
async def test_a_response_leaves_the_redirect_uri_as_it_was_registered(
    flow: Flow, redirect_uri: str, start: str
) -> None:
    request = await flow.request(redirect_uri=redirect_uri)
    assert (await flow.server.approve(request, "alice", ["read"])).startswith(start)


async def test_a_denial_tells_of_it_and_of_nothing_else(flow: Flow) -> None:
    told = response_of(flow.server.deny(await flow.request()))
    assert told == {"from": "us all", "x": "", "error": "access_denied", "state": STATE, "iss": ISSUER}


@pytest.mark.parametrize("error", ["login_required", "consent_required", "interaction_required"])
async def test_a_page_that_may_not_be_shown_is_a_denial_by_name(flow: Flow, error: str) -> None:
    assert response_of(flow.server.deny(await flow.request(prompt="none"), error))["error"] == error  # type: ignore[arg-type]


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "write"], ["stream"]])
async def test_a_user_cannot_allow_nothing_or_more_than_was_asked_for(flow: Flow, scopes: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        await flow.server.approve(await flow.request(scope="read"), "alice", scopes)
    assert await flow.revoked() == []


async def test_consent_is_remembered_for_each_user_and_client(flow: Flow) -> None:
    await flow.code(scopes=["read"])
    assert await flow.server.consented("alice", PUBLIC.id) == ("read",)
    assert await flow.server.consented("bob", PUBLIC.id) == ()
    assert await flow.server.consented("alice", CONFIDENTIAL.id) == ()


@pytest.mark.parametrize(
    ("asked", "allowed", "remembered"),
    [
        ("stream", ["stream"], ("read", "stream")),
        ("read", ["read"], ("read",)),
        ("read stream", ["stream"], ("stream",)),
        ("read stream", ["read", "stream"], ("read", "stream")),
    ],
)
async def test_the_latest_answer_about_a_scope_is_what_is_remembered(
    flow: Flow, asked: str, allowed: list[str], remembered: tuple[str, ...]
) -> None:
    await flow.code(scope="read", scopes=["read"])
    await flow.code(scope=asked, scopes=allowed)
    assert await flow.server.consented("alice", PUBLIC.id) == remembered


async def test_a_denial_and_our_own_clients_leave_no_consent(flow: Flow) -> None:
    flow.server.deny(await flow.request())
    await flow.code(PORTAL)
    assert await flow.database.fetch("SELECT * FROM oauth_consents") == []


async def test_neither_codes_nor_tokens_are_stored(flow: Flow) -> None:
    code = await flow.code()
    tokens = await flow.exchange(code)
    rows: list[str] = []
    for table in ("oauth_grants", "oauth_codes", "oauth_refresh_tokens", "oauth_consents"):
        rows += [str(dict(row)) for row in await flow.database.fetch(f"SELECT * FROM {table}")]
    assert len(rows) == 4
    for secret in (code, tokens.refresh_token.reveal(), tokens.access_token.reveal()):
        assert all(secret not in row and secret.rpartition("_")[2] not in row for row in rows)
