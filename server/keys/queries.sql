-- name: hold_developer
-- Hold the row of a developer until the transaction ends and read how many live keys its tier allows.
SELECT tiers.max_keys
FROM developers
JOIN tiers ON tiers.name = developers.tier
WHERE developers.id = $1
FOR NO KEY UPDATE OF developers;

-- name: count_live_keys
-- Count the live keys of a developer up to a limit; a statement of its own, to see what was added until the row was held.
SELECT count(*)
FROM (
    SELECT FROM api_keys
    WHERE developer_id = $1 AND revoked_at IS NULL AND coalesce(expires_at, 'infinity') > (SELECT clock())
    LIMIT $2
) AS live;

-- name: create_key
-- Add a key and its first secret, unless the wished expiry has passed already: then nothing is added and no row comes back.
WITH key AS (
    INSERT INTO api_keys (id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at)
    SELECT $1, $2, $3, $4, $5, $6, moment.now, $7
    FROM (SELECT clock() AS now) AS moment
    WHERE $7::timestamptz IS NULL OR $7 > moment.now
    RETURNING id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at
), secret AS (
    INSERT INTO api_key_secrets (key_prefix, key_id, version, digest, pepper_version, created_at)
    SELECT key.key_prefix, key.id, 1, $8, $9, key.created_at FROM key
)
SELECT id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at FROM key;

-- name: find_key
-- Read one key of a developer.
SELECT id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE id = $1 AND developer_id = $2;

-- name: lock_key
-- Read one key of a developer and hold its row until the transaction ends, with the time at which it was held.
WITH held AS MATERIALIZED (
    SELECT id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at
    FROM api_keys
    WHERE id = $1 AND developer_id = $2
    FOR UPDATE
)
SELECT id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at, clock() AS now
FROM held;

-- name: list_first_keys
-- Read the newest keys of a developer.
SELECT id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE developer_id = $1
ORDER BY created_at DESC, id DESC
LIMIT $2;

-- name: list_next_keys
-- Read the keys of a developer that are older than a given one.
SELECT id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE developer_id = $1 AND (created_at, id) < ($3, $4)
ORDER BY created_at DESC, id DESC
LIMIT $2;

-- name: list_matching_keys
-- Read those keys of a developer that a filter lets through, from the top or older than a given one, in the index's order.
SELECT id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE developer_id = $1
  AND (created_at, id) < (coalesce($3::timestamptz, 'infinity'), coalesce($4::text, ''))
  AND ($5::boolean IS NULL OR (revoked_at IS NOT NULL) = $5)
  AND ($6::text IS NULL OR environment = $6)
  AND ($7::text IS NULL OR strpos(lower(name), lower($7)) > 0 OR starts_with(key_prefix, $7))
ORDER BY created_at DESC, id DESC
LIMIT $2;

-- name: update_key
-- Change the named fields of a held key.
UPDATE api_keys
SET name = CASE WHEN $3 THEN $4 ELSE name END,
    expires_at = CASE WHEN $5 THEN $6 ELSE expires_at END
WHERE id = $1 AND developer_id = $2 AND revoked_at IS NULL
RETURNING id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at;

-- name: revoke_key
-- Revoke a key now, or as of an earlier time, unless it is revoked already: then no row comes back.
UPDATE api_keys
SET revoked_at = least(clock(), $3)
WHERE id = $1 AND developer_id = $2 AND revoked_at IS NULL
RETURNING id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at;

-- name: hold_keys
-- Read some keys, whosever they are, and hold their rows until the transaction ends; in one order, so that nobody deadlocks.
SELECT id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE id = ANY ($1)
ORDER BY id
FOR UPDATE;

-- name: count_live_secrets
-- Count the secrets of a held key that work at a moment.
SELECT count(*) FROM api_key_secrets WHERE key_id = $1 AND (expires_at IS NULL OR expires_at > $2);

-- name: retire_current_secret
-- Give the current secret of a held key its deadline.
UPDATE api_key_secrets SET expires_at = $2 WHERE key_id = $1 AND expires_at IS NULL;

