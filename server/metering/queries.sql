-- name: add_batch
-- Add a batch's cells to minutes and months and return the months' totals; a batch that was added before changes nothing.
WITH moment AS MATERIALIZED (
    SELECT clock() AS now
), cells AS MATERIALIZED (
    SELECT least(greatest(to_timestamp(cell.minute), bounds.earliest), bounds.latest) AS minute,
           key_id, coalesce(operation, '') AS operation, outcome, secret_version, max(developer_id) AS developer_id,
           sum(calls)::bigint AS calls, sum(units)::bigint AS units
    FROM unnest(  -- of which a lone empty text is no element
             string_to_array($2, E'\x1f')::float8[], string_to_array($3, E'\x1f'), string_to_array($4, E'\x1f'),
             string_to_array($5, E'\x1f'), string_to_array($6, E'\x1f')::integer[], string_to_array($7, E'\x1f'),
             string_to_array($8, E'\x1f')::bigint[], string_to_array($9, E'\x1f')::bigint[]
         ) AS cell (minute, key_id, operation, outcome, secret_version, developer_id, calls, units),
         (SELECT date_trunc('minute', now - interval '7 days') AS earliest, date_trunc('minute', now) AS latest FROM moment) AS bounds
    GROUP BY 1, 2, 3, 4, 5
), batch AS (
    INSERT INTO usage_batches (id, first_minute, last_minute, flushed_at)
    SELECT $1, min(minute), max(minute), now FROM cells, moment GROUP BY now
    ON CONFLICT ON CONSTRAINT usage_batches_pkey DO NOTHING
    RETURNING id
), minutes AS (
    INSERT INTO usage_minutes AS old (minute, key_id, operation, outcome, secret_version, developer_id, calls, units)
    SELECT minute, key_id, operation, outcome, secret_version, developer_id, calls, units
    FROM cells, batch
    ORDER BY key_id, minute, operation, outcome, secret_version
    ON CONFLICT (key_id, minute, operation, outcome, secret_version)
    DO UPDATE SET calls = old.calls + excluded.calls, units = old.units + excluded.units
), months AS (
    INSERT INTO usage_months AS old (developer_id, month, units)
    SELECT developer_id, date_trunc('month', minute AT TIME ZONE 'UTC')::date, sum(units)
    FROM cells, batch  -- also without units: who holds these rows adds to the sums of their developers alone
    GROUP BY 1, 2
    ORDER BY 1, 2
    ON CONFLICT ON CONSTRAINT usage_months_pkey DO UPDATE SET units = old.units + excluded.units
    RETURNING developer_id, month, units
)
SELECT developer_id, month, units FROM months;

-- name: read_month_totals
-- Read what developers used in months.
SELECT developer_id, month, units
FROM usage_months
WHERE (developer_id, month) IN (SELECT developer_id, month FROM unnest($1::text[], $2::date[]) AS asked (developer_id, month));

-- name: note_key_uses
-- Move the last use of keys forward, passing over rows that others hold, and return the ids of those.
WITH used AS MATERIALIZED (
    SELECT id, least(to_timestamp(at), moment.now) AS at
    FROM unnest($1::text[], $2::float8[]) AS use (id, at), (SELECT clock() AS now) AS moment
), behind AS MATERIALIZED (
    SELECT key.id
    FROM api_keys AS key JOIN used ON used.id = key.id
    WHERE key.last_used_at IS NULL OR key.last_used_at < used.at
), held AS MATERIALIZED (
    SELECT key.id, used.at
    FROM api_keys AS key JOIN used ON used.id = key.id
    WHERE key.last_used_at IS NULL OR key.last_used_at < used.at
    ORDER BY key.id
    FOR NO KEY UPDATE OF key SKIP LOCKED
), noted AS (
    UPDATE api_keys AS key SET last_used_at = held.at FROM held WHERE key.id = held.id
)
SELECT id FROM behind EXCEPT SELECT id FROM held;

-- name: note_secret_uses
-- Move the last use of secrets forward, passing over rows that others hold, and return the prefixes of those.
WITH used AS MATERIALIZED (
    SELECT key_prefix, least(to_timestamp(at), moment.now) AS at, nullif(client_ip, '') AS client_ip
    FROM unnest($1::text[], $2::float8[], $3::text[]) AS use (key_prefix, at, client_ip), (SELECT clock() AS now) AS moment
), behind AS MATERIALIZED (
    SELECT secret.key_prefix
    FROM api_key_secrets AS secret JOIN used ON used.key_prefix = secret.key_prefix
    WHERE secret.last_used_at IS NULL OR secret.last_used_at < used.at
), held AS MATERIALIZED (
    SELECT secret.key_prefix, used.at, used.client_ip
    FROM api_key_secrets AS secret JOIN used ON used.key_prefix = secret.key_prefix
    WHERE secret.last_used_at IS NULL OR secret.last_used_at < used.at
    ORDER BY secret.key_prefix
    FOR NO KEY UPDATE OF secret SKIP LOCKED
), noted AS (
    UPDATE api_key_secrets AS secret
    SET last_used_at = held.at, last_client_ip = held.client_ip
    FROM held
    WHERE secret.key_prefix = held.key_prefix
)
SELECT key_prefix FROM behind EXCEPT SELECT key_prefix FROM held;

