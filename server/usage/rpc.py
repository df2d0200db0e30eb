"""UsageService over gRPC: messages to the services' terms and back, and nothing else."""

from typing import Any

from grpc.aio import ServicerContext
from sdk.usage.v1 import usage_service_pb2_grpc
from sdk.usage.v1.usage_service_pb2 import (
    ExplainThrottlingRequest,
    ExplainThrottlingResponse,
    FindingCount,
    GetKeyUsageRequest,
    GetKeyUsageResponse,
    GetLimitsRequest,
    GetLimitsResponse,
    GetUsageRequest,
    GetUsageResponse,
    KeyFinding,
    KeyRate,
    KeyUsage,
    LimitStanding,
    ListKeyFindingsRequest,
    ListKeyFindingsResponse,
    ListKeyUsageRequest,
    ListKeyUsageResponse,
    RateRule,
    RateStanding,
    Refusal,
)

from server.identity.principal import current_principal
from server.limits.model import Rate
from server.metering.reports import UsageReports
from server.metering.rpc import period_of, usage_message
from server.times import format_time
from server.usage import model
from server.usage.attention import KeyAttention
from server.usage.service import Limits, LimitService
from server.usage.throttling import ThrottlingService

Context = ServicerContext[Any, Any]


class UsageService(usage_service_pb2_grpc.UsageServiceServicer):
    """Developers' own numbers. Requests arrive parsed and validated, callers authenticated."""

    def __init__(
        self, reports: UsageReports, limits: LimitService, throttling: ThrottlingService, attention: KeyAttention
    ) -> None:
        self._reports = reports
        self._limits = limits
        self._throttling = throttling
        self._attention = attention

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

    async def ListKeyUsage(self, request: ListKeyUsageRequest, context: Context) -> ListKeyUsageResponse:
        """List the caller's keys that were used most."""
        period = period_of(request.granularity, request.start_time, request.end_time)
        uses = await self._attention.most_used(current_principal().developer_id, period, request.page_size)
        return ListKeyUsageResponse(keys=map(_key_usage, uses))

    async def ListKeyFindings(self, request: ListKeyFindingsRequest, context: Context) -> ListKeyFindingsResponse:
        """List what about the caller's keys needs attention."""
        return findings_message(await self._attention.findings(current_principal().developer_id))

    async def ExplainThrottling(self, request: ExplainThrottlingRequest, context: Context) -> ExplainThrottlingResponse:
        """Tell why calls with one of the caller's keys were refused for their number."""
        period = period_of(request.granularity, request.start_time, request.end_time)
        throttling = await self._throttling.explain(current_principal().developer_id, request.id, period)
        return throttling_message(throttling)


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


def findings_message(findings: model.Findings) -> ListKeyFindingsResponse:
    """Convert findings."""
    return ListKeyFindingsResponse(
        findings=map(_finding, findings.listed),
        counts=[
            FindingCount(finding=finding.value, keys=keys)  # type: ignore[arg-type]  # the numbers are the same
            for finding, keys in findings.counts.items()
        ],
    )


def throttling_message(throttling: model.Throttling) -> ExplainThrottlingResponse:
    """Convert why calls were refused."""
    return ExplainThrottlingResponse(
        limits=map(_standing, throttling.standings),
        refusals=map(_refusal, throttling.refusals),
        key_calls_per_second=throttling.key_calls_per_second,
        developer_calls_per_second=throttling.developer_calls_per_second,
    )


def _key_usage(use: model.KeyUse) -> KeyUsage:
    return KeyUsage(
        key_id=use.id,
        name=use.name,
        key_prefix=use.key_prefix,
        calls=use.calls,
        throttled_calls=use.throttled_calls,
        units=use.units,
    )


def _finding(finding: model.KeyFinding) -> KeyFinding:
    return KeyFinding(
        key_id=finding.key_id,
        name=finding.name,
        key_prefix=finding.key_prefix,
        finding=finding.finding.value,  # type: ignore[arg-type]  # the numbers are the same
        time=format_time(finding.about),
        scopes=finding.scopes,
    )


def _standing(standing: model.Standing) -> LimitStanding:
    return LimitStanding(
        limit=standing.limit.value,  # type: ignore[arg-type]  # the numbers are the same
        units=standing.units,
        window_seconds=standing.window_seconds,
        remaining=standing.remaining,
        resets_at=format_time(standing.resets_at),
        exhausted_at=format_time(standing.exhausted_at),
        refused_calls=standing.refused_calls,
    )


def _refusal(refusal: model.Refusal) -> Refusal:
    return Refusal(
        start_time=format_time(refusal.start),
        limit=refusal.limit.value,  # type: ignore[arg-type]  # the numbers are the same
        refused_calls=refusal.refused_calls,
        calls=refusal.calls,
    )
