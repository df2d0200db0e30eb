"""Every change has its audit event, in the same transaction; what did not happen has none."""

from typing import Any

import pytest

from server.errors import Conflict, InvalidRequest, NotFound
from server.ids import DeveloperId
from server.keys import service as service_module
from server.keys.service import KeyService, UpdateKey
from server.postgres.pool import Database
from tests.integration.keys.vault import acting, column, rotation, wish

EVENTS = "SELECT action, developer_id, target_id, call_id, details::text AS details FROM audit_events ORDER BY id"


async def test_each_change_is_told_with_its_call(keys: KeyService, database: Database, alice: DeveloperId) -> None:
    calls = [acting(alice) for _ in range(4)]
    created = await keys.create(calls[0], wish())
    await keys.update(calls[1], UpdateKey(id=created.key.id, name="New", expires_at="", paths=None))
    rotated = await keys.rotate(calls[2], rotation(created.key.id))
    await keys.revoke(calls[3], created.key.id)
    events = await database.fetch(EVENTS)
    assert [event["action"] for event in events] == ["key.created", "key.updated", "key.rotated", "key.revoked"]
    assert [event["call_id"] for event in events] == [call.call_id for call in calls]
    assert {event["developer_id"] for event in events} == {alice}
    assert {event["target_id"] for event in events} == {created.key.id}
    assert '"New"' in events[1]["details"]
    for issued in (created, rotated):
        assert all(issued.secret.reveal()[-49:] not in event["details"] for event in events)


async def test_what_was_refused_is_not_told(
    keys: KeyService, database: Database, alice: DeveloperId, bob: DeveloperId
) -> None:
    key = (await keys.create(acting(alice), wish())).key
    await keys.revoke(acting(alice), key.id)
    before = await column(database, "SELECT id FROM audit_events")
    change = UpdateKey(id=key.id, name="New", expires_at="", paths=None)
    with pytest.raises(Conflict):
        await keys.revoke(acting(alice), key.id)
    with pytest.raises(Conflict):
        await keys.rotate(acting(alice), rotation(key.id))
    with pytest.raises(Conflict):
        await keys.update(acting(alice), change)
    with pytest.raises(NotFound):
        await keys.update(acting(bob), change)
    with pytest.raises(NotFound):
        await keys.revoke(acting(bob), key.id)
    with pytest.raises(InvalidRequest):
        await keys.create(acting(alice), wish(expires_at="1999-01-01T00:00:00Z"))
    assert await column(database, "SELECT id FROM audit_events") == before


async def test_a_change_that_cannot_be_told_does_not_happen(
    keys: KeyService, database: Database, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await keys.create(acting(alice), wish())).key

    async def fail(*_: Any) -> None:
        raise RuntimeError("no room in the log")

    monkeypatch.setattr(service_module, "record", fail)
    change = UpdateKey(id=key.id, name="New", expires_at="", paths=None)
    with pytest.raises(RuntimeError):
        await keys.create(acting(alice), wish())
    with pytest.raises(RuntimeError):
        await keys.update(acting(alice), change)
    with pytest.raises(RuntimeError):
        await keys.rotate(acting(alice), rotation(key.id, expire_previous_now=True))
    with pytest.raises(RuntimeError):
        await keys.revoke(acting(alice), key.id)
    assert await keys.list(alice, 0, "") == ([key], "")
    assert await column(database, "SELECT expires_at FROM api_key_secrets") == [None]
