"""UsageService over gRPC: messages to the services' terms and back, and nothing else."""

from typing import Any

from grpc.aio import ServicerContext
from sdk.usage.v1 import usage_service_pb2_grpc
from sdk.usage.v1.usage_service_pb2 import (
    GetKeyUsageRequest,
    GetKeyUsageResponse,
    GetLimitsRequest,
    GetLimitsResponse,
    GetUsageRequest,
    GetUsageResponse,
    KeyRate,
    RateRule,
    RateStanding,
)

from server.identity.principal import current_principal
from server.limits.model import Rate
from server.metering.reports import UsageReports
from server.metering.rpc import period_of, usage_message
from server.usage.service import Limits, LimitService

Context = ServicerContext[Any, Any]


class UsageService(usage_service_pb2_grpc.UsageServiceServicer):
    """Developers' own numbers. Requests arrive parsed and validated, callers authenticated."""

    def __init__(self, reports: UsageReports, limits: LimitService) -> None:
        self._reports = reports
        self._limits = limits

    async def GetUsage(self, request: GetUsageRequest, context: Context) -> GetUsageResponse:
        """Sum up the use of the caller's keys."""
        period = period_of(request.granularity, request.start_time, request.end_time)
        usage = await self._reports.of_developer(current_principal().developer_id, period)
        return GetUsageResponse(usage=usage_message(usage))

    async def GetKeyUsage(self, request: GetKeyUsageRequest, context: Context) -> GetKeyUsageResponse:
        """Sum up the use of one of the caller's keys."""
        period = period_of(request.granularity, request.start_time, request.end_time)
        usage = await self._reports.of_key(request.id, period, developer_id=current_principal().developer_id)
        return GetKeyUsageResponse(usage=usage_message(usage))

    async def GetLimits(self, request: GetLimitsRequest, context: Context) -> GetLimitsResponse:
        """Tell what the caller's keys may do."""
        limits = await self._limits.get(current_principal().developer_id)
        return limits_message(limits)


def limits_message(limits: Limits) -> GetLimitsResponse:
    """Convert limits."""
    tier = limits.tier
    return GetLimitsResponse(
        tier=tier.name,
        key_rate=_rule(tier.rate),
        developer_rate=_rule(tier.developer_rate),
        developer_standing=RateStanding(remaining=limits.remaining, reset_at=limits.reset_at),
        monthly_quota=tier.monthly_quota or 0,
        quota_used=limits.quota_used,
        max_keys=tier.max_keys,
        live_keys=limits.live_keys,
        concurrent_streams=tier.concurrent_streams,
        key_overrides=[KeyRate(key_id=key_id, rate=_rule(rate)) for key_id, rate in limits.key_rates.items()],
    )


def _rule(rate: Rate) -> RateRule:
    return RateRule(requests=rate.requests, window_seconds=rate.seconds)
