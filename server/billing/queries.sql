-- name: read_clock
-- Read the time.
SELECT clock() AS now;

-- name: list_stream_days
-- List the streams of a developer by day, client and medium, from one day to another.
SELECT day, client_id, medium, sum(acquisitions)::bigint AS acquisitions, sum(billable)::bigint AS billable
FROM stream_days
WHERE developer_id = $1 AND day >= $2 AND day <= $3
GROUP BY day, client_id, medium
ORDER BY day, client_id, medium;

-- name: sum_up_month
-- Sum up what was posted for a developer in a month, by client and medium.
SELECT client_id, medium, sum(streams)::bigint AS streams, sum(adjustments)::bigint AS adjustments
FROM statement_sums
WHERE developer_id = $1 AND month = $2
GROUP BY client_id, medium
ORDER BY client_id, medium;

-- name: list_lines
-- List postings of a developer after a given one and before a time, with their events, in the order of posting.
SELECT posting.event_id, posting.amount, posting.posted_at,
       event.acquired_at, event.client_id, event.medium, event.content_id, event.quality
FROM (
    SELECT event_id, amount, posted_at
    FROM stream_postings
    WHERE developer_id = $1 AND (posted_at, event_id, amount) > ($2, $3, $4) AND posted_at < $5
    ORDER BY posted_at, event_id, amount
    LIMIT $6
) AS posting
CROSS JOIN LATERAL (SELECT * FROM stream_events WHERE event_id = posting.event_id LIMIT 1) AS event
ORDER BY posting.posted_at, posting.event_id, posting.amount;
