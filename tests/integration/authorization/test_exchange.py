"""Codes: good once, soon, for one client, with one redirect URI and one verifier."""

import asyncio
import base64
import json
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog

from server.authorization.model import ClientCredentials, ClientRefused, GrantRefused, RegisteredClient, Tokens
from tests.database import Clock
from tests.integration.authorization.flow import (
    AUDIENCE,
    CONFIDENTIAL,
    ISSUER,
    PORTAL,
    PUBLIC,
    REDIRECT_URI,
    SECRET,
    VERIFIER,
    Flow,
    challenge_of,
    credentials_of,
)
from tests.integration.authorization.test_authorize import MISMATCHES

CLIENTS = pytest.mark.parametrize("client", [PUBLIC, CONFIDENTIAL, PORTAL], ids=lambda client: client.name)


async def refused(flow: Flow, code: str, client: RegisteredClient = PUBLIC, **changes: str) -> tuple[str, str]:
    """Return how an exchange is refused: the error and the faulty parameter."""
    with pytest.raises(GrantRefused) as refusal:
        await flow.exchange(code, client, **changes)
    return refusal.value.error, refusal.value.violations[0].field


def claims_of(tokens: Tokens) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims, _ = (tokens.access_token.reveal() + "==").split(".")
    return json.loads(base64.urlsafe_b64decode(header + "==")), json.loads(base64.urlsafe_b64decode(claims + "=="))


@CLIENTS
async def test_a_code_gives_tokens_that_say_what_was_allowed(flow: Flow, client: RegisteredClient) -> None:
    tokens = await flow.tokens(client, ["stream"])
    verified = await flow.verifier.verify(tokens.access_token.reveal())
    assert (verified.subject, verified.client_id) == ("alice", client.id)
    assert verified.scopes == {"stream"}
    assert (tokens.scopes, tokens.expires_in, tokens.token_type) == (("stream",), 600, "Bearer")


async def test_an_access_token_is_what_rfc_9068_says(flow: Flow) -> None:
    header, claims = claims_of(await flow.tokens())
    (row,) = await flow.database.fetch("SELECT id FROM oauth_grants")
    grant_id, _, drawn = claims.pop("jti").partition(".")
    assert (grant_id, len(drawn)) == (row["id"], 22)
    assert claims.pop("exp") - claims.pop("iat") == 600
    assert claims == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "client_id": PUBLIC.id,
        "scope": "read stream",
    }
    assert (header["alg"], header["typ"]) == ("RS256", "at+jwt")


async def test_a_code_used_again_gives_nothing_and_ends_what_it_gave(flow: Flow) -> None:
    code = await flow.code()
    tokens = await flow.exchange(code)
    assert await refused(flow, code) == ("invalid_grant", "code")
    assert await flow.revoked() == [True]
    with pytest.raises(GrantRefused):
        await flow.refresh(tokens.refresh_token)


async def test_a_code_used_again_ends_also_what_was_renewed_since(flow: Flow, clock: Clock) -> None:
    code = await flow.code()
    renewed = await flow.refresh((await flow.exchange(code)).refresh_token)
    await clock.advance(timedelta(days=1))
    assert await refused(flow, code) == ("invalid_grant", "code")
    with pytest.raises(GrantRefused):
        await flow.refresh(renewed.refresh_token)


@pytest.mark.parametrize("name", ["code_verifier", "redirect_uri"])
async def test_even_a_faulty_second_use_ends_what_a_code_gave(flow: Flow, name: str) -> None:
    code = await flow.code()
    await flow.exchange(code)
    await refused(flow, code, PUBLIC, **{name: "x" * 43})
    assert await flow.revoked() == [True]


async def test_of_twenty_exchanges_at_once_one_wins_and_its_tokens_end(wide_flow: Flow) -> None:
    code = await wide_flow.code()
    outcomes = await asyncio.gather(*(wide_flow.exchange(code) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, Tokens) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, GrantRefused) for outcome in outcomes) == 19
    assert await wide_flow.revoked() == [True]


@pytest.mark.parametrize(("age", "is_good"), [(59.999, True), (60, False), (61, False)])
async def test_a_code_is_good_for_sixty_seconds(flow: Flow, clock: Clock, age: float, is_good: bool) -> None:
    await clock.set(await clock.now())
    code = await flow.code()
    await clock.advance(timedelta(seconds=age))
    if is_good:
        assert await flow.exchange(code)
    else:
        assert await refused(flow, code) == ("invalid_grant", "code")


