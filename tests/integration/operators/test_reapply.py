"""After a restore: whom the log leaves suspended is suspended again, whoever else was let in meanwhile."""

from collections.abc import Iterator
from itertools import permutations

import pytest

from server.ids import DeveloperId, new_developer_id
from server.operators.service import Operations
from server.postgres.pool import Database
from tests.integration.keys.vault import column, register
from tests.integration.restored import Backup, Log, logging, reapply

_SUSPENDED = "SELECT suspended_at FROM developers WHERE id = $1"


@pytest.fixture
def log() -> Iterator[Log]:
    """What operators' commands log during the test."""
    with logging() as log:
        yield log


@pytest.fixture
async def alice(database: Database) -> DeveloperId:
    """A developer that every backup has."""
    return await register(database, "alice")


async def test_a_suspended_developer_is_suspended_again_as_of_then(
    database: Database, alice: DeveloperId, log: Log
) -> None:
    backup = await Backup.take(database)
    await Operations(database).suspend(alice, "Abuse")
    (at,) = await column(database, "SELECT created_at FROM audit_events")
    await backup.restore()

    run = await reapply(database, log.lines)
    again = await reapply(database, log.lines)

    assert (run.applied, again.applied) == ({"developer.suspension_reapplied": 1}, {})
    assert await column(database, _SUSPENDED, alice) == [at]
    (event,) = await database.fetch("SELECT developer_id, target_id, details->>'reapplied_from' AS o FROM audit_events")
    assert (event["developer_id"], event["target_id"]) == (alice, alice)
    assert any(str(event["o"]).encode() in line for line in log.changes)


async def test_the_last_word_of_the_log_counts_in_any_order(database: Database, alice: DeveloperId, log: Log) -> None:
    backup = await Backup.take(database)
    operations = Operations(database)
    await operations.suspend(alice, "")
    await operations.resume(alice)
    pardoned = log.changes
    await operations.suspend(alice, "")
    lost = log.changes

    for lines, is_suspended in ((pardoned, False), (lost, True)):
        for order in permutations(lines):
            await backup.restore()
            await reapply(database, order)
            assert await column(database, _SUSPENDED.replace("suspended_at", "suspended_at IS NOT NULL"), alice) == [
                is_suspended
            ]


async def test_who_was_let_in_as_only_the_log_has_it_is_told_of(
    database: Database, alice: DeveloperId, log: Log
) -> None:
    backup = await Backup.take(database)
    await Operations(database).suspend(alice, "")
    await Operations(database).resume(alice)
    known = await reapply(database, log.lines)
    await backup.restore()

    run = await reapply(database, log.lines)

    assert known.told == []
    assert run.told == [f"{alice}: was suspended and, as the log has it, let in again; see whether so"]


async def test_who_was_let_in_after_the_restore_is_not_suspended_by_an_old_log(
    database: Database, alice: DeveloperId, log: Log
) -> None:
    backup = await Backup.take(database)
    await Operations(database).suspend(alice, "")
    lost = log.changes
    await backup.restore()
    await reapply(database, lost)
    await Operations(database).resume(alice)

    run = await reapply(database, lost)

    assert run.applied == {}
    assert await column(database, _SUSPENDED, alice) == [None]


async def test_developers_who_registered_after_the_backup_are_told(
    database: Database, alice: DeveloperId, log: Log
) -> None:
    backup = await Backup.take(database)
    lost = await register(database, "bob")
    await Operations(database).suspend(lost, "")
    await backup.restore()

    run = await reapply(database, log.lines)

    assert run.told == [f"{lost}: not in this database, so made after its backup, and lost"]


async def test_an_event_of_no_developer_is_a_fault(database: Database, alice: DeveloperId, log: Log) -> None:
    await Operations(database).suspend(alice, "")

    lines = [line.replace(alice.encode(), new_developer_id()[:-1].encode()) for line in log.changes]
    run = await reapply(database, lines)

    assert run.told == ["old.log, line 1: an audit event whose target_id names no developer"]
