-- name: survey
-- Tell for each event sent, in their order, the time, whether its developer exists, and what the ledger has under its id.
SELECT moment.now, developer.id IS NOT NULL AS known,
       entry.event_id, entry.developer_id, entry.client_id, entry.user_id, entry.content_id, entry.medium, entry.quality,
       entry.acquired_at, entry.url_expires_at, entry.billable
FROM (SELECT clock() AS now) AS moment
CROSS JOIN unnest($1::text[], $2::text[]) WITH ORDINALITY AS sent (event_id, developer_id, place)
LEFT JOIN LATERAL (SELECT id FROM developers WHERE id = sent.developer_id LIMIT 1) AS developer ON true
LEFT JOIN LATERAL (SELECT * FROM stream_events WHERE event_id = sent.event_id LIMIT 1) AS entry ON true
ORDER BY sent.place;

-- name: lock
-- Hold the locks of logical streams until the transaction ends; taken in one order, so that nobody waits in a circle.
SELECT slot FROM stream_locks WHERE slot = ANY ($1::smallint[]) ORDER BY slot FOR NO KEY UPDATE;

-- name: enter
-- Add events whose ids are new, as billable until settled, and return those ids; waits for others who add the same ones.
INSERT INTO stream_events (
    event_id, developer_id, client_id, user_id, content_id, medium, quality, acquired_at, url_expires_at, logical_stream,
    billable, recorded_at
)
SELECT sent.*, true, moment.now
FROM (SELECT clock() AS now) AS moment
CROSS JOIN unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::timestamptz[], $9::timestamptz[], $10::bytea[]
) AS sent (
    event_id, developer_id, client_id, user_id, content_id, medium, quality, acquired_at, url_expires_at, logical_stream
)
ORDER BY sent.event_id COLLATE "C"
ON CONFLICT ON CONSTRAINT stream_events_pkey DO NOTHING
RETURNING event_id;

