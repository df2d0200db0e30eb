"""The lifecycle of OAuth clients: what developers may do with their own, and that others' look absent."""

from datetime import timedelta

import pytest

from server.clients.directory.service import ClientDirectory
from server.clients.model import MAXIMUM_LIVE_CLIENTS, ClientType, OAuthClient
from server.clients.service import ClientService
from server.errors import Conflict, InvalidRequest, NotFound
from server.ids import DeveloperId, new_client_id
from server.postgres.pool import Database
from server.secret import SecretFormat
from tests.database import Clock
from tests.integration.clients.register import CALLBACK, authentic, change, grant, wish
from tests.integration.keys.vault import GRACE, acting, column

MICROSECOND = timedelta(microseconds=1)


async def test_a_confidential_client_gets_a_secret_of_the_published_form(
    clients: ClientService, directory: ClientDirectory, alice: DeveloperId
) -> None:
    issued = await clients.create(acting(alice), wish())
    assert issued.secret is not None
    assert issued.client.secret_prefix == SecretFormat("oauth").find_prefix(issued.secret.reveal())
    assert [secret.version for secret in issued.client.secrets] == [1]
    assert await authentic(directory, issued.client.id, issued.secret) == [True]


async def test_a_public_client_has_no_secret_and_cannot_get_one(clients: ClientService, alice: DeveloperId) -> None:
    issued = await clients.create(acting(alice), wish(type_=ClientType.PUBLIC))
    assert (issued.secret, issued.client.secrets, issued.client.secret_prefix) == (None, (), "")
    with pytest.raises(Conflict, match="public"):
        await clients.rotate(acting(alice), issued.client.id, expire_previous_now=False)


async def test_everything_is_kept_as_it_was_given(clients: ClientService, alice: DeveloperId) -> None:
    uris = ("https://example.com/b?x=%7e", "com.example.app:/cb", "http://127.0.0.1:1/")
    made = (await clients.create(acting(alice), wish("Café", redirect_uris=uris, scopes=("stream", "read")))).client
    assert made == await clients.get(alice, made.id)
    assert (made.name, made.redirect_uris, made.allowed_scopes) == ("Café", uris, ("stream", "read"))