@pytest.mark.parametrize(("owner", "thief"), [(PUBLIC, CONFIDENTIAL), (CONFIDENTIAL, PUBLIC), (PORTAL, PUBLIC)])
async def test_another_clients_code_gives_nothing_and_is_dead_from_then_on(
    flow: Flow, owner: RegisteredClient, thief: RegisteredClient
) -> None:
    code = await flow.code(owner)
    assert await refused(flow, code, thief) == ("invalid_grant", "code")
    assert await refused(flow, code, owner) == ("invalid_grant", "code")


@pytest.mark.parametrize("redirect_uri", [uri for uri in MISMATCHES.values() if uri is not None], ids=ascii)
async def test_the_redirect_uri_must_be_that_of_the_request_to_the_letter(flow: Flow, redirect_uri: str) -> None:
    code = await flow.code()
    assert await refused(flow, code, redirect_uri=redirect_uri) == ("invalid_grant", "redirect_uri")


async def test_another_registered_redirect_uri_will_not_do_either(flow: Flow) -> None:
    code = await flow.code()
    assert await refused(flow, code, redirect_uri="http://127.0.0.1/cb") == ("invalid_grant", "redirect_uri")


ALL_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


@pytest.mark.parametrize("verifier", ["x" * 43, "x" * 44, "x" * 128, ALL_CHARACTERS, "-" * 43, "~" * 128])
async def test_verifiers_of_the_right_form_are_taken(flow: Flow, verifier: str) -> None:
    code = await flow.code(code_challenge=challenge_of(verifier))
    assert await flow.exchange(code, code_verifier=verifier)


MALFORMED = ["", "x", "x" * 42, "x" * 129, "é" * 43, *("x" * 42 + tail for tail in "\n+=/ \0")]


@pytest.mark.parametrize("verifier", [*MALFORMED, "x" * 43 + "\n", "x" * 43 + "="], ids=ascii)
@CLIENTS
async def test_verifiers_of_another_form_are_refused_even_if_they_fit(
    flow: Flow, client: RegisteredClient, verifier: str
) -> None:
    code = await flow.code(client, code_challenge=challenge_of(verifier))
    assert await refused(flow, code, client, code_verifier=verifier) == ("invalid_request", "code_verifier")


@CLIENTS
@pytest.mark.parametrize("verifier", [VERIFIER[:-1], VERIFIER + "a", VERIFIER.lower(), challenge_of(VERIFIER)])
async def test_a_wrong_verifier_gives_nothing(flow: Flow, client: RegisteredClient, verifier: str) -> None:
    code = await flow.code(client)
    assert await refused(flow, code, client, code_verifier=verifier) == ("invalid_grant", "code_verifier")


async def test_a_code_that_gave_nothing_is_still_good_for_its_owner(flow: Flow) -> None:
    code = await flow.code()
    await refused(flow, code, code_verifier="x" * 43)
    await refused(flow, code, redirect_uri="https://other.example/")
    assert await flow.exchange(code)
    assert await flow.revoked() == [False]


@pytest.mark.parametrize(
    "code", ["x", "ang_code_12345678_" + "0" * 49, "\0", "é", "x" * 20_000], ids=lambda code: code[:8]
)
async def test_what_is_no_code_of_ours_gives_nothing(flow: Flow, code: str) -> None:
    assert await refused(flow, code) == ("invalid_grant", "code")


async def test_a_refresh_token_is_no_code_and_a_code_no_refresh_token(flow: Flow) -> None:
    tokens, code = await flow.tokens(), await flow.code()
    assert await refused(flow, tokens.refresh_token.reveal()) == ("invalid_grant", "code")
    with pytest.raises(GrantRefused, match="refresh_token"):
        await flow.server.give_tokens(credentials_of(PUBLIC), {"grant_type": "refresh_token", "refresh_token": code})


@pytest.mark.parametrize(
    ("grant_type", "error"),
    [
        ("", "invalid_request"),
        ("password", "unsupported_grant_type"),
        ("client_credentials", "unsupported_grant_type"),
        ("implicit", "unsupported_grant_type"),
        ("urn:ietf:params:oauth:grant-type:jwt-bearer", "unsupported_grant_type"),
        ("AUTHORIZATION_CODE", "unsupported_grant_type"),
        ('"é\\', "unsupported_grant_type"),
    ],
)
async def test_no_other_grant_is_offered(flow: Flow, grant_type: str, error: str) -> None:
    code = await flow.code()
    assert await refused(flow, code, grant_type=grant_type) == (error, "grant_type")


