"""What found secrets are good for, and what becomes of reported ones."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from server.clients.service import ClientService
from server.ids import DeveloperId
from server.keys.model import Environment
from server.keys.service import KeyService
from server.leaks.model import Policy, State
from server.leaks.service import LeakReports, SecretExaminer
from server.peppers import Peppers
from server.postgres.pool import Database
from server.secret import Secret, draw_secret, prefix_of
from server.times import format_time
from tests.database import Clock
from tests.integration.clients import register as register_clients
from tests.integration.keys.vault import GRACE, PEPPERS, acting, rotation, wish, works
from tests.integration.leaks.leaked import URL, events, forged, leak


def reports(database: Database, policy: Policy) -> LeakReports:
    return LeakReports(database, PEPPERS, policy)


async def suspend(database: Database, developer_id: DeveloperId) -> None:
    await database.execute("UPDATE developers SET suspended_at = clock() WHERE id = $1", developer_id)


async def test_the_states_of_the_secrets_of_keys(
    database: Database, keys: KeyService, alice: DeveloperId, examiner: SecretExaminer, clock: Clock
) -> None:
    rotated = await keys.create(acting(alice), wish(environment=Environment.LIVE))
    replaced = await keys.rotate(acting(alice), rotation(rotated.key.id))
    expiring = await keys.create(acting(alice), wish(expires_at=format_time(await clock.now() + timedelta(minutes=30))))
    revoked = await keys.create(acting(alice), wish())
    await keys.revoke(acting(alice), revoked.key.id)
    good = await keys.create(acting(alice), wish())
    secrets = [each.secret for each in (rotated, replaced, expiring, revoked, good)]

    assert await examiner.examine(secrets) == [
        State.IN_GRACE,
        State.LIVE,
        State.LIVE,
        State.REVOKED,
        State.LIVE,
    ]
    await suspend(database, alice)
    assert await examiner.examine(secrets) == [
        State.SUSPENDED,
        State.SUSPENDED,
        State.SUSPENDED,
        State.REVOKED,
        State.SUSPENDED,
    ]
    await database.execute("UPDATE developers SET suspended_at = NULL")
    await clock.advance(GRACE)
    assert await examiner.examine(secrets) == [
        State.ROTATED_OUT,
        State.LIVE,
        State.EXPIRED,
        State.REVOKED,
        State.LIVE,
    ]


async def test_the_states_of_the_secrets_of_clients(
    clients: ClientService, alice: DeveloperId, examiner: SecretExaminer, clock: Clock
) -> None:
    created = await clients.create(acting(alice), register_clients.wish())
    rotated = await clients.rotate(acting(alice), created.client.id, expire_previous_now=False)
    secrets = [created.secret, rotated.secret]
    assert all(secrets)

    async def states() -> list[State]:
        return await examiner.examine([secret for secret in secrets if secret])

    assert await states() == [State.IN_GRACE, State.LIVE]
    await clock.advance(GRACE)
    assert await states() == [State.ROTATED_OUT, State.LIVE]
    await clients.delete(acting(alice), created.client.id)
    assert await states() == [State.REVOKED, State.REVOKED]


async def test_what_was_never_ours_is_unknown(
    database: Database, keys: KeyService, alice: DeveloperId, examiner: SecretExaminer
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret
    strangers = [draw_secret("live"), draw_secret("oauth"), forged(secret), Secret("text"), Secret("ang_live_ä")]

    assert await examiner.examine([*strangers, secret]) == [State.UNKNOWN] * 5 + [State.LIVE]
    elsewhere = SecretExaminer(database, Peppers({9: b"the pepper of another installation"}))
    assert await elsewhere.examine([secret]) == [State.UNKNOWN]


async def test_more_secrets_than_one_statement_takes_are_all_judged(
    keys: KeyService, alice: DeveloperId, examiner: SecretExaminer
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret
    strangers = [draw_secret("live") for _ in range(1200)]

    states = await examiner.examine([*strangers[:600], secret, *strangers[600:]])

    assert [position for position, state in enumerate(states) if state is not State.UNKNOWN] == [600]


async def test_a_leaked_key_is_revoked_once_and_others_live_on(
    database: Database, keys: KeyService, alice: DeveloperId, log: list[Any]
) -> None:
    leaked, other = [await keys.create(acting(alice), wish()) for _ in range(2)]
    log.clear()

    for _ in range(3):
        assert await reports(database, Policy.REVOKE).take([leak(leaked.secret)]) == [True]

    assert await works(database, leaked.secret, other.secret) == [False, True]
    prefix = prefix_of(leaked.secret)
    details = {"key_prefix": prefix, "version": 1, "url": URL, "source": "content"}
    assert await events(database) == [("key.revoked", leaked.key.id, "leak-report", details)]
    told = [(line["log_level"], line["key_prefix"], line["state"], line["outcome"]) for line in log if "state" in line]
    assert told == [("warning", prefix, "live", "revoke"), *[("info", prefix, "revoked", "none")] * 2]


async def test_a_leaked_secret_in_grace_ends_and_its_successor_lives_on(
    database: Database, keys: KeyService, alice: DeveloperId
) -> None:
    old = await keys.create(acting(alice), wish())
    middle = await keys.rotate(acting(alice), rotation(old.key.id))
    new = await keys.rotate(acting(alice), rotation(old.key.id))

    assert await reports(database, Policy.REVOKE).take([leak(middle.secret)]) == [True]

    assert await works(database, old.secret, middle.secret, new.secret) == [True, False, True]
    details = {"key_prefix": prefix_of(middle.secret), "version": 2, "url": URL, "source": "content"}
    assert await events(database) == [("key.grace_ended", old.key.id, "leak-report", details)]


async def test_a_leaked_secret_of_a_client_ends_alone_and_the_client_can_be_rotated(
    database: Database, clients: ClientService, alice: DeveloperId, examiner: SecretExaminer
) -> None:
    created = await clients.create(acting(alice), register_clients.wish())
    rotated = await clients.rotate(acting(alice), created.client.id, expire_previous_now=False)
    assert created.secret
    assert rotated.secret

    for _ in range(2):
        assert await reports(database, Policy.REVOKE).take([leak(rotated.secret)]) == [True]

    assert await examiner.examine([created.secret, rotated.secret]) == [State.IN_GRACE, State.REVOKED]
    prefix = prefix_of(rotated.secret)
    details = {"key_prefix": prefix, "version": 2, "url": URL, "source": "content", "ended": True}
    assert await events(database) == [("key.leak_reported", created.client.id, "leak-report", details)]
    again = await clients.rotate(acting(alice), created.client.id, expire_previous_now=False)
    assert again.secret
    assert await examiner.examine([again.secret]) == [State.LIVE]


async def test_a_key_of_a_suspended_developer_is_revoked_too(
    database: Database, keys: KeyService, alice: DeveloperId
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret
    await suspend(database, alice)

    assert await reports(database, Policy.REVOKE).take([leak(secret)]) == [True]
    assert [action for action, *_ in await events(database)] == ["key.revoked"]


@pytest.mark.parametrize("policy", Policy)
async def test_of_a_dead_secret_nothing_is_left_to_do(
    database: Database, keys: KeyService, alice: DeveloperId, policy: Policy
) -> None:
    old = await keys.create(acting(alice), wish())
    new = await keys.rotate(acting(alice), rotation(old.key.id, expire_previous_now=True))

    assert await reports(database, policy).take([leak(old.secret)]) == [True]
    assert await works(database, new.secret) == [True]
    assert await events(database) == []


@pytest.mark.parametrize("policy", Policy)
async def test_what_is_not_ours_changes_nothing(
    database: Database, keys: KeyService, alice: DeveloperId, policy: Policy
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret

    told = await reports(database, policy).take([leak(forged(secret)), leak(draw_secret("live")), leak(Secret("text"))])

    assert told == [False, False, False]
    assert await works(database, secret) == [True]
    assert await events(database) == []


async def test_where_only_notified_a_leak_is_recorded_once_for_each_place(
    database: Database, keys: KeyService, alice: DeveloperId, log: list[Any]
) -> None:
    created = await keys.create(acting(alice), wish())
    elsewhere = "https://github.com/octocat/hello/issues/1"
    notifying = reports(database, Policy.NOTIFY)
    log.clear()

    for url in (URL, URL, elsewhere, URL):
        assert await notifying.take([leak(created.secret, url)]) == [True]

    assert await works(database, created.secret) == [True]
    found = await events(database)
    assert [(action, target, actor) for action, target, actor, _ in found] == [
        ("key.leak_reported", created.key.id, "leak-report")
    ] * 2
    assert [details["url"] for *_, details in found] == [URL, elsewhere]
    assert [line["log_level"] for line in log if line["event"] == "leak_reported"] == [
        "warning",
        "info",
        "warning",
        "info",
    ]


@pytest.mark.parametrize("policy", Policy)
async def test_many_places_in_one_report_are_one_leak(
    database: Database, keys: KeyService, alice: DeveloperId, policy: Policy
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret

    told = await reports(database, policy).take([leak(secret, f"{URL}#{number}") for number in range(5)])

    assert told == [True] * 5
    assert [details["url"] for *_, details in await events(database)] == [f"{URL}#0"]


@pytest.mark.parametrize("policy", Policy)
async def test_the_same_report_many_times_at_once_is_one_event(
    database: Database, keys: KeyService, alice: DeveloperId, policy: Policy
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret
    taking = reports(database, policy)

    assert await asyncio.gather(*(taking.take([leak(secret)]) for _ in range(8))) == [[True]] * 8
    assert len(await events(database)) == 1


async def test_a_rotation_that_crosses_a_report_leaves_the_leaked_secret_dead(
    database: Database, keys: KeyService, alice: DeveloperId, examiner: SecretExaminer
) -> None:
    for _ in range(10):
        created = await keys.create(acting(alice), wish())
        await asyncio.gather(
            reports(database, Policy.REVOKE).take([leak(created.secret)]),
            keys.rotate(acting(alice), rotation(created.key.id)),
            return_exceptions=True,  # a revoked key cannot be rotated
        )
        (state,) = await examiner.examine([created.secret])
        assert not state.is_live


async def test_no_log_line_holds_a_secret(
    database: Database, keys: KeyService, alice: DeveloperId, log: list[Any]
) -> None:
    secret = (await keys.create(acting(alice), wish())).secret
    await reports(database, Policy.REVOKE).take([leak(secret)])
    assert secret.reveal()[-49:] not in str(log)