-- name: note_scope_uses
-- Note when keys needed scopes, an hour after the last time at the earliest, and return those of keys that others hold.
WITH used AS MATERIALIZED (
    SELECT key_id, scope, least(to_timestamp(at), moment.now) AS at
    FROM unnest($1::text[], $2::text[], $3::float8[]) AS use (key_id, scope, at), (SELECT clock() AS now) AS moment
), behind AS MATERIALIZED (
    SELECT used.key_id, used.scope, used.at
    FROM used
    JOIN api_keys AS key ON key.id = used.key_id
    LEFT JOIN key_scope_uses AS known ON known.key_id = used.key_id AND known.scope = used.scope
    WHERE known.last_used_at IS NULL OR known.last_used_at <= used.at - interval '1 hour'
), held AS MATERIALIZED (
    SELECT id, needed_scopes FROM api_keys
    WHERE id IN (SELECT key_id FROM behind)
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
), noted AS (
    INSERT INTO key_scope_uses AS known (key_id, scope, last_used_at)
    SELECT key_id, scope, at FROM behind WHERE key_id IN (SELECT id FROM held) ORDER BY key_id, scope
    ON CONFLICT ON CONSTRAINT key_scope_uses_pkey DO UPDATE SET last_used_at = excluded.last_used_at
    WHERE known.last_used_at < excluded.last_used_at
), fresh AS (
    UPDATE api_keys AS key
    SET needed_scopes = key.needed_scopes || new.scopes
    FROM (
        SELECT held.id, array_agg(behind.scope ORDER BY behind.scope) AS scopes
        FROM behind
        JOIN held ON held.id = behind.key_id AND behind.scope <> ALL (held.needed_scopes)
        GROUP BY held.id
    ) AS new
    WHERE key.id = new.id
)
SELECT key_id, scope FROM behind WHERE key_id NOT IN (SELECT id FROM held);

-- name: renew_digests
-- Store digests under a new pepper where the old one still stands and nobody holds the row.
WITH held AS MATERIALIZED (
    SELECT secret.key_prefix, new.digest, new.pepper_version
    FROM unnest($1::text[], $2::bytea[], $3::integer[], $4::integer[]) AS new (key_prefix, digest, pepper_version, old_version)
    JOIN api_key_secrets AS secret ON secret.key_prefix = new.key_prefix AND secret.pepper_version = new.old_version
    ORDER BY secret.key_prefix
    FOR NO KEY UPDATE OF secret SKIP LOCKED
)
UPDATE api_key_secrets AS secret
SET digest = held.digest, pepper_version = held.pepper_version
FROM held
WHERE secret.key_prefix = held.key_prefix;

-- name: find_rollup
-- Read how far the roll-up has come, and the time, unless it came there less than a while ago.
SELECT done_until, moment.now
FROM usage_rollups, (SELECT clock() AS now) AS moment
WHERE name = 'hours' AND done_until <= moment.now - $1::interval;

-- name: read_rollup_lag
-- Read how many seconds ago the roll-up was done; before its first time, how old the oldest batch is.
SELECT coalesce(extract(epoch FROM clock() - CASE
    WHEN isfinite(done_until) THEN done_until
    ELSE (SELECT min(flushed_at) FROM usage_batches)
END), 0)::float8 AS seconds
FROM usage_rollups
WHERE name = 'hours';

-- name: hold_rollup
-- Be the one who rolls up until the transaction ends; no row: another one is.
SELECT name FROM usage_rollups WHERE name = 'hours' FOR UPDATE SKIP LOCKED;

-- name: advance_rollup
-- Note how far the roll-up has come.
UPDATE usage_rollups SET done_until = $1 WHERE name = 'hours' AND done_until < $1;

-- name: list_touched_hours
-- List the hours, and which minutes of them, of the batches flushed since a minute before a time: some are committed late.
SELECT date_trunc('hour', minute, 'UTC') AS hour, min(minute) AS first_minute, max(minute) AS last_minute
FROM usage_batches, generate_series(first_minute, last_minute, interval '1 minute') AS minute
WHERE flushed_at >= $1::timestamptz - interval '1 minute'
GROUP BY 1
ORDER BY 1;

-- name: list_touched_keys
-- List the keys that were used in some minutes.
SELECT DISTINCT key_id FROM usage_minutes WHERE minute BETWEEN $1 AND $2;

-- name: roll_hour
-- Make an hour of some keys from its minutes.
INSERT INTO usage_hours AS old (hour, key_id, operation, outcome, secret_version, developer_id, calls, units)
SELECT $1, key_id, operation, outcome, secret_version, max(developer_id), sum(calls), sum(units)
FROM usage_minutes
WHERE key_id = ANY($2::text[]) AND minute >= $1 AND minute < $1::timestamptz + interval '1 hour'
GROUP BY key_id, operation, outcome, secret_version
ON CONFLICT (key_id, hour, operation, outcome, secret_version)
DO UPDATE SET calls = excluded.calls, units = excluded.units
WHERE (old.calls, old.units) IS DISTINCT FROM (excluded.calls, excluded.units);

