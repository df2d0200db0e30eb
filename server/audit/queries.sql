-- name: record_event
-- Add one event to the audit log and return its time.
INSERT INTO audit_events (id, developer_id, action, target_id, call_id, details, actor, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock())
RETURNING created_at;

-- name: list_events
-- Read the newest events of a developer, from the top or older than a given one.
SELECT id, created_at, action, target_id, call_id, details, actor
FROM audit_events
WHERE developer_id = $1 AND (created_at, id) < (coalesce($3::timestamptz, 'infinity'), coalesce($4::text, ''))
ORDER BY created_at DESC, id DESC
LIMIT $2;

-- name: list_events_of_target
-- Read the newest events of a developer that happened to one thing, from the top or older than a given one.
SELECT id, created_at, action, target_id, call_id, details, actor
FROM audit_events
WHERE developer_id = $1 AND target_id = $5
  AND (created_at, id) < (coalesce($3::timestamptz, 'infinity'), coalesce($4::text, ''))
ORDER BY created_at DESC, id DESC
LIMIT $2;

-- name: list_details_after
-- Read the particulars of the newest events of one action that happened to one thing of a developer after a moment.
SELECT details
FROM audit_events
WHERE developer_id = $1 AND target_id = $2 AND action = $3 AND created_at > $4
ORDER BY created_at DESC, id DESC
LIMIT $5;

-- name: has_event
-- Tell whether there is an event.
SELECT EXISTS (SELECT FROM audit_events WHERE id = $1);