-- name: settle
-- Bring the ledger in line with events just entered, and tell whether each is billable, and which others are so no more.
-- Sums by month are of the moment of posting: the month's own events, and what is found late of earlier months.
-- Whatever statistics the plan was made with, each look-up uses an index (hence LATERAL with LIMIT or OFFSET).
WITH moment AS MATERIALIZED (
    SELECT now, date_trunc('month', now, 'UTC') AS month FROM (SELECT clock() AS now) AS clocks
), entered AS MATERIALIZED (
    SELECT event.*,
           coalesce(max(url_expires_at) OVER (stream ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), '-infinity') AS good_until,
           coalesce(lead(acquired_at) OVER stream, 'infinity') AS next_at,
           coalesce(lead(event_id) OVER stream, '') AS next_id
    FROM unnest($1::text[]) AS sent (id)
    CROSS JOIN LATERAL (SELECT ctid AS place, * FROM stream_events WHERE event_id = sent.id LIMIT 1) AS event
    WINDOW stream AS (PARTITION BY logical_stream ORDER BY acquired_at, event_id)
), judged AS MATERIALIZED (
    SELECT entered.place, entered.event_id, entered.developer_id, entered.client_id, entered.medium, entered.acquired_at,
           true AS is_new, entered.good_until <= entered.acquired_at AND earlier.event_id IS NULL AS billable
    FROM entered
    LEFT JOIN LATERAL (
        SELECT event_id
        FROM stream_events
        WHERE entered.good_until <= entered.acquired_at
          AND logical_stream = entered.logical_stream
          AND (acquired_at, event_id) < (entered.acquired_at, entered.event_id)
          AND acquired_at >= entered.acquired_at - interval '168 hours'  -- as long as a URL lasts, by the table's constraint
          AND url_expires_at > entered.acquired_at
        ORDER BY acquired_at DESC, event_id DESC
        LIMIT 1
    ) AS earlier ON true
    UNION ALL
    SELECT later.place, later.event_id, later.developer_id, later.client_id, later.medium, later.acquired_at, false, false
    FROM entered
    CROSS JOIN LATERAL (  -- what happened between this entered one and the next, while a URL up to this one was good
        SELECT ctid AS place, *
        FROM stream_events
        WHERE logical_stream = entered.logical_stream
          AND (acquired_at, event_id) > (entered.acquired_at, entered.event_id)
          AND (acquired_at, event_id) < (entered.next_at, entered.next_id)
          AND acquired_at < greatest(entered.good_until, entered.url_expires_at)
          AND billable
        OFFSET 0
    ) AS later
), flagged AS (
    UPDATE stream_events SET billable = false WHERE ctid = ANY (ARRAY(SELECT place FROM judged WHERE NOT billable))
), due AS MATERIALIZED (
    SELECT event_id, CASE WHEN is_new THEN 1 ELSE -1 END AS amount, developer_id, client_id, medium, acquired_at < moment.month AS is_late,
           moment.now, (moment.month AT TIME ZONE 'UTC')::date AS month
    FROM moment
    CROSS JOIN judged
    WHERE is_new = billable
), posted AS (
    INSERT INTO stream_postings (event_id, amount, posted_at, developer_id)
    SELECT event_id, amount, now, developer_id FROM due
), stated AS (
    INSERT INTO statement_sums (developer_id, month, client_id, medium, shard, streams, adjustments)
    SELECT developer_id, month, client_id, medium, pg_backend_pid() % 16,
           coalesce(sum(amount) FILTER (WHERE NOT is_late), 0), coalesce(sum(amount) FILTER (WHERE is_late), 0)
    FROM due
    GROUP BY developer_id, month, client_id, medium
    ORDER BY developer_id, month, client_id, medium
    ON CONFLICT ON CONSTRAINT statement_sums_pkey DO UPDATE
    SET streams = statement_sums.streams + excluded.streams, adjustments = statement_sums.adjustments + excluded.adjustments
), summed AS (
    INSERT INTO stream_days (developer_id, day, client_id, medium, shard, acquisitions, billable)
    SELECT developer_id, (acquired_at AT TIME ZONE 'UTC')::date AS day, client_id, medium, pg_backend_pid() % 16,
           count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE billable) - count(*) FILTER (WHERE NOT is_new)
    FROM judged
    GROUP BY developer_id, day, client_id, medium
    ORDER BY developer_id, day, client_id, medium
    ON CONFLICT ON CONSTRAINT stream_days_pkey DO UPDATE
    SET acquisitions = stream_days.acquisitions + excluded.acquisitions, billable = stream_days.billable + excluded.billable
)
SELECT event_id, billable FROM judged;

-- name: recount
-- Find the sums of a developer's events from one time to another in every way that there is.
WITH known AS MATERIALIZED (
    SELECT event_id, acquired_at, billable, acquired_at < max(url_expires_at) OVER (
        PARTITION BY user_id, medium, content_id, quality ORDER BY acquired_at, event_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS covered
    FROM stream_events
    WHERE developer_id = $1 AND acquired_at >= $2::timestamptz - interval '168 hours' AND acquired_at < $3::timestamptz
), events AS MATERIALIZED (
    SELECT event_id, billable, covered IS NOT TRUE AS due FROM known WHERE acquired_at >= $2
), days AS (
    SELECT sum(acquisitions) AS acquisitions, sum(billable) AS billable
    FROM stream_days
    WHERE developer_id = $1 AND day >= ($2 AT TIME ZONE 'UTC')::date AND day < ($3 AT TIME ZONE 'UTC')::date
)
SELECT (SELECT count(*) FROM events) AS acquisitions,
       (SELECT count(*) FROM events WHERE due) AS billable,
       (SELECT count(*) FROM events WHERE billable) AS flagged,
       (SELECT coalesce(sum(amount), 0) FROM stream_postings JOIN events USING (event_id)) AS balance,
       (SELECT coalesce(acquisitions, 0) FROM days) AS days_acquisitions,
       (SELECT coalesce(billable, 0) FROM days) AS days_billable;
