"""What is kept for clients of our own: accounts and OAuth clients, whatever a user allowed another application."""

from datetime import UTC, datetime
from typing import Any

import pytest

from server.authorization.interceptor import FirstPartyOnly
from server.errors import PermissionDenied
from server.identity.principal import AccessToken, bind_token
from server.rpc.call import Call
from server.services import FIRST_PARTY_SERVICES, OWN_CLIENTS, PUBLIC_SERVICES

LINK = FirstPartyOnly(FIRST_PARTY_SERVICES, OWN_CLIENTS)
METHODS = [f"/{service.full_name}/{method.name}" for service in PUBLIC_SERVICES for method in service.methods]
KEPT = [method for method in METHODS if method.split("/")[1] in FIRST_PARTY_SERVICES]


async def _call(method: str, client_id: str | None) -> Any:
    bind_token(
        AccessToken(
            issuer="i",
            subject="s",
            client_id=client_id,
            token_id="t",
            scopes=frozenset(),
            expires_at=datetime(2030, 1, 1, tzinfo=UTC),
            digest=b"d",
        )
    )
    context: Any = None

    async def proceed(call: Call, request: Any) -> Any:
        return request

    return await LINK(proceed, Call(method=method, context=context, metadata=()), "handled")


@pytest.mark.parametrize("client_id", OWN_CLIENTS)
@pytest.mark.parametrize("method", METHODS)
async def test_our_own_clients_may_call_everything(method: str, client_id: str) -> None:
    assert await _call(method, client_id) == "handled"


@pytest.mark.parametrize("client_id", ["client_01jd3m8r5vf4q9zq5k2t7w6x8y", "developer-portal2", "", None])
@pytest.mark.parametrize("method", KEPT)
async def test_other_applications_may_not_change_accounts_and_clients(method: str, client_id: str | None) -> None:
    with pytest.raises(PermissionDenied) as refusal:
        await _call(method, client_id)
    assert refusal.value.metadata == {"reason": "first_party_only"}


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(KEPT)))
async def test_other_applications_may_call_the_rest(method: str) -> None:
    assert await _call(method, "client_01jd3m8r5vf4q9zq5k2t7w6x8y") == "handled"
