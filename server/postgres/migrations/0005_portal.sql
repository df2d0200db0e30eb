-- A person who signs in at the local issuer. The password is an Argon2 hash; the name is the subject of its tokens.
CREATE TABLE users (
    username      text COLLATE "C" NOT NULL,
    password_hash text COLLATE "C" NOT NULL,
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz,
    CONSTRAINT users_pkey PRIMARY KEY (username),
    CONSTRAINT users_username_form CHECK (username ~ '^[a-z0-9][a-z0-9._-]{0,62}$')
);

-- Whoever is signed in, by the SHA-256 of what the browser's cookie holds: at the issuer, in the portal, or on the way
-- there. The content is sealed under a key that the cookie and the pepper together make.
CREATE TABLE sessions (
    digest         bytea NOT NULL,
    kind           text COLLATE "C" NOT NULL,
    subject        text COLLATE "C" NOT NULL,
    content        bytea NOT NULL,
    pepper_version integer NOT NULL,
    created_at     timestamptz NOT NULL,
    seen_at        timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (digest),
    CONSTRAINT sessions_digest_length CHECK (octet_length(digest) = 32)
);

CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX sessions_by_subject ON sessions (subject, kind);

-- An application of a developer that asks users for access. A deleted one stays, for what its id stands beside.
CREATE TABLE oauth_clients (
    id             text COLLATE "C" NOT NULL,
    developer_id   text COLLATE "C" NOT NULL,
    name           text NOT NULL,
    type           text COLLATE "C" NOT NULL,
    redirect_uris  text[] COLLATE "C" NOT NULL,
    allowed_scopes text[] COLLATE "C" NOT NULL,
    created_at     timestamptz NOT NULL,
    deleted_at     timestamptz,
    CONSTRAINT oauth_clients_pkey PRIMARY KEY (id),
    CONSTRAINT oauth_clients_developer_fkey FOREIGN KEY (developer_id) REFERENCES developers (id),
    CONSTRAINT oauth_clients_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT oauth_clients_type CHECK (type IN ('public', 'confidential')),
    CONSTRAINT oauth_clients_redirect_uris CHECK (cardinality(redirect_uris) BETWEEN 1 AND 20),
    CONSTRAINT oauth_clients_scopes_present CHECK (cardinality(allowed_scopes) >= 1)
);

CREATE INDEX oauth_clients_newest_first ON oauth_clients (developer_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;

-- One secret version of a confidential client, as api_key_secrets are of a key.
CREATE TABLE oauth_client_secrets (
    secret_prefix  text COLLATE "C" NOT NULL,
    client_id      text COLLATE "C" NOT NULL,
    version        integer NOT NULL,
    digest         bytea NOT NULL,
    pepper_version integer NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz,
    retired_at     timestamptz,
    last_used_at   timestamptz,
    CONSTRAINT oauth_client_secrets_pkey PRIMARY KEY (secret_prefix),
    CONSTRAINT oauth_client_secrets_client_fkey FOREIGN KEY (client_id) REFERENCES oauth_clients (id),
    CONSTRAINT oauth_client_secrets_version_key UNIQUE (client_id, version),
    CONSTRAINT oauth_client_secrets_digest_length CHECK (octet_length(digest) = 32)
);

CREATE UNIQUE INDEX oauth_client_secrets_one_current ON oauth_client_secrets (client_id) WHERE expires_at IS NULL;

-- What a user allowed a client, for as long as its tokens are renewed. Clients of our own have no row in oauth_clients.
CREATE TABLE oauth_grants (
    id         text COLLATE "C" NOT NULL,
    client_id  text COLLATE "C" NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    scopes     text[] COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT oauth_grants_pkey PRIMARY KEY (id)
);

CREATE INDEX oauth_grants_by_client ON oauth_grants (client_id) WHERE revoked_at IS NULL;
CREATE INDEX oauth_grants_by_subject ON oauth_grants (subject, client_id) WHERE revoked_at IS NULL;
CREATE INDEX oauth_grants_by_end ON oauth_grants (expires_at);

-- An authorization code, by its SHA-256. A used one stays until its grant goes, so that a second use is noticed.
CREATE TABLE oauth_codes (
    digest         bytea NOT NULL,
    grant_id       text COLLATE "C" NOT NULL,
    redirect_uri   text COLLATE "C" NOT NULL,
    code_challenge text COLLATE "C" NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    used_at        timestamptz,
    CONSTRAINT oauth_codes_pkey PRIMARY KEY (digest),
    CONSTRAINT oauth_codes_grant_fkey FOREIGN KEY (grant_id) REFERENCES oauth_grants (id) ON DELETE CASCADE
);

CREATE INDEX oauth_codes_by_grant ON oauth_codes (grant_id);

-- A refresh token, by its SHA-256. Used ones stay until their grant goes, so that a second use is noticed.
CREATE TABLE oauth_refresh_tokens (
    digest     bytea NOT NULL,
    grant_id   text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    CONSTRAINT oauth_refresh_tokens_pkey PRIMARY KEY (digest),
    CONSTRAINT oauth_refresh_tokens_grant_fkey FOREIGN KEY (grant_id) REFERENCES oauth_grants (id) ON DELETE CASCADE
);

CREATE INDEX oauth_refresh_tokens_by_grant ON oauth_refresh_tokens (grant_id);

-- What a user has allowed a client before, so that the consent page can say what is new.
CREATE TABLE oauth_consents (
    subject    text COLLATE "C" NOT NULL,
    client_id  text COLLATE "C" NOT NULL,
    scopes     text[] COLLATE "C" NOT NULL,
    granted_at timestamptz NOT NULL,
    CONSTRAINT oauth_consents_pkey PRIMARY KEY (subject, client_id)
);

-- When calls last needed a scope that their key has.
CREATE TABLE key_scope_uses (
    key_id       text COLLATE "C" NOT NULL,
    scope        text COLLATE "C" NOT NULL,
    last_used_at timestamptz NOT NULL,
    CONSTRAINT key_scope_uses_pkey PRIMARY KEY (key_id, scope),
    CONSTRAINT key_scope_uses_key_fkey FOREIGN KEY (key_id) REFERENCES api_keys (id)
) WITH (fillfactor = 70);

-- Wishes of developers for another tier; operators decide.
CREATE TABLE tier_requests (
    id           text COLLATE "C" NOT NULL,
    developer_id text COLLATE "C" NOT NULL,
    tier         text COLLATE "C" NOT NULL,
    reason       text NOT NULL,
    created_at   timestamptz NOT NULL,
    settled_at   timestamptz,
    settlement   text COLLATE "C",
    CONSTRAINT tier_requests_pkey PRIMARY KEY (id),
    CONSTRAINT tier_requests_developer_fkey FOREIGN KEY (developer_id) REFERENCES developers (id),
    CONSTRAINT tier_requests_tier_fkey FOREIGN KEY (tier) REFERENCES tiers (name),
    CONSTRAINT tier_requests_settlement CHECK (
        (settled_at IS NULL) = (settlement IS NULL) AND settlement IN ('granted', 'declined', 'replaced')
    )
);

CREATE UNIQUE INDEX tier_requests_one_open ON tier_requests (developer_id) WHERE settled_at IS NULL;
