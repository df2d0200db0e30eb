"""The link that lets developers in: from a verified access token to the developer whose keys it may manage."""

from typing import Any

from server.accounts.service import AccountService
from server.identity.principal import Principal, bind_principal, current_token
from server.rpc.call import Call, Proceed


class DeveloperAuthorisation:
    """Finds the developer behind the call's token and makes it the call's principal."""

    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call of a developer.

        Raises:
            PermissionDenied: the token's subject is no developer in good standing.
        """
        token = current_token()
        developer = await self._accounts.authorise(token.issuer, token.subject, call.id)
        bind_principal(Principal(developer_id=developer.id, token=token))
        call.labels["developer_id"] = developer.id
        return await proceed(call, request)
