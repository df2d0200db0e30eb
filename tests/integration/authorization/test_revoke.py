"""The end of tokens: by their clients, within the seconds that a grant is remembered for, and for good."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from server.authorization import store
from server.authorization.interceptor import GrantCheck
from server.authorization.model import ClientRefused, GrantRefused, RegisteredClient, Tokens
from server.errors import Unavailable
from server.identity.principal import AccessToken
from server.postgres.pool import Database
from server.secret import Secret
from tests.database import Clock
from tests.integration.authorization.flow import CONFIDENTIAL, PORTAL, PUBLIC, Flow
from tests.integration.authorization.test_exchange import add_client_row
from tests.integration.clients.test_statements import scanned

CLI = replace(PUBLIC, id="developer-cli", redirect_uris=(), is_first_party=True)


async def access(flow: Flow, tokens: Tokens) -> AccessToken:
    return await flow.verifier.verify(tokens.access_token.reveal())


def check(database: Database, now: list[float] | None = None) -> GrantCheck:
    """Make a check that remembers nothing yet; time is as the test says."""
    moments = now if now is not None else [0.0]
    return GrantCheck(database, "here", clock=lambda: moments[0])


@pytest.mark.parametrize("client", [PUBLIC, CONFIDENTIAL, PORTAL], ids=lambda client: client.name)
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", ["", "access_token", "refresh_token", "id_token"])
async def test_a_revoked_token_takes_all_with_it(flow: Flow, client: RegisteredClient, kind: str, hint: str) -> None:
    first = await flow.tokens(client)
    second = await flow.refresh(first.refresh_token, client)
    await flow.revoke(getattr(second, kind), client, token_type_hint=hint)
    with pytest.raises(GrantRefused):
        await flow.refresh(second.refresh_token, client)
    for tokens in (first, second):
        assert not await check(flow.database).allows(await access(flow, tokens))


async def test_a_refresh_token_that_was_used_ends_its_family_too(flow: Flow) -> None:
    first = await flow.tokens()
    await flow.refresh(first.refresh_token)
    await flow.revoke(first.refresh_token)
    assert await flow.revoked() == [True]


async def test_revoking_again_is_no_error(flow: Flow) -> None:
    tokens = await flow.tokens()
    await asyncio.gather(*(flow.revoke(tokens.refresh_token) for _ in range(3)))
    await flow.revoke(tokens.access_token)
    assert await flow.revoked() == [True]


@pytest.mark.parametrize(
    "token", ["x", "eyJ.eyJ.x", "ang_refresh_12345678_" + "0" * 49, "\0", "é", "x" * 10_000], ids=ascii
)
async def test_a_token_that_nobody_knows_is_no_error(flow: Flow, token: str) -> None:
    tokens = await flow.tokens()
    await flow.revoke(Secret(token))
    assert await flow.refresh(tokens.refresh_token)


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_another_clients_token_is_refused_and_lives_on(flow: Flow, kind: str) -> None:
    tokens = await flow.tokens()
    with pytest.raises(GrantRefused, match="of another client"):
        await flow.revoke(getattr(tokens, kind), CONFIDENTIAL)
    assert await flow.refresh(tokens.refresh_token)


async def test_only_a_client_that_proves_itself_can_revoke(flow: Flow) -> None:
    tokens = await flow.tokens(CONFIDENTIAL)
    with pytest.raises(ClientRefused):
        await flow.revoke(tokens.refresh_token, replace(CONFIDENTIAL, is_confidential=False))
    assert await flow.refresh(tokens.refresh_token, CONFIDENTIAL)


async def test_a_request_without_a_token_is_refused(flow: Flow) -> None:
    with pytest.raises(GrantRefused, match="token: is missing"):
        await flow.revoke(Secret(""))


async def test_a_token_made_on_the_command_line_passes_and_cannot_be_revoked(flow: Flow) -> None:
    flow.directory.clients[CLI.id] = CLI
    token = Secret(flow.issuer.issue("alice"))
    assert await check(flow.database).allows(await flow.verifier.verify(token.reveal()))
    with pytest.raises(GrantRefused) as refusal:
        await flow.revoke(token, CLI)
    assert refusal.value.error == "unsupported_token_type"


@pytest.mark.parametrize(
    "token_id", ["x", "grant_01jd3m8r5vf4q9zq5k2t7w6x8y.abc", "grant_01jd3m8r5vf4q9zq5k2t7w6x8y", ""]
)
async def test_a_token_that_no_grant_stands_behind_is_refused(flow: Flow, token_id: str) -> None:
    raw = flow.issuer.issue("alice", client_id=PUBLIC.id, token_id=token_id)
    assert not await check(flow.database).allows(await flow.verifier.verify(raw))


async def test_an_end_takes_hold_once_what_is_remembered_is_forgotten(flow: Flow) -> None:
    now = [0.0]
    remembering = check(flow.database, now)
    tokens = await flow.tokens()
    assert await remembering.allows(await access(flow, tokens))
    await flow.revoke(tokens.refresh_token)
    now[0] = 3.9
    assert await remembering.allows(await access(flow, tokens))
    now[0] = 4.0
    assert not await remembering.allows(await access(flow, tokens))


async def test_a_grant_is_asked_for_once_in_a_while_and_not_at_each_call(flow: Flow, database_url: str) -> None:
    now = [0.0]
    database = Database(database_url)
    await database.open()
    remembering = check(database, now)
    token = await access(flow, await flow.tokens())
    assert await remembering.allows(token)
    await database.close()
    assert await remembering.allows(token)
    now[0] = 4.0
    with pytest.raises(Unavailable):
        await remembering.allows(token)


@pytest.mark.parametrize("change", ["oauth_clients SET deleted_at", "developers SET suspended_at"])
async def test_the_tokens_of_a_client_that_was_shut_out_are_refused(flow: Flow, change: str) -> None:
    await add_client_row(flow)
    token = await access(flow, await flow.tokens())
    assert await check(flow.database).allows(token)
    await flow.database.execute(f"UPDATE {change} = clock()")
    assert not await check(flow.database).allows(token)


async def test_the_tokens_of_a_disabled_user_are_refused(flow: Flow) -> None:
    await flow.database.execute("INSERT INTO users VALUES ('alice', 'hash', clock())")
    token = await access(flow, await flow.tokens())
    assert await check(flow.database).allows(token)
    await flow.database.execute("UPDATE users SET disabled_at = clock()")
    assert not await check(flow.database).allows(token)


async def test_an_access_token_given_at_a_grants_very_end_lives_out_its_minutes(flow: Flow, clock: Clock) -> None:
    tokens = await flow.tokens()
    await clock.advance(timedelta(days=30, minutes=5))
    assert await check(flow.database).allows(await access(flow, tokens))


async def test_a_sweep_deletes_what_ended_an_hour_ago_and_nothing_else(flow: Flow, clock: Clock) -> None:
    never_exchanged, tokens, revoked = await flow.code(), await flow.tokens(), await flow.tokens()
    await flow.revoke(revoked.refresh_token)
    await clock.advance(timedelta(minutes=59))
    assert await flow.server.sweep() == 0
    await clock.advance(timedelta(minutes=3))
    assert await flow.server.sweep() == 2
    assert await flow.refresh(tokens.refresh_token)
    await clock.advance(timedelta(days=31, minutes=1))
    assert await flow.server.sweep() == 1
    for table in ("oauth_grants", "oauth_codes", "oauth_refresh_tokens"):
        assert await flow.database.fetch(f"SELECT * FROM {table}") == []
    with pytest.raises(GrantRefused):
        await flow.exchange(never_exchanged)


async def test_a_sweep_takes_as_many_steps_as_it_needs(
    flow: Flow, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.authorization.service._SWEPT", 2)
    for _ in range(5):
        await flow.code()
    await clock.advance(timedelta(days=2))
    assert await flow.server.sweep() == 5


async def test_used_refresh_tokens_go_when_their_own_time_is_over(flow: Flow, clock: Clock) -> None:
    await clock.set(await clock.now())
    first = await flow.tokens()
    await clock.advance(timedelta(days=20))
    second = await flow.refresh(first.refresh_token)
    await clock.advance(timedelta(days=10) - timedelta(microseconds=1))
    await flow.server.sweep()
    assert await refresh_tokens(flow) == 2
    await clock.advance(timedelta(microseconds=1))
    await flow.server.sweep()
    assert await refresh_tokens(flow) == 1
    with pytest.raises(GrantRefused):
        await flow.refresh(first.refresh_token)  # unknown by now, and no reason to end the family
    assert await flow.refresh(second.refresh_token)


async def test_a_used_refresh_token_that_could_still_be_good_ends_its_family_after_a_sweep(
    flow: Flow, clock: Clock
) -> None:
    await clock.set(await clock.now())
    first = await flow.tokens()
    await flow.refresh(first.refresh_token)
    await clock.advance(timedelta(days=30) - timedelta(microseconds=1))
    await flow.server.sweep()
    with pytest.raises(GrantRefused):
        await flow.refresh(first.refresh_token)
    assert await flow.revoked() == [True]


async def test_the_refresh_token_that_nobody_used_stays_until_its_grant_goes(flow: Flow, clock: Clock) -> None:
    await flow.tokens()
    await clock.advance(timedelta(days=30, minutes=1))
    await flow.server.sweep()
    assert await refresh_tokens(flow) == 1


async def test_a_sweep_of_refresh_tokens_takes_as_many_steps_as_it_needs(
    flow: Flow, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.authorization.service._TOKENS_SWEPT", 2)
    tokens = await flow.tokens()
    for _ in range(5):
        tokens = await flow.refresh(tokens.refresh_token)
    await clock.advance(timedelta(days=29))
    assert await flow.refresh(tokens.refresh_token)
    await clock.advance(timedelta(days=2))
    await flow.server.sweep()
    assert await refresh_tokens(flow) == 1


async def test_an_index_finds_the_refresh_tokens_to_sweep(database_url: str) -> None:
    assert await scanned(database_url, store._SQL["sweep_refresh_tokens"]) == []


async def refresh_tokens(flow: Flow) -> int:
    """Count the refresh tokens that are stored, of any grant."""
    return len(await flow.database.fetch("SELECT digest FROM oauth_refresh_tokens"))