async def test_no_part_of_a_secret_but_its_head_is_stored(
    clients: ClientService, database: Database, alice: DeveloperId
) -> None:
    created = await clients.create(acting(alice), wish())
    rotated = await clients.rotate(acting(alice), created.client.id, expire_previous_now=False)
    tables = ("oauth_clients", "oauth_client_secrets", "audit_events")
    text = str([await column(database, f"SELECT t::text FROM {table} AS t") for table in tables])
    for issued in (created, rotated):
        assert issued.secret is not None
        assert issued.secret.reveal()[-49:] not in text
        assert issued.client.secret_prefix in text


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        (wish(""), ["name"]),
        (wish("a\u202eb"), ["name"]),
        (wish("The developer\u200dPortal"), ["name"]),
        (wish(redirect_uris=()), ["redirect_uris"]),
        (wish(redirect_uris=(CALLBACK, CALLBACK)), ["redirect_uris[1]"]),
        (wish(redirect_uris=("http://localhost/",)), ["redirect_uris[0]"]),
        (wish(scopes=()), ["allowed_scopes"]),
        (wish("", redirect_uris=(CALLBACK, "x"), scopes=()), ["name", "redirect_uris[1]", "allowed_scopes"]),
    ],
)
async def test_faults_of_a_new_client_are_named_all_at_once(
    clients: ClientService, database: Database, alice: DeveloperId, asked: object, fields: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await clients.create(acting(alice), asked)  # type: ignore[arg-type]
    assert [violation.field for violation in refused.value.violations] == fields
    assert await column(database, "SELECT id FROM oauth_clients") == []


async def test_a_hundred_clients_are_enough(clients: ClientService, database: Database, alice: DeveloperId) -> None:
    first = (await clients.create(acting(alice), wish())).client
    await database.execute(
        "INSERT INTO oauth_clients SELECT 'client_' || number, developer_id, name, type, redirect_uris, allowed_scopes,"
        " created_at FROM oauth_clients, generate_series(2, $1) AS number",
        MAXIMUM_LIVE_CLIENTS,
    )
    with pytest.raises(Conflict, match="100 OAuth clients"):
        await clients.create(acting(alice), wish())
    await clients.delete(acting(alice), first.id)
    await clients.create(acting(alice), wish())


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        ({"name": "New"}, ("New", (CALLBACK,), ("read",))),
        ({"scopes": ("stream", "read")}, ("An application", (CALLBACK,), ("stream", "read"))),
        ({"redirect_uris": ("com.example.app:/",)}, ("An application", ("com.example.app:/",), ("read",))),
        ({"name": "New", "scopes": ("stream",), "paths": ("name",)}, ("New", (CALLBACK,), ("read",))),
    ],
)
async def test_a_change_touches_what_is_named_or_set(
    clients: ClientService, alice: DeveloperId, asked: dict[str, object], after: tuple[object, ...]
) -> None:
    made = (await clients.create(acting(alice), wish())).client
    changed = await clients.update(acting(alice), change(made.id, **asked))  # type: ignore[arg-type]
    assert (changed.name, changed.redirect_uris, changed.allowed_scopes) == after
    assert changed == await clients.get(alice, made.id)
    assert (changed.secrets, changed.created_at) == (made.secrets, made.created_at)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "update_mask"),
        ({"paths": ("type",)}, "update_mask"),
        ({"paths": ("*",)}, "update_mask"),
        ({"paths": ("name",) * 17, "name": "New"}, "update_mask"),
        ({"paths": ("name",)}, "name"),
        ({"name": "Developer Portal"}, "name"),
        ({"paths": ("redirect_uris",)}, "redirect_uris"),
        ({"paths": ("allowed_scopes",)}, "allowed_scopes"),
        ({"redirect_uris": ("https://*.example.com/",)}, "redirect_uris[0]"),
    ],
)
async def test_a_change_at_fault_changes_nothing(
    clients: ClientService, alice: DeveloperId, asked: dict[str, object], field: str
) -> None:
    made = (await clients.create(acting(alice), wish())).client
    with pytest.raises(InvalidRequest) as refused:
        await clients.update(acting(alice), change(made.id, **asked))  # type: ignore[arg-type]
    assert [violation.field for violation in refused.value.violations] == [field]
    assert await clients.get(alice, made.id) == made


async def test_a_replaced_secret_works_until_the_end_of_its_grace(
    clients: ClientService, directory: ClientDirectory, clock: Clock, alice: DeveloperId
) -> None:
    await clock.set(await clock.now())
    first = await clients.create(acting(alice), wish())
    second = await clients.rotate(acting(alice), first.client.id, expire_previous_now=False)
    assert second.previous_expires_at == await clock.now() + GRACE
    assert [(secret.version, secret.expires_at) for secret in second.client.secrets] == [
        (2, None),
        (1, second.previous_expires_at),
    ]
    await clock.advance(GRACE - MICROSECOND)
    assert await authentic(directory, first.client.id, first.secret, second.secret) == [True, True]
    await clock.advance(MICROSECOND)
    assert await authentic(directory, first.client.id, first.secret, second.secret) == [False, True]
    assert [secret.version for secret in (await clients.get(alice, first.client.id)).secrets] == [2]


async def test_a_rotation_after_a_leak_ends_every_earlier_secret(
    clients: ClientService, directory: ClientDirectory, alice: DeveloperId
) -> None:
    first = await clients.create(acting(alice), wish())
    second = await clients.rotate(acting(alice), first.client.id, expire_previous_now=False)
    third = await clients.rotate(acting(alice), first.client.id, expire_previous_now=True)
    secrets = first.secret, second.secret, third.secret
    assert await authentic(directory, first.client.id, *secrets) == [False, False, True]
    assert len({secret and secret.reveal() for secret in secrets}) == 3


