"""A call of a developer as handlers see it: authenticated, and with headers for its answer."""

from datetime import UTC, datetime
from typing import Any

from server.identity.principal import AccessToken, Principal, bind_principal
from server.ids import DeveloperId
from server.rpc.call import Call, bind_call

CONTEXT: Any = None


def calling(developer_id: DeveloperId) -> Call:
    """Make a developer the caller of what follows."""
    token = AccessToken(
        issuer="test",
        subject="subject",
        client_id=None,
        token_id=None,
        scopes=frozenset(),
        expires_at=datetime(2100, 1, 1, tzinfo=UTC),
        digest=bytes(32),
    )
    bind_principal(Principal(developer_id=developer_id, token=token))
    call = Call(method="", context=CONTEXT, metadata=())
    bind_call(call)
    return call
