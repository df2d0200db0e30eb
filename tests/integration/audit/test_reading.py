"""Reading the audit log: own events alone, newest first, by pages that keep to their target."""

from pathlib import Path

import pytest
import pytest_asyncio

from server.audit import service as service_module
from server.audit.service import AuditLog
from server.audit.store import Action, Actor, record, record_for_all
from server.errors import InvalidRequest
from server.ids import DeveloperId, new_call_id, new_key_id
from server.postgres.pool import Connection, Database
from server.postgres.queries import load
from tests.integration.keys.vault import PEPPERS, register

_QUERIES = Path(service_module.__file__).with_name("queries.sql")


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> DeveloperId:
    return await register(database, "alice")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(database: Database) -> DeveloperId:
    return await register(database, "bob")


@pytest.fixture
def log(database: Database) -> AuditLog:
    return AuditLog(database, PEPPERS)


async def _happen(
    database: Database, developer_id: DeveloperId, target_id: str, number: int = 0, actor: str | None = None
) -> None:
    who = Actor(developer_id=developer_id, call_id=new_call_id(), name=actor)

    async def work(connection: Connection) -> None:
        await record(connection, who, Action.KEY_UPDATED, target_id, {"number": number})

    await database.transaction(work)


async def _numbers(log: AuditLog, developer_id: DeveloperId, target_id: str = "") -> list[object]:
    """Read the whole log, three events a page."""
    seen, token = [], ""
    while True:
        page, token = await log.list(developer_id, 3, token, target_id)
        seen += [event.details["number"] for event in page]
        if not token:
            return seen
        assert len(page) == 3


async def test_events_are_told_whole(database: Database, log: AuditLog, alice: DeveloperId) -> None:
    await _happen(database, alice, "key_1", 7, actor="operator")
    (event,), token = await log.list(alice, 0, "", "")
    row = await database.fetchrow("SELECT id, created_at, call_id FROM audit_events")
    assert row
    assert (event.id, event.created_at, event.call_id) == tuple(row)
    assert (event.action, event.target_id, event.actor, token) == ("key.updated", "key_1", "operator", "")
    assert event.details == {"number": 7}


async def test_own_events_are_paged_newest_first(
    database: Database, log: AuditLog, alice: DeveloperId, bob: DeveloperId
) -> None:
    for number in range(7):
        await _happen(database, alice, "key_1", number)
        await _happen(database, bob, "key_1", -1)
    assert await _numbers(log, alice) == [6, 5, 4, 3, 2, 1, 0]


async def test_a_target_leaves_only_what_happened_to_it(
    database: Database, log: AuditLog, alice: DeveloperId, bob: DeveloperId
) -> None:
    mine, other = new_key_id(), new_key_id()
    for number in range(8):
        await _happen(database, alice, mine if number % 2 else other, number)
    await _happen(database, bob, mine, -1)
    assert await _numbers(log, alice, mine) == [7, 5, 3, 1]
    assert await _numbers(log, bob, mine) == [-1]
    assert await _numbers(log, alice, "key_none") == []
    assert await _numbers(log, alice, "' OR true --") == []


async def test_events_of_the_platform_are_nobodys(database: Database, log: AuditLog, alice: DeveloperId) -> None:
    async def work(connection: Connection) -> None:
        await record_for_all(connection, new_call_id(), "operator", Action.TIER_SET, "partner", {"requests": 5})

    await database.transaction(work)
    assert await log.list(alice, 0, "", "") == ([], "")
    assert await log.list(alice, 0, "", "partner") == ([], "")
    row = await database.fetchrow("SELECT developer_id, action, actor FROM audit_events")
    assert row
    assert tuple(row) == (None, "tier.set", "operator")


async def test_a_page_token_goes_with_its_developer_and_target_alone(
    database: Database, log: AuditLog, alice: DeveloperId, bob: DeveloperId
) -> None:
    for _ in range(2):
        await _happen(database, alice, "key_1")
    _, everything = await log.list(alice, 1, "", "")
    _, one_key = await log.list(alice, 1, "", "key_1")
    assert everything
    assert one_key
    wrong = [(alice, everything, "key_1"), (alice, one_key, ""), (bob, everything, ""), (alice, "nonsense", "")]
    for developer_id, token, target_id in wrong:
        with pytest.raises(InvalidRequest, match="page_token"):
            await log.list(developer_id, 1, token, target_id)


async def test_a_target_that_no_id_can_be_is_refused(log: AuditLog, alice: DeveloperId) -> None:
    with pytest.raises(InvalidRequest, match="target_id"):
        await log.list(alice, 0, "", "key\0")


@pytest.mark.parametrize(
    ("statement", "index", "target"),
    [
        ("list_events", "audit_events_newest_first", ()),
        ("list_events_of_target", "audit_events_of_target", ("key_5",)),
    ],
)
async def test_a_page_costs_the_same_however_much_has_happened(
    database: Database, alice: DeveloperId, statement: str, index: str, target: tuple[str, ...]
) -> None:
    await database.execute(
        "INSERT INTO audit_events (id, developer_id, action, target_id, call_id, details, created_at)"
        " SELECT 'evt_' || n, $1, 'key.updated', 'key_' || n % 100, 'call', '{}', clock() - n * interval '1 s'"
        " FROM generate_series(1, 20000) AS n",
        alice,
    )
    await database.execute("ANALYZE audit_events")
    statements = load(_QUERIES)
    now = await database.fetchrow("SELECT clock() AS now")
    assert now
    for position in ((None, None), (now["now"], "evt_1")):
        plan = await database.fetchrow(f"EXPLAIN (FORMAT JSON) {statements[statement]}", alice, 21, *position, *target)
        assert plan
        assert index in plan[0]
        assert "Sort" not in plan[0]
