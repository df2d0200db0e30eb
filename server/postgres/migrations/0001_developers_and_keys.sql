-- The one source of time: everything that asks "now?" calls clock(), so that tests can replace it.
CREATE FUNCTION clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- A developer is a subject of a token issuer.
CREATE TABLE developers (
    id           text COLLATE "C" NOT NULL,
    issuer       text COLLATE "C" NOT NULL,
    subject      text COLLATE "C" NOT NULL,
    created_at   timestamptz NOT NULL,
    suspended_at timestamptz,
    CONSTRAINT developers_pkey PRIMARY KEY (id),
    CONSTRAINT developers_identity_key UNIQUE (issuer, subject)
);

-- An API key: what stays the same while its secrets come and go. key_prefix repeats that of the newest secret, so that
-- reading and listing keys touches one table.
CREATE TABLE api_keys (
    id           text COLLATE "C" NOT NULL,
    developer_id text COLLATE "C" NOT NULL,
    name         text NOT NULL,
    environment  text COLLATE "C" NOT NULL,
    scopes       text[] COLLATE "C" NOT NULL,
    key_prefix   text COLLATE "C" NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_developer_fkey FOREIGN KEY (developer_id) REFERENCES developers (id),
    CONSTRAINT api_keys_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT api_keys_environment CHECK (environment IN ('live', 'test')),
    CONSTRAINT api_keys_scopes_present CHECK (cardinality(scopes) >= 1)
) WITH (fillfactor = 90);  -- room for last_used_at to change in place

-- The order of ListApiKeys; a page costs the same at any depth.
CREATE INDEX api_keys_newest_first ON api_keys (developer_id, created_at DESC, id DESC);

-- One secret version of a key. Found by its unique prefix, proved by its digest; no copy that could be read back.
-- A version without a deadline is the current one; a key has at most one.
CREATE TABLE api_key_secrets (
    key_prefix     text COLLATE "C" NOT NULL,
    key_id         text COLLATE "C" NOT NULL,
    version        integer NOT NULL,
    digest         bytea NOT NULL,
    pepper_version integer NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz,
    last_used_at   timestamptz,
    CONSTRAINT api_key_secrets_pkey PRIMARY KEY (key_prefix),
    CONSTRAINT api_key_secrets_key_fkey FOREIGN KEY (key_id) REFERENCES api_keys (id),
    CONSTRAINT api_key_secrets_version_key UNIQUE (key_id, version),
    CONSTRAINT api_key_secrets_version_positive CHECK (version >= 1),
    CONSTRAINT api_key_secrets_digest_length CHECK (octet_length(digest) = 32)
) WITH (fillfactor = 90);

CREATE UNIQUE INDEX api_key_secrets_one_current ON api_key_secrets (key_id) WHERE expires_at IS NULL;

-- Revocation is final, whoever asks.
CREATE FUNCTION refuse_unrevoke() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a revoked key stays revoked' USING ERRCODE = 'restrict_violation', CONSTRAINT = 'api_keys_revoked_for_ever';
END $$;

CREATE TRIGGER api_keys_revoked_for_ever BEFORE UPDATE ON api_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
    EXECUTE FUNCTION refuse_unrevoke();

-- What makes retries of create and rotate safe. request_digest is SHA-256 of the caller's request id, which is never
-- stored; sealed is the encrypted answer, erased after 10 minutes; the row goes after 24 hours.
CREATE TABLE request_ids (
    developer_id   text COLLATE "C" NOT NULL,
    method         text COLLATE "C" NOT NULL,
    request_digest bytea NOT NULL,
    payload_digest bytea NOT NULL,
    key_id         text COLLATE "C",
    sealed         bytea,
    pepper_version integer,
    created_at     timestamptz NOT NULL,
    CONSTRAINT request_ids_pkey PRIMARY KEY (developer_id, method, request_digest),
    CONSTRAINT request_ids_developer_fkey FOREIGN KEY (developer_id) REFERENCES developers (id)
);

CREATE INDEX request_ids_by_age ON request_ids (created_at);
CREATE INDEX request_ids_sealed_by_age ON request_ids (created_at) WHERE sealed IS NOT NULL;

-- Who changed what and when; written in the transaction of the change, never updated.
CREATE TABLE audit_events (
    id           text COLLATE "C" NOT NULL,
    developer_id text COLLATE "C" NOT NULL,
    action       text COLLATE "C" NOT NULL,
    target_id    text COLLATE "C" NOT NULL,
    call_id      text COLLATE "C" NOT NULL,
    details      jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT audit_events_pkey PRIMARY KEY (id),
    CONSTRAINT audit_events_developer_fkey FOREIGN KEY (developer_id) REFERENCES developers (id)
);

CREATE INDEX audit_events_newest_first ON audit_events (developer_id, created_at DESC, id DESC);
