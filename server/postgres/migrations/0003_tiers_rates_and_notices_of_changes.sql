-- What existing tables get. It locks them for a moment: no row is read or written, the next file looks at those.

ALTER TABLE developers
    ADD COLUMN tier text COLLATE "C" NOT NULL DEFAULT 'standard',
    ADD CONSTRAINT developers_tier_fkey FOREIGN KEY (tier) REFERENCES tiers (name) NOT VALID;

-- A key may have a rate limit of its own instead of its tier's.
ALTER TABLE api_keys
    ADD COLUMN rate_requests integer,
    ADD COLUMN rate_seconds  integer,
    ADD CONSTRAINT api_keys_rate CHECK (
        (rate_requests IS NULL) = (rate_seconds IS NULL)
        AND rate_requests BETWEEN 1 AND 999999999 AND rate_seconds BETWEEN 1 AND 86400
    ) NOT VALID;

-- retired_at: when a newer secret took over; last_client_ip: where the secret was last used from.
ALTER TABLE api_key_secrets
    ADD COLUMN retired_at     timestamptz,
    ADD COLUMN last_client_ip text COLLATE "C";

-- A new secret retires those before it, also when the release before this one adds it.
CREATE FUNCTION retire_older_secrets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE api_key_secrets SET retired_at = NEW.created_at
    WHERE key_id = NEW.key_id AND version < NEW.version AND retired_at IS NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER api_key_secrets_retire AFTER INSERT ON api_key_secrets
    FOR EACH ROW WHEN (NEW.version > 1) EXECUTE FUNCTION retire_older_secrets();

-- Whoever changes what a verification depends on tells every server so, in the same transaction: the channel's messages
-- are ids of keys and developers, or `*` for everything, which is also what a change of very many says. Use of a key is
-- no such change. Statements are compared before and after by EXCEPT, sorted: a join would keep the plan of its first,
-- small use for ever, and a hash would hold a change of everything in memory.
CREATE FUNCTION tell_changed(ids text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(ids) > 1000 THEN
        PERFORM pg_notify('verification', '*');
    ELSE
        PERFORM pg_notify('verification', id) FROM unnest(ids) AS id;
    END IF;
END $$;

CREATE FUNCTION tell_developers_changed() RETURNS trigger LANGUAGE plpgsql SET enable_hashagg = off AS $$
BEGIN
    PERFORM tell_changed(ARRAY(
        SELECT id FROM (
            SELECT id, suspended_at, tier FROM after EXCEPT SELECT id, suspended_at, tier FROM before
        ) AS changed
        LIMIT 1001
    ));
    RETURN NULL;
END $$;

CREATE FUNCTION tell_keys_changed() RETURNS trigger LANGUAGE plpgsql SET enable_hashagg = off AS $$
BEGIN
    PERFORM tell_changed(ARRAY(
        SELECT id FROM (
            SELECT id, developer_id, environment, scopes, expires_at, revoked_at, rate_requests, rate_seconds FROM after
            EXCEPT
            SELECT id, developer_id, environment, scopes, expires_at, revoked_at, rate_requests, rate_seconds FROM before
        ) AS changed
        LIMIT 1001
    ));
    RETURN NULL;
END $$;

CREATE FUNCTION tell_secrets_changed() RETURNS trigger LANGUAGE plpgsql SET enable_hashagg = off AS $$
BEGIN
    PERFORM tell_changed(ARRAY(
        SELECT DISTINCT key_id FROM (
            SELECT key_id, key_prefix, expires_at FROM after EXCEPT SELECT key_id, key_prefix, expires_at FROM before
        ) AS changed
        LIMIT 1001
    ));
    RETURN NULL;
END $$;

CREATE FUNCTION tell_secrets_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_changed(ARRAY(SELECT DISTINCT key_id FROM before LIMIT 1001));
    RETURN NULL;
END $$;

CREATE FUNCTION tell_everything_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('verification', '*');
    RETURN NULL;
END $$;

CREATE TRIGGER developers_tell AFTER UPDATE ON developers
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION tell_developers_changed();

CREATE TRIGGER api_keys_tell AFTER UPDATE ON api_keys
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION tell_keys_changed();

CREATE TRIGGER api_key_secrets_tell AFTER UPDATE ON api_key_secrets
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION tell_secrets_changed();

CREATE TRIGGER api_key_secrets_tell_deleted AFTER DELETE ON api_key_secrets
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION tell_secrets_deleted();

CREATE TRIGGER tiers_tell AFTER UPDATE ON tiers
    FOR EACH STATEMENT EXECUTE FUNCTION tell_everything_changed();
