"""MeteringService: whose use is told, and that events reach the ledger."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from sdk.metering.v1.metering_service_pb2 import (
    ACQUISITION_OUTCOME_BILLABLE,
    AcquisitionResult,
    GetUsageRequest,
    RecordStreamAcquisitionsRequest,
    StreamAcquisition,
)
from sdk.usage.v1 import usage_pb2

from server.errors import NotFound
from server.ids import DeveloperId
from server.metering.counters import Counters, Use
from server.metering.ledger.rpc import AcquisitionRecorder
from server.metering.reports import UsageReports
from server.metering.rpc import MeteringService
from server.postgres.pool import Database
from tests.integration.metering.meter import add_key, meter

CONTEXT: Any = None
MINUTE = usage_pb2.GRANULARITY_MINUTE


class Recorder:
    """Finds every event billable."""

    async def record(self, acquisitions: Sequence[StreamAcquisition]) -> list[AcquisitionResult]:
        return [
            AcquisitionResult(event_id=event.event_id, outcome=ACQUISITION_OUTCOME_BILLABLE) for event in acquisitions
        ]


@pytest.fixture
def metering(database: Database) -> MeteringService:
    """The service under test."""
    return MeteringService(UsageReports(database), cast("AcquisitionRecorder", Recorder()))


async def test_use_is_told_of_a_developer_or_of_a_key(
    database: Database, metering: MeteringService, counters: Counters, alice: DeveloperId, key: Use
) -> None:
    for use in (key, key, await add_key(database, alice)):
        counters.count(use, "", "valid", 1, "")
    await meter(database, counters).flush()
    whole = await metering.GetUsage(GetUsageRequest(developer_id=alice, granularity=MINUTE), CONTEXT)
    single = await metering.GetUsage(GetUsageRequest(key_id=key.key_id, granularity=MINUTE), CONTEXT)
    assert (whole.usage.calls, single.usage.calls) == (3, 2)


@pytest.mark.parametrize("request_", [GetUsageRequest(developer_id="dev_x"), GetUsageRequest(key_id="key_x")])
async def test_what_does_not_exist_is_not_found(metering: MeteringService, request_: GetUsageRequest) -> None:
    with pytest.raises(NotFound):
        await metering.GetUsage(request_, CONTEXT)


async def test_events_are_told_in_their_order(metering: MeteringService) -> None:
    events = [StreamAcquisition(event_id="b"), StreamAcquisition(event_id="a")]
    answer = await metering.RecordStreamAcquisitions(RecordStreamAcquisitionsRequest(acquisitions=events), CONTEXT)
    assert [result.event_id for result in answer.results] == ["b", "a"]
