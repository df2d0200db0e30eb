"""MeteringService over gRPC, and usage as a message: conversions and nothing else."""

from typing import Any

from grpc.aio import ServicerContext
from sdk.metering.v1 import metering_service_pb2_grpc
from sdk.metering.v1.metering_service_pb2 import (
    GetUsageRequest,
    GetUsageResponse,
    RecordStreamAcquisitionsRequest,
    RecordStreamAcquisitionsResponse,
)
from sdk.usage.v1 import usage_pb2
from sdk.verification.v1 import verdict_pb2

from server.metering.ledger.rpc import AcquisitionRecorder
from server.metering.model import Count, Granularity, Point, Quota, StreamCount, Usage
from server.metering.reports import Period, UsageReports
from server.times import format_time

Context = ServicerContext[Any, Any]

_GRANULARITIES = {
    usage_pb2.GRANULARITY_UNSPECIFIED: Granularity.HOUR,
    usage_pb2.GRANULARITY_MINUTE: Granularity.MINUTE,
    usage_pb2.GRANULARITY_HOUR: Granularity.HOUR,
    usage_pb2.GRANULARITY_DAY: Granularity.DAY,
}
_VERDICTS = {name.removeprefix("VERDICT_").lower(): number for name, number in verdict_pb2.Verdict.items()}
_MEDIA = {name.removeprefix("MEDIUM_").lower(): number for name, number in usage_pb2.Medium.items()}


class MeteringService(metering_service_pb2_grpc.MeteringServiceServicer):
    """The ledger and reports for internal services. Requests arrive parsed and validated, callers authenticated."""

    def __init__(self, reports: UsageReports, recorder: AcquisitionRecorder) -> None:
        self._reports = reports
        self._recorder = recorder

    async def RecordStreamAcquisitions(
        self, request: RecordStreamAcquisitionsRequest, context: Context
    ) -> RecordStreamAcquisitionsResponse:
        """Enter events into the ledger."""
        results = await self._recorder.record(request.acquisitions)
        return RecordStreamAcquisitionsResponse(results=results)

    async def GetUsage(self, request: GetUsageRequest, context: Context) -> GetUsageResponse:
        """Sum up the use of a developer's keys or of one key."""
        period = period_of(request.granularity, request.start_time, request.end_time)
        if request.key_id:
            usage = await self._reports.of_key(request.key_id, period)
        else:
            usage = await self._reports.of_developer(request.developer_id, period)
        return GetUsageResponse(usage=usage_message(usage))


def period_of(granularity: "usage_pb2.Granularity.ValueType", start_time: str, end_time: str) -> Period:
    """Convert the span that a request asks for."""
    return Period(granularity=_GRANULARITIES[granularity], start_time=start_time, end_time=end_time)


def usage_message(usage: Usage) -> usage_pb2.Usage:
    """Convert usage."""
    totals = usage.totals
    return usage_pb2.Usage(
        start_time=format_time(usage.span.start),
        end_time=format_time(usage.span.end),
        points=map(_point, totals.points),
        calls=totals.calls,
        units=totals.units,
        outcomes=map(_outcome, totals.outcomes),
        operations=[usage_pb2.OperationCount(operation=name, calls=calls) for name, calls in totals.operations],
        throttled_share=totals.throttled_share,
        calls_per_second=usage.calls_per_second,
        quota=_quota(usage.quota) if usage.quota else None,
        streams=map(_streams, usage.streams),
    )


def _point(point: Point) -> usage_pb2.UsagePoint:
    return usage_pb2.UsagePoint(
        start_time=format_time(point.start),
        calls=point.calls,
        units=point.units,
        outcomes=map(_outcome, point.outcomes),
    )


def _outcome(count: Count) -> usage_pb2.OutcomeCount:
    verdict = _VERDICTS.get(count.name, verdict_pb2.VERDICT_UNSPECIFIED)  # a newer server may count others
    return usage_pb2.OutcomeCount(outcome=verdict, calls=count.calls)


def _quota(quota: Quota) -> usage_pb2.QuotaUsage:
    return usage_pb2.QuotaUsage(
        limit=quota.limit,
        used=quota.used,
        forecast=quota.forecast,
        exhausted_at=format_time(quota.exhausted_at),
        resets_at=format_time(quota.resets_at),
    )


def _streams(count: StreamCount) -> usage_pb2.StreamCount:
    return usage_pb2.StreamCount(medium=_MEDIA[count.medium], acquisitions=count.acquisitions, billable=count.billable)
