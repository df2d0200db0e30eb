"""Refresh tokens: good once, each gives the next, and whoever shows an old one ends them all."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.authorization.model import SCOPES, ClientRefused, GrantRefused, RegisteredClient, Tokens
from server.secret import Secret
from tests.database import Clock
from tests.integration.authorization.flow import CONFIDENTIAL, PORTAL, PUBLIC, Flow
from tests.integration.authorization.test_exchange import add_client_row


async def refused(flow: Flow, token: Secret, client: RegisteredClient = PUBLIC, **changes: str) -> str:
    with pytest.raises(GrantRefused) as refusal:
        await flow.refresh(token, client, **changes)
    assert refusal.value.violations[0].field == "refresh_token"
    return refusal.value.error


@pytest.mark.parametrize("client", [PUBLIC, CONFIDENTIAL, PORTAL], ids=lambda client: client.name)
async def test_a_refresh_token_gives_new_tokens_of_the_same_grant(flow: Flow, client: RegisteredClient) -> None:
    first = await flow.tokens(client)
    second = await flow.refresh(first.refresh_token, client)
    third = await flow.refresh(second.refresh_token, client)
    verified = [await flow.verifier.verify(tokens.access_token.reveal()) for tokens in (first, second, third)]
    assert {(token.subject, token.client_id, token.scopes) for token in verified} == {
        ("alice", client.id, frozenset(SCOPES))
    }
    assert len({token.token_id for token in verified}) == 3
    assert len({(token.token_id or "").partition(".")[0] for token in verified}) == 1


async def test_a_refresh_token_used_again_ends_the_whole_family(flow: Flow) -> None:
    first = await flow.tokens()
    second = await flow.refresh(first.refresh_token)
    third = await flow.refresh(second.refresh_token)
    assert await refused(flow, first.refresh_token) == "invalid_grant"
    assert await flow.revoked() == [True]
    assert await refused(flow, third.refresh_token) == "invalid_grant"


async def test_other_families_of_the_same_user_and_client_live_on(flow: Flow) -> None:
    first, other = await flow.tokens(), await flow.tokens()
    await flow.refresh(first.refresh_token)
    await refused(flow, first.refresh_token)
    assert await flow.revoked() == [True, False]
    assert await flow.refresh(other.refresh_token)


async def test_of_twenty_refreshes_at_once_one_wins_and_the_family_ends(wide_flow: Flow) -> None:
    first = await wide_flow.tokens()
    outcomes = await asyncio.gather(
        *(wide_flow.refresh(first.refresh_token) for _ in range(20)), return_exceptions=True
    )
    winners = [outcome for outcome in outcomes if isinstance(outcome, Tokens)]
    assert len(winners) == 1
    assert sum(isinstance(outcome, GrantRefused) for outcome in outcomes) == 19
    assert await wide_flow.revoked() == [True]
    assert await refused(wide_flow, winners[0].refresh_token) == "invalid_grant"


@pytest.mark.parametrize("client", [CONFIDENTIAL, PORTAL])
async def test_another_clients_refresh_token_gives_nothing_and_has_leaked(flow: Flow, client: RegisteredClient) -> None:
    tokens = await flow.tokens()
    assert await refused(flow, tokens.refresh_token, client) == "invalid_grant"
    assert await flow.revoked() == [True]


async def test_a_client_that_does_not_prove_itself_ends_nothing(flow: Flow) -> None:
    tokens = await flow.tokens(CONFIDENTIAL)
    with pytest.raises(ClientRefused):
        await flow.refresh(tokens.refresh_token, replace(CONFIDENTIAL, is_confidential=False))
    assert await flow.refresh(tokens.refresh_token, CONFIDENTIAL)


async def test_refresh_tokens_end_thirty_days_after_the_last_use(flow: Flow, clock: Clock) -> None:
    await clock.set(await clock.now())
    tokens = await flow.tokens()
    await clock.advance(timedelta(days=30) - timedelta(microseconds=1))
    tokens = await flow.refresh(tokens.refresh_token)
    await clock.advance(timedelta(days=30))
    assert await refused(flow, tokens.refresh_token) == "invalid_grant"


async def test_no_use_carries_a_grant_beyond_ninety_days(flow: Flow, clock: Clock) -> None:
    await clock.set(await clock.now())
    tokens = await flow.tokens()
    for _ in range(3):
        await clock.advance(timedelta(days=29))
        tokens = await flow.refresh(tokens.refresh_token)
    await clock.advance(timedelta(days=3))
    assert await refused(flow, tokens.refresh_token) == "invalid_grant"


async def test_a_refresh_token_outlives_the_minute_of_its_code(flow: Flow, clock: Clock) -> None:
    tokens = await flow.tokens()
    await clock.advance(timedelta(minutes=2))
    assert await flow.refresh(tokens.refresh_token)


async def test_a_disabled_users_tokens_are_not_renewed(flow: Flow) -> None:
    await flow.database.execute("INSERT INTO users VALUES ('alice', 'hash', clock())")
    tokens = await flow.tokens()
    await flow.database.execute("UPDATE users SET disabled_at = clock()")
    assert await refused(flow, tokens.refresh_token) == "invalid_grant"


@pytest.mark.parametrize("change", ["oauth_clients SET deleted_at", "developers SET suspended_at"])
async def test_the_tokens_of_a_client_that_was_shut_out_are_not_renewed(flow: Flow, change: str) -> None:
    await add_client_row(flow)
    tokens = await flow.tokens()
    await flow.database.execute(f"UPDATE {change} = clock()")
    assert await refused(flow, tokens.refresh_token) == "invalid_grant"


SCOPE_TABLE = [
    # granted, what the client may still have, asked for, given (None: refused)
    ("read stream", "read stream", "", "read stream"),
    ("read stream", "read stream", "read", "read"),
    ("read stream", "read stream", "stream read", "read stream"),
    ("read", "read stream", "", "read"),
    ("read", "read stream", "stream", None),
    ("read", "read stream", "read stream", None),
    ("read stream", "read", "", "read"),
    ("read stream", "read", "read stream", None),
    ("read stream", "read", "stream", None),
    ("stream", "read", "", None),
    ("read", "read", "write", None),
    ("read", "read", "READ", None),
    ("read stream", "read stream", "read\tstream", None),
    ("read stream", "read stream", " ", None),
    ("read", "read", "read read", "read"),
    ("read", "read", '"é\\', None),
]


@pytest.mark.parametrize(("granted", "allowed", "asked", "given"), SCOPE_TABLE)
async def test_scope_never_widens(flow: Flow, granted: str, allowed: str, asked: str, given: str | None) -> None:
    tokens = await flow.tokens(scopes=granted.split())
    flow.directory.clients[PUBLIC.id] = replace(PUBLIC, allowed_scopes=frozenset(allowed.split()))
    if given is None:
        assert await refused(flow, tokens.refresh_token, scope=asked) == "invalid_scope"
    else:
        assert " ".join((await flow.refresh(tokens.refresh_token, scope=asked)).scopes) == given


async def test_a_narrower_token_does_not_narrow_the_grant(flow: Flow) -> None:
    narrow = await flow.refresh((await flow.tokens()).refresh_token, scope="read")
    assert (await flow.refresh(narrow.refresh_token)).scopes == ("read", "stream")


async def test_a_scope_refused_leaves_the_refresh_token_good(flow: Flow) -> None:
    tokens = await flow.tokens(scopes=["read"])
    assert await refused(flow, tokens.refresh_token, scope="stream") == "invalid_scope"
    assert await flow.refresh(tokens.refresh_token)


some_scopes = st.sets(st.sampled_from(SCOPES), min_size=1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    granted=some_scopes,
    steps=st.lists(
        st.tuples(some_scopes, st.lists(st.sampled_from([*SCOPES, "write", "", "read\tstream", "é"])).map(" ".join)),
        max_size=4,
    ),
)
async def test_whatever_is_asked_for_in_whatever_order_nothing_beyond_the_grant_is_given(
    flow: Flow, granted: set[str], steps: list[tuple[set[str], str]]
) -> None:
    flow.directory.clients[PUBLIC.id] = PUBLIC
    tokens = await flow.tokens(scopes=sorted(granted))
    for allowed, asked in steps:
        flow.directory.clients[PUBLIC.id] = replace(PUBLIC, allowed_scopes=frozenset(allowed))
        try:
            tokens = await flow.refresh(tokens.refresh_token, scope=asked)
        except GrantRefused:
            continue
        signed = (await flow.verifier.verify(tokens.access_token.reveal())).scopes
        assert signed == set(tokens.scopes)
        assert signed <= granted & allowed
        assert signed
