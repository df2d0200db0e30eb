-- name: open_session
-- Add a session that ends after a time, used or not.
INSERT INTO sessions (digest, kind, subject, content, pepper_version, created_at, seen_at, expires_at)
SELECT $1, $2, $3, $4, $5, now, now, now + $6::interval
FROM (SELECT clock() AS now) AS moment;

-- name: find_session
-- Read a session that has not ended, by time or by disuse; `unseen` when it is a minute since its use was noted.
SELECT content, pepper_version, created_at, expires_at, seen_at <= now - interval '1 minute' AS unseen
FROM sessions, (SELECT clock() AS now) AS moment
WHERE digest = $1 AND kind = $2 AND now < expires_at AND now < seen_at + $3::interval;

-- name: touch_session
-- Note that a session is in use, unless it has ended meanwhile.
UPDATE sessions
SET seen_at = clock()
WHERE digest = $1 AND kind = $2 AND clock() < seen_at + $3::interval;

-- name: replace_content
-- Put other content into a session that has not ended.
UPDATE sessions
SET content = $4, pepper_version = $5
WHERE digest = $1 AND kind = $2 AND clock() < expires_at AND clock() < seen_at + $3::interval
RETURNING digest;

-- name: close_session
-- End a session.
DELETE FROM sessions
WHERE digest = $1 AND kind = $2
RETURNING digest;

-- name: close_sessions
-- End every session of a subject, of one kind or of all.
WITH closed AS (
    DELETE FROM sessions
    WHERE subject = $1 AND (kind = $2 OR $2 IS NULL)
    RETURNING digest
)
SELECT count(*) AS count FROM closed;

-- name: sweep_sessions
-- Drop a number of sessions whose time is over.
WITH swept AS (
    DELETE FROM sessions
    WHERE digest IN (
        SELECT digest
        FROM sessions
        WHERE expires_at <= clock()
        ORDER BY expires_at
        LIMIT $1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING digest
)
SELECT count(*) AS count FROM swept;
