-- name: find_secrets
-- Read some secret versions of keys and clients by their prefixes, with all that their state depends on.
SELECT
    'API key' AS holder,
    key.id AS holder_id,
    key.developer_id,
    secret.key_prefix AS prefix,
    secret.version,
    secret.digest,
    secret.pepper_version,
    secret.expires_at IS NOT NULL AS retires,
    EXISTS (
        SELECT FROM api_key_secrets AS newer WHERE newer.key_id = secret.key_id AND newer.version > secret.version
    ) AS retired,
    coalesce(secret.expires_at <= moment.now, false) AS ended,
    key.revoked_at IS NOT NULL AS revoked,
    coalesce(key.expires_at <= moment.now, false) AS expired,
    developer.suspended_at IS NOT NULL AS suspended
FROM (SELECT clock() AS now) AS moment
CROSS JOIN api_key_secrets AS secret
JOIN api_keys AS key ON key.id = secret.key_id
JOIN developers AS developer ON developer.id = key.developer_id
WHERE secret.key_prefix = ANY ($1)
UNION ALL
SELECT
    'OAuth client',
    client.id,
    client.developer_id,
    secret.secret_prefix,
    secret.version,
    secret.digest,
    secret.pepper_version,
    secret.expires_at IS NOT NULL,
    EXISTS (
        SELECT FROM oauth_client_secrets AS newer
        WHERE newer.client_id = secret.client_id AND newer.version > secret.version
    ),
    coalesce(secret.expires_at <= moment.now, false),
    client.deleted_at IS NOT NULL,
    false,
    developer.suspended_at IS NOT NULL
FROM (SELECT clock() AS now) AS moment
CROSS JOIN oauth_client_secrets AS secret
JOIN oauth_clients AS client ON client.id = secret.client_id
JOIN developers AS developer ON developer.id = client.developer_id
WHERE secret.secret_prefix = ANY ($1);

-- name: hold_key
-- Hold the row of a key until the transaction ends, so that it is neither rotated nor revoked meanwhile.
SELECT FROM api_keys WHERE id = $1 AND developer_id = $2 FOR UPDATE;

-- name: hold_client
-- Hold the row of a client until the transaction ends, so that it is neither rotated nor deleted meanwhile.
SELECT FROM oauth_clients WHERE id = $1 AND developer_id = $2 FOR UPDATE;

-- name: end_key_secret
-- End now one secret version of a held key.
UPDATE api_key_secrets SET expires_at = clock()
WHERE key_prefix = $1 AND key_id = $2 AND expires_at > (SELECT clock());

-- name: end_client_secret
-- End now one secret version of a held client, the current one too.
UPDATE oauth_client_secrets SET expires_at = clock()
WHERE secret_prefix = $1 AND client_id = $2 AND coalesce(expires_at, 'infinity') > (SELECT clock());

-- name: find_report
-- Tell whether a leak of a secret at a place was recorded before.
SELECT EXISTS (
    SELECT FROM audit_events
    WHERE developer_id = $1 AND target_id = $2 AND action = $3
      AND details ->> 'key_prefix' = $4 AND details ->> 'url' = $5
) AS reported;
