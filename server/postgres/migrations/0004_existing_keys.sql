-- outside a transaction
-- The long work on existing rows, beside the service: nothing here makes a reader or a writer wait for more than a step.
ALTER TABLE developers VALIDATE CONSTRAINT developers_tier_fkey;

ALTER TABLE api_keys VALIDATE CONSTRAINT api_keys_rate;

-- Left invalid by a run that was broken off.
DROP INDEX CONCURRENTLY IF EXISTS api_keys_not_revoked;

-- Live keys are counted against the tier when one is made, without a look at those that have expired.
CREATE INDEX CONCURRENTLY api_keys_not_revoked ON api_keys (developer_id, coalesce(expires_at, 'infinity'))
    WHERE revoked_at IS NULL;

-- When the secrets that were replaced before the last file came were retired.
DO $$
DECLARE
    done text COLLATE "C" := '';
    upto text COLLATE "C";
BEGIN
    LOOP
        SELECT max(id) INTO upto FROM (SELECT id FROM api_keys WHERE id > done ORDER BY id LIMIT 10000) AS step;
        EXIT WHEN upto IS NULL;
        UPDATE api_key_secrets AS old
        SET retired_at = next.created_at
        FROM api_key_secrets AS next
        WHERE old.key_id > done AND old.key_id <= upto AND next.key_id > done AND next.key_id <= upto
          AND next.key_id = old.key_id AND next.version = old.version + 1 AND old.retired_at IS NULL;
        COMMIT;
        done := upto;
    END LOOP;
END $$;
