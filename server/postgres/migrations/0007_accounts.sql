-- outside a transaction
-- What reading the audit log needs, beside the service.
-- An event without a developer tells of the platform itself, such as a new tier.
ALTER TABLE audit_events ALTER COLUMN developer_id DROP NOT NULL;

-- Left invalid by a run that was broken off.
DROP INDEX CONCURRENTLY IF EXISTS audit_events_of_target;

-- What happened to one key or client, newest first, however much happened to others.
CREATE INDEX CONCURRENTLY audit_events_of_target ON audit_events (developer_id, target_id, created_at DESC, id DESC);