-- name: roll_day
-- Make a day of some keys from its hours.
INSERT INTO usage_days AS old (day, key_id, operation, outcome, secret_version, developer_id, calls, units)
SELECT $1, key_id, operation, outcome, secret_version, max(developer_id), sum(calls), sum(units)
FROM usage_hours
WHERE key_id = ANY($2::text[]) AND hour >= $1 AND hour < $1::timestamptz + interval '24 hours'
GROUP BY key_id, operation, outcome, secret_version
ON CONFLICT (key_id, day, operation, outcome, secret_version)
DO UPDATE SET calls = excluded.calls, units = excluded.units
WHERE (old.calls, old.units) IS DISTINCT FROM (excluded.calls, excluded.units);

-- name: forget_batches
-- Drop some batches that are rolled up and two days old, too old to be sent again, and count them.
WITH forgotten AS (
    DELETE FROM usage_batches
    WHERE id = ANY (ARRAY(
        SELECT id FROM usage_batches
        WHERE flushed_at < (
            SELECT least(clock() - interval '2 days', done_until - interval '1 minute') FROM usage_rollups WHERE name = 'hours'
        )
        ORDER BY flushed_at
        LIMIT $1
    ))
    RETURNING 1
)
SELECT count(*) FROM forgotten;

-- name: maintain_partitions
-- Make the partitions of usage that will be needed and drop those whose time is over.
SELECT maintain_usage_partitions();

-- name: find_owner
-- Read whose a key is.
SELECT developer_id FROM api_keys WHERE id = $1;

-- name: find_account
-- Read a developer's quota and what is used of it this month, with the time.
SELECT moment.now, tier.monthly_quota, coalesce(month.units, 0) AS units_used
FROM (SELECT clock() AS now) AS moment
CROSS JOIN developers AS developer
JOIN tiers AS tier ON tier.name = developer.tier
LEFT JOIN usage_months AS month
    ON month.developer_id = developer.id AND month.month = date_trunc('month', moment.now AT TIME ZONE 'UTC')::date
WHERE developer.id = $1;

-- name: sum_up_developer
-- Sum up a developer's use by point and outcome, and by operation: in minutes, hours or days, whose sums triggers keep.
SELECT point, outcome, operation, sum(calls)::bigint AS calls, sum(units)::bigint AS units
FROM (
    SELECT minute AS point, outcome, operation, calls, units FROM usage_developer_minutes
    WHERE $2 = 'minute' AND developer_id = $1 AND minute >= $3 AND minute < $4
    UNION ALL
    SELECT hour, outcome, operation, calls, units FROM usage_developer_hours
    WHERE $2 = 'hour' AND developer_id = $1 AND hour >= $3 AND hour < $4
    UNION ALL
    SELECT day, outcome, operation, calls, units FROM usage_developer_days
    WHERE $2 = 'day' AND developer_id = $1 AND day >= $3 AND day < $4
) AS cell
GROUP BY GROUPING SETS ((point, outcome), (operation));

-- name: sum_up_key
-- Sum up a key's use by point and outcome, and by operation: in minutes, hours or days.
SELECT point, outcome, operation, sum(calls)::bigint AS calls, sum(units)::bigint AS units
FROM (
    SELECT minute AS point, outcome, operation, calls, units FROM usage_minutes
    WHERE $2 = 'minute' AND key_id = $1 AND minute >= $3 AND minute < $4
    UNION ALL
    SELECT hour, outcome, operation, calls, units FROM usage_hours
    WHERE $2 = 'hour' AND key_id = $1 AND hour >= $3 AND hour < $4
    UNION ALL
    SELECT day, outcome, operation, calls, units FROM usage_days
    WHERE $2 = 'day' AND key_id = $1 AND day >= $3 AND day < $4
) AS cell
GROUP BY GROUPING SETS ((point, outcome), (operation));

-- name: read_pace
-- Read the units that a developer used since an hour, the first hour of them, and whether it used any in the month before.
SELECT coalesce(sum(units), 0)::bigint AS units,
       min(hour) FILTER (WHERE units > 0) AS first_hour,
       EXISTS (
           SELECT FROM usage_developer_days
           WHERE developer_id = $1 AND day >= $3 AND day < date_trunc('day', $2::timestamptz, 'UTC') AND units > 0
       ) AS used_before
FROM usage_developer_hours
WHERE developer_id = $1 AND hour >= $2;

-- name: count_streams
-- Count a developer's streams of some days by medium.
SELECT medium, sum(acquisitions)::bigint AS acquisitions, sum(billable)::bigint AS billable
FROM stream_days
WHERE developer_id = $1 AND day >= $2 AND day <= $3
GROUP BY medium
ORDER BY medium;
