-- What developers of a tier may do. A null quota is none. The standard one is where developers begin.
CREATE TABLE tiers (
    name               text COLLATE "C" NOT NULL,
    requests           integer NOT NULL,
    window_seconds     integer NOT NULL,
    developer_requests integer NOT NULL,
    monthly_quota      bigint,
    max_keys           integer NOT NULL,
    concurrent_streams integer NOT NULL,
    CONSTRAINT tiers_pkey PRIMARY KEY (name),
    CONSTRAINT tiers_name_form CHECK (name ~ '^[a-z][a-z0-9_-]{0,31}$'),
    CONSTRAINT tiers_rates CHECK (requests BETWEEN 1 AND 999999999 AND developer_requests BETWEEN 1 AND 999999999),
    CONSTRAINT tiers_window CHECK (window_seconds BETWEEN 1 AND 86400),
    CONSTRAINT tiers_amounts CHECK (monthly_quota >= 1 AND max_keys >= 0 AND concurrent_streams >= 0)
);

INSERT INTO tiers VALUES ('standard', 600, 60, 600, 1000000, 1000, 10);

-- The servers that verify keys, each seen every second while it lives; a revocation may wait for them.
CREATE TABLE replicas (
    id      text COLLATE "C" NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT replicas_pkey PRIMARY KEY (id)
);

-- Verified calls by minute, key, operation, outcome and secret version. Partitioned by day: old days are dropped whole.
CREATE TABLE usage_minutes (
    minute         timestamptz NOT NULL,
    key_id         text COLLATE "C" NOT NULL,
    operation      text COLLATE "C" NOT NULL,
    outcome        text COLLATE "C" NOT NULL,
    secret_version integer NOT NULL,
    developer_id   text COLLATE "C" NOT NULL,
    calls          bigint NOT NULL,
    units          bigint NOT NULL,
    CONSTRAINT usage_minutes_pkey PRIMARY KEY (key_id, minute, operation, outcome, secret_version)
) PARTITION BY RANGE (minute);

CREATE INDEX usage_minutes_by_developer ON usage_minutes (developer_id, minute);
CREATE INDEX usage_minutes_newest ON usage_minutes (minute);  -- what a roll-up has to look at

-- The same by hour, in partitions of a month, and by day (UTC), in partitions of a year; made from the minutes.
CREATE TABLE usage_hours (
    hour           timestamptz NOT NULL,
    key_id         text COLLATE "C" NOT NULL,
    operation      text COLLATE "C" NOT NULL,
    outcome        text COLLATE "C" NOT NULL,
    secret_version integer NOT NULL,
    developer_id   text COLLATE "C" NOT NULL,
    calls          bigint NOT NULL,
    units          bigint NOT NULL,
    CONSTRAINT usage_hours_pkey PRIMARY KEY (key_id, hour, operation, outcome, secret_version)
) PARTITION BY RANGE (hour);

CREATE INDEX usage_hours_by_developer ON usage_hours (developer_id, hour);

CREATE TABLE usage_days (
    day            timestamptz NOT NULL,
    key_id         text COLLATE "C" NOT NULL,
    operation      text COLLATE "C" NOT NULL,
    outcome        text COLLATE "C" NOT NULL,
    secret_version integer NOT NULL,
    developer_id   text COLLATE "C" NOT NULL,
    calls          bigint NOT NULL,
    units          bigint NOT NULL,
    CONSTRAINT usage_days_pkey PRIMARY KEY (key_id, day, operation, outcome, secret_version)
) PARTITION BY RANGE (day);

CREATE INDEX usage_days_by_developer ON usage_days (developer_id, day);

-- Units that good calls of a developer used in a month (UTC), against its quota.
CREATE TABLE usage_months (
    developer_id text COLLATE "C" NOT NULL,
    month        date NOT NULL,
    units        bigint NOT NULL,
    CONSTRAINT usage_months_pkey PRIMARY KEY (developer_id, month)
) WITH (fillfactor = 50);

-- What was flushed: a batch whose answer was lost is sent again under its id and changes nothing the second time.
CREATE TABLE usage_batches (
    id           uuid NOT NULL,
    first_minute timestamptz NOT NULL,
    last_minute  timestamptz NOT NULL,
    flushed_at   timestamptz NOT NULL,
    CONSTRAINT usage_batches_pkey PRIMARY KEY (id)
);

