-- What all keys of a developer were used for, by minute, hour and day, whichever key and secret it was: kept as long as
-- what they are sums of, in partitions of the same length.
CREATE TABLE usage_developer_minutes (
    developer_id text COLLATE "C" NOT NULL,
    minute       timestamptz NOT NULL,
    operation    text COLLATE "C" NOT NULL,
    outcome      text COLLATE "C" NOT NULL,
    calls        bigint NOT NULL,
    units        bigint NOT NULL,
    CONSTRAINT usage_developer_minutes_pkey PRIMARY KEY (developer_id, minute, operation, outcome)
) PARTITION BY RANGE (minute);

CREATE TABLE usage_developer_hours (
    developer_id text COLLATE "C" NOT NULL,
    hour         timestamptz NOT NULL,
    operation    text COLLATE "C" NOT NULL,
    outcome      text COLLATE "C" NOT NULL,
    calls        bigint NOT NULL,
    units        bigint NOT NULL,
    CONSTRAINT usage_developer_hours_pkey PRIMARY KEY (developer_id, hour, operation, outcome)
) PARTITION BY RANGE (hour);

CREATE TABLE usage_developer_days (
    developer_id text COLLATE "C" NOT NULL,
    day          timestamptz NOT NULL,
    operation    text COLLATE "C" NOT NULL,
    outcome      text COLLATE "C" NOT NULL,
    calls        bigint NOT NULL,
    units        bigint NOT NULL,
    CONSTRAINT usage_developer_days_pkey PRIMARY KEY (developer_id, day, operation, outcome)
) PARTITION BY RANGE (day);

-- What each key was used for in a month (UTC), side by side for a developer. throttled_calls were refused for their number.
CREATE TABLE usage_key_months (
    developer_id    text COLLATE "C" NOT NULL,
    month           timestamptz NOT NULL,
    key_id          text COLLATE "C" NOT NULL,
    calls           bigint NOT NULL,
    throttled_calls bigint NOT NULL,
    units           bigint NOT NULL,
    CONSTRAINT usage_key_months_pkey PRIMARY KEY (developer_id, month, key_id)
) PARTITION BY RANGE (month);

-- Partitions like those that there are of what is summed up.
DO $$
DECLARE
    part record;
BEGIN
    FOR part IN
        SELECT kind.sums || substr(child.relname, length(kind.parts) + 1) AS name, kind.sums,
               pg_get_expr(child.relpartbound, child.oid) AS bounds
        FROM (VALUES
            ('usage_minutes', 'usage_developer_minutes'),
            ('usage_hours', 'usage_developer_hours'),
            ('usage_days', 'usage_developer_days'),
            ('usage_days', 'usage_key_months')
        ) AS kind (parts, sums)
        JOIN pg_inherits ON inhparent = kind.parts::regclass
        JOIN pg_class AS child ON child.oid = inhrelid
    LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF %I %s WITH (fillfactor = 70)', part.name, part.sums, part.bounds);
    END LOOP;
END $$;

-- As in the file that brought it, with what is new. Temporary objects, which are the caller's, come last in its path.
SELECT set_config('search_path', current_setting('search_path') || ', pg_temp', true);

CREATE OR REPLACE FUNCTION maintain_usage_partitions() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET lock_timeout = '200ms' AS $$
DECLARE
    kind      record;
    begins    timestamptz;
    partition text;
    old       record;
    waits     boolean;
BEGIN
    IF NOT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('maintain_usage_partitions')) THEN
        RETURN;
    END IF;
    FOR kind IN
        SELECT * FROM (VALUES
            ('usage_minutes', 'day', interval '1 day', interval '8 days', interval '8 days', 'YYYYMMDD'),
            ('usage_developer_minutes', 'day', interval '1 day', interval '8 days', interval '8 days', 'YYYYMMDD'),
            ('usage_hours', 'month', interval '1 month', interval '1 month', interval '13 months', 'YYYYMM'),
            ('usage_developer_hours', 'month', interval '1 month', interval '1 month', interval '13 months', 'YYYYMM'),
            ('usage_days', 'year', interval '1 year', interval '1 year', interval '10 years', 'YYYY'),
            ('usage_developer_days', 'year', interval '1 year', interval '1 year', interval '10 years', 'YYYY'),
            ('usage_key_months', 'year', interval '1 year', interval '1 year', interval '10 years', 'YYYY')
        ) AS kinds (parent, unit, step, late, kept, form)  -- `late`: how old what is written may be
    LOOP
        FOR begins IN
            SELECT series AT TIME ZONE 'UTC' FROM generate_series(
                date_trunc(kind.unit, (clock() - kind.late) AT TIME ZONE 'UTC'),
                date_trunc(kind.unit, clock() AT TIME ZONE 'UTC') + 2 * kind.step,
                kind.step
            ) AS series
        LOOP
            partition := kind.parent || '_' || to_char(begins AT TIME ZONE 'UTC', kind.form);
            IF pg_catalog.to_regclass(partition) IS NULL THEN
                -- Attached afterwards: that waits for nobody who reads or writes. Counts change in place, given room.
                EXECUTE pg_catalog.format(
                    'CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH (fillfactor = 70)',
                    partition, kind.parent
                );
                EXECUTE pg_catalog.format(
                    'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                    kind.parent, partition, begins, ((begins AT TIME ZONE 'UTC') + kind.step) AT TIME ZONE 'UTC'
                );
            END IF;
        END LOOP;
        FOR old IN
            SELECT child.relname FROM pg_catalog.pg_inherits
            JOIN pg_catalog.pg_class AS child ON child.oid = inhrelid
            WHERE inhparent = kind.parent::regclass
              AND child.relname < kind.parent || '_'
                  || to_char(date_trunc(kind.unit, (clock() - kind.kept) AT TIME ZONE 'UTC'), kind.form)
        LOOP
            BEGIN
                IF kind.parent = 'usage_minutes' AND NOT EXISTS (
                    SELECT FROM usage_rollups  -- calls are flushed up to 7 days after the end of their day
                    WHERE name = 'hours'
                      AND done_until >= (to_date(right(old.relname, 8), kind.form) + 8)::timestamp AT TIME ZONE 'UTC'
                ) THEN
                    EXECUTE pg_catalog.format('SELECT EXISTS (SELECT FROM %I)', old.relname) INTO waits;
                    CONTINUE WHEN waits;  -- to be rolled up
                END IF;
                EXECUTE pg_catalog.format('DROP TABLE %I', old.relname);
            EXCEPTION WHEN lock_not_available THEN
                EXIT;  -- a long read, such as a backup: to wait for it would hold up every flush; the next time
            END;
        END LOOP;
    END LOOP;
