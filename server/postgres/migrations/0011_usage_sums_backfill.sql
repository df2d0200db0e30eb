-- outside a transaction
-- The sums of what was there before them, beside the service, some thousand rows at a time. A sum is made anew from all
-- its parts while nobody else changes sums, which makes writers wait for a step; so it is right however often it is made.
SET enable_seqscan = off;

DO $$
DECLARE
    kind      record;
    step      record;
    developer text COLLATE "C";
    done      timestamptz;
BEGIN
    FOR kind IN
        SELECT * FROM (VALUES
            ('usage_minutes', 'minute', 'usage_developer_minutes'),
            ('usage_hours', 'hour', 'usage_developer_hours'),
            ('usage_days', 'day', 'usage_developer_days')
        ) AS kinds (parts, point, sums)
    LOOP
        developer := '';
        done := '-infinity';
        LOOP
            EXECUTE format(
                'SELECT developer_id AS developer, %2$I AS done
                 FROM (
                     SELECT developer_id, %2$I FROM %1$I
                     WHERE developer_id >= $1 AND (developer_id, %2$I) > ($1, $2)
                     ORDER BY developer_id, %2$I
                     LIMIT 20000
                 ) AS part
                 ORDER BY developer_id DESC, %2$I DESC
                 LIMIT 1',
                kind.parts, kind.point
            ) INTO step USING developer, done;
            EXIT WHEN step.developer IS NULL;
            EXECUTE format('LOCK TABLE ONLY %I IN SHARE ROW EXCLUSIVE MODE', kind.sums);
            EXECUTE format(
                'INSERT INTO %3$I (developer_id, %2$I, operation, outcome, calls, units)
                 SELECT developer_id, %2$I, operation, outcome, sum(calls), sum(units)
                 FROM %1$I
                 WHERE developer_id BETWEEN $1 AND $3
                   AND (developer_id, %2$I) > ($1, $2) AND (developer_id, %2$I) <= ($3, $4)
                 GROUP BY 1, 2, 3, 4
                 ON CONFLICT (developer_id, %2$I, operation, outcome)
                 DO UPDATE SET calls = excluded.calls, units = excluded.units',
                kind.parts, kind.point, kind.sums
            ) USING developer, done, step.developer, step.done;
            COMMIT;
            developer := step.developer;
            done := step.done;
        END LOOP;
    END LOOP;
END $$;

DO $$
DECLARE
    done text COLLATE "C" := '';
    upto text COLLATE "C";
BEGIN
    LOOP
        SELECT max(key_id) INTO upto FROM (SELECT key_id FROM usage_days WHERE key_id > done ORDER BY key_id LIMIT 20000) AS step;
        EXIT WHEN upto IS NULL;
        LOCK TABLE ONLY usage_key_months IN SHARE ROW EXCLUSIVE MODE;
        INSERT INTO usage_key_months (developer_id, month, key_id, calls, throttled_calls, units)
        SELECT developer_id, date_trunc('month', day, 'UTC'), key_id, sum(calls),
               coalesce(sum(calls) FILTER (WHERE outcome IN ('rate_limited', 'rate_limited_developer', 'quota_exceeded')), 0),
               sum(units)
        FROM usage_days
        WHERE key_id > done AND key_id <= upto
        GROUP BY 1, 2, 3
        ON CONFLICT (developer_id, month, key_id)
        DO UPDATE SET calls = excluded.calls, throttled_calls = excluded.throttled_calls, units = excluded.units;
        COMMIT;
        done := upto;
    END LOOP;
END $$;

RESET enable_seqscan;