async def test_a_sixth_living_secret_is_refused(
    clients: ClientService, directory: ClientDirectory, clock: Clock, alice: DeveloperId
) -> None:
    first = await clients.create(acting(alice), wish())
    for _ in range(4):
        await clients.rotate(acting(alice), first.client.id, expire_previous_now=False)
    with pytest.raises(Conflict, match="5 secrets of this client"):
        await clients.rotate(acting(alice), first.client.id, expire_previous_now=False)
    await clock.advance(GRACE)
    await clients.rotate(acting(alice), first.client.id, expire_previous_now=False)
    assert await authentic(directory, first.client.id, first.secret) == [False]


async def test_when_a_secret_was_replaced_is_noted_once(
    clients: ClientService, database: Database, alice: DeveloperId
) -> None:
    client = (await clients.create(acting(alice), wish())).client
    for _ in range(2):
        await clients.rotate(acting(alice), client.id, expire_previous_now=False)
    rows = await database.fetch("SELECT created_at, retired_at FROM oauth_client_secrets ORDER BY version")
    assert [row["retired_at"] for row in rows] == [rows[1]["created_at"], rows[2]["created_at"], None]


async def test_a_deleted_client_is_gone_with_its_secrets_and_what_users_allowed_it(
    clients: ClientService, directory: ClientDirectory, database: Database, clock: Clock, alice: DeveloperId
) -> None:
    await clock.set(await clock.now())
    issued = await clients.create(acting(alice), wish())
    other = await clients.create(acting(alice), wish())
    grants = [await grant(database, issued.client.id, f"user {number}") for number in range(3)]
    await database.execute("UPDATE oauth_grants SET revoked_at = '2020-01-01Z' WHERE id = $1", grants[0])
    kept = await grant(database, other.client.id)

    await clock.advance(timedelta(seconds=1))
    await clients.delete(acting(alice), issued.client.id)

    assert await directory.find(issued.client.id) is None
    assert await authentic(directory, issued.client.id, issued.secret) == [False]
    now = await clock.now()
    revoked = await column(database, "SELECT id FROM oauth_grants WHERE revoked_at = $1 ORDER BY id", now)
    assert revoked == sorted(grants[1:])
    assert await column(database, "SELECT id FROM oauth_grants WHERE revoked_at IS NULL") == [kept]
    assert await column(
        database, "SELECT expires_at FROM oauth_client_secrets WHERE client_id = $1", issued.client.id
    ) == [now]
    assert (await clients.list(alice, 0, ""))[0] == [other.client]


async def test_of_a_deleted_client_one_redirect_uri_stays(
    clients: ClientService, database: Database, alice: DeveloperId
) -> None:
    uris = tuple(f"https://example.com/{number}" for number in range(20))
    client = (await clients.create(acting(alice), wish(redirect_uris=uris))).client
    kept = (await clients.create(acting(alice), wish(redirect_uris=uris))).client
    await clients.delete(acting(alice), client.id)
    assert await column(database, "SELECT redirect_uris FROM oauth_clients WHERE id = $1", client.id) == [[uris[0]]]
    assert (await clients.get(alice, kept.id)).redirect_uris == uris


async def test_a_client_of_very_many_users_can_be_deleted(
    clients: ClientService, directory: ClientDirectory, database: Database, alice: DeveloperId
) -> None:
    client = (await clients.create(acting(alice), wish())).client
    for begin in range(0, 100_000, 20_000):
        await database.execute(
            "INSERT INTO oauth_grants (id, client_id, subject, scopes, created_at, expires_at)"
            " SELECT 'grant_' || number, $1, 'user', '{read}', clock(), clock()"
            " FROM generate_series($2::integer, $2 + 19999) AS number",
            client.id,
            begin,
        )
    await clients.delete(acting(alice), client.id)
    assert await directory.find(client.id) is None
    assert await column(database, "SELECT count(*) FROM oauth_grants WHERE revoked_at IS NOT NULL") == [10_000]


