"""Audit events: written into the transaction of the change they tell of, and into the log, which outlives the database.

Read from the database alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

import structlog

from server.audit.model import AuditEvent
from server.ids import DeveloperId, new_event_id
from server.postgres.pool import Connection, Database
from server.postgres.queries import load
from server.times import format_time

_SQL = load(Path(__file__).with_name("queries.sql"))

_log = structlog.get_logger(__name__)
_OF_KEYS = ("key_prefix", "scopes", "expires_at", "version", "previous_expires_at", "reapplied_from", "rate_limit")
_OF_TIERS = ("requests", "window_seconds", "developer_requests", "monthly_quota", "max_keys", "concurrent_streams")
_OF_CLIENTS = ("ended", "allowed_scopes", "redirect_uris_removed")
_READ_AT_ONCE = 1000
_LOGGED = frozenset([*_OF_KEYS, *_OF_CLIENTS, "tier", "settlement", *_OF_TIERS])
"""The details that the log repeats; a developer's own words, such as a key's name, stay in the database."""


class Action(Enum):
    """What happened. The values are stored for ever: add, never rename."""

    DEVELOPER_REGISTERED = "developer.registered"
    KEY_CREATED = "key.created"
    KEY_UPDATED = "key.updated"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    KEY_ROTATION_REAPPLIED = "key.rotation_reapplied"
    KEY_REVOCATION_REAPPLIED = "key.revocation_reapplied"
    KEY_GRACE_END_REAPPLIED = "key.grace_end_reapplied"
    KEY_GRACE_ENDED = "key.grace_ended"
    KEY_LEAK_REPORTED = "key.leak_reported"
    DEVELOPER_PROFILE_COMPLETED = "developer.profile_completed"
    DEVELOPER_UPDATED = "developer.updated"
    DEVELOPER_SUSPENDED = "developer.suspended"
    DEVELOPER_RESUMED = "developer.resumed"
    DEVELOPER_SUSPENSION_REAPPLIED = "developer.suspension_reapplied"
    DEVELOPER_TIER_CHANGED = "developer.tier_changed"
    TIER_REQUESTED = "developer.tier_requested"
    TIER_REQUEST_SETTLED = "developer.tier_request_settled"
    CLIENT_CREATED = "oauth_client.created"
    CLIENT_UPDATED = "oauth_client.updated"
    CLIENT_SECRET_ROTATED = "oauth_client.secret_rotated"  # noqa: S105 - a name, no password
    CLIENT_DELETED = "oauth_client.deleted"
    CLIENT_DELETION_REAPPLIED = "oauth_client.deletion_reapplied"
    CLIENT_SECRET_END_REAPPLIED = "oauth_client.secret_end_reapplied"  # noqa: S105 - a name, no password
    CLIENT_UPDATE_REAPPLIED = "oauth_client.update_reapplied"
    TIER_SET = "tier.set"


class AuditStore:
    """Reads the audit log."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def list_newest(
        self, developer_id: DeveloperId, limit: int, after: tuple[datetime, str] | None, target_id: str | None
    ) -> list[AuditEvent]:
        """Read up to `limit` events, newest first, from the top or after the (created_at, id) of one."""
        arguments = (developer_id, limit, *(after or (None, None)))
        if target_id is None:
            rows = await self._connection.fetch(_SQL["list_events"], *arguments)
        else:
            rows = await self._connection.fetch(_SQL["list_events_of_target"], *arguments, target_id)
        return [AuditEvent(**{**dict(row), "details": json.loads(row["details"])}) for row in rows]

    async def list_details_after(
        self, developer_id: DeveloperId, target_id: str, action: Action, moment: datetime
    ) -> list[Mapping[str, object]]:
        """Read the particulars of what happened to one thing after a moment, by one action: of the newest 1,000."""
        about = developer_id, target_id, action.value
        rows = await self._connection.fetch(_SQL["list_details_after"], *about, moment, _READ_AT_ONCE)
        return [json.loads(row["details"]) for row in rows]

    async def has(self, event_id: str) -> bool:
        """Tell whether an event is recorded, and so the change that it tells of made."""
        row = await self._connection.fetchrow(_SQL["has_event"], event_id)
        return row is not None and row["exists"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Whose account is changed, by which call and, when it was not the developer, by whom: `operator` or the like."""

    developer_id: DeveloperId
    call_id: str
    name: str | None = None


async def record(
    connection: Connection, actor: Actor, action: Action, target_id: str, details: Mapping[str, object] | None = None
) -> None:
    """Add one event at the database's time. `details` holds names and prefixes, never a secret or a token.

    The log has it before the transaction commits, so that it misses no change that was acknowledged. In return it may
    tell of one that was rolled back, and of each try of a transaction that ran again, under ids of their own.
    """
    await _write(connection, actor.developer_id, actor.call_id, actor.name, action, target_id, details or {})


async def record_for_all(
    connection: Connection, call_id: str, actor: str, action: Action, target_id: str, details: Mapping[str, object]
) -> None:
    """Add one event of the platform itself, such as a change of a tier: it stands in no developer's account."""
    await _write(connection, None, call_id, actor, action, target_id, details)


async def _write(
    connection: Connection,
    developer_id: DeveloperId | None,
    call_id: str,
    actor: str | None,
    action: Action,
    target_id: str,
    details: Mapping[str, object],
) -> None:
    event_id = new_event_id()
    arguments = (event_id, developer_id, action.value, target_id, call_id, json.dumps(details), actor)
    created_at = await connection.fetchval(_SQL["record_event"], *arguments)
    _log.info(
        "audit",
        action=action.value,
        id=event_id,
        developer_id=developer_id,
        target_id=target_id,
        call_id=call_id,
        actor=actor,
        created_at=format_time(created_at),
        details={name: value for name, value in details.items() if name in _LOGGED},
    )
