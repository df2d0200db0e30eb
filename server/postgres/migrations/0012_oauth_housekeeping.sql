-- outside a transaction
-- What OAuth's housekeeping needs, beside the service.
-- Whoever comes after the next change in the queue for the table waits as long.
SET lock_timeout = '1s';

-- What a client lost after a backup it loses again when that is restored, and may then have none left of either.
ALTER TABLE oauth_clients
    DROP CONSTRAINT IF EXISTS oauth_clients_scopes_present,
    DROP CONSTRAINT IF EXISTS oauth_clients_redirect_uris,
    ADD CONSTRAINT oauth_clients_redirect_uris CHECK (cardinality(redirect_uris) <= 20) NOT VALID;

RESET lock_timeout;

ALTER TABLE oauth_clients VALIDATE CONSTRAINT oauth_clients_redirect_uris;

-- Left invalid by a run that was broken off.
DROP INDEX CONCURRENTLY IF EXISTS oauth_refresh_tokens_by_end;

-- Used refresh tokens go when their own time is over. Of all tokens: were it of the used ones alone, each use would write
-- to every index of the table.
CREATE INDEX CONCURRENTLY oauth_refresh_tokens_by_end ON oauth_refresh_tokens (expires_at);
