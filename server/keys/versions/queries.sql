-- name: find_key
-- Read whether a developer has a key, and the time.
SELECT clock() AS now FROM api_keys WHERE id = $1 AND developer_id = $2;

-- name: list_secrets
-- Read one secret of a key or, the newest first, those that work at a moment, and with them the last others up to a limit.
SELECT version, key_prefix, created_at, expires_at, is_retired, last_used_at, last_client_ip
FROM (
    SELECT secret.version, secret.key_prefix, secret.created_at, secret.last_used_at, secret.last_client_ip,
           least(secret.expires_at, key.expires_at) AS expires_at, secret.expires_at IS NOT NULL AS is_retired
    FROM api_key_secrets AS secret
    JOIN api_keys AS key ON key.id = secret.key_id
    WHERE secret.key_id = $1 AND ($4::integer IS NULL OR secret.version = $4)
    ORDER BY coalesce(secret.expires_at, 'infinity') > $2 DESC, secret.version DESC
    LIMIT $3
) AS shown
ORDER BY version DESC;

-- name: sum_up_calls
-- Sum up the calls with each secret of a key: hours from $2, days from $3, hours from $4, minutes from $5, those from $6 apart.
SELECT secret_version AS version, sum(calls)::bigint AS counted,
       coalesce(sum(calls) FILTER (WHERE point >= $6), 0)::bigint AS last_hour, max(point) AS last_point
FROM (
    SELECT secret_version, hour AS point, calls FROM usage_hours WHERE key_id = $1 AND hour >= $2 AND hour < $3
    UNION ALL
    SELECT secret_version, day, calls FROM usage_days WHERE key_id = $1 AND day >= $3 AND day < $4
    UNION ALL
    SELECT secret_version, hour, calls FROM usage_hours WHERE key_id = $1 AND hour >= $4 AND hour < $5
    UNION ALL
    SELECT secret_version, minute, calls FROM usage_minutes WHERE key_id = $1 AND minute >= $5
) AS cell
GROUP BY secret_version;

-- name: list_hours
-- Read the calls with each secret of a key by hour: from hours up to $3, from minutes after it.
SELECT version, hour, sum(calls)::bigint AS calls
FROM (
    SELECT secret_version AS version, hour, calls FROM usage_hours WHERE key_id = $1 AND hour >= $2 AND hour < $3
    UNION ALL
    SELECT secret_version, date_trunc('hour', minute, 'UTC'), calls FROM usage_minutes WHERE key_id = $1 AND minute >= $3
) AS cell
GROUP BY version, hour
ORDER BY hour;

-- name: list_last_operations
-- Read the operation that was called most with each secret in its last hour of use, given when its last day, hour or minute began.
SELECT asked.version, cell.operation
FROM unnest($2::integer[], $3::timestamptz[]) AS asked (version, point)
CROSS JOIN LATERAL (
    SELECT operation
    FROM (
        SELECT hour, operation, calls FROM usage_hours
        WHERE key_id = $1 AND secret_version = asked.version
          AND hour >= date_trunc('hour', asked.point, 'UTC') AND hour < least(asked.point + interval '24 hours', $4)
        UNION ALL
        SELECT date_trunc('hour', minute, 'UTC'), operation, calls FROM usage_minutes
        WHERE key_id = $1 AND secret_version = asked.version
          AND minute >= greatest(date_trunc('hour', asked.point, 'UTC'), $4)
    ) AS use
    GROUP BY hour, operation
    ORDER BY hour DESC, operation = '', sum(calls) DESC, operation
    LIMIT 1
) AS cell;

-- name: end_grace
-- End a retired secret of a developer's key now, unless it has ended: then no row comes back.
UPDATE api_key_secrets AS secret
SET expires_at = moment.now
FROM api_keys AS key, (SELECT clock() AS now) AS moment
WHERE key.id = $1 AND key.developer_id = $2 AND secret.key_id = key.id AND secret.version = $3
  AND secret.expires_at > moment.now AND coalesce(key.expires_at, 'infinity') > moment.now
RETURNING secret.key_prefix;

-- name: find_version
-- Read whether a developer's key has a secret version, and whether it is the current one of a key that works.
SELECT secret.expires_at IS NULL AND coalesce(key.expires_at, 'infinity') > clock() AS is_current
FROM api_keys AS key
JOIN api_key_secrets AS secret ON secret.key_id = key.id
WHERE key.id = $1 AND key.developer_id = $2 AND secret.version = $3;
