-- outside a transaction
-- The long work on existing rows, beside the service: nothing here makes a reader or a writer wait for more than a step.
-- Postings that were made before they had a developer get it, and are added to the sums of their months; each once.
DO $$
DECLARE
    done text COLLATE "C" := '';
    upto text COLLATE "C";
BEGIN
    LOOP
        SELECT max(event_id) INTO upto
        FROM (SELECT event_id FROM stream_postings WHERE event_id > done ORDER BY event_id LIMIT 5000) AS step;
        EXIT WHEN upto IS NULL;
        WITH named AS (
            UPDATE stream_postings AS posting
            SET developer_id = event.developer_id
            FROM stream_events AS event
            WHERE posting.event_id > done AND posting.event_id <= upto AND posting.developer_id IS NULL
              AND event.event_id > done AND event.event_id <= upto AND event.event_id = posting.event_id
            RETURNING event.developer_id, date_trunc('month', posted_at, 'UTC') AS begun, client_id, medium, acquired_at, amount
        )
        INSERT INTO statement_sums (developer_id, month, client_id, medium, shard, streams, adjustments)
        SELECT developer_id, (begun AT TIME ZONE 'UTC')::date, client_id, medium, 16,
               coalesce(sum(amount) FILTER (WHERE acquired_at >= begun), 0),
               coalesce(sum(amount) FILTER (WHERE acquired_at < begun), 0)
        FROM named
        GROUP BY developer_id, begun, client_id, medium
        ORDER BY developer_id, begun, client_id, medium
        ON CONFLICT ON CONSTRAINT statement_sums_pkey DO UPDATE
        SET streams = statement_sums.streams + excluded.streams, adjustments = statement_sums.adjustments + excluded.adjustments;
        COMMIT;
        done := upto;
    END LOOP;
END $$;

ALTER TABLE stream_postings VALIDATE CONSTRAINT stream_postings_developer_known;

-- Left invalid by a run that was broken off.
DROP INDEX CONCURRENTLY IF EXISTS stream_postings_by_developer;

-- The lines of a statement, in the order in which they were made; a page costs the same at any depth.
CREATE INDEX CONCURRENTLY stream_postings_by_developer ON stream_postings (developer_id, posted_at, event_id, amount);

-- Secrets that were replaced before it was noted whose they are, and still work; of others nobody asks.
UPDATE api_key_secrets SET retired_at = retired_at
WHERE retired_at IS NOT NULL AND retired_for IS NULL AND expires_at > (SELECT clock());

-- Left invalid by a run that was broken off.
DROP INDEX CONCURRENTLY IF EXISTS api_key_secrets_in_grace;

-- Secrets of a developer that were replaced and still work.
CREATE INDEX CONCURRENTLY api_key_secrets_in_grace ON api_key_secrets (retired_for, expires_at) WHERE retired_for IS NOT NULL;
