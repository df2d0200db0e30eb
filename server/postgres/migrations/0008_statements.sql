-- Sums of the ledger by month (UTC) of posting, kept with each posting: `streams` of events acquired in that month or
-- later, `adjustments` of events acquired before it. So the sums of a month that is over change no more. The shards let
-- writers pass one another; the last one holds what was posted before this table was there.
CREATE TABLE statement_sums (
    developer_id text COLLATE "C" NOT NULL,
    month        date NOT NULL,
    client_id    text COLLATE "C" NOT NULL,
    medium       text COLLATE "C" NOT NULL,
    shard        smallint NOT NULL,
    streams      bigint NOT NULL,
    adjustments  bigint NOT NULL,
    CONSTRAINT statement_sums_pkey PRIMARY KEY (developer_id, month, client_id, medium, shard)
) WITH (fillfactor = 50);

-- Whose a posting is, so that those of a developer are found in the order in which they were made.
ALTER TABLE stream_postings
    ADD COLUMN developer_id text COLLATE "C",
    ADD CONSTRAINT stream_postings_developer_known CHECK (developer_id IS NOT NULL) NOT VALID;

-- The release before this one posts without a developer, and keeps no sums by month: both is done for it here.
CREATE FUNCTION complete_posting() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    event record;
    begun timestamptz := date_trunc('month', NEW.posted_at, 'UTC');
BEGIN
    SELECT developer_id, client_id, medium, acquired_at < begun AS is_late INTO STRICT event
    FROM stream_events
    WHERE event_id = NEW.event_id;
    NEW.developer_id := event.developer_id;
    INSERT INTO statement_sums (developer_id, month, client_id, medium, shard, streams, adjustments)
    VALUES (
        event.developer_id, (begun AT TIME ZONE 'UTC')::date, event.client_id, event.medium, pg_backend_pid() % 16,
        CASE WHEN event.is_late THEN 0 ELSE NEW.amount END, CASE WHEN event.is_late THEN NEW.amount ELSE 0 END
    )
    ON CONFLICT ON CONSTRAINT statement_sums_pkey DO UPDATE
    SET streams = statement_sums.streams + excluded.streams, adjustments = statement_sums.adjustments + excluded.adjustments;
    RETURN NEW;
END $$;

CREATE TRIGGER stream_postings_complete BEFORE INSERT ON stream_postings
    FOR EACH ROW WHEN (NEW.developer_id IS NULL) EXECUTE FUNCTION complete_posting();

-- Since when something is recorded that was not before: for whoever concludes anything from what is absent.
CREATE TABLE recordings (
    name     text COLLATE "C" NOT NULL,
    began_at timestamptz NOT NULL,
    CONSTRAINT recordings_pkey PRIMARY KEY (name)
);

-- The scopes of a key that calls have needed, as key_scope_uses says, so that keys are looked over in one pass.
ALTER TABLE api_keys ADD COLUMN needed_scopes text[] COLLATE "C" NOT NULL DEFAULT '{}';

-- Whose a secret is that was replaced, so that those of a developer that still work are found without its keys.
ALTER TABLE api_key_secrets ADD COLUMN retired_for text COLLATE "C";

CREATE FUNCTION name_developer_of_retired_secret() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT developer_id INTO NEW.retired_for FROM api_keys WHERE id = NEW.key_id;
    RETURN NEW;
END $$;

CREATE TRIGGER api_key_secrets_name_developer BEFORE INSERT OR UPDATE OF retired_at ON api_key_secrets
    FOR EACH ROW WHEN (NEW.retired_at IS NOT NULL AND NEW.retired_for IS NULL)
    EXECUTE FUNCTION name_developer_of_retired_secret();

INSERT INTO recordings VALUES ('key_scope_uses', clock());
