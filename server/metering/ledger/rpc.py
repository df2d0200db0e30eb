"""Stream acquisitions as messages: to the ledger's terms and back, each event judged by itself."""

import asyncio
from collections.abc import Sequence

from sdk.metering.v1 import metering_service_pb2
from sdk.metering.v1.metering_service_pb2 import AcquisitionResult, EventViolation, StreamAcquisition
from sdk.usage.v1 import usage_pb2

from server.errors import Violation
from server.metering.ledger.model import Acquisition, Faulty, Medium, Outcome, Result
from server.metering.ledger.service import StreamLedger
from server.rpc.validation import find_violations
from server.times import parse_time

_MEDIA = {usage_pb2.MEDIUM_MUSIC: Medium.MUSIC, usage_pb2.MEDIUM_VIDEO: Medium.VIDEO}
_OUTCOMES = {
    Outcome.BILLABLE: metering_service_pb2.ACQUISITION_OUTCOME_BILLABLE,
    Outcome.SAME_STREAM: metering_service_pb2.ACQUISITION_OUTCOME_SAME_STREAM,
    Outcome.DUPLICATE: metering_service_pb2.ACQUISITION_OUTCOME_DUPLICATE,
    Outcome.REFUSED: metering_service_pb2.ACQUISITION_OUTCOME_REFUSED,
}
_JUDGED_AT_ONCE = 50


class AcquisitionRecorder:
    """Takes the events of RecordStreamAcquisitions."""

    def __init__(self, ledger: StreamLedger) -> None:
        self._ledger = ledger

    async def record(self, acquisitions: Sequence[StreamAcquisition]) -> list[AcquisitionResult]:
        """Enter events and tell what became of each, in their order; a faulty one does no harm to the others.

        Raises:
            Unavailable: the outcome is unknown; sending the same events again is safe.
        """
        events = []
        for start in range(0, len(acquisitions), _JUDGED_AT_ONCE):
            events += [_event(message) for message in acquisitions[start : start + _JUDGED_AT_ONCE]]
            await asyncio.sleep(0)  # other calls are not kept waiting by a thousand events
        return [_message(result) for result in await self._ledger.record(events)]


def _event(message: StreamAcquisition) -> Acquisition | Faulty:
    acquired_at, no_begin = parse_time(message.acquired_at, "acquired_at")
    url_expires_at, no_end = parse_time(message.url_expires_at, "url_expires_at")
    violations = [*find_violations(message), *filter(None, (no_begin, no_end))]
    if not message.developer_id.isprintable():
        violations.append(Violation("developer_id", "is no registered developer"))
    if violations or acquired_at is None or url_expires_at is None:
        return Faulty(event_id=message.event_id, violations=violations)
    return Acquisition(
        event_id=message.event_id,
        developer_id=message.developer_id,
        client_id=message.client_id,
        user_id=message.user_id,
        content_id=message.content_id,
        medium=_MEDIA[message.medium],
        quality=message.quality,
        acquired_at=acquired_at,
        url_expires_at=url_expires_at,
    )


def _message(result: Result) -> AcquisitionResult:
    return AcquisitionResult(
        event_id=result.event_id,
        outcome=_OUTCOMES[result.outcome],
        violations=[EventViolation(field=fault.field, description=fault.description) for fault in result.violations],
        billable=result.billable,
    )