END $$;

SELECT maintain_usage_partitions();

-- The sums change by as much as their parts do, in the same statement, whoever changes these: also the release before
-- this one, which knows of no sums and whose role has no rights to them: hence those of the schema's owner. The name of
-- the point's column and that of the sums are given with each trigger.
CREATE FUNCTION add_up_usage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    point    text := TG_ARGV[0];
    sums     text := TG_ARGV[1];
    replaced text := '';
BEGIN
    IF NOT EXISTS (SELECT FROM after) THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        replaced := format('UNION ALL SELECT developer_id, %I, operation, outcome, -calls, -units FROM before', point);
    END IF;
    EXECUTE format(
        'INSERT INTO %1$I AS sum (developer_id, %2$I, operation, outcome, calls, units)
         SELECT developer_id, %2$I, operation, outcome, sum(calls), sum(units)
         FROM (SELECT developer_id, %2$I, operation, outcome, calls, units FROM after %3$s) AS change
         GROUP BY developer_id, %2$I, operation, outcome
         HAVING sum(calls) <> 0 OR sum(units) <> 0
         ORDER BY developer_id, %2$I, operation, outcome
         ON CONFLICT (developer_id, %2$I, operation, outcome)
         DO UPDATE SET calls = sum.calls + excluded.calls, units = sum.units + excluded.units',
        sums, point, replaced
    );
    RETURN NULL;
END $$;

CREATE FUNCTION add_up_key_months() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    replaced text := '';
BEGIN
    IF NOT EXISTS (SELECT FROM after) THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        replaced := 'UNION ALL SELECT developer_id, day, key_id, outcome, -calls, -units FROM before';
    END IF;
    EXECUTE format(
        'INSERT INTO usage_key_months AS sum (developer_id, month, key_id, calls, throttled_calls, units)
         SELECT developer_id, date_trunc(''month'', day, ''UTC''), key_id, sum(calls),
                coalesce(sum(calls) FILTER (
                    WHERE outcome IN (''rate_limited'', ''rate_limited_developer'', ''quota_exceeded'')
                ), 0),
                sum(units)
         FROM (SELECT developer_id, day, key_id, outcome, calls, units FROM after %s) AS change
         GROUP BY 1, 2, 3
         ORDER BY 1, 2, 3
         ON CONFLICT (developer_id, month, key_id)
         DO UPDATE SET calls = sum.calls + excluded.calls, units = sum.units + excluded.units,
                       throttled_calls = sum.throttled_calls + excluded.throttled_calls',
        replaced
    );
    RETURN NULL;
END $$;

REVOKE EXECUTE ON FUNCTION add_up_usage(), add_up_key_months() FROM PUBLIC;

CREATE TRIGGER usage_minutes_inserted AFTER INSERT ON usage_minutes REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_usage('minute', 'usage_developer_minutes');

CREATE TRIGGER usage_minutes_updated AFTER UPDATE ON usage_minutes REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_usage('minute', 'usage_developer_minutes');

CREATE TRIGGER usage_hours_inserted AFTER INSERT ON usage_hours REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_usage('hour', 'usage_developer_hours');

CREATE TRIGGER usage_hours_updated AFTER UPDATE ON usage_hours REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_usage('hour', 'usage_developer_hours');

CREATE TRIGGER usage_days_inserted AFTER INSERT ON usage_days REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_usage('day', 'usage_developer_days');

CREATE TRIGGER usage_days_updated AFTER UPDATE ON usage_days REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_usage('day', 'usage_developer_days');

CREATE TRIGGER usage_days_inserted_by_key AFTER INSERT ON usage_days REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_key_months();

CREATE TRIGGER usage_days_updated_by_key AFTER UPDATE ON usage_days REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_key_months();
