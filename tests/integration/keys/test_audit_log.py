"""Audit events are in the log too: whatever was committed is there, and nothing that is nobody's business."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.audit.store import Action, record
from server.errors import Unavailable
from server.ids import DeveloperId
from server.keys.service import KeyService, UpdateKey
from server.postgres.pool import Connection, Database
from server.times import parse_time
from tests.integration.keys.vault import acting, rotation, wish

_EVENTS = "SELECT id, developer_id, action, target_id, call_id, created_at, details::text AS details FROM audit_events"


async def _change_everything(keys: KeyService, alice: DeveloperId) -> list[str]:
    """Make one change of each kind and return the secrets."""
    created = await keys.create(acting(alice), wish("Hush"))
    change = UpdateKey(id=created.key.id, name="Hush too", expires_at="2099-01-01T00:00:00Z", paths=None)
    await keys.update(acting(alice), change)
    rotated = await keys.rotate(acting(alice), rotation(created.key.id))
    await keys.revoke(acting(alice), created.key.id)
    return [created.secret.reveal(), rotated.secret.reveal()]


async def test_each_event_is_logged_as_it_is_stored(keys: KeyService, database: Database, alice: DeveloperId) -> None:
    with capture_logs() as lines:
        await _change_everything(keys, alice)

    logged = {line["id"]: line for line in lines if line["event"] == "audit"}
    stored = await database.fetch(_EVENTS)
    assert len(stored) == len(logged) == 4
    for row in stored:
        line = logged[row["id"]]
        for name in ("developer_id", "action", "target_id", "call_id"):
            assert line[name] == row[name]
        assert parse_time(line["created_at"], "") == (row["created_at"], None)
        assert json.loads(json.dumps(line["details"])).items() <= json.loads(row["details"]).items()


async def test_details_that_matter_are_logged_and_free_text_is_not(keys: KeyService, alice: DeveloperId) -> None:
    with capture_logs() as lines:
        secrets = await _change_everything(keys, alice)

    details = {line["action"]: line["details"] for line in lines}
    assert set(details["key.created"]) == {"key_prefix", "scopes"}
    assert details["key.updated"] == {"expires_at": [None, "2099-01-01 00:00:00+00:00"]}
    assert set(details["key.rotated"]) == {"key_prefix", "version", "previous_expires_at"}
    assert set(details["key.revoked"]) == {"key_prefix"}
    assert "Hush" not in str(lines)
    assert not any(secret[-49:] in str(lines) for secret in secrets)


async def test_a_change_is_logged_before_its_outcome_can_be_unknown(database: Database, alice: DeveloperId) -> None:
    """A server that dies or loses its connection during COMMIT has said so already."""

    async def work(connection: Connection) -> Any:
        await record(connection, acting(alice), Action.KEY_REVOKED, "key_x")
        raise Unavailable

    with capture_logs() as lines, pytest.raises(Unavailable):
        await database.transaction(work)

    assert [line["action"] for line in lines if line["event"] == "audit"] == ["key.revoked"]


async def test_what_is_not_stored_is_not_logged(database: Database) -> None:
    stranger = acting(DeveloperId("dev_x"))
    with capture_logs() as lines, pytest.raises(Exception, match="audit_events_developer_fkey"):
        await database.transaction(lambda connection: record(connection, stranger, Action.KEY_REVOKED, "key_x"))

    assert [line for line in lines if line["event"] == "audit"] == []
