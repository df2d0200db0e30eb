-- name: find_developer
-- Read the developer behind a subject of an issuer.
SELECT id, suspended_at FROM developers WHERE issuer = $1 AND subject = $2;

-- name: register_developer
-- Add a developer, unless another call just did: then no row comes back.
INSERT INTO developers (id, issuer, subject, created_at)
VALUES ($1, $2, $3, clock())
ON CONFLICT ON CONSTRAINT developers_identity_key DO NOTHING
RETURNING id, suspended_at;

-- name: hold_identity
-- Hold the row of the developer behind a subject of an issuer until the transaction ends.
SELECT id, suspended_at FROM developers WHERE issuer = $1 AND subject = $2 FOR NO KEY UPDATE;

-- name: hold_account
-- Hold the row of a developer until the transaction ends.
SELECT id, suspended_at FROM developers WHERE id = $1 FOR NO KEY UPDATE;

-- name: find_account
-- Read the account of a developer, with the tier that it waits for.
SELECT
    developers.id, display_name, contact_email, organisation, terms_version, terms_accepted_at, developers.created_at,
    suspended_at, developers.tier, tier_requests.tier AS requested_tier
FROM developers
LEFT JOIN tier_requests ON tier_requests.developer_id = developers.id AND tier_requests.settled_at IS NULL
WHERE developers.id = $1;

-- name: complete_profile
-- Write the profile of a developer who has none: then a row comes back.
UPDATE developers
SET display_name = $2, contact_email = $3, organisation = $4, terms_version = $5, terms_accepted_at = clock()
WHERE id = $1 AND display_name IS NULL
RETURNING id;

-- name: update_profile
-- Change what is given of the profile of a developer who has one: then a row comes back. An empty organisation is none.
UPDATE developers
SET display_name = coalesce($2, display_name),
    contact_email = coalesce($3, contact_email),
    organisation = CASE WHEN $4::text IS NULL THEN organisation ELSE nullif($4, '') END,
    terms_version = coalesce($5, terms_version),
    terms_accepted_at = CASE
        WHEN $5 IS NULL OR $5 IS NOT DISTINCT FROM terms_version THEN terms_accepted_at ELSE clock()
    END
WHERE id = $1 AND display_name IS NOT NULL
RETURNING id;

-- name: list_tiers
-- Read all tiers, the smallest first.
SELECT name, requests, developer_requests, window_seconds, monthly_quota, max_keys, concurrent_streams
FROM tiers
ORDER BY requests::numeric / window_seconds, requests, name;

-- name: settle_tier_request
-- Settle the wish of a developer that waits, whatever tier it is for ($2 null) or one tier; its tier comes back.
UPDATE tier_requests
SET settled_at = clock(), settlement = $3
WHERE developer_id = $1 AND settled_at IS NULL AND ($2::text IS NULL OR tier = $2)
RETURNING tier;

-- name: add_tier_request
-- Add a wish of a developer whose row is held and who has none that waits.
INSERT INTO tier_requests (id, developer_id, tier, reason, created_at) VALUES ($1, $2, $3, $4, clock());
