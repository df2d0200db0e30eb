-- name: find_grant
-- Read what a developer's tier grants, what is used of its month and how many of its keys live.
SELECT tier.name, tier.requests, tier.window_seconds, tier.developer_requests, tier.monthly_quota, tier.max_keys,
       tier.concurrent_streams, coalesce(month.units, 0) AS quota_used,
       (
           SELECT count(*) FROM api_keys
           WHERE developer_id = developer.id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > moment.now)
       ) AS live_keys
FROM (SELECT clock() AS now) AS moment
CROSS JOIN developers AS developer
JOIN tiers AS tier ON tier.name = developer.tier
LEFT JOIN usage_months AS month
    ON month.developer_id = developer.id AND month.month = date_trunc('month', moment.now AT TIME ZONE 'UTC')::date
WHERE developer.id = $1;

-- name: list_key_rates
-- List a developer's live keys that have a limit of their own, newest first.
SELECT id, rate_requests, rate_seconds
FROM api_keys, (SELECT clock() AS now) AS moment
WHERE developer_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > moment.now)
  AND rate_requests IS NOT NULL
ORDER BY created_at DESC, id DESC;

-- name: find_key_limits
-- Read what the limits of a developer's key are, what is used of the month, and the time.
SELECT moment.now, coalesce(key.rate_requests, tier.requests) AS requests, coalesce(key.rate_seconds, tier.window_seconds) AS seconds,
       tier.developer_requests, tier.window_seconds, tier.monthly_quota, coalesce(month.units, 0) AS units_used
FROM (SELECT clock() AS now) AS moment
CROSS JOIN api_keys AS key
JOIN developers AS developer ON developer.id = key.developer_id
JOIN tiers AS tier ON tier.name = developer.tier
LEFT JOIN usage_months AS month
    ON month.developer_id = developer.id AND month.month = date_trunc('month', moment.now AT TIME ZONE 'UTC')::date
WHERE key.id = $1 AND key.developer_id = $2;

-- name: list_refused_points
-- List the minutes, hours or days in which calls with a key were refused for their number, newest first.
SELECT point, sum(calls)::bigint AS calls,
       coalesce(sum(calls) FILTER (WHERE outcome = 'rate_limited'), 0)::bigint AS by_key_rate,
       coalesce(sum(calls) FILTER (WHERE outcome = 'rate_limited_developer'), 0)::bigint AS by_developer_rate,
       coalesce(sum(calls) FILTER (WHERE outcome = 'quota_exceeded'), 0)::bigint AS by_quota
FROM (
    SELECT minute AS point, outcome, calls FROM usage_minutes
    WHERE $2 = 'minute' AND key_id = $1 AND minute >= $3 AND minute < $4
    UNION ALL
    SELECT hour, outcome, calls FROM usage_hours
    WHERE $2 = 'hour' AND key_id = $1 AND hour >= $3 AND hour < $4
    UNION ALL
    SELECT day, outcome, calls FROM usage_days
    WHERE $2 = 'day' AND key_id = $1 AND day >= $3 AND day < $4
) AS cell
GROUP BY point
HAVING bool_or(outcome IN ('rate_limited', 'rate_limited_developer', 'quota_exceeded'))
ORDER BY point DESC;

-- name: read_demand
-- Sum up some minutes of calls with a developer's key, and of those with all its keys.
SELECT is_own, sum(calls)::bigint AS calls, sum(units)::bigint AS units,
       coalesce(sum(calls) FILTER (WHERE outcome = 'valid'), 0)::bigint AS good_calls,
       coalesce(sum(calls) FILTER (WHERE outcome IN ('rate_limited', 'rate_limited_developer')), 0)::bigint AS limited_calls
FROM (
    SELECT true AS is_own, outcome, calls, units FROM usage_minutes
    WHERE developer_id = $1 AND key_id = $2 AND minute >= $3 AND minute < $4
    UNION ALL
    SELECT false, outcome, calls, units FROM usage_developer_minutes
    WHERE developer_id = $1 AND minute >= $3 AND minute < $4
) AS cell
GROUP BY is_own;

-- name: list_most_used_keys
-- List the keys of a developer that were used most in some minutes or hours, with what became of their calls.
SELECT key.id, key.name, key.key_prefix, used.calls, used.throttled_calls, used.units
FROM (
    SELECT key_id, sum(calls)::bigint AS calls, sum(units)::bigint AS units,
           coalesce(sum(calls) FILTER (
               WHERE outcome IN ('rate_limited', 'rate_limited_developer', 'quota_exceeded')
           ), 0)::bigint AS throttled_calls
    FROM (
        SELECT key_id, outcome, calls, units FROM usage_minutes
        WHERE $2 = 'minute' AND developer_id = $1 AND minute >= $3 AND minute < $4
        UNION ALL
        SELECT key_id, outcome, calls, units FROM usage_hours
        WHERE $2 = 'hour' AND developer_id = $1 AND hour >= $3 AND hour < $4
    ) AS cell
    GROUP BY key_id
    ORDER BY calls DESC, key_id
    LIMIT $5
) AS used
JOIN api_keys AS key ON key.id = used.key_id AND key.developer_id = $1
ORDER BY used.calls DESC, key.id;