-- name: end_secrets
-- End every secret of a held key at a moment.
UPDATE api_key_secrets SET expires_at = $2 WHERE key_id = $1 AND (expires_at IS NULL OR expires_at > $2);

-- name: end_older_secrets
-- End what a rotation at $3 to version $2 replaced, no later than at $4; of secrets made after it none is meant, whatever its number.
WITH ended AS (
    UPDATE api_key_secrets
    SET expires_at = least(expires_at, $4), retired_at = least(retired_at, $3)
    WHERE key_id = $1 AND version < $2 AND created_at <= $3
      AND (coalesce(expires_at, 'infinity') > $4 OR coalesce(retired_at, 'infinity') > $3)
    RETURNING 1
)
SELECT
    (SELECT count(*) FROM ended) AS ended,
    EXISTS (SELECT FROM api_key_secrets WHERE key_id = $1 AND version = $2 AND created_at <= $3) AS known;

-- name: end_replaced_secret
-- End one replaced secret of a held key no later than at $4, also when it is not known here that it was replaced.
WITH ended AS (
    UPDATE api_key_secrets
    SET expires_at = least(expires_at, $4), retired_at = least(retired_at, $4)
    WHERE key_prefix = $3 AND key_id = $1 AND version = $2 AND coalesce(expires_at, 'infinity') > $4
    RETURNING 1
)
SELECT
    EXISTS (SELECT FROM ended) AS ended,
    EXISTS (SELECT FROM api_key_secrets WHERE key_prefix = $3 AND key_id = $1 AND version = $2) AS known;

-- name: add_secret
-- Add the next secret version to a held key, in place of the current one, and show its prefix on the key.
WITH secret AS (
    INSERT INTO api_key_secrets (key_prefix, key_id, version, digest, pepper_version, created_at)
    SELECT $2, $1, max(version) + 1, $3, $4, $5 FROM api_key_secrets WHERE key_id = $1
    RETURNING key_id, key_prefix, version
), key AS (
    UPDATE api_keys
    SET key_prefix = secret.key_prefix
    FROM secret
    WHERE api_keys.id = secret.key_id
    RETURNING api_keys.*, secret.version
)
SELECT id, developer_id, name, environment, scopes, key_prefix, created_at, expires_at, revoked_at, last_used_at, version FROM key;

-- name: claim_request
-- Claim a request id for this transaction; waits for another one that holds it. No row: it was used before.
INSERT INTO request_ids (developer_id, method, request_digest, payload_digest, created_at)
VALUES ($1, $2, $3, $4, clock())
ON CONFLICT ON CONSTRAINT request_ids_pkey DO NOTHING
RETURNING created_at;

-- name: find_request
-- Read what an earlier use of a request id left; its sealed answer only during its first 10 minutes.
SELECT payload_digest, key_id, pepper_version, CASE WHEN created_at > clock() - interval '10 minutes' THEN sealed END AS sealed
FROM request_ids
WHERE developer_id = $1 AND method = $2 AND request_digest = $3;

-- name: answer_request
-- Leave the sealed answer under a claimed request id.
UPDATE request_ids
SET key_id = $4, sealed = $5, pepper_version = $6
WHERE developer_id = $1 AND method = $2 AND request_digest = $3;

-- name: erase_sealed_answers
-- Erase some answers whose 10 minutes are over and count them.
WITH erased AS (
    UPDATE request_ids
    SET sealed = NULL
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM request_ids
        WHERE sealed IS NOT NULL AND created_at <= (SELECT clock() - interval '10 minutes')
        LIMIT $1
    ))
    RETURNING 1
)
SELECT count(*) FROM erased;

-- name: forget_requests
-- Drop some request ids whose 24 hours are over and count them.
WITH forgotten AS (
    DELETE FROM request_ids
    WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM request_ids
        WHERE created_at <= (SELECT clock() - interval '24 hours')
        LIMIT $1
    ))
    RETURNING 1
)
SELECT count(*) FROM forgotten;
