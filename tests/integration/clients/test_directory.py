"""The directory: what a token issuer learns of clients, and which secrets it takes."""

from datetime import timedelta
from typing import Any

import pytest
from sdk.portal.v1 import oauth_client_pb2
from sdk.portal.v1.oauth_client_directory_service_pb2 import AuthenticateClientRequest, LookUpClientRequest

from server import peppers as peppers_module
from server.clients.directory.rpc import OAuthClientDirectory
from server.clients.directory.service import ClientDirectory
from server.clients.model import ClientType
from server.clients.service import ClientService
from server.errors import NotFound
from server.ids import DeveloperId, new_client_id
from server.keys.model import Environment
from server.keys.secret import draw
from server.peppers import Peppers
from server.postgres.pool import Database
from server.secret import Secret, draw_secret
from tests.database import Clock
from tests.integration.clients.register import CALLBACK, authentic, wish
from tests.integration.keys.vault import GRACE, PEPPERS, acting, column

CONTEXT: Any = None
USES = "SELECT last_used_at FROM oauth_client_secrets ORDER BY version"


async def test_a_client_is_found_with_its_developers_name(
    clients: ClientService, directory: ClientDirectory, database: Database, alice: DeveloperId
) -> None:
    await database.execute("UPDATE developers SET display_name = 'Alice' WHERE id = $1", alice)
    client = (await clients.create(acting(alice), wish(scopes=("stream", "read")))).client
    entry = await directory.find(client.id)
    assert entry is not None
    assert (entry.id, entry.name, entry.redirect_uris, entry.allowed_scopes, entry.created_at) == (
        client.id,
        client.name,
        (CALLBACK,),
        ("stream", "read"),
        client.created_at,
    )
    assert (entry.developer_id, entry.developer_name, entry.is_confidential) == (alice, "Alice", True)


async def test_a_public_client_of_a_developer_without_a_name_is_found(
    clients: ClientService, directory: ClientDirectory, alice: DeveloperId
) -> None:
    client = (await clients.create(acting(alice), wish(type_=ClientType.PUBLIC))).client
    entry = await directory.find(client.id)
    assert entry is not None
    assert (entry.developer_name, entry.is_confidential) == ("", False)
    assert await authentic(directory, client.id, draw_secret("oauth")) == [False]


@pytest.mark.parametrize("client_id", [new_client_id(), "client_x", "", "developer-portal", "client_\x00"])
async def test_what_is_no_client_is_not_found(directory: ClientDirectory, client_id: str) -> None:
    assert await directory.find(client_id) is None
    assert await directory.authenticate(client_id, draw_secret("oauth")) is False


async def test_clients_of_a_suspended_developer_are_absent(
    clients: ClientService, directory: ClientDirectory, database: Database, alice: DeveloperId
) -> None:
    issued = await clients.create(acting(alice), wish())
    await database.execute("UPDATE developers SET suspended_at = clock()")
    assert await directory.find(issued.client.id) is None
    assert await authentic(directory, issued.client.id, issued.secret) == [False]
    await database.execute("UPDATE developers SET suspended_at = NULL")
    assert await authentic(directory, issued.client.id, issued.secret) == [True]


async def test_only_the_clients_own_whole_secret_is_authentic(
    clients: ClientService, directory: ClientDirectory, alice: DeveloperId
) -> None:
    issued, other = [await clients.create(acting(alice), wish()) for _ in range(2)]
    assert issued.secret is not None
    text = issued.secret.reveal()
    forged = Secret(text[:18] + draw_secret("oauth").reveal()[18:])
    wrong = [Secret(""), Secret(text[:-1]), Secret(text + " "), Secret(text.swapcase()), forged]
    assert await authentic(directory, issued.client.id, *wrong, draw(Environment.LIVE)) == [False] * 6
    assert await authentic(directory, issued.client.id, other.secret) == [False]
    assert await authentic(directory, other.client.id, issued.secret) == [False]
    assert await authentic(directory, issued.client.id, issued.secret) == [True]


async def test_a_right_head_with_another_tail_is_not_authentic(
    clients: ClientService, directory: ClientDirectory, database: Database, alice: DeveloperId
) -> None:
    issued = await clients.create(acting(alice), wish())
    guess = draw_secret("oauth")
    await database.execute(
        "UPDATE oauth_client_secrets SET secret_prefix = $1", guess.reveal()[:18]
    )  # as if the guess had hit a head that exists
    assert await authentic(directory, issued.client.id, guess) == [False]
    assert await column(database, USES) == [None]


