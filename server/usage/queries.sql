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
