"""The methods that pages call, as the signed-in user. Nothing is decided here: the answer is what any client gets."""

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from sdk.billing.v1 import billing_service_pb2 as billing
from sdk.developer.v1 import developer_service_pb2 as developer
from sdk.developer.v1.api_key_pb2 import ApiKey, ApiKeyEnvironment, ApiKeyStatus
from sdk.portal.v1 import account_service_pb2 as account
from sdk.portal.v1 import key_secret_service_pb2 as secrets
from sdk.portal.v1 import oauth_client_service_pb2 as clients
from sdk.portal.v1.account_pb2 import Developer, Tier
from sdk.portal.v1.oauth_client_pb2 import OAuthClient
from sdk.usage.v1 import usage_service_pb2 as usage
from sdk.usage.v1.usage_pb2 import Granularity, Usage

from server.rpc.in_process import InProcessCaller, ResponseT

_DEVELOPER = "/sdk.developer.v1.DeveloperService"
_USAGE = "/sdk.usage.v1.UsageService"
_SECRETS = "/sdk.portal.v1.KeySecretService"
_ACCOUNT = "/sdk.portal.v1.AccountService"
_CLIENTS = "/sdk.portal.v1.OAuthClientService"
_BILLING = "/sdk.billing.v1.BillingService"


class Calls:
    """Calls the public services with one access token. Every method raises CallFailed when the answer is an error."""

    def __init__(self, caller: InProcessCaller, token: str, peer: str) -> None:
        """Take the user's access token and the browser's address, written as gRPC writes peers."""
        self._caller = caller
        self._token = token
        self._peer = peer

    async def get_developer(self) -> Developer:
        """Return the user's account."""
        request = account.GetDeveloperRequest()
        return (await self._send(f"{_ACCOUNT}/GetDeveloper", request, account.GetDeveloperResponse)).developer

    async def register(self, request: account.RegisterDeveloperRequest) -> Developer:
        """Make the user a developer."""
        answer = await self._send(f"{_ACCOUNT}/RegisterDeveloper", request, account.RegisterDeveloperResponse)
        return answer.developer

    async def update_developer(self, request: account.UpdateDeveloperRequest) -> Developer:
        """Change the user's account."""
        answer = await self._send(f"{_ACCOUNT}/UpdateDeveloper", request, account.UpdateDeveloperResponse)
        return answer.developer

    async def list_audit_events(
        self, *, target_id: str = "", page_size: int = 0, page_token: str = ""
    ) -> account.ListAuditEventsResponse:
        """Return a page of what happened in the account, or to one thing in it."""
        request = account.ListAuditEventsRequest(target_id=target_id, page_size=page_size, page_token=page_token)
        return await self._send(f"{_ACCOUNT}/ListAuditEvents", request, account.ListAuditEventsResponse)

    async def list_tiers(self) -> Sequence[Tier]:
        """Return the tiers that there are."""
        return (await self._send(f"{_ACCOUNT}/ListTiers", account.ListTiersRequest(), account.ListTiersResponse)).tiers

    async def request_tier(self, tier: str, reason: str) -> Developer:
        """Ask the operators for another tier."""
        request = account.RequestTierRequest(tier=tier, reason=reason)
        return (await self._send(f"{_ACCOUNT}/RequestTier", request, account.RequestTierResponse)).developer

    async def list_keys(
        self, *, status: int = 0, environment: int = 0, query: str = "", page_token: str = ""
    ) -> developer.ListApiKeysResponse:
        """Return a page of the user's keys; the filters are numbers of the protos' enums, 0 for any."""
        request = developer.ListApiKeysRequest(
            status=ApiKeyStatus.ValueType(status),
            environment=ApiKeyEnvironment.ValueType(environment),
            query=query,
            page_token=page_token,
        )
        return await self._send(f"{_DEVELOPER}/ListApiKeys", request, developer.ListApiKeysResponse)

    async def get_key(self, key_id: str) -> ApiKey:
        """Return one key."""
        request = developer.GetApiKeyRequest(id=key_id)
        return (await self._send(f"{_DEVELOPER}/GetApiKey", request, developer.GetApiKeyResponse)).api_key

    async def create_key(self, request: developer.CreateApiKeyRequest) -> developer.CreateApiKeyResponse:
        """Make a key; the answer carries its secret."""
        return await self._send(f"{_DEVELOPER}/CreateApiKey", request, developer.CreateApiKeyResponse)

    async def rename_key(self, key_id: str, name: str) -> ApiKey:
        """Give a key another name."""
        request = developer.UpdateApiKeyRequest(id=key_id, name=name, update_mask=FieldMask(paths=["name"]))
        return (await self._send(f"{_DEVELOPER}/UpdateApiKey", request, developer.UpdateApiKeyResponse)).api_key

    async def set_key_expiry(self, key_id: str, expires_at: str) -> ApiKey:
        """Let a key end at a time (RFC 3339), or with empty text never."""
        mask = FieldMask(paths=["expires_at"])
        request = developer.UpdateApiKeyRequest(id=key_id, expires_at=expires_at, update_mask=mask)
        return (await self._send(f"{_DEVELOPER}/UpdateApiKey", request, developer.UpdateApiKeyResponse)).api_key

    async def rotate_key(
        self, key_id: str, *, request_id: str, expire_previous_now: bool
    ) -> developer.RotateApiKeyResponse:
        """Give a key a new secret, which the answer carries."""
        request = developer.RotateApiKeyRequest(
            id=key_id, request_id=request_id, expire_previous_now=expire_previous_now
        )
        return await self._send(f"{_DEVELOPER}/RotateApiKey", request, developer.RotateApiKeyResponse)

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Kill a key, and wait until every server that verifies keys knows."""
        request = developer.RevokeApiKeyRequest(id=key_id, wait=True)
        return (await self._send(f"{_DEVELOPER}/RevokeApiKey", request, developer.RevokeApiKeyResponse)).api_key

    async def list_secret_versions(self, key_id: str) -> Sequence[secrets.SecretVersion]:
        """Return a key's secrets, newest first, without the secrets themselves."""
        request = secrets.ListSecretVersionsRequest(id=key_id)
        answer = await self._send(f"{_SECRETS}/ListSecretVersions", request, secrets.ListSecretVersionsResponse)
        return answer.versions

    async def end_grace(self, key_id: str, version: int) -> secrets.SecretVersion:
        """End an earlier secret of a key now."""
        request = secrets.EndGraceRequest(id=key_id, version=version)
        return (await self._send(f"{_SECRETS}/EndGrace", request, secrets.EndGraceResponse)).version

    async def get_usage(self, granularity: Granularity.ValueType, start_time: str = "", end_time: str = "") -> Usage:
        """Return what all the user's keys were used for."""
        request = usage.GetUsageRequest(granularity=granularity, start_time=start_time, end_time=end_time)
        return (await self._send(f"{_USAGE}/GetUsage", request, usage.GetUsageResponse)).usage

    async def get_key_usage(self, key_id: str, granularity: Granularity.ValueType) -> Usage:
        """Return what one key was used for, over the span that belongs to the granularity."""
        request = usage.GetKeyUsageRequest(id=key_id, granularity=granularity)
        return (await self._send(f"{_USAGE}/GetKeyUsage", request, usage.GetKeyUsageResponse)).usage

    async def list_key_usage(
        self, granularity: Granularity.ValueType, start_time: str = "", end_time: str = "", page_size: int = 0
    ) -> Sequence[usage.KeyUsage]:
        """Return the keys that were used most."""
        request = usage.ListKeyUsageRequest(
            granularity=granularity, start_time=start_time, end_time=end_time, page_size=page_size
        )
        return (await self._send(f"{_USAGE}/ListKeyUsage", request, usage.ListKeyUsageResponse)).keys

    async def get_limits(self) -> usage.GetLimitsResponse:
        """Return the user's tier and where it stands."""
        return await self._send(f"{_USAGE}/GetLimits", usage.GetLimitsRequest(), usage.GetLimitsResponse)

    async def list_key_findings(self) -> usage.ListKeyFindingsResponse:
        """Return what needs attention."""
        request = usage.ListKeyFindingsRequest()
        return await self._send(f"{_USAGE}/ListKeyFindings", request, usage.ListKeyFindingsResponse)

    async def explain_throttling(
        self, key_id: str, granularity: Granularity.ValueType
    ) -> usage.ExplainThrottlingResponse:
        """Return why calls with a key were refused for their number."""
        request = usage.ExplainThrottlingRequest(id=key_id, granularity=granularity)
        return await self._send(f"{_USAGE}/ExplainThrottling", request, usage.ExplainThrottlingResponse)

    async def create_client(self, request: clients.CreateOAuthClientRequest) -> clients.CreateOAuthClientResponse:
        """Make an OAuth client; the answer of a confidential one carries its secret."""
        return await self._send(f"{_CLIENTS}/CreateOAuthClient", request, clients.CreateOAuthClientResponse)

    async def list_clients(self, *, page_size: int = 0, page_token: str = "") -> clients.ListOAuthClientsResponse:
        """Return a page of the user's OAuth clients."""
        request = clients.ListOAuthClientsRequest(page_size=page_size, page_token=page_token)
        return await self._send(f"{_CLIENTS}/ListOAuthClients", request, clients.ListOAuthClientsResponse)

    async def get_client(self, client_id: str) -> OAuthClient:
        """Return one OAuth client."""
        request = clients.GetOAuthClientRequest(id=client_id)
        return (await self._send(f"{_CLIENTS}/GetOAuthClient", request, clients.GetOAuthClientResponse)).client

    async def update_client(self, request: clients.UpdateOAuthClientRequest) -> OAuthClient:
        """Change an OAuth client."""
        return (await self._send(f"{_CLIENTS}/UpdateOAuthClient", request, clients.UpdateOAuthClientResponse)).client

    async def rotate_client_secret(
        self, request: clients.RotateClientSecretRequest
    ) -> clients.RotateClientSecretResponse:
        """Give an OAuth client a new secret, which the answer carries."""
        return await self._send(f"{_CLIENTS}/RotateClientSecret", request, clients.RotateClientSecretResponse)

    async def delete_client(self, client_id: str) -> None:
        """Remove an OAuth client."""
        request = clients.DeleteOAuthClientRequest(id=client_id)
        await self._send(f"{_CLIENTS}/DeleteOAuthClient", request, clients.DeleteOAuthClientResponse)

    async def list_stream_days(self, first_day: str = "", last_day: str = "") -> Sequence[billing.StreamDay]:
        """Return streams by day, client and medium."""
        request = billing.ListStreamDaysRequest(first_day=first_day, last_day=last_day)
        return (await self._send(f"{_BILLING}/ListStreamDays", request, billing.ListStreamDaysResponse)).days

    async def get_statement(self, month: str) -> billing.Statement:
        """Return the statement of a month, `YYYY-MM`."""
        request = billing.GetStatementRequest(month=month)
        return (await self._send(f"{_BILLING}/GetStatement", request, billing.GetStatementResponse)).statement

    async def list_statement_lines(
        self, month: str, *, page_size: int = 0, page_token: str = ""
    ) -> billing.ListStatementLinesResponse:
        """Return a page of the entries behind a statement."""
        request = billing.ListStatementLinesRequest(month=month, page_size=page_size, page_token=page_token)
        return await self._send(f"{_BILLING}/ListStatementLines", request, billing.ListStatementLinesResponse)

    async def _send(self, method: str, request: Message, response_type: type[ResponseT]) -> ResponseT:
        return await self._caller.call(method, request, response_type, token=self._token, peer=self._peer)
