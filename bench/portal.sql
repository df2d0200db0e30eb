-- name: days
-- A year in which every key was used each day, and throttled on one in ten.
INSERT INTO usage_days (day, key_id, operation, outcome, secret_version, developer_id, calls, units)
SELECT date_trunc('day', now(), 'UTC') - day * interval '24 hours', id, 'catalog.search', outcome, 1, developer_id,
       100 + day % 7, CASE outcome WHEN 'valid' THEN 100 + day % 7 ELSE 0 END
FROM api_keys, generate_series(0, 364) AS day, unnest('{valid,rate_limited}'::text[]) AS outcome
WHERE outcome = 'valid' OR (day + ascii(right(id, 1))) % 10 = 0;

-- name: hours
-- Two days by hour.
INSERT INTO usage_hours (hour, key_id, operation, outcome, secret_version, developer_id, calls, units)
SELECT date_trunc('hour', now(), 'UTC') - hour * interval '1 hour', id, 'catalog.search', 'valid', 1, developer_id, 5, 5
FROM api_keys, generate_series(0, 47) AS hour;

-- name: minutes
-- The last hour by minute, of one key in ten.
INSERT INTO usage_minutes (minute, key_id, operation, outcome, secret_version, developer_id, calls, units)
SELECT date_trunc('minute', now(), 'UTC') - minute * interval '1 minute', id, 'catalog.search', 'valid', 1, developer_id, 2, 2
FROM api_keys, generate_series(0, 59) AS minute
WHERE ascii(right(id, 1)) % 10 = 0;

-- name: sum_days
-- What a roll-up would have summed up meanwhile.
INSERT INTO usage_developer_days (developer_id, day, operation, outcome, calls, units)
SELECT developer_id, day, operation, outcome, sum(calls), sum(units) FROM usage_days GROUP BY 1, 2, 3, 4
ON CONFLICT (developer_id, day, operation, outcome) DO UPDATE SET calls = excluded.calls, units = excluded.units;

-- name: sum_hours
-- The same by hour.
INSERT INTO usage_developer_hours (developer_id, hour, operation, outcome, calls, units)
SELECT developer_id, hour, operation, outcome, sum(calls), sum(units) FROM usage_hours GROUP BY 1, 2, 3, 4
ON CONFLICT (developer_id, hour, operation, outcome) DO UPDATE SET calls = excluded.calls, units = excluded.units;

-- name: sum_minutes
-- The same by minute.
INSERT INTO usage_developer_minutes (developer_id, minute, operation, outcome, calls, units)
SELECT developer_id, minute, operation, outcome, sum(calls), sum(units) FROM usage_minutes GROUP BY 1, 2, 3, 4
ON CONFLICT (developer_id, minute, operation, outcome) DO UPDATE SET calls = excluded.calls, units = excluded.units;

-- name: sum_months
-- The same by key and month.
INSERT INTO usage_key_months (developer_id, month, key_id, calls, throttled_calls, units)
SELECT developer_id, date_trunc('month', day, 'UTC'), key_id, sum(calls),
       coalesce(sum(calls) FILTER (WHERE outcome <> 'valid'), 0), sum(units)
FROM usage_days GROUP BY 1, 2, 3
ON CONFLICT (developer_id, month, key_id)
DO UPDATE SET calls = excluded.calls, throttled_calls = excluded.throttled_calls, units = excluded.units;

-- name: streams
-- A year of streams by users of three clients.
INSERT INTO stream_days (developer_id, day, client_id, medium, shard, acquisitions, billable)
SELECT developers.id, current_date - day, 'client_' || client, medium, 0, 1000, 900
FROM developers, generate_series(0, 364) AS day, generate_series(1, 3) AS client, unnest('{music,video}'::text[]) AS medium;

-- name: statements
-- Their sums by month.
INSERT INTO statement_sums (developer_id, month, client_id, medium, shard, streams, adjustments)
SELECT developer_id, date_trunc('month', day)::date, client_id, medium, 0, sum(billable), -3
FROM stream_days GROUP BY 1, 2, 3, 4;
