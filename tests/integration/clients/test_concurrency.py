"""Many callers at once over real connections: nothing is lost, doubled or left alive."""

import asyncio
from collections.abc import Awaitable

from server.clients.directory.service import ClientDirectory
from server.clients.model import MAXIMUM_LIVE_CLIENTS
from server.clients.service import ClientService, IssuedClient
from server.errors import Conflict, NotFound
from server.ids import DeveloperId
from server.postgres.pool import Database
from tests.integration.clients.register import authentic, change, wish
from tests.integration.keys.vault import acting, column

VERSIONS = "SELECT version FROM oauth_client_secrets ORDER BY version"


async def test_twenty_rotations_that_end_the_others_all_happen(
    crowd: ClientService, directory: ClientDirectory, database: Database, alice: DeveloperId
) -> None:
    first = await crowd.create(acting(alice), wish())
    rotations = [crowd.rotate(acting(alice), first.client.id, expire_previous_now=True) for _ in range(20)]
    issued = await asyncio.gather(*rotations)
    assert await column(database, VERSIONS) == list(range(1, 22))
    assert len({each.client.secret_prefix for each in issued}) == 20
    good = await authentic(directory, first.client.id, first.secret, *(each.secret for each in issued))
    assert good.count(True) == 1
    assert len(await column(database, "SELECT id FROM audit_events WHERE action = 'oauth_client.secret_rotated'")) == 20


async def test_of_twenty_rotations_with_grace_only_so_many_happen_that_five_secrets_live(
    crowd: ClientService, directory: ClientDirectory, database: Database, alice: DeveloperId
) -> None:
    first = await crowd.create(acting(alice), wish())
    rotations = [crowd.rotate(acting(alice), first.client.id, expire_previous_now=False) for _ in range(20)]
    outcomes = await asyncio.gather(*rotations, return_exceptions=True)
    issued = [outcome for outcome in outcomes if isinstance(outcome, IssuedClient)]
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 16
    secrets = (first.secret, *(each.secret for each in issued))
    assert await authentic(directory, first.client.id, *secrets) == [True] * 5
    assert await column(database, VERSIONS) == [1, 2, 3, 4, 5]


async def test_a_rotation_against_a_deletion_leaves_no_living_secret(
    crowd: ClientService, database: Database, alice: DeveloperId
) -> None:
    for round_ in range(20):
        client = (await crowd.create(acting(alice), wish())).client
        calls: list[Awaitable[object]] = [
            crowd.rotate(acting(alice), client.id, expire_previous_now=bool(round_ % 2)) for _ in range(2)
        ]
        calls.insert(round_ % 3, crowd.delete(acting(alice), client.id))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, IssuedClient | NotFound) for outcome in outcomes)
        assert (
            await column(
                database, "SELECT version FROM oauth_client_secrets WHERE coalesce(expires_at, 'infinity') > clock()"
            )
            == []
        )


async def test_of_many_deletions_one_happens(crowd: ClientService, database: Database, alice: DeveloperId) -> None:
    client = (await crowd.create(acting(alice), wish())).client
    outcomes = await asyncio.gather(
        *(crowd.delete(acting(alice), client.id) for _ in range(16)), return_exceptions=True
    )
    assert sum(isinstance(outcome, NotFound) for outcome in outcomes) == 15
    assert len(await column(database, "SELECT id FROM audit_events WHERE action = 'oauth_client.deleted'")) == 1


async def test_the_last_free_place_is_taken_once(crowd: ClientService, database: Database, alice: DeveloperId) -> None:
    await crowd.create(acting(alice), wish())
    await database.execute(
        "INSERT INTO oauth_clients SELECT 'client_' || number, developer_id, name, type, redirect_uris, allowed_scopes,"
        " created_at FROM oauth_clients, generate_series(2, $1) AS number",
        MAXIMUM_LIVE_CLIENTS - 1,
    )
    outcomes = await asyncio.gather(*(crowd.create(acting(alice), wish()) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, IssuedClient) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19


async def test_changes_of_different_fields_do_not_undo_one_another(crowd: ClientService, alice: DeveloperId) -> None:
    for number in range(10):
        client = (await crowd.create(acting(alice), wish())).client
        await asyncio.gather(
            crowd.update(acting(alice), change(client.id, name=f"name {number}")),
            crowd.update(acting(alice), change(client.id, scopes=("stream",))),
            crowd.update(acting(alice), change(client.id, redirect_uris=("com.example.app:/",))),
        )
        now = await crowd.get(alice, client.id)
        changed = (f"name {number}", ("stream",), ("com.example.app:/",))
        assert (now.name, now.allowed_scopes, now.redirect_uris) == changed
