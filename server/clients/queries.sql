-- name: hold_developer
-- Hold the row of a developer until the transaction ends, so that nobody else adds a client for it.
SELECT id FROM developers WHERE id = $1 FOR NO KEY UPDATE;

-- name: count_clients
-- Count the clients of a developer up to a limit; a statement of its own, to see what was added until the row was held.
SELECT count(*)
FROM (SELECT FROM oauth_clients WHERE developer_id = $1 AND deleted_at IS NULL LIMIT $2) AS live;

-- name: create_client
-- Add a client.
INSERT INTO oauth_clients (id, developer_id, name, type, redirect_uris, allowed_scopes, created_at)
VALUES ($1, $2, $3, $4, $5, $6, clock())
RETURNING id, developer_id, name, type, redirect_uris, allowed_scopes, created_at;

-- name: find_client
-- Read one client of a developer.
SELECT id, developer_id, name, type, redirect_uris, allowed_scopes, created_at
FROM oauth_clients
WHERE id = $1 AND developer_id = $2 AND deleted_at IS NULL;

-- name: lock_client
-- Read one client of a developer and hold its row until the transaction ends, with the time at which it was held.
WITH held AS MATERIALIZED (
    SELECT id, developer_id, name, type, redirect_uris, allowed_scopes, created_at
    FROM oauth_clients
    WHERE id = $1 AND developer_id = $2 AND deleted_at IS NULL
    FOR UPDATE
)
SELECT id, developer_id, name, type, redirect_uris, allowed_scopes, created_at, clock() AS now FROM held;

-- name: list_first_clients
-- Read the newest clients of a developer.
SELECT id, developer_id, name, type, redirect_uris, allowed_scopes, created_at
FROM oauth_clients
WHERE developer_id = $1 AND deleted_at IS NULL
ORDER BY created_at DESC, id DESC
LIMIT $2;

-- name: list_next_clients
-- Read the clients of a developer that are older than a given one.
SELECT id, developer_id, name, type, redirect_uris, allowed_scopes, created_at
FROM oauth_clients
WHERE developer_id = $1 AND deleted_at IS NULL AND (created_at, id) < ($3, $4)
ORDER BY created_at DESC, id DESC
LIMIT $2;

-- name: list_live_secrets
-- Read the secrets of some clients that work, the newest first.
SELECT client_id, version, secret_prefix, created_at, expires_at, last_used_at
FROM oauth_client_secrets
WHERE client_id = ANY ($1) AND coalesce(expires_at, 'infinity') > (SELECT clock())
ORDER BY version DESC;

-- name: update_client
-- Change a held client.
UPDATE oauth_clients
SET name = $3, redirect_uris = $4, allowed_scopes = $5
WHERE id = $1 AND developer_id = $2 AND deleted_at IS NULL
RETURNING id, developer_id, name, type, redirect_uris, allowed_scopes, created_at;

-- name: delete_client
-- Delete a client now, or as of an earlier time, unless it is deleted already: then no row comes back. Of its redirect URIs, which may be long, one stays.
UPDATE oauth_clients
SET deleted_at = least(clock(), $3), redirect_uris = redirect_uris[1:1]
WHERE id = $1 AND developer_id = $2 AND deleted_at IS NULL
RETURNING name, deleted_at;

-- name: revoke_grants
-- Revoke what users allowed a client, as much as fits into a transaction.
UPDATE oauth_grants
SET revoked_at = $2
WHERE id = ANY (ARRAY(SELECT id FROM oauth_grants WHERE client_id = $1 AND revoked_at IS NULL LIMIT $3)) AND revoked_at IS NULL;

-- name: count_live_secrets
-- Count the secrets of a held client that work at a moment.
SELECT count(*) FROM oauth_client_secrets WHERE client_id = $1 AND (expires_at IS NULL OR expires_at > $2);

-- name: retire_current_secret
-- Give the current secret of a held client its deadline.
UPDATE oauth_client_secrets SET expires_at = $2 WHERE client_id = $1 AND expires_at IS NULL;