-- name: list_most_used_keys_by_day
-- List the keys of a developer that were used most from $2 to $3: in the months from $4 to $5, and in days, of which those
-- that the months lack are added, and those that they have besides are taken off.
SELECT key.id, key.name, key.key_prefix, used.calls, used.throttled_calls, used.units
FROM (
    SELECT key_id, sum(calls)::bigint AS calls, sum(throttled_calls)::bigint AS throttled_calls, sum(units)::bigint AS units
    FROM (
        SELECT key_id, calls, throttled_calls, units FROM usage_key_months
        WHERE developer_id = $1 AND month >= $4 AND month < $5
        UNION ALL
        SELECT key_id, sign * calls,
               CASE WHEN outcome IN ('rate_limited', 'rate_limited_developer', 'quota_exceeded') THEN sign * calls ELSE 0 END,
               sign * units
        FROM (
            SELECT key_id, outcome, calls, units, CASE WHEN $2 < $4 THEN 1 ELSE -1 END AS sign FROM usage_days
            WHERE developer_id = $1 AND day >= least($2::timestamptz, $4) AND day < greatest($2, $4)
            UNION ALL
            SELECT key_id, outcome, calls, units, CASE WHEN $5 < $3 THEN 1 ELSE -1 END FROM usage_days
            WHERE developer_id = $1 AND day >= least($3::timestamptz, $5) AND day < greatest($3, $5)
        ) AS rest
    ) AS cell
    GROUP BY key_id
    HAVING sum(calls) <> 0
    ORDER BY calls DESC, key_id
    LIMIT $6
) AS used
JOIN api_keys AS key ON key.id = used.key_id AND key.developer_id = $1
ORDER BY used.calls DESC, key.id;

-- name: list_findings
-- Find what about a developer's live keys needs attention: 20 keys of each kind, and how many there are of it.
-- Its keys are read once, and of secrets those only that were replaced and still work. Kinds are the numbers of the proto.
WITH moment AS MATERIALIZED (
    SELECT now, now - interval '7 days' AS week, now - interval '30 days' AS month, now - interval '90 days' AS season,
           now + interval '14 days' AS soon,
           (SELECT began_at FROM recordings WHERE name = 'key_scope_uses') <= now - interval '30 days' AS scopes_known
    FROM (SELECT clock() AS now) AS clocks
), live AS MATERIALIZED (
    SELECT id, created_at, expires_at, last_used_at,
           created_at <= (SELECT month FROM moment) AND (SELECT scopes_known FROM moment)
               AND NOT scopes <@ needed_scopes AS has_idle_scopes
    FROM api_keys
    WHERE developer_id = $1 AND revoked_at IS NULL AND coalesce(expires_at, 'infinity') > (SELECT now FROM moment)
), replaced AS MATERIALIZED (
    SELECT secret.key_id AS id, min(secret.expires_at) AS ends_at
    FROM api_key_secrets AS secret
    JOIN live ON live.id = secret.key_id
    WHERE secret.retired_for = $1 AND secret.expires_at > (SELECT now FROM moment)
      AND secret.last_used_at >= secret.retired_at
      AND secret.last_used_at > (SELECT now - interval '24 hours' FROM moment)
    GROUP BY secret.key_id
), counts AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE last_used_at IS NULL AND created_at <= (SELECT week FROM moment)) AS never_used,
           count(*) FILTER (WHERE last_used_at <= (SELECT season FROM moment)) AS unused,
           count(*) FILTER (WHERE has_idle_scopes) AS idle_scopes,
           count(*) FILTER (WHERE expires_at IS NULL) AS no_expiry,
           count(*) FILTER (WHERE expires_at <= (SELECT soon FROM moment)) AS expires_soon
    FROM live
), found AS (
    (
        SELECT 1 AS finding, id, ends_at AS about, ends_at AS place, (SELECT count(*) FROM replaced) AS keys
        FROM replaced
        ORDER BY ends_at, id
        LIMIT 20
    )
    UNION ALL
    (
        SELECT 2, id, created_at, created_at, (SELECT never_used FROM counts)
        FROM live
        WHERE last_used_at IS NULL AND created_at <= (SELECT week FROM moment)
        ORDER BY created_at, id
        LIMIT 20
    )
    UNION ALL
    (
        SELECT 3, id, last_used_at, last_used_at, (SELECT unused FROM counts)
        FROM live
        WHERE last_used_at <= (SELECT season FROM moment)
        ORDER BY last_used_at, id
        LIMIT 20
    )
    UNION ALL
    (
        SELECT 4, id, created_at, created_at, (SELECT idle_scopes FROM counts)
        FROM live
        WHERE has_idle_scopes
        ORDER BY created_at, id
        LIMIT 20
    )
    UNION ALL
    (
        SELECT 5, id, NULL, created_at, (SELECT no_expiry FROM counts)
        FROM live
        WHERE expires_at IS NULL
        ORDER BY created_at, id
        LIMIT 20
    )
    UNION ALL
    (
        SELECT 6, id, expires_at, expires_at, (SELECT expires_soon FROM counts)
        FROM live
        WHERE expires_at <= (SELECT soon FROM moment)
        ORDER BY expires_at, id
        LIMIT 20
    )
)
SELECT found.finding, found.keys, found.about, key.id, key.name, key.key_prefix,
       CASE WHEN found.finding = 4
            THEN ARRAY(SELECT unnest(key.scopes) EXCEPT SELECT unnest(key.needed_scopes) ORDER BY 1)
            ELSE '{}'
       END AS scopes
FROM found
JOIN api_keys AS key ON key.id = found.id
ORDER BY found.finding, found.place, key.id;
