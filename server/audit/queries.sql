-- name: record_event
-- Add one event to the audit log and return its time.
INSERT INTO audit_events (id, developer_id, action, target_id, call_id, details, created_at)
VALUES ($1, $2, $3, $4, $5, $6, clock())
RETURNING created_at;
