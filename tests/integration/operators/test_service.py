"""What operators do: every change with its audit event by `operator`, and none that makes no sense."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from server.accounts.service import AccountService
from server.audit.store import Actor
from server.errors import Conflict, Error, InvalidRequest, NotFound
from server.ids import DeveloperId, new_call_id, new_developer_id, new_key_id
from server.keys.model import ApiKey
from server.limits.model import Rate
from server.operators.model import _BOUNDS
from server.operators.service import Operations
from server.postgres.pool import Database
from tests.integration.keys.vault import acting, key_service, register, rotation, wish, works

PARTNER = {
    "requests": 6000,
    "window_seconds": 60,
    "developer_requests": 12000,
    "monthly_quota": 0,
    "max_keys": 100,
    "concurrent_streams": 50,
}


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> DeveloperId:
    return await register(database, "alice")


@pytest.fixture
def operations(database: Database) -> Operations:
    return Operations(database)


async def _key(database: Database, developer_id: DeveloperId, name: str = "Key") -> ApiKey:
    return (await key_service(database).create(acting(developer_id), wish(name))).key


async def _told(database: Database) -> list[tuple[Any, ...]]:
    """Read what operators did: action, whose account, target, details."""
    rows = await database.fetch(
        "SELECT action, developer_id, target_id, details::text AS details FROM audit_events WHERE actor = 'operator'"
        " ORDER BY created_at, id"
    )
    return [(row["action"], row["developer_id"], row["target_id"], json.loads(row["details"])) for row in rows]


async def _column(database: Database, name: str, developer_id: DeveloperId) -> Any:
    row = await database.fetchrow(f"SELECT {name} FROM developers WHERE id = $1", developer_id)
    assert row
    return row[0]


async def test_developers_are_listed_newest_first_page_by_page(database: Database, operations: Operations) -> None:
    ids = [await register(database, f"subject-{number}") for number in range(5)]
    seen: list[str] = []
    after = ""
    while True:
        lines, after = await operations.list_developers(limit=2, after=after)
        seen += [line.id for line in lines]
        if not after:
            break
    assert seen == ids[::-1]


async def test_a_developer_is_listed_with_its_live_keys(
    database: Database, operations: Operations, alice: DeveloperId
) -> None:
    keys = key_service(database)
    for _ in range(3):
        revoked = await _key(database, alice)
    await keys.revoke(acting(alice), revoked.id)
    (line,), _ = await operations.list_developers()
    assert (line.id, line.subject, line.tier, line.live_keys) == (alice, "alice", "standard", 2)
    assert (line.display_name, line.contact_email, line.suspended_at) == (None, None, None)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("ALICE'S", True),
        ("@Example.com", True),
        ("acme", True),
        ("alice", True),
        ("%", False),
        ("_", False),
        ("a\0lice", True),
    ],
)
async def test_developers_are_found_by_their_words(
    database: Database, operations: Operations, alice: DeveloperId, query: str, found: bool
) -> None:
    await register(database, "bob")
    await database.execute(
        "UPDATE developers SET display_name = 'Alice''s Apps', contact_email = 'a@example.com', organisation = 'ACME'"
        " WHERE id = $1",
        alice,
    )
    lines, _ = await operations.list_developers(query=query)
    assert [line.id for line in lines] == ([alice] if found else [])


async def test_a_developer_is_found_by_its_id_and_the_suspended_alone(
    database: Database, operations: Operations, alice: DeveloperId
) -> None:
    bob = await register(database, "bob")
    await operations.suspend(bob, "")
    assert [line.id for line in (await operations.list_developers(query=alice))[0]] == [alice]
    assert [line.id for line in (await operations.list_developers(suspended=True))[0]] == [bob]


async def test_a_suspension_is_made_and_ended_once_and_told(
    database: Database, operations: Operations, alice: DeveloperId
) -> None:
    await operations.suspend(alice, " Abuse: see\nyour mail. ")
    assert await _column(database, "suspended_at", alice)
    with pytest.raises(Conflict, match=r"suspended since 20.*resume"):
        await operations.suspend(alice, "")
    await operations.resume(alice)
    assert await _column(database, "suspended_at", alice) is None
    with pytest.raises(Conflict, match="good standing"):
        await operations.resume(alice)
    assert await _told(database) == [
        ("developer.suspended", alice, alice, {"reason": "Abuse: see\nyour mail."}),
        ("developer.resumed", alice, alice, {}),
    ]
    with pytest.raises(InvalidRequest, match="--reason"):
        await operations.suspend(alice, "\x1b[2J")


async def test_a_tier_is_given_and_the_wish_for_it_granted(
    database: Database, operations: Operations, alice: DeveloperId
) -> None:
    await operations.set_tier("partner", PARTNER)
    await operations.set_tier("giant", PARTNER)
    accounts = AccountService(database, auto_register=True)
    await accounts.request_tier(Actor(developer_id=alice, call_id=new_call_id()), "giant", "We grow.")
    (waiting,) = await operations.list_requests(10)
    assert (waiting.developer_id, waiting.tier, waiting.requested_tier) == (alice, "standard", "giant")
    assert not await operations.change_tier(alice, "partner")
    assert len(await operations.list_requests(10)) == 1
    assert await operations.change_tier(alice, "giant")
    assert await operations.list_requests(10) == []
    assert (await accounts.get(alice)).tier == "giant"
    assert (await accounts.get(alice)).requested_tier is None
    assert (await _told(database))[2:] == [
        ("developer.tier_changed", alice, alice, {"tier": ["standard", "partner"]}),
        ("developer.tier_changed", alice, alice, {"tier": ["partner", "giant"]}),
        ("developer.tier_request_settled", alice, alice, {"tier": "giant", "settlement": "granted"}),
    ]
    with pytest.raises(Conflict, match="already"):
        await operations.change_tier(alice, "giant")
    with pytest.raises(NotFound, match=r"standard.*tiers set"):
        await operations.change_tier(alice, "gold")


async def test_a_wish_is_declined_and_the_tier_stays(
    database: Database, operations: Operations, alice: DeveloperId
) -> None:
    await operations.set_tier("partner", PARTNER)
    accounts = AccountService(database, auto_register=True)
    await accounts.request_tier(Actor(developer_id=alice, call_id=new_call_id()), "partner", "")
    await operations.decline(alice)
    account = await accounts.get(alice)
    assert (account.tier, account.requested_tier) == ("standard", None)
    assert (await _told(database))[1:] == [
        ("developer.tier_request_settled", alice, alice, {"tier": "partner", "settlement": "declined"})
    ]
    with pytest.raises(Conflict, match="asks for no tier"):
        await operations.decline(alice)


async def test_a_tier_is_made_whole_and_changed_in_part(database: Database, operations: Operations) -> None:
    assert await operations.set_tier("partner", PARTNER)
    assert not await operations.set_tier("partner", {"monthly_quota": 5, "max_keys": 0})
    assert not await operations.set_tier("standard", {"monthly_quota": 0})
    standard, partner = await operations.list_tiers()
    assert (standard.name, standard.monthly_quota, standard.requests) == ("standard", None, 600)
    assert (partner.requests, partner.window_seconds, partner.developer_requests) == (6000, 60, 12000)
    assert (partner.monthly_quota, partner.max_keys, partner.concurrent_streams) == (5, 0, 50)
    assert await _told(database) == [
        ("tier.set", None, "partner", {field: [None, value] for field, value in PARTNER.items() if value}),
        ("tier.set", None, "partner", {"monthly_quota": [None, 5], "max_keys": [100, 0]}),
        ("tier.set", None, "standard", {"monthly_quota": [1000000, None]}),
    ]


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("Partner", PARTNER, "NAME: must be 1 to 32"),
        ("partner", {"requests": 5}, "--window, --developer-requests, --quota, --max-keys, --streams"),
        ("standard", {}, "nothing to change"),
        ("standard", {"requests": 0}, "--requests: must be 1 to 999,999,999"),
        ("standard", {"requests": 10**9, "window_seconds": 86_401}, "--requests.*--window: must be 1 to 86,400"),
        ("standard", {"monthly_quota": -1}, "--quota"),
        ("standard", {"max_keys": 2**31, "concurrent_streams": -1}, "--max-keys.*--streams"),
    ],
)
async def test_a_tier_out_of_bounds_is_not_set(
    database: Database, operations: Operations, name: str, given: dict[str, int], told: str
) -> None:
    before = await operations.list_tiers()
    with pytest.raises(InvalidRequest, match=told):
        await operations.set_tier(name, given)
    assert await operations.list_tiers() == before
    assert await _told(database) == []


@pytest.mark.parametrize("field", PARTNER)
@pytest.mark.parametrize("extreme", [0, -1], ids=["least", "most"])
async def test_what_we_let_through_the_database_takes(operations: Operations, field: str, extreme: int) -> None:
    await operations.set_tier("partner", {**PARTNER, field: _BOUNDS[field][extreme]})


async def test_tiers_tell_how_many_have_them(database: Database, operations: Operations, alice: DeveloperId) -> None:
    await operations.set_tier("partner", PARTNER)
    assert [(tier.name, tier.developers) for tier in await operations.list_tiers()] == [("standard", 1), ("partner", 0)]


async def test_a_key_is_found_by_any_of_its_secrets_and_revoked_with_all(
    database: Database, operations: Operations, alice: DeveloperId
) -> None:
    keys = key_service(database)
    first = await keys.create(acting(alice), wish())
    second = await keys.rotate(acting(alice), rotation(first.key.id))
    for text in (first.key.key_prefix, f" {second.key.key_prefix}\n", first.secret.reveal()):
        found = await operations.find_key(text)
        assert (found.id, found.developer_id, found.revoked_at) == (first.key.id, alice, None)
    assert (found.key_prefix, found.version) == (first.key.key_prefix, 1)
    assert await works(database, first.secret, second.secret) == [True, True]
    await operations.revoke_key(found)
    assert await works(database, first.secret, second.secret) == [False, False]
    assert (await operations.find_key(first.key.key_prefix)).revoked_at
    with pytest.raises(Conflict, match="already"):
        await operations.revoke_key(found)
    details = {"key_prefix": second.key.key_prefix}
    assert await _told(database) == [("key.revoked", alice, first.key.id, details)]


@pytest.mark.parametrize("prefix", ["", "ang_live_", "ang_live_4fGh1JkL_", "ang_oauth_4fGh1JkL", "a\0", "4fGh1JkL"])
async def test_what_is_no_prefix_is_told_so(operations: Operations, prefix: str) -> None:
    with pytest.raises(InvalidRequest, match="ang_live_4fGh1JkL"):
        await operations.find_key(prefix)


async def test_a_prefix_of_no_key_is_told_so(operations: Operations) -> None:
    with pytest.raises(NotFound, match="ang_live_00000000"):
        await operations.find_key("ang_live_00000000")


async def test_a_key_gets_a_limit_of_its_own_and_loses_it(
    database: Database, operations: Operations, alice: DeveloperId
) -> None:
    key = await _key(database, alice)
    await operations.limit_key(key.id, Rate(50, 1))
    row = await database.fetchrow("SELECT rate_requests, rate_seconds FROM api_keys")
    assert row
    assert tuple(row) == (50, 1)
    await operations.limit_key(key.id, None)
    row = await database.fetchrow("SELECT rate_requests, rate_seconds FROM api_keys")
    assert row
    assert tuple(row) == (None, None)
    assert [(action, details) for action, _, _, details in await _told(database)] == [
        ("key.updated", {"rate_limit": [None, "50/1"]}),
        ("key.updated", {"rate_limit": ["50/1", None]}),
    ]
    with pytest.raises(InvalidRequest, match=r"--requests.*--window"):
        await operations.limit_key(key.id, Rate(0, 0))
    await key_service(database).revoke(acting(alice), key.id)
    with pytest.raises(Conflict, match="revoked"):
        await operations.limit_key(key.id, None)


@pytest.mark.parametrize("developer", ["", "alice", "dev_'; DROP TABLE developers", new_developer_id(), "dev_\0"])
async def test_nobody_is_told_so(operations: Operations, developer: str) -> None:
    for attempt in (
        operations.suspend(developer, ""),
        operations.resume(developer),
        operations.change_tier(developer, "standard"),
        operations.decline(developer),
    ):
        with pytest.raises(NotFound, match=r"no developer.*developers list --query"):
            await attempt


@pytest.mark.parametrize("key", ["", "key", new_key_id(), "key_\0"])
async def test_no_key_is_told_so(operations: Operations, key: str) -> None:
    with pytest.raises(NotFound, match="no key"):
        await operations.limit_key(key, None)


async def test_every_server_hears_of_every_change(
    database: Database, database_url: str, operations: Operations, alice: DeveloperId
) -> None:
    key = await _key(database, alice)
    heard: list[object] = []
    async with database.connection() as connection:
        await connection.add_listener("verification", lambda *told: heard.append(told[-1]))
        await operations.set_tier("partner", PARTNER)
        changes: list[tuple[Callable[[], Awaitable[object]], str]] = [
            (lambda: operations.suspend(alice, ""), alice),
            (lambda: operations.resume(alice), alice),
            (lambda: operations.change_tier(alice, "partner"), alice),
            (lambda: operations.set_tier("partner", {"requests": 5}), "*"),
            (lambda: operations.limit_key(key.id, Rate(1, 1)), key.id),
        ]
        for change, told in changes:
            heard.clear()
            await change()
            await connection.fetchval("SELECT 1")
            assert told in heard
        heard.clear()
        await operations.revoke_key(await operations.find_key(key.key_prefix))
        await connection.fetchval("SELECT 1")
        assert key.id in heard
        connection.terminate()


async def test_an_error_names_no_statement(operations: Operations) -> None:
    with pytest.raises(Error) as refusal:
        await operations.suspend("x" * 5000, "")
    assert len(refusal.value.message) < 200