CREATE INDEX usage_batches_by_age ON usage_batches (flushed_at);

-- How far a roll-up has come: batches flushed before this time are in it. Its row is the lock of the one who rolls up.
CREATE TABLE usage_rollups (
    name       text COLLATE "C" NOT NULL,
    done_until timestamptz NOT NULL,
    CONSTRAINT usage_rollups_pkey PRIMARY KEY (name)
);

INSERT INTO usage_rollups VALUES ('hours', '-infinity');

-- Make the partitions of now and soon, and drop those whose time is over. It runs with the rights of the schema's owner,
-- so that the service's own role needs none to make tables; hence temporary objects, which are the caller's, come last in
-- its path, and not everybody may call it. Any number may call it at once.
SELECT set_config('search_path', current_setting('search_path') || ', pg_temp', true);

CREATE FUNCTION maintain_usage_partitions() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
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
            ('usage_hours', 'month', interval '1 month', interval '1 month', interval '13 months', 'YYYYMM'),
            ('usage_days', 'year', interval '1 year', interval '1 year', interval '10 years', 'YYYY')
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

REVOKE EXECUTE ON FUNCTION maintain_usage_partitions() FROM PUBLIC;

SELECT maintain_usage_partitions();

-- The ledger of billable streams. An event is entered once and never changes, but for `billable`, which earlier events
-- that arrive late may change. logical_stream is a digest of developer, user, medium, content and quality.
CREATE TABLE stream_events (
    event_id       text COLLATE "C" NOT NULL,
    developer_id   text COLLATE "C" NOT NULL,
    client_id      text COLLATE "C" NOT NULL,
    user_id        text COLLATE "C" NOT NULL,
    content_id     text COLLATE "C" NOT NULL,
    medium         text COLLATE "C" NOT NULL,
    quality        text COLLATE "C" NOT NULL,
    acquired_at    timestamptz NOT NULL,
    url_expires_at timestamptz NOT NULL,
    logical_stream bytea NOT NULL,
    billable       boolean NOT NULL,
    recorded_at    timestamptz NOT NULL,
    CONSTRAINT stream_events_pkey PRIMARY KEY (event_id),
    CONSTRAINT stream_events_developer_fkey FOREIGN KEY (developer_id) REFERENCES developers (id),
    CONSTRAINT stream_events_medium CHECK (medium IN ('music', 'video')),
    CONSTRAINT stream_events_lifetime CHECK (
        acquired_at < url_expires_at AND url_expires_at - acquired_at <= interval '7 days'
    )
);

CREATE INDEX stream_events_by_logical_stream ON stream_events (logical_stream, acquired_at, event_id) INCLUDE (url_expires_at);
CREATE INDEX stream_events_by_developer ON stream_events (developer_id, acquired_at, event_id);

-- Every change of what is billed, never updated: +1 when an event becomes billable, -1 when an earlier one that arrived
-- late takes it back. Each happens to an event once at most, since nothing makes it billable again.
CREATE TABLE stream_postings (
    event_id  text COLLATE "C" NOT NULL,
    amount    smallint NOT NULL,
    posted_at timestamptz NOT NULL,
    CONSTRAINT stream_postings_pkey PRIMARY KEY (event_id, amount),
    CONSTRAINT stream_postings_event_fkey FOREIGN KEY (event_id) REFERENCES stream_events (event_id),
    CONSTRAINT stream_postings_amount CHECK (amount IN (1, -1))
);

-- Sums of the ledger by day (UTC) of acquisition, kept with each entry; the shards let writers pass one another.
CREATE TABLE stream_days (
    developer_id text COLLATE "C" NOT NULL,
    day          date NOT NULL,
    client_id    text COLLATE "C" NOT NULL,
    medium       text COLLATE "C" NOT NULL,
    shard        smallint NOT NULL,
    acquisitions bigint NOT NULL,
    billable     bigint NOT NULL,
    CONSTRAINT stream_days_pkey PRIMARY KEY (developer_id, day, client_id, medium, shard)
) WITH (fillfactor = 50);

-- Locks of logical streams, by a hash of them: who enters events holds the rows of theirs until the transaction ends.
CREATE TABLE stream_locks (
    slot smallint NOT NULL,
    CONSTRAINT stream_locks_pkey PRIMARY KEY (slot)
);

INSERT INTO stream_locks SELECT generate_series(0, 1023);
