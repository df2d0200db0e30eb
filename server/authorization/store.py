"""Grants, codes and refresh tokens in PostgreSQL; of codes and tokens only the SHA-256."""

import hashlib
from pathlib import Path
from typing import Any

from server.authorization.model import (
    CODE_LIFETIME,
    GRANT_LIFETIME,
    REFRESH_TOKEN_LIFETIME,
    AuthorizationCode,
    AuthorizationRequest,
    Grant,
    RefreshToken,
)
from server.ids import GrantId
from server.postgres.pool import Connection, Database
from server.postgres.queries import load
from server.secret import Secret

_SQL = load(Path(__file__).with_name("queries.sql"))


class GrantStore:
    """Reads and writes grants over a pool for single statements, or over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def create(
        self, grant_id: GrantId, request: AuthorizationRequest, subject: str, scopes: tuple[str, ...], code: Secret
    ) -> None:
        """Add a grant and its code."""
        await self._connection.execute(
            _SQL["create_grant"], grant_id, request.client.id, subject, list(scopes), CODE_LIFETIME
        )
        await self._connection.execute(
            _SQL["create_code"],
            _digest(code),
            grant_id,
            request.redirect_uri,
            request.code_challenge,
            CODE_LIFETIME,
        )

    async def lock(self, code_or_token: Secret) -> Grant | None:
        """Find the grant of a code or refresh token, and hold it until the transaction ends, if there is one.

        The code or token itself is read after that, by a statement that sees what was done while this one waited.
        """
        row = await self._connection.fetchrow(_SQL["lock_grant"], _digest(code_or_token))
        return _grant(row) if row else None

    async def find_code(self, grant_id: GrantId, code: Secret) -> AuthorizationCode | None:
        """Read a code of a grant."""
        row = await self._connection.fetchrow(_SQL["find_code"], _digest(code), grant_id)
        return AuthorizationCode(**dict(row)) if row else None

    async def find_refresh_token(self, grant_id: GrantId, token: Secret) -> RefreshToken | None:
        """Read a refresh token of a grant."""
        row = await self._connection.fetchrow(_SQL["find_refresh_token"], _digest(token), grant_id)
        return RefreshToken(**dict(row)) if row else None

    async def find(self, grant_id: GrantId) -> Grant | None:
        """Read a grant for its access tokens: it is live until it is revoked or its client or user is shut out."""
        row = await self._connection.fetchrow(_SQL["find_grant"], grant_id)
        return _grant(row) if row else None

    async def use_code(self, grant_id: GrantId, code: Secret) -> bool:
        """Use a code up; False when it was."""
        return await self._connection.fetchrow(_SQL["use_code"], _digest(code), grant_id) is not None

    async def use_refresh_token(self, grant_id: GrantId, token: Secret) -> bool:
        """Use a refresh token up; False when it was."""
        return await self._connection.fetchrow(_SQL["use_refresh_token"], _digest(token), grant_id) is not None

    async def add_refresh_token(self, grant_id: GrantId, token: Secret) -> bool:
        """Add a refresh token and extend the grant to the token's end; False when the grant was revoked."""
        row = await self._connection.fetchrow(_SQL["extend_grant"], grant_id, REFRESH_TOKEN_LIFETIME, GRANT_LIFETIME)
        if row is None:
            return False
        await self._connection.execute(_SQL["create_refresh_token"], _digest(token), grant_id, row["expires_at"])
        return True

    async def revoke(self, grant_id: GrantId) -> bool:
        """End a grant; False when it was revoked before."""
        return await self._connection.fetchrow(_SQL["revoke_grant"], grant_id) is not None

    async def find_consent(self, subject: str, client_id: str) -> tuple[str, ...]:
        """Read the scopes that a user allowed a client before."""
        row = await self._connection.fetchrow(_SQL["find_consent"], subject, client_id)
        return tuple(row["scopes"]) if row else ()

    async def remember_consent(
        self, subject: str, client_id: str, *, asked: tuple[str, ...], allowed: tuple[str, ...]
    ) -> None:
        """Keep a user's answer to what a client asked for."""
        await self._connection.execute(_SQL["remember_consent"], subject, client_id, list(allowed), list(asked))

    async def sweep(self, limit: int) -> int:
        """Delete up to `limit` grants that ended an hour ago and return how many they were."""
        row = await self._connection.fetchrow(_SQL["sweep_grants"], limit)
        return int(row["count"]) if row else 0

    async def sweep_refresh_tokens(self, limit: int) -> int:
        """Delete up to `limit` used refresh tokens whose own time is over and return how many they were."""
        row = await self._connection.fetchrow(_SQL["sweep_refresh_tokens"], limit)
        return int(row["count"]) if row else 0


def _digest(secret: Secret) -> bytes:
    return hashlib.sha256(secret.reveal().encode()).digest()


def _grant(row: Any) -> Grant:
    values = dict(row)
    return Grant(**{**values, "scopes": tuple(values["scopes"])})
