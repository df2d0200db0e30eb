"""AccountService over gRPC: messages to the service's terms and back, and nothing else."""

from typing import Any

from grpc.aio import ServicerContext
from sdk.portal.v1 import account_pb2, account_service_pb2_grpc
from sdk.portal.v1.account_service_pb2 import (
    GetDeveloperRequest,
    GetDeveloperResponse,
    ListAuditEventsRequest,
    ListAuditEventsResponse,
    ListTiersRequest,
    ListTiersResponse,
    RegisterDeveloperRequest,
    RegisterDeveloperResponse,
    RequestTierRequest,
    RequestTierResponse,
    UpdateDeveloperRequest,
    UpdateDeveloperResponse,
)

from server.accounts.model import Account, Profile, TierOffer
from server.accounts.service import AccountService, UpdateProfile
from server.audit.details import as_text
from server.audit.model import AuditEvent
from server.audit.service import AuditLog
from server.audit.store import Actor
from server.identity.principal import current_principal, current_token
from server.rpc.call import current_call
from server.times import format_time

Context = ServicerContext[Any, Any]


class AccountRpc(account_service_pb2_grpc.AccountServiceServicer):
    """The published methods. Requests arrive parsed and validated, callers authenticated."""

    def __init__(self, accounts: AccountService, audit_log: AuditLog) -> None:
        self._accounts = accounts
        self._audit_log = audit_log

    async def RegisterDeveloper(self, request: RegisterDeveloperRequest, context: Context) -> RegisterDeveloperResponse:
        """Make the caller, who may be nobody yet, a developer."""
        token, call = current_token(), current_call()
        account = await self._accounts.register(token.issuer, token.subject, call.id, _profile(request))
        call.labels["developer_id"] = account.id
        return RegisterDeveloperResponse(developer=self._message(account))

    async def GetDeveloper(self, request: GetDeveloperRequest, context: Context) -> GetDeveloperResponse:
        """Return the caller's account."""
        account = await self._accounts.get(current_principal().developer_id)
        return GetDeveloperResponse(developer=self._message(account))

    async def UpdateDeveloper(self, request: UpdateDeveloperRequest, context: Context) -> UpdateDeveloperResponse:
        """Change the caller's account."""
        wish = UpdateProfile(profile=_profile(request), paths=tuple(request.update_mask.paths) or None)
        account = await self._accounts.update(_actor(), wish)
        return UpdateDeveloperResponse(developer=self._message(account))

    async def ListAuditEvents(self, request: ListAuditEventsRequest, context: Context) -> ListAuditEventsResponse:
        """Return one page of what happened in the caller's account."""
        events, next_page_token = await self._audit_log.list(
            current_principal().developer_id, request.page_size, request.page_token, request.target_id
        )
        return ListAuditEventsResponse(events=map(_event, events), next_page_token=next_page_token)

    async def ListTiers(self, request: ListTiersRequest, context: Context) -> ListTiersResponse:
        """Return all tiers."""
        return ListTiersResponse(tiers=map(_tier, await self._accounts.list_tiers()))

    async def RequestTier(self, request: RequestTierRequest, context: Context) -> RequestTierResponse:
        """Note the caller's wish for a tier."""
        account = await self._accounts.request_tier(_actor(), request.tier, request.reason)
        return RequestTierResponse(developer=self._message(account))

    def _message(self, account: Account) -> account_pb2.Developer:
        return account_pb2.Developer(
            id=account.id,
            display_name=account.display_name or "",
            contact_email=account.contact_email or "",
            organisation=account.organisation or "",
            terms_version=account.terms_version or "",
            terms_accepted_at=format_time(account.terms_accepted_at),
            created_at=format_time(account.created_at),
            current_terms_version=self._accounts.terms_version,
            current_terms_url=self._accounts.terms_url,
            tier=account.tier,
            requested_tier=account.requested_tier or "",
        )


def _actor() -> Actor:
    return Actor(developer_id=current_principal().developer_id, call_id=current_call().id)


def _profile(request: RegisterDeveloperRequest | UpdateDeveloperRequest) -> Profile:
    return Profile(
        display_name=request.display_name,
        contact_email=request.contact_email,
        organisation=request.organisation,
        terms_version=request.terms_version,
    )


def _event(event: AuditEvent) -> account_pb2.AuditEvent:
    return account_pb2.AuditEvent(
        id=event.id,
        created_at=format_time(event.created_at),
        action=event.action,
        target_id=event.target_id,
        call_id=event.call_id,
        details=as_text(event.action, event.details),
        actor=event.actor or "",
    )


def _tier(tier: TierOffer) -> account_pb2.Tier:
    return account_pb2.Tier(
        name=tier.name,
        key_requests=tier.requests,
        developer_requests=tier.developer_requests,
        window_seconds=tier.window_seconds,
        monthly_quota=tier.monthly_quota or 0,
        max_keys=tier.max_keys,
        concurrent_streams=tier.concurrent_streams,
    )
