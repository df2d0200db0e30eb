"""Messages all the way to the database and back."""

from datetime import UTC, datetime, timedelta

import pytest
from sdk.metering.v1 import metering_service_pb2 as pb
from sdk.usage.v1 import usage_pb2

from server.ids import DeveloperId
from server.metering.ledger.rpc import AcquisitionRecorder
from server.metering.ledger.service import StreamLedger
from server.postgres.pool import Database
from server.times import format_time


def message(event_id: str, developer_id: str, acquired_at: datetime) -> pb.StreamAcquisition:
    return pb.StreamAcquisition(
        event_id=event_id,
        developer_id=developer_id,
        client_id="client",
        user_id="user",
        content_id=event_id,
        medium=usage_pb2.MEDIUM_MUSIC,
        quality="high",
        acquired_at=format_time(acquired_at),
        url_expires_at=format_time(acquired_at + timedelta(hours=1)),
    )


@pytest.mark.parametrize("transaction_pooler", [False, True])
async def test_a_thousand_events_of_which_some_are_faulty(
    database_url: str, alice: DeveloperId, transaction_pooler: bool
) -> None:
    database = Database(database_url, transaction_pooler=transaction_pooler)
    await database.open()
    now = datetime.now(UTC)
    messages = [message(f"event-{number}", alice, now - timedelta(minutes=number)) for number in range(1000)]
    messages[3].developer_id = "dev_\0"
    messages[5].developer_id = "dev_unknown"
    messages[7].acquired_at = "noon"
    messages[9].url_expires_at = messages[9].acquired_at
    messages[11].CopyFrom(messages[10])

    results = await AcquisitionRecorder(StreamLedger(database)).record(messages)

    await database.close()
    assert [result.event_id for result in results] == [each.event_id for each in messages]
    refused = {place: result.violations[0].field for place, result in enumerate(results) if result.violations}
    assert refused == {3: "developer_id", 5: "developer_id", 7: "acquired_at", 9: "url_expires_at"}
    outcomes = [result.outcome for result in results]
    assert outcomes[11] == pb.ACQUISITION_OUTCOME_DUPLICATE
    assert outcomes.count(pb.ACQUISITION_OUTCOME_REFUSED) == 4
    assert outcomes.count(pb.ACQUISITION_OUTCOME_BILLABLE) == 995
