import asyncio
from datetime import UTC, datetime

import pytest

from server.identity.principal import (
    AccessToken,
    Principal,
    bind_principal,
    bind_token,
    current_principal,
    current_token,
)
from server.ids import DeveloperId


def _principal(subject: str) -> Principal:
    token = AccessToken(
        issuer="https://issuer.example",
        subject=subject,
        client_id=None,
        token_id=None,
        scopes=frozenset(),
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
        digest=b"\x07" * 32,
    )
    return Principal(developer_id=DeveloperId(f"dev_{subject}"), token=token)


async def test_a_call_that_nothing_has_authenticated_has_neither_token_nor_principal() -> None:
    with pytest.raises(RuntimeError, match="authenticated"):
        current_token()
    with pytest.raises(RuntimeError, match="authorised"):
        current_principal()


async def test_concurrent_calls_do_not_see_each_other() -> None:
    async def call(principal: Principal) -> bool:
        bind_token(principal.token)
        bind_principal(principal)
        await asyncio.sleep(0)
        return current_principal() is principal and current_token() is principal.token

    assert all(await asyncio.gather(*(call(_principal(f"user-{number}")) for number in range(20))))
    with pytest.raises(RuntimeError):
        current_principal()


def test_the_digest_stays_out_of_the_representation() -> None:
    assert "\\x07" not in repr(_principal("alice"))