async def test_someone_elses_a_deleted_and_an_unknown_client_look_the_same(
    clients: ClientService, alice: DeveloperId, bob: DeveloperId
) -> None:
    foreign = (await clients.create(acting(bob), wish())).client.id
    deleted = (await clients.create(acting(alice), wish())).client.id
    await clients.delete(acting(alice), deleted)
    told = set()
    for client_id in (foreign, deleted, new_client_id(), "client_x", "", "developer-portal"):
        calls = (
            clients.get(alice, client_id),
            clients.update(acting(alice), change(client_id, name="New")),
            clients.rotate(acting(alice), client_id, expire_previous_now=True),
            clients.delete(acting(alice), client_id),
        )
        for call in calls:
            with pytest.raises(NotFound) as refused:
                await call
            told.add((refused.value.message, str(refused.value.metadata)))
    assert len(told) == 1
    assert (await clients.get(bob, foreign)).name == "An application"


async def test_a_list_is_read_page_by_page_newest_first(
    clients: ClientService, alice: DeveloperId, bob: DeveloperId
) -> None:
    made = [(await clients.create(acting(alice), wish(str(number)))).client for number in range(5)]
    await clients.create(acting(bob), wish())
    seen: list[OAuthClient] = []
    token = ""
    while token or not seen:
        page, token = await clients.list(alice, 2, token)
        seen += page
    assert seen == made[::-1]
    assert await clients.list(alice, 5, "") == (made[::-1], "")
    _, token = await clients.list(alice, 2, "")
    with pytest.raises(InvalidRequest):
        await clients.list(bob, 2, token)


async def test_an_empty_list_is_no_fault(clients: ClientService, alice: DeveloperId) -> None:
    assert await clients.list(alice, 0, "") == ([], "")


async def test_each_change_is_told_with_its_call(
    clients: ClientService, database: Database, alice: DeveloperId, bob: DeveloperId
) -> None:
    calls = [acting(alice) for _ in range(4)]
    client = (await clients.create(calls[0], wish())).client
    uris = ("com.example.app:/", CALLBACK)
    await clients.update(calls[1], change(client.id, name="New", redirect_uris=uris, scopes=("read", "stream")))
    await clients.rotate(calls[2], client.id, expire_previous_now=False)
    with pytest.raises(NotFound):
        await clients.delete(acting(bob), client.id)
    await clients.delete(calls[3], client.id)
    events = await database.fetch("SELECT action, target_id, call_id, details::text FROM audit_events ORDER BY id")
    assert [event["action"] for event in events] == [
        "oauth_client.created",
        "oauth_client.updated",
        "oauth_client.secret_rotated",
        "oauth_client.deleted",
    ]
    assert [event["call_id"] for event in events] == [call.call_id for call in calls]
    assert {event["target_id"] for event in events} == {client.id}
    for told in ('["An application", "New"]', '["read", "read stream"]', '"redirect_uris_added": "com.example.app:/"'):
        assert told in events[1]["details"]
    assert "removed" not in events[1]["details"]
    assert '"grants_revoked": 0' in events[3]["details"]


async def test_what_an_event_tells_of_redirect_uris_is_bounded(
    clients: ClientService, database: Database, alice: DeveloperId
) -> None:
    uris = tuple(f"https://example.com/{number}/{'a' * 1900}" for number in range(20))
    await clients.create(acting(alice), wish(redirect_uris=uris))
    (details,) = await column(database, "SELECT details::text FROM audit_events")
    assert len(str(details)) < 2000
    assert "(20 URIs)" in str(details)
