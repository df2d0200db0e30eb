-- name: find_secret
-- Read all that the verdict on a secret depends on, by its prefix; deadlines also as what is left of them now.
SELECT
    secret.digest,
    secret.pepper_version,
    secret.version AS secret_version,
    secret.expires_at AS secret_expires_at,
    secret.retired_at AS secret_retired_at,
    extract(epoch FROM secret.expires_at - moment.now)::float8 AS secret_seconds_left,
    key.id AS key_id,
    key.developer_id,
    key.environment,
    key.scopes,
    key.expires_at,
    extract(epoch FROM key.expires_at - moment.now)::float8 AS key_seconds_left,
    key.revoked_at IS NOT NULL AS revoked,
    developer.suspended_at IS NOT NULL AS suspended,
    coalesce(key.rate_requests, tier.requests) AS requests,
    coalesce(key.rate_seconds, tier.window_seconds) AS seconds,
    tier.developer_requests,
    tier.window_seconds,
    tier.monthly_quota,
    extract(year FROM moment.now AT TIME ZONE 'UTC')::integer AS year,
    extract(month FROM moment.now AT TIME ZONE 'UTC')::integer AS month,
    coalesce((
        SELECT units FROM usage_months
        WHERE developer_id = key.developer_id AND month = date_trunc('month', moment.now AT TIME ZONE 'UTC')::date
    ), 0) AS units_used
FROM (SELECT clock() AS now) AS moment
CROSS JOIN api_key_secrets AS secret
JOIN api_keys AS key ON key.id = secret.key_id
JOIN developers AS developer ON developer.id = key.developer_id
JOIN tiers AS tier ON tier.name = developer.tier
WHERE secret.key_prefix = $1;

-- name: note_replica
-- Say that a server lives, and forget those that were not seen for a minute.
WITH gone AS (
    DELETE FROM replicas WHERE seen_at < (SELECT clock() - interval '1 minute') AND id <> $1
)
INSERT INTO replicas (id, seen_at) VALUES ($1, clock())
ON CONFLICT ON CONSTRAINT replicas_pkey DO UPDATE SET seen_at = excluded.seen_at;

-- name: forget_replica
-- Say that a server is gone.
DELETE FROM replicas WHERE id = $1;

-- name: list_replicas
-- List the servers seen in the last 5 seconds.
SELECT id FROM replicas WHERE seen_at > (SELECT clock() - interval '5 seconds');

-- name: tell
-- Tell every listener of a channel, when the transaction commits.
SELECT pg_notify($1, $2);
