"""After a restore: what the log tells and the backup did not see is applied, once, whatever the order."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from server.audit.store import Action
from server.ids import DeveloperId, KeyId, new_key_id
from server.keys import store as store_module
from server.keys.replay import Issued
from server.keys.service import KeyService
from server.keys.versions.service import VersionService
from server.operators import reapply as reapply_module
from server.postgres.pool import Database
from tests.database import Clock
from tests.integration.keys.vault import acting, column, rotation, wish, works
from tests.integration.restored import Backup, Log, Reapplied, logging, reapply

_STATE = "SELECT to_jsonb(s) - 'last_used_at' FROM api_key_secrets AS s ORDER BY key_prefix"


@pytest.fixture
def log() -> Iterator[Log]:
    """What the server logs during the test."""
    with logging() as log:
        yield log


async def _reapply(database: Database, lines: Sequence[bytes]) -> "Run":
    return Run(await reapply(database, lines))


class Run:
    """What one reapplication did to keys and said."""

    def __init__(self, run: Reapplied) -> None:
        self.reapplication, self.told = run

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """Return how many keys were revoked, rotations applied, keys or versions unknown, lines not understood."""
        run = self.reapplication
        revoked, rotated = (
            run.applied[action] for action in (Action.KEY_REVOCATION_REAPPLIED, Action.KEY_ROTATION_REAPPLIED)
        )
        return revoked, rotated, len(run.unknown), run.faults


@pytest.fixture
async def created(keys: KeyService, alice: DeveloperId) -> Issued:
    """A key that every backup has."""
    return await keys.create(acting(alice), wish())


@pytest.fixture
async def backup(database: Database, created: Issued) -> Backup:
    return await Backup.take(database)


async def test_a_revoked_key_comes_back_and_is_revoked_again(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup, log: Log
) -> None:
    revoked = await keys.revoke(acting(alice), created.key.id)
    await backup.restore()
    assert await works(database, created.secret) == [True]

    run = await _reapply(database, log.lines)

    assert run.numbers == (1, 0, 0, 0)
    assert await works(database, created.secret) == [False]
    again = await keys.get(alice, created.key.id)
    assert revoked.revoked_at is not None
    assert again.revoked_at is not None
    assert abs(again.revoked_at - revoked.revoked_at) < timedelta(seconds=1)  # the time of the event, a moment later
    assert await column(database, "SELECT expires_at FROM api_key_secrets") == [again.revoked_at]


async def test_a_secret_that_was_ended_by_a_rotation_ends_again(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup, log: Log
) -> None:
    rotated = await keys.rotate(acting(alice), rotation(created.key.id, expire_previous_now=True))
    await backup.restore()
    assert await works(database, created.secret) == [True]

    run = await _reapply(database, log.lines)

    assert run.numbers == (0, 1, 1, 0)
    assert f"{created.key.id}, version 2: not in this database" in run.told[0]
    assert await works(database, created.secret, rotated.secret) == [False, False]
    renewed = await keys.rotate(acting(alice), rotation(created.key.id))
    assert await works(database, created.secret, renewed.secret) == [False, True]


async def test_the_grace_of_a_replaced_secret_ends_when_its_owner_was_told(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup, log: Log, clock: Clock
) -> None:
    rotated = await keys.rotate(acting(alice), rotation(created.key.id))
    await backup.restore()
    await clock.advance(timedelta(minutes=10))

    await _reapply(database, log.lines)

    (row,) = await database.fetch("SELECT expires_at, retired_at < expires_at AS retired FROM api_key_secrets")
    assert (row["expires_at"], row["retired"]) == (rotated.previous_expires_at, True)
    assert await works(database, created.secret) == [True]
    await clock.advance(timedelta(minutes=50))
    assert await works(database, created.secret) == [False]


async def test_what_the_backup_has_already_is_left_alone(
    keys: KeyService, database: Database, alice: DeveloperId, log: Log
) -> None:
    keys_made = [(await keys.create(acting(alice), wish())).key.id for _ in range(3)]
    await keys.revoke(acting(alice), keys_made[0])
    for at_once in (False, True, False):
        await keys.rotate(acting(alice), rotation(keys_made[1], expire_previous_now=at_once))
    before = await Backup.take(database)

    run = await _reapply(database, log.lines)

    assert run.numbers == (0, 0, 0, 0)
    assert run.reapplication.changes == 4
    assert vars(await Backup.take(database)) == vars(before)


async def test_reading_the_same_log_again_changes_nothing(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup, log: Log
) -> None:
    await keys.rotate(acting(alice), rotation(created.key.id))
    await keys.revoke(acting(alice), created.key.id)
    lines = log.lines
    await backup.restore()
    first = await _reapply(database, lines + lines)
    after = await Backup.take(database)

    again = await _reapply(database, log.lines)  # with the lines of the first run in it

    assert first.numbers == (1, 1, 1, 0)
    assert again.numbers == (0, 0, 1, 0)
    assert vars(await Backup.take(database)) == vars(after)


async def _states(database: Database, backup: Backup, log: Sequence[bytes]) -> list[list[object]]:
    """Return what becomes of the secrets for every order of the lines that tell of a change."""
    changes = [line for line in log if b"key.ro" in line or b"key.re" in line or b"key.gr" in line]
    states = []
    for order in permutations(changes):
        await backup.restore()
        await _reapply(database, order)
        states.append(await column(database, _STATE))
    return states


async def test_the_order_of_the_lines_does_not_matter(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, log: Log, clock: Clock
) -> None:
    await keys.rotate(acting(alice), rotation(created.key.id))
    backup = await Backup.take(database)
    for _ in range(2):
        await clock.advance(timedelta(minutes=1))
        await keys.rotate(acting(alice), rotation(created.key.id))
    await clock.advance(timedelta(minutes=1))
    await keys.rotate(acting(alice), rotation(created.key.id, expire_previous_now=True))
    lost = [
        row["expires_at"] for row in await database.fetch("SELECT expires_at FROM api_key_secrets ORDER BY version")
    ]

    states = await _states(database, backup, log.lines)

    assert len(states) == 24
    assert all(state == states[0] for state in states)
    ends = [
        row["expires_at"] for row in await database.fetch("SELECT expires_at FROM api_key_secrets ORDER BY version")
    ]
    assert ends == lost[:2]


async def test_a_grace_that_was_shortened_leaves_no_order_a_longer_end(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup, log: Log
) -> None:
    await keys.rotate(acting(alice), rotation(created.key.id))
    await keys.rotate(acting(alice), rotation(created.key.id, expire_previous_now=True))
    await keys.revoke(acting(alice), created.key.id)

    states = await _states(database, backup, log.lines)

    assert len(states) == 6
    assert all(state == states[0] for state in states)


async def test_secrets_made_after_the_restore_are_not_meant_by_an_old_log(
    keys: KeyService,
    database: Database,
    alice: DeveloperId,
    created: Issued,
    backup: Backup,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):  # to version 4, which is lost
        await keys.rotate(acting(alice), rotation(created.key.id, expire_previous_now=True))
    await backup.restore()
    await _reapply(database, log.lines)
    renewed = await keys.rotate(acting(alice), rotation(created.key.id))  # a version 2 again

    run = await _reapply(database, [line for line in log.lines if renewed.key.key_prefix.encode() not in line])

    assert await works(database, renewed.secret) == [True]
    assert run.numbers == (0, 0, 3, 0)  # and the lost version 2 is not taken for the new one

    careless = store_module._SQL["end_older_secrets"].replace("AND created_at <= $3", "")
    monkeypatch.setattr(store_module, "_SQL", {**store_module._SQL, "end_older_secrets": careless})
    await _reapply(database, log.lines)
    assert await works(database, renewed.secret) == [False]


async def test_a_key_that_has_expired_meanwhile_is_revoked_all_the_same(
    keys: KeyService, database: Database, alice: DeveloperId, log: Log, clock: Clock
) -> None:
    expires_at = (await clock.now() + timedelta(hours=1)).isoformat()
    created = await keys.create(acting(alice), wish(expires_at=expires_at))
    backup = await Backup.take(database)
    await keys.revoke(acting(alice), created.key.id)
    await backup.restore()
    await clock.advance(timedelta(hours=2))

    run = await _reapply(database, log.lines)

    assert run.numbers == (1, 0, 0, 0)
    key = await keys.get(alice, created.key.id)
    assert key.revoked_at is not None
    assert key.expires_at is not None
    assert key.revoked_at < key.expires_at


async def test_keys_made_after_the_backup_are_told_once(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup, log: Log
) -> None:
    lost = (await keys.create(acting(alice), wish())).key.id
    await keys.rotate(acting(alice), rotation(lost))
    await keys.revoke(acting(alice), lost)
    await keys.revoke(acting(alice), created.key.id)
    await backup.restore()

    run = await _reapply(database, log.lines)

    assert run.numbers == (1, 0, 1, 0)
    (told,) = run.told
    assert told.startswith(f"{lost}: not in this database")


async def test_each_change_has_one_audit_event_that_names_the_lost_one(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup, log: Log
) -> None:
    await keys.rotate(acting(alice), rotation(created.key.id))
    await keys.revoke(acting(alice), created.key.id)
    lost = await column(database, "SELECT id FROM audit_events WHERE action <> 'key.created' ORDER BY id")
    await backup.restore()

    await _reapply(database, log.lines)

    events = await database.fetch(
        "SELECT action, developer_id, target_id, call_id, details->>'reapplied_from' AS origin FROM audit_events"
        " WHERE action <> 'key.created' ORDER BY id"
    )
    assert [event["action"] for event in events] == ["key.rotation_reapplied", "key.revocation_reapplied"]
    assert [event["origin"] for event in events] == lost
    assert {(event["developer_id"], event["target_id"]) for event in events} == {(alice, created.key.id)}
    assert len({event["call_id"] for event in events}) == 1


async def test_a_line_with_a_fault_is_told_by_its_number_and_the_others_are_applied(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup, log: Log
) -> None:
    await keys.revoke(acting(alice), created.key.id)
    await backup.restore()
    (line,) = [line for line in log.lines if b"key.revoked" in line]

    run = await _reapply(database, [b"\n", line[:60], line, line[1:]])

    assert run.numbers == (1, 0, 0, 2)
    assert [text.partition(": ")[0] for text in run.told] == ["old.log, line 2", "old.log, line 4"]
    assert await works(database, created.secret) == [False]
    assert run.reapplication.summary == (
        "Lines: 4. Changes to apply among them: 1. Keys revoked: 1. Rotations applied: 0. Graces ended: 0. "
        "Clients deleted: 0. Secrets of clients ended: 0. Clients narrowed: 0. Developers suspended: 0. "
        "Not in this database: 0. Lines not understood: 2."
    )


async def test_many_changes_are_applied_in_batches_with_word_of_progress(
    keys: KeyService,
    database: Database,
    alice: DeveloperId,
    created: Issued,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reapply_module, "_TOLD_LINES", 100)
    made = [(await keys.create(acting(alice), wish())).key.id for _ in range(2 * reapply_module._AT_ONCE + 1)]
    backup = await Backup.take(database)
    for key_id in made:
        await keys.revoke(acting(alice), key_id)
    await backup.restore()

    run = await _reapply(database, log.lines)

    assert run.numbers == (len(made), 0, 0, 0)
    assert run.reapplication.changes == len(made)
    living = await column(database, "SELECT id FROM api_keys WHERE revoked_at IS NULL")
    assert living == [created.key.id]
    assert [text.partition(",")[0] for text in run.told] == ["100 lines read", "200 lines read"]


async def test_a_revocation_from_the_future_is_one_of_now(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued
) -> None:
    event = {"event": "audit", "action": "key.revoked", "id": f"evt_{new_key_id()[4:]}", "target_id": created.key.id}

    await _reapply(database, [json.dumps({**event, "created_at": "2199-01-01T00:00:00Z"}).encode()])

    key = await keys.get(alice, KeyId(created.key.id))
    assert key.revoked_at is not None
    assert key.revoked_at <= datetime.now(UTC) + timedelta(minutes=1)
    assert await works(database, created.secret) == [False]


async def test_events_taken_from_the_lost_database_are_read_like_logged_ones(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup
) -> None:
    await keys.rotate(acting(alice), rotation(created.key.id, expire_previous_now=True))
    await keys.revoke(acting(alice), created.key.id)
    lines = await column(database, """SELECT to_jsonb(e) || '{"event": "audit"}' FROM audit_events AS e""")
    await backup.restore()

    run = await _reapply(database, [str(line).encode() for line in lines])

    assert run.numbers == (1, 1, 1, 0)
    assert await works(database, created.secret) == [False]


async def test_a_secret_whose_grace_was_ended_ends_again_at_that_time(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, log: Log, clock: Clock
) -> None:
    await keys.rotate(acting(alice), rotation(created.key.id))
    backup = await Backup.take(database)
    await clock.advance(timedelta(minutes=10))
    ended = await VersionService(database, database).end_grace(acting(alice), created.key.id, 1)
    await backup.restore()
    assert await works(database, created.secret) == [True]

    run = await reapply(database, log.lines)
    again = await reapply(database, log.lines)

    assert run.applied == {"key.grace_end_reapplied": 1}
    assert again.applied == {}
    assert await works(database, created.secret) == [False]
    (ends,) = await column(database, "SELECT expires_at FROM api_key_secrets WHERE version = 1")
    assert isinstance(ends, datetime)
    assert ended.secret.expires_at is not None
    assert abs(ends - ended.secret.expires_at) < timedelta(seconds=1)
    (origin,) = await column(
        database, "SELECT details->>'reapplied_from' FROM audit_events WHERE action = 'key.grace_end_reapplied'"
    )
    assert any(str(origin).encode() in line and b"key.grace_ended" in line for line in log.lines)


async def test_a_grace_that_was_ended_ends_whether_its_rotation_is_read_before_or_after_or_lost(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup, log: Log, clock: Clock
) -> None:
    await keys.rotate(acting(alice), rotation(created.key.id))
    await clock.advance(timedelta(minutes=1))
    await VersionService(database, database).end_grace(acting(alice), created.key.id, 1)
    await clock.advance(timedelta(minutes=1))
    await keys.revoke(acting(alice), created.key.id)

    states = await _states(database, backup, log.lines)

    assert len(states) == 6
    assert all(state == states[0] for state in states)
    await backup.restore()
    await reapply(database, [line for line in log.lines if b"key.grace_ended" in line])
    assert await works(database, created.secret) == [False]
    renewed = await keys.rotate(acting(alice), rotation(created.key.id))
    assert await works(database, created.secret, renewed.secret) == [False, True]


async def test_the_grace_of_a_lost_secret_says_nothing_of_one_that_has_its_number_now(
    keys: KeyService, database: Database, alice: DeveloperId, created: Issued, backup: Backup, log: Log
) -> None:
    for _ in range(2):
        await keys.rotate(acting(alice), rotation(created.key.id))
    await VersionService(database, database).end_grace(acting(alice), created.key.id, 2)
    old = [line for line in log.lines if b"key.grace_ended" in line]
    await backup.restore()
    renewed = await keys.rotate(acting(alice), rotation(created.key.id))  # a version 2 again

    run = await reapply(database, old)

    assert await works(database, renewed.secret) == [True]
    assert run.reapplication.unknown == {f"{created.key.id}, version 2"}
