-- name: create_grant
-- Add what a user allowed a client; it ends with its code unless that is exchanged.
INSERT INTO oauth_grants (id, client_id, subject, scopes, created_at, expires_at)
SELECT $1, $2, $3, $4, now, now + $5::interval
FROM (SELECT clock() AS now) AS moment;

-- name: create_code
-- Add the authorization code of a grant.
INSERT INTO oauth_codes (digest, grant_id, redirect_uri, code_challenge, created_at, expires_at)
SELECT $1, $2, $3, $4, now, now + $5::interval
FROM (SELECT clock() AS now) AS moment;

-- name: lock_grant
-- Read the grant of a code or refresh token and hold it: what happens to its tokens happens one after the other.
SELECT g.id, g.client_id, g.subject, g.scopes,
       g.revoked_at IS NULL AND clock() < g.expires_at
       AND NOT EXISTS (
           SELECT FROM oauth_clients c JOIN developers d ON d.id = c.developer_id
           WHERE c.id = g.client_id AND (c.deleted_at IS NOT NULL OR d.suspended_at IS NOT NULL)
       )
       AND NOT EXISTS (SELECT FROM users u WHERE u.username = g.subject AND u.disabled_at IS NOT NULL) AS is_live
FROM oauth_grants g
WHERE g.id = coalesce(
    (SELECT grant_id FROM oauth_codes WHERE digest = $1),
    (SELECT grant_id FROM oauth_refresh_tokens WHERE digest = $1)
)
FOR UPDATE OF g;

-- name: find_grant
-- Read a grant. Access tokens may outlive its end by their own short life, but not its revocation or a shut-out.
SELECT g.id, g.client_id, g.subject, g.scopes,
       g.revoked_at IS NULL
       AND NOT EXISTS (
           SELECT FROM oauth_clients c JOIN developers d ON d.id = c.developer_id
           WHERE c.id = g.client_id AND (c.deleted_at IS NOT NULL OR d.suspended_at IS NOT NULL)
       )
       AND NOT EXISTS (SELECT FROM users u WHERE u.username = g.subject AND u.disabled_at IS NOT NULL) AS is_live
FROM oauth_grants g
WHERE g.id = $1;

-- name: find_code
-- Read a code of a grant that is held.
SELECT redirect_uri, code_challenge, used_at IS NOT NULL AS is_used, clock() < expires_at AS is_current
FROM oauth_codes
WHERE digest = $1 AND grant_id = $2;

-- name: find_refresh_token
-- Read a refresh token of a grant that is held.
SELECT used_at IS NOT NULL AS is_used, clock() < expires_at AS is_current
FROM oauth_refresh_tokens
WHERE digest = $1 AND grant_id = $2;

-- name: use_code
-- Use a code up, once.
UPDATE oauth_codes SET used_at = clock()
WHERE digest = $1 AND grant_id = $2 AND used_at IS NULL
RETURNING digest;

-- name: use_refresh_token
-- Use a refresh token up, once.
UPDATE oauth_refresh_tokens SET used_at = clock()
WHERE digest = $1 AND grant_id = $2 AND used_at IS NULL
RETURNING digest;

-- name: extend_grant
-- Let a grant live as long as a refresh token that is given now, but never longer than grants may.
UPDATE oauth_grants SET expires_at = least((SELECT clock()) + $2::interval, created_at + $3::interval)
WHERE id = $1 AND revoked_at IS NULL
RETURNING expires_at;

-- name: create_refresh_token
-- Add a refresh token to a grant.
INSERT INTO oauth_refresh_tokens (digest, grant_id, created_at, expires_at)
VALUES ($1, $2, clock(), $3);

-- name: revoke_grant
-- End a grant and so all of its codes and tokens; no row comes back when it was revoked before.
UPDATE oauth_grants SET revoked_at = now, expires_at = least(expires_at, now)
FROM (SELECT clock() AS now) AS moment
WHERE id = $1 AND revoked_at IS NULL
RETURNING id;

-- name: find_consent
-- Read what a user allowed a client before.
SELECT scopes FROM oauth_consents WHERE subject = $1 AND client_id = $2;

-- name: remember_consent
-- Keep a user's latest answer about each scope: those allowed now are in, those asked for and not allowed are out.
INSERT INTO oauth_consents (subject, client_id, scopes, granted_at)
VALUES ($1, $2, $3::text[], clock())
ON CONFLICT ON CONSTRAINT oauth_consents_pkey DO UPDATE
SET granted_at = excluded.granted_at,
    scopes = ARRAY(
        SELECT scope FROM unnest(oauth_consents.scopes) AS scope WHERE scope <> ALL ($4::text[])
        UNION SELECT unnest(excluded.scopes)
        ORDER BY 1
    );

-- name: sweep_grants
-- Delete some grants that ended an hour ago, with their codes and tokens; no access token of theirs is left by then.
WITH gone AS (
    DELETE FROM oauth_grants
    WHERE id IN (
        SELECT id FROM oauth_grants
        WHERE expires_at <= (SELECT clock() - interval '1 hour')
        ORDER BY expires_at LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
)
SELECT count(*) FROM gone;

-- name: sweep_refresh_tokens
-- Delete some refresh tokens that were used and whose own time is over: shown again they would give nothing if they were new.
WITH gone AS (
    DELETE FROM oauth_refresh_tokens
    WHERE digest IN (
        SELECT digest FROM oauth_refresh_tokens
        WHERE expires_at <= (SELECT clock()) AND used_at IS NOT NULL
        ORDER BY expires_at LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING digest
)
SELECT count(*) FROM gone;
