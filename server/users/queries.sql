-- name: create_user
-- Add a user unless there is one of that name.
INSERT INTO users (username, password_hash, created_at)
VALUES ($1, $2, clock())
ON CONFLICT ON CONSTRAINT users_pkey DO NOTHING
RETURNING username, password_hash, created_at, disabled_at;

-- name: find_user
-- Read one user.
SELECT username, password_hash, created_at, disabled_at
FROM users
WHERE username = $1;

-- name: set_password
-- Give a user another password.
UPDATE users
SET password_hash = $2
WHERE username = $1
RETURNING username, password_hash, created_at, disabled_at;

-- name: renew_hash
-- Put a hash of the same password in the place of one made with other parameters, unless the password has changed.
UPDATE users
SET password_hash = $3
WHERE username = $1 AND password_hash = $2;

-- name: disable_user
-- Keep a user from signing in.
UPDATE users
SET disabled_at = clock()
WHERE username = $1 AND disabled_at IS NULL
RETURNING username, password_hash, created_at, disabled_at;

-- name: enable_user
-- Let a disabled user sign in again.
UPDATE users
SET disabled_at = NULL
WHERE username = $1 AND disabled_at IS NOT NULL
RETURNING username, password_hash, created_at, disabled_at;
