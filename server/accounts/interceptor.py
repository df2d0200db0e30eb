"""The link that lets developers in: from a verified access token to the developer whose keys it may manage."""

from collections.abc import Collection
from typing import Any

from server.accounts.service import AccountService
from server.identity.principal import Principal, bind_principal, current_token
from server.rpc.call import Call, Proceed

NEWCOMERS_METHODS = frozenset(["/sdk.portal.v1.AccountService/RegisterDeveloper"])
"""What those may call who are no developers yet. Their handlers have the caller's token, and no principal."""


class DeveloperAuthorisation:
    """Finds the developer behind the call's token and makes it the call's principal."""

    def __init__(self, accounts: AccountService, newcomers_methods: Collection[str] = NEWCOMERS_METHODS) -> None:
        self._accounts = accounts
        self._newcomers_methods = newcomers_methods

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call of a developer, or of somebody who is about to become one.

        Raises:
            PermissionDenied: the token's subject is no developer in good standing.
        """
        if call.method in self._newcomers_methods:
            return await proceed(call, request)
        token = current_token()
        developer = await self._accounts.authorise(token.issuer, token.subject, call.id)
        bind_principal(Principal(developer_id=developer.id, token=token))
        call.labels["developer_id"] = developer.id
        return await proceed(call, request)
