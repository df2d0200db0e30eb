-- name: find_tier
-- Read the tier of a developer.
SELECT
    tiers.name, tiers.requests, tiers.window_seconds, tiers.developer_requests, tiers.monthly_quota, tiers.max_keys,
    tiers.concurrent_streams
FROM developers
JOIN tiers ON tiers.name = developers.tier
WHERE developers.id = $1;