@pytest.mark.parametrize(
    "credentials",
    [
        ClientCredentials(client_id=""),
        ClientCredentials(client_id="client_0"),
        ClientCredentials(client_id="\0"),
        ClientCredentials(client_id=CONFIDENTIAL.id),
        ClientCredentials.posted(CONFIDENTIAL.id, SECRET + " "),
        ClientCredentials.posted(CONFIDENTIAL.id, SECRET.upper()),
        ClientCredentials.posted(PUBLIC.id, SECRET),
        ClientCredentials.posted(PORTAL.id, SECRET),
    ],
)
async def test_a_client_that_does_not_prove_itself_leaves_no_trace(flow: Flow, credentials: ClientCredentials) -> None:
    code = await flow.code(CONFIDENTIAL)
    parameters = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    with pytest.raises(ClientRefused) as refusal:
        await flow.server.give_tokens(credentials, parameters)
    assert refusal.value.message == ClientRefused(sent=True).message
    assert await flow.exchange(code, CONFIDENTIAL)


async def test_a_client_deleted_in_between_gets_nothing(flow: Flow) -> None:
    code = await flow.code()
    del flow.directory.clients[PUBLIC.id]
    with pytest.raises(ClientRefused):
        await flow.exchange(code)


async def test_a_client_deleted_while_it_is_served_gets_nothing(flow: Flow) -> None:
    await add_client_row(flow)
    code = await flow.code()
    await flow.database.execute("UPDATE oauth_clients SET deleted_at = clock()")
    assert await refused(flow, code) == ("invalid_grant", "code")


async def test_the_clients_of_a_suspended_developer_get_nothing(flow: Flow) -> None:
    await add_client_row(flow)
    code = await flow.code()
    await flow.database.execute("UPDATE developers SET suspended_at = clock()")
    assert await refused(flow, code) == ("invalid_grant", "code")


async def test_clients_get_nothing_for_a_disabled_user(flow: Flow) -> None:
    await flow.database.execute("INSERT INTO users VALUES ('alice', '', clock(), clock()), ('bob', '', clock(), NULL)")
    assert await refused(flow, await flow.code(subject="alice")) == ("invalid_grant", "code")
    assert await flow.exchange(await flow.code(subject="bob"))


async def test_a_scope_taken_from_the_client_in_between_is_not_given(flow: Flow) -> None:
    code, hopeless = await flow.code(), await flow.code(scopes=["stream"])
    flow.directory.clients[PUBLIC.id] = replace(PUBLIC, allowed_scopes=frozenset({"read"}))
    assert (await flow.exchange(code)).scopes == ("read",)
    assert await refused(flow, hopeless) == ("invalid_scope", "code")


async def test_a_scope_that_is_sent_with_a_code_changes_nothing(flow: Flow) -> None:
    code = await flow.code(scopes=["read"])
    assert (await flow.exchange(code, scope="read stream")).scopes == ("read",)


async def test_no_secret_reaches_a_log_or_an_error(
    flow: Flow, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as ours:
        code = await flow.code(CONFIDENTIAL)
        tokens = await flow.exchange(code, CONFIDENTIAL)
        renewed = await flow.refresh(tokens.refresh_token, CONFIDENTIAL)
        failures = await asyncio.gather(
            flow.exchange(code, CONFIDENTIAL),
            flow.exchange(code, CONFIDENTIAL, code_verifier="wrong" * 10),
            flow.refresh(tokens.refresh_token, CONFIDENTIAL),
            return_exceptions=True,
        )
    assert all(isinstance(failure, GrantRefused) for failure in failures)
    written = caplog.text + str(ours) + repr(failures) + repr(tokens) + repr(credentials_of(CONFIDENTIAL))
    assert "grant_ended" in written
    assert "authlib" in written
    for secret in (code, tokens.refresh_token.reveal(), renewed.refresh_token.reveal(), VERIFIER, SECRET, "wrongwrong"):
        assert secret not in written
    for token in (tokens, renewed):
        assert token.access_token.reveal() not in written


async def add_client_row(flow: Flow) -> None:
    await flow.database.execute(
        "INSERT INTO developers (id, issuer, subject, created_at) VALUES ('dev_1', 'i', 's', clock())"
    )
    await flow.database.execute(
        "INSERT INTO oauth_clients VALUES ($1, 'dev_1', 'Jukebox', 'public', '{https://a}', '{read}', clock())",
        PUBLIC.id,
    )
