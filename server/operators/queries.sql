-- name: list_developers
-- Read developers, the newest first (ids grow with time), of all or those whose words or id match; older than $4.
SELECT
    id, display_name, contact_email, subject, tier, created_at, suspended_at,
    (
        SELECT count(*) FROM api_keys
        WHERE developer_id = developers.id AND revoked_at IS NULL
          AND coalesce(expires_at, 'infinity') > (SELECT clock())
    ) AS live_keys
FROM developers
WHERE id < coalesce($4::text, '~')
  AND (NOT $2::boolean OR suspended_at IS NOT NULL)
  AND ($1::text IS NULL OR id = $1 OR strpos(lower(concat_ws(E'\n', display_name, contact_email, organisation, subject)), lower($1)) > 0)
ORDER BY id DESC
LIMIT $3;

-- name: suspend_developer
-- Suspend a developer in good standing, now or as of an earlier time: then a row comes back.
UPDATE developers SET suspended_at = least(clock(), $2) WHERE id = $1 AND suspended_at IS NULL RETURNING id;

-- name: resume_developer
-- Let a suspended developer in again: then a row comes back.
UPDATE developers SET suspended_at = NULL WHERE id = $1 AND suspended_at IS NOT NULL RETURNING id;

-- name: change_tier
-- Give a held developer another tier.
UPDATE developers SET tier = $2 WHERE id = $1;

-- name: list_waiting_requests
-- Read wishes for tiers that wait, the oldest first.
SELECT
    developers.id AS developer_id, display_name, contact_email, developers.tier, tier_requests.tier AS requested_tier,
    reason, tier_requests.created_at
FROM tier_requests
JOIN developers ON developers.id = tier_requests.developer_id
WHERE settled_at IS NULL
ORDER BY tier_requests.created_at, tier_requests.id
LIMIT $1;

-- name: list_tiers
-- Read all tiers with their developers counted, the smallest first.
SELECT
    name, requests, window_seconds, developer_requests, monthly_quota, max_keys, concurrent_streams,
    coalesce(counted.developers, 0) AS developers
FROM tiers
LEFT JOIN (SELECT tier, count(*) AS developers FROM developers GROUP BY tier) AS counted ON counted.tier = name
ORDER BY requests::numeric / window_seconds, requests, name;

-- name: hold_tier
-- Read a tier and hold it until the transaction ends.
SELECT requests, window_seconds, developer_requests, monthly_quota, max_keys, concurrent_streams
FROM tiers
WHERE name = $1
FOR UPDATE;

-- name: write_tier
-- Add a tier, or change the one of this name.
INSERT INTO tiers (name, requests, window_seconds, developer_requests, monthly_quota, max_keys, concurrent_streams)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT ON CONSTRAINT tiers_pkey DO UPDATE
SET requests = $2, window_seconds = $3, developer_requests = $4, monthly_quota = $5, max_keys = $6, concurrent_streams = $7;

-- name: find_key_by_prefix
-- Read the key that has or had a secret of this prefix, and whose it is.
SELECT
    api_keys.id, api_keys.name, api_key_secrets.key_prefix, api_key_secrets.version, api_keys.created_at,
    api_keys.last_used_at, api_keys.expires_at, api_keys.revoked_at, developers.id AS developer_id, display_name,
    contact_email
FROM api_key_secrets
JOIN api_keys ON api_keys.id = api_key_secrets.key_id
JOIN developers ON developers.id = api_keys.developer_id
WHERE api_key_secrets.key_prefix = $1;

-- name: hold_key_rate
-- Read the limit of its own that a key has, and hold the key until the transaction ends.
SELECT developer_id, revoked_at, rate_requests, rate_seconds FROM api_keys WHERE id = $1 FOR UPDATE;

-- name: limit_key
-- Give a held key a limit of its own, or none.
UPDATE api_keys SET rate_requests = $2, rate_seconds = $3 WHERE id = $1;

-- name: list_users
-- Read users by name, each with the browser sessions whose time is not over; names after $2.
SELECT
    username, created_at, disabled_at,
    (SELECT count(*) FROM sessions WHERE subject = username AND expires_at > (SELECT clock())) AS sessions
FROM users
WHERE username > $2
ORDER BY username
LIMIT $1;

-- name: revoke_grants_of_subject
-- End all grants of a subject and so all of its codes and tokens.
WITH revoked AS (
    UPDATE oauth_grants SET revoked_at = now, expires_at = least(expires_at, now)
    FROM (SELECT clock() AS now) AS moment
    WHERE subject = $1 AND revoked_at IS NULL
    RETURNING id
)
SELECT count(*) AS count FROM revoked;
