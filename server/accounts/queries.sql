-- name: find_developer
-- Read the developer behind a subject of an issuer.
SELECT id, suspended_at FROM developers WHERE issuer = $1 AND subject = $2;

-- name: register_developer
-- Add a developer, unless another call just did: then no row comes back.
INSERT INTO developers (id, issuer, subject, created_at)
VALUES ($1, $2, $3, clock())
ON CONFLICT ON CONSTRAINT developers_identity_key DO NOTHING
RETURNING id, suspended_at;