-- name: end_secrets
-- End every secret of a held client at a moment.
UPDATE oauth_client_secrets SET expires_at = $2 WHERE client_id = $1 AND (expires_at IS NULL OR expires_at > $2);

-- name: hold_clients
-- Hold the rows of some clients, whosever they are, until the transaction ends; in one order, so that nobody deadlocks.
SELECT id, developer_id FROM oauth_clients WHERE id = ANY ($1) ORDER BY id FOR UPDATE;

-- name: end_older_secrets
-- End what a rotation at $3 to version $2 replaced, no later than at $4; of secrets made after it none is meant, whatever its number.
WITH ended AS (
    UPDATE oauth_client_secrets
    SET expires_at = least(expires_at, $4), retired_at = least(retired_at, $3)
    WHERE client_id = $1 AND version < $2 AND created_at <= $3
      AND (coalesce(expires_at, 'infinity') > $4 OR coalesce(retired_at, 'infinity') > $3)
    RETURNING 1
)
SELECT
    (SELECT count(*) FROM ended) AS ended,
    EXISTS (SELECT FROM oauth_client_secrets WHERE client_id = $1 AND version = $2 AND created_at <= $3) AS known;

-- name: end_leaked_secret
-- End one secret of a held client no later than at $4; it is no rotation, so a current one has no successor.
WITH ended AS (
    UPDATE oauth_client_secrets
    SET expires_at = least(expires_at, $4)
    WHERE secret_prefix = $3 AND client_id = $1 AND version = $2 AND coalesce(expires_at, 'infinity') > $4
    RETURNING 1
)
SELECT
    EXISTS (SELECT FROM ended) AS ended,
    EXISTS (SELECT FROM oauth_client_secrets WHERE secret_prefix = $3 AND client_id = $1 AND version = $2) AS known;

-- name: add_secret
-- Add the next secret version to a held client, in place of the current one.
WITH retired AS (
    UPDATE oauth_client_secrets SET retired_at = $5 WHERE client_id = $1 AND retired_at IS NULL
)
INSERT INTO oauth_client_secrets (secret_prefix, client_id, version, digest, pepper_version, created_at)
SELECT $2, $1, coalesce(max(version), 0) + 1, $3, $4, $5 FROM oauth_client_secrets WHERE client_id = $1
RETURNING version;

-- name: find_entry
-- Read a client, whosever it is, with its developer; none when the one is deleted or the other suspended.
SELECT client.id, client.name, client.type, client.redirect_uris, client.allowed_scopes, client.created_at,
       client.developer_id, coalesce(developer.display_name, '') AS developer_name
FROM oauth_clients AS client
JOIN developers AS developer ON developer.id = client.developer_id
WHERE client.id = $1 AND client.deleted_at IS NULL AND developer.suspended_at IS NULL;

-- name: find_secret
-- Read how a secret of a client is proved and whether its use was noted within the last minute; none when it does not work.
SELECT secret.digest, secret.pepper_version,
       coalesce(secret.last_used_at > moment.now - interval '1 minute', false) AS noted
FROM oauth_client_secrets AS secret
JOIN oauth_clients AS client ON client.id = secret.client_id
JOIN developers AS developer ON developer.id = client.developer_id
CROSS JOIN (SELECT clock() AS now) AS moment
WHERE secret.secret_prefix = $1 AND secret.client_id = $2 AND coalesce(secret.expires_at, 'infinity') > moment.now
  AND client.deleted_at IS NULL AND developer.suspended_at IS NULL;

-- name: note_secret_use
-- Note that a secret was used, and its digest under the current pepper, unless somebody holds the row: then the next use is.
UPDATE oauth_client_secrets
SET last_used_at = clock(), digest = $3, pepper_version = $4
WHERE secret_prefix = (
    SELECT secret_prefix FROM oauth_client_secrets
    WHERE secret_prefix = $1 AND pepper_version = $2
    FOR NO KEY UPDATE SKIP LOCKED
);
