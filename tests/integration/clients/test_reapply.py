"""After a restore: what a client lost since the backup it loses again, once, whatever the order."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import permutations

import pytest

from server.clients.directory.service import ClientDirectory
from server.clients.model import ClientType
from server.clients.service import ClientService, IssuedClient
from server.ids import DeveloperId
from server.leaks.model import Leak, Policy
from server.leaks.service import LeakReports
from server.postgres.pool import Database
from tests.database import Clock
from tests.integration.clients.register import CALLBACK, authentic, change, grant, wish
from tests.integration.keys.vault import PEPPERS, acting, column
from tests.integration.restored import Backup, Log, logging, reapply

OTHER = "https://example.com/other"
_STATE = """
SELECT to_jsonb(c) - 'name' || jsonb_build_object('secrets', (
    SELECT jsonb_agg(to_jsonb(s) - 'last_used_at' ORDER BY secret_prefix)
    FROM oauth_client_secrets AS s WHERE client_id = c.id
))
FROM oauth_clients AS c ORDER BY id
"""


@pytest.fixture
def log() -> Iterator[Log]:
    """What the server logs during the test."""
    with logging() as log:
        yield log


@pytest.fixture
async def created(clients: ClientService, alice: DeveloperId) -> IssuedClient:
    """A confidential client that every backup has."""
    return await clients.create(acting(alice), wish(redirect_uris=(CALLBACK, OTHER), scopes=("read", "stream")))


@pytest.fixture
async def backup(database: Database, created: IssuedClient) -> Backup:
    return await Backup.take(database)


async def test_a_deleted_client_comes_back_and_is_deleted_again_with_all_that_users_allowed_it(
    clients: ClientService,
    directory: ClientDirectory,
    database: Database,
    alice: DeveloperId,
    created: IssuedClient,
    log: Log,
    clock: Clock,
) -> None:
    client_id = created.client.id
    await grant(database, client_id)
    backup = await Backup.take(database)
    await clients.delete(acting(alice), client_id)
    (deleted_at,) = await column(database, "SELECT created_at FROM audit_events WHERE action = 'oauth_client.deleted'")
    await backup.restore()
    assert await authentic(directory, client_id, created.secret) == [True]
    await clock.advance(timedelta(hours=1))

    run = await reapply(database, log.lines)
    again = await reapply(database, log.lines)

    assert (run.applied, again.applied) == ({"oauth_client.deletion_reapplied": 1}, {})
    assert await authentic(directory, client_id, created.secret) == [False]
    assert await directory.find(client_id) is None
    (row,) = await database.fetch(
        "SELECT deleted_at, s.expires_at, g.revoked_at FROM oauth_clients AS c"
        " JOIN oauth_client_secrets AS s ON s.client_id = c.id JOIN oauth_grants AS g ON g.client_id = c.id"
    )
    assert tuple(row) == (deleted_at, deleted_at, deleted_at)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_secret_that_was_replaced_ends_when_its_owner_was_told(
    clients: ClientService,
    directory: ClientDirectory,
    database: Database,
    alice: DeveloperId,
    created: IssuedClient,
    backup: Backup,
    log: Log,
    clock: Clock,
    at_once: bool,
) -> None:
    client_id = created.client.id
    rotated = await clients.rotate(acting(alice), client_id, expire_previous_now=at_once)
    await backup.restore()

    run = await reapply(database, log.lines)
    again = await reapply(database, log.lines)

    assert (run.applied, again.applied) == ({"oauth_client.secret_end_reapplied": 1}, {})
    assert run.told == [f"{client_id}, version 2: not in this database, so made after its backup, and lost"]
    assert await column(database, "SELECT expires_at FROM oauth_client_secrets") == [rotated.previous_expires_at]
    assert await authentic(directory, client_id, created.secret, rotated.secret) == [not at_once, False]
    await clock.advance(timedelta(hours=1))
    renewed = await clients.rotate(acting(alice), client_id, expire_previous_now=False)
    assert await authentic(directory, client_id, created.secret, renewed.secret) == [False, True]
    await reapply(database, [line for line in log.lines if renewed.client.secret_prefix.encode() not in line])
    assert await authentic(directory, client_id, renewed.secret) == [True]  # a version 2 again, but not that one


@pytest.mark.parametrize(("policy", "works"), [(Policy.REVOKE, False), (Policy.NOTIFY, True)])
async def test_a_secret_that_was_ended_because_it_leaked_ends_again(
    directory: ClientDirectory,
    database: Database,
    created: IssuedClient,
    backup: Backup,
    log: Log,
    policy: Policy,
    works: bool,
) -> None:
    assert created.secret
    leak = Leak(secret=created.secret, url="https://example.com/paste", source="content")
    await LeakReports(database, PEPPERS, policy).take([leak])
    await backup.restore()

    run = await reapply(database, log.lines)
    await reapply(database, log.lines)

    assert run.reapplication.changes == (0 if works else 1)
    assert await authentic(directory, created.client.id, created.secret) == [works]
    assert await column(database, "SELECT retired_at FROM oauth_client_secrets") == [None]


async def test_redirect_uris_and_scopes_that_were_taken_away_are_taken_away_again_and_none_is_given(
    clients: ClientService, database: Database, alice: DeveloperId, created: IssuedClient, backup: Backup, log: Log
) -> None:
    client_id = created.client.id
    uris = (CALLBACK, "https://example.com/new")
    await clients.update(acting(alice), change(client_id, redirect_uris=uris, scopes=("read",)))
    await backup.restore()

    run = await reapply(database, log.lines)
    again = await reapply(database, log.lines)

    assert (run.applied, again.applied) == ({"oauth_client.update_reapplied": 1}, {})
    client = await clients.get(alice, client_id)
    assert (client.redirect_uris, client.allowed_scopes) == ((CALLBACK,), ("read",))
    assert run.told == []


async def test_a_client_that_lost_all_it_had_stands_without_until_its_owner_names_others(
    clients: ClientService, database: Database, alice: DeveloperId, log: Log
) -> None:
    client_id = (await clients.create(acting(alice), wish())).client.id
    backup = await Backup.take(database)
    await clients.update(acting(alice), change(client_id, redirect_uris=(OTHER,), scopes=("stream",)))
    await backup.restore()

    run = await reapply(database, log.lines)

    client = await clients.get(alice, client_id)
    assert (client.redirect_uris, client.allowed_scopes) == ((), ())
    assert run.told == [f"{client_id}: has no redirect URI or no scope left until its owner names others"]
    await clients.update(acting(alice), change(client_id, redirect_uris=(OTHER,), scopes=("stream",)))
    assert (await clients.get(alice, client_id)).allowed_scopes == ("stream",)


async def test_what_was_given_again_before_the_backup_or_after_the_restore_is_left_alone(
    clients: ClientService, database: Database, alice: DeveloperId, created: IssuedClient, log: Log
) -> None:
    client_id = created.client.id
    for uris, scopes in (((CALLBACK,), ("read",)), ((CALLBACK, OTHER), ("read", "stream"))):
        await clients.update(acting(alice), change(client_id, redirect_uris=uris, scopes=scopes))
    backup = await Backup.take(database)
    assert (await reapply(database, log.lines)).applied == {}

    await clients.update(acting(alice), change(client_id, redirect_uris=(CALLBACK,), scopes=("read",)))
    await backup.restore()
    await reapply(database, log.lines)
    assert (await clients.get(alice, client_id)).redirect_uris == (CALLBACK,)
    await clients.update(acting(alice), change(client_id, redirect_uris=(OTHER,), scopes=("stream",)))

    await reapply(database, log.lines)

    client = await clients.get(alice, client_id)
    assert (client.redirect_uris, client.allowed_scopes) == ((OTHER,), ("stream",))


async def test_the_order_of_the_lines_does_not_matter(
    clients: ClientService,
    database: Database,
    alice: DeveloperId,
    created: IssuedClient,
    backup: Backup,
    log: Log,
    clock: Clock,
) -> None:
    client_id = created.client.id
    await clients.rotate(acting(alice), client_id, expire_previous_now=False)
    await clock.advance(timedelta(minutes=1))
    assert created.secret
    await LeakReports(database, PEPPERS, Policy.REVOKE).take([Leak(secret=created.secret, url="", source="")])
    await clients.update(acting(alice), change(client_id, redirect_uris=("https://a/",), scopes=("read",)))
    await clients.update(acting(alice), change(client_id, redirect_uris=("https://b/",), scopes=("stream",)))
    lost, states = log.changes, []

    for order in permutations(lost):
        await backup.restore()
        await reapply(database, order)
        states.append(await column(database, _STATE))

    assert len(states) == 24
    assert all(state == states[0] for state in states)


async def test_a_deletion_is_for_ever_whatever_is_read_before_or_after_it(
    clients: ClientService,
    directory: ClientDirectory,
    database: Database,
    alice: DeveloperId,
    created: IssuedClient,
    backup: Backup,
    log: Log,
) -> None:
    client_id = created.client.id
    await clients.rotate(acting(alice), client_id, expire_previous_now=False)
    await clients.update(acting(alice), change(client_id, redirect_uris=(CALLBACK,), scopes=("read",)))
    await clients.delete(acting(alice), client_id)
    lost = log.changes

    for order in permutations(lost):
        await backup.restore()
        await reapply(database, order)
        assert await directory.find(client_id) is None
        assert await authentic(directory, client_id, created.secret) == [False]


async def test_clients_made_after_the_backup_are_told_once(
    clients: ClientService, database: Database, alice: DeveloperId, created: IssuedClient, backup: Backup, log: Log
) -> None:
    lost = (await clients.create(acting(alice), wish(type_=ClientType.PUBLIC, scopes=("read", "stream")))).client.id
    await clients.update(acting(alice), change(lost, scopes=("read",)))
    await clients.delete(acting(alice), lost)
    await backup.restore()

    run = await reapply(database, log.lines)

    assert (run.applied, run.reapplication.changes) == ({}, 2)
    assert run.told == [f"{lost}: not in this database, so made after its backup, and lost"]


async def test_more_redirect_uris_than_an_event_can_name_are_told_of(
    clients: ClientService, database: Database, alice: DeveloperId, log: Log
) -> None:
    long = tuple(f"https://example.com/{number}{'x' * 300}" for number in range(4))
    client_id = (await clients.create(acting(alice), wish(redirect_uris=(CALLBACK, *long)))).client.id
    backup = await Backup.take(database)
    await clients.update(acting(alice), change(client_id, redirect_uris=(CALLBACK,)))
    await backup.restore()

    run = await reapply(database, log.lines)

    assert run.reapplication.faults == 1
    assert f"more redirect URIs were removed from {client_id} than the event names" in run.told[0]


async def test_redirect_uris_of_which_not_all_that_came_back_are_named_are_left_to_people(
    clients: ClientService, database: Database, alice: DeveloperId, log: Log
) -> None:
    long = tuple(f"https://example.com/{number}{'x' * 300}" for number in range(4))
    client_id = (await clients.create(acting(alice), wish(redirect_uris=(CALLBACK, *long)))).client.id
    backup = await Backup.take(database)
    for left in ((CALLBACK, *long[:2]), (CALLBACK,)):
        await clients.update(acting(alice), change(client_id, redirect_uris=left))
    lost = log.changes
    await backup.restore()
    assert (await reapply(database, lost)).applied == {"oauth_client.update_reapplied": 2}
    await clients.update(acting(alice), change(client_id, redirect_uris=(CALLBACK, *long)))

    run = await reapply(database, lost)

    assert run.applied == {}
    assert all("was given more redirect URIs again than its events name" in told for told in run.told)
    assert len(run.told) == 2
    assert (await clients.get(alice, client_id)).redirect_uris == (CALLBACK, *long)


async def test_a_change_that_the_database_has_is_not_made_again(
    clients: ClientService, database: Database, alice: DeveloperId, created: IssuedClient, log: Log
) -> None:
    await clients.update(acting(alice), change(created.client.id, scopes=("read",)))
    await database.execute("UPDATE oauth_clients SET allowed_scopes = '{read,stream}'")  # as no event tells

    assert (await reapply(database, log.lines)).applied == {}


async def test_what_the_log_has_masked_is_left_to_people(
    clients: ClientService, database: Database, alice: DeveloperId, created: IssuedClient, backup: Backup, log: Log
) -> None:
    await clients.update(acting(alice), change(created.client.id, redirect_uris=(CALLBACK,)))
    await backup.restore()

    run = await reapply(database, [line.replace(OTHER.encode(), b"https://bearer [masked]") for line in log.changes])

    assert run.applied == {}
    assert "whose redirect_uris_removed the log has masked in part" in run.told[-1]


async def test_each_change_has_one_audit_event_that_names_the_lost_one(
    clients: ClientService, database: Database, alice: DeveloperId, created: IssuedClient, backup: Backup, log: Log
) -> None:
    client_id = created.client.id
    await clients.update(acting(alice), change(client_id, scopes=("read",)))
    await clients.rotate(acting(alice), client_id, expire_previous_now=True)
    await clients.delete(acting(alice), client_id)
    lost = await column(database, "SELECT id FROM audit_events ORDER BY id OFFSET 1")
    await backup.restore()

    await reapply(database, log.lines)

    events = await database.fetch(
        "SELECT action, developer_id, target_id, details->>'reapplied_from' AS origin FROM audit_events"
        " ORDER BY id OFFSET 1"
    )
    assert [event["action"] for event in events] == [
        "oauth_client.update_reapplied",
        "oauth_client.secret_end_reapplied",
        "oauth_client.deletion_reapplied",
    ]
    assert [event["origin"] for event in events] == lost
    assert {(event["developer_id"], event["target_id"]) for event in events} == {(alice, client_id)}