async def test_a_secret_that_is_not_found_costs_a_comparison_all_the_same(
    clients: ClientService, directory: ClientDirectory, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await clients.create(acting(alice), wish())
    compared = []
    proves = peppers_module.Peppers.proves

    def prove(self: Peppers, secret: Secret, digest: bytes, version: int) -> bool:
        compared.append(len(digest))
        return proves(self, secret, digest, version)

    monkeypatch.setattr(peppers_module.Peppers, "proves", prove)
    assert await authentic(directory, issued.client.id, draw_secret("oauth"), issued.secret) == [False, True]
    assert compared == [32, 32]


async def test_the_last_use_is_noted_once_a_minute(
    clients: ClientService, directory: ClientDirectory, database: Database, clock: Clock, alice: DeveloperId
) -> None:
    start = await clock.now()
    await clock.set(start)
    first = await clients.create(acting(alice), wish())
    second = await clients.rotate(acting(alice), first.client.id, expire_previous_now=False)
    assert await column(database, USES) == [None, None]
    await authentic(directory, first.client.id, second.secret)
    assert await column(database, USES) == [None, start]
    await clock.advance(timedelta(seconds=59))
    await authentic(directory, first.client.id, second.secret)
    assert await column(database, USES) == [None, start]
    await clock.advance(timedelta(seconds=1))
    await authentic(directory, first.client.id, second.secret)
    assert await column(database, USES) == [None, start + timedelta(minutes=1)]
    (newest, _) = (await clients.get(alice, first.client.id)).secrets
    assert newest.last_used_at == start + timedelta(minutes=1)


async def test_a_use_renews_a_digest_of_an_old_pepper(database: Database, clock: Clock, alice: DeveloperId) -> None:
    await clock.set(await clock.now())
    issued = await ClientService(database, PEPPERS.using(1), rotation_grace=GRACE).create(acting(alice), wish())
    assert await authentic(ClientDirectory(database, PEPPERS.using(1)), issued.client.id, issued.secret) == [True]
    directory = ClientDirectory(database, PEPPERS)
    for _ in range(2):
        assert await authentic(directory, issued.client.id, issued.secret) == [True]
        assert await column(database, "SELECT pepper_version FROM oauth_client_secrets") == [2]


async def test_a_secret_of_a_pepper_that_is_gone_is_not_authentic(database: Database, alice: DeveloperId) -> None:
    issued = await ClientService(database, PEPPERS, rotation_grace=GRACE).create(acting(alice), wish())
    others = ClientDirectory(database, Peppers({1: b"an old pepper of sufficient length"}))
    assert await authentic(others, issued.client.id, issued.secret) == [False]


async def test_a_row_that_is_held_keeps_nobody_waiting(
    clients: ClientService, directory: ClientDirectory, database: Database, alice: DeveloperId
) -> None:
    issued = await clients.create(acting(alice), wish())
    async with database.connection() as holder:
        await holder.execute("BEGIN")
        await holder.execute("SELECT FROM oauth_client_secrets FOR UPDATE")
        assert await authentic(directory, issued.client.id, issued.secret) == [True]
        await holder.execute("ROLLBACK")
    assert await column(database, USES) == [None]


async def test_another_issuer_is_told_the_same(
    clients: ClientService, directory: ClientDirectory, database: Database, alice: DeveloperId
) -> None:
    await database.execute("UPDATE developers SET display_name = 'Alice' WHERE id = $1", alice)
    issued = await clients.create(acting(alice), wish())
    assert issued.secret is not None
    rpc = OAuthClientDirectory(directory)
    answer = await rpc.LookUpClient(LookUpClientRequest(client_id=issued.client.id), CONTEXT)
    assert (answer.developer_id, answer.developer_name) == (alice, "Alice")
    assert answer.client.type == oauth_client_pb2.O_AUTH_CLIENT_TYPE_CONFIDENTIAL
    assert list(answer.client.redirect_uris) == [CALLBACK]
    assert (len(answer.client.secrets), answer.client.secret_prefix) == (0, "")
    with pytest.raises(NotFound):
        await rpc.LookUpClient(LookUpClientRequest(client_id=new_client_id()), CONTEXT)
    for secret, authentic_ in ((issued.secret, True), (draw_secret("oauth"), False)):
        request = AuthenticateClientRequest(client_id=issued.client.id, client_secret=secret.reveal())
        assert (await rpc.AuthenticateClient(request, CONTEXT)).authentic is authentic_
