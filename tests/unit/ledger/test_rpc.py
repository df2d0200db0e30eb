"""Events as messages: each is read or refused by itself, and told what became of it in its place."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sdk.metering.v1 import metering_service_pb2 as pb
from sdk.metering.v1.metering_service_pb2 import StreamAcquisition
from sdk.usage.v1 import usage_pb2

from server.errors import Violation
from server.metering.ledger.model import Acquisition, Faulty, Medium, Outcome, Result
from server.metering.ledger.rpc import AcquisitionRecorder


class Ledger:
    """Keeps what it is given and answers as it is told, or BILLABLE; faulty events are refused."""

    def __init__(self, *results: Result) -> None:
        self.events: list[Acquisition | Faulty] = []
        self._results = results

    async def record(self, events: Sequence[Acquisition | Faulty]) -> list[Result]:
        self.events += events
        return list(self._results) or [
            Result(event_id=event.event_id, outcome=Outcome.REFUSED, violations=event.violations)
            if isinstance(event, Faulty)
            else Result(event_id=event.event_id, outcome=Outcome.BILLABLE, billable=True)
            for event in events
        ]


def recorder(ledger: Any) -> AcquisitionRecorder:
    return AcquisitionRecorder(ledger)


def message(**fields: Any) -> StreamAcquisition:
    good: dict[str, Any] = {
        "event_id": "event",
        "developer_id": "dev_1",
        "client_id": "a client",
        "user_id": "user",
        "content_id": "song",
        "medium": usage_pb2.MEDIUM_VIDEO,
        "quality": "1080p",
        "acquired_at": "2030-01-01T02:00:00.5+02:00",
        "url_expires_at": "2030-01-01t01:00:00z",
    }
    return StreamAcquisition(**(good | fields))


async def test_a_message_is_read() -> None:
    ledger = Ledger()

    await recorder(ledger).record([message()])

    assert ledger.events == [
        Acquisition(
            event_id="event",
            developer_id="dev_1",
            client_id="a client",
            user_id="user",
            content_id="song",
            medium=Medium.VIDEO,
            quality="1080p",
            acquired_at=datetime(2030, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
            url_expires_at=datetime(2030, 1, 1, 1, tzinfo=UTC),
        )
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, "") for name in StreamAcquisition.DESCRIPTOR.fields_by_name if name != "medium"),
        ("event_id", "e" * 65),
        ("event_id", "two words"),
        ("event_id", "é"),
        ("event_id", "event\n"),
        ("developer_id", "d" * 65),
        ("developer_id", "dev\0"),
        ("client_id", "c" * 129),
        ("client_id", "\t"),
        ("user_id", "Ann Other"),
        ("content_id", "c" * 129),
        ("quality", "q" * 33),
        ("medium", usage_pb2.MEDIUM_UNSPECIFIED),
        ("medium", 9),
        ("acquired_at", "yesterday"),
        ("acquired_at", "2030-01-01T00:00:00"),
        ("acquired_at", "2030-02-30T00:00:00Z"),
        ("url_expires_at", "9999-12-31T23:59:59.999999Z"),
    ],
)
async def test_a_faulty_event_is_refused_and_does_no_harm_to_others(field: str, value: Any) -> None:
    faulty = message(**{field: value})

    before, result, after = await recorder(Ledger()).record(
        [message(event_id="before"), faulty, message(event_id="after")]
    )

    assert [before.event_id, result.event_id, after.event_id] == ["before", faulty.event_id, "after"]
    assert [before.outcome, after.outcome] == [pb.ACQUISITION_OUTCOME_BILLABLE] * 2
    assert result.outcome == pb.ACQUISITION_OUTCOME_REFUSED
    assert [violation.field for violation in result.violations] == [field]
    assert result.violations[0].description


async def test_every_fault_of_an_event_is_told() -> None:
    (result,) = await recorder(Ledger()).record([message(event_id="", user_id="", acquired_at="now")])
    assert [violation.field for violation in result.violations] == ["event_id", "user_id", "acquired_at"]


@pytest.mark.parametrize(
    ("outcome", "number"),
    [
        (Outcome.BILLABLE, pb.ACQUISITION_OUTCOME_BILLABLE),
        (Outcome.SAME_STREAM, pb.ACQUISITION_OUTCOME_SAME_STREAM),
        (Outcome.DUPLICATE, pb.ACQUISITION_OUTCOME_DUPLICATE),
        (Outcome.REFUSED, pb.ACQUISITION_OUTCOME_REFUSED),
    ],
)
@pytest.mark.parametrize("billable", [True, False])
async def test_what_became_of_an_event_is_told(outcome: Outcome, number: int, billable: bool) -> None:
    violations = [Violation("event_id", "is wrong")]
    result = Result(event_id="event", outcome=outcome, billable=billable, violations=violations)

    (told,) = await recorder(Ledger(result)).record([message()])

    assert told == pb.AcquisitionResult(
        event_id="event",
        outcome=number,  # type: ignore[arg-type]
        violations=[pb.EventViolation(field="event_id", description="is wrong")],
        billable=billable,
    )


async def test_a_thousand_events_keep_their_order() -> None:
    ledger = Ledger()
    names = [f"event-{number}" for number in range(1000)]
    results = await recorder(ledger).record([message(event_id=name) for name in names])
    assert [result.event_id for result in results] == [event.event_id for event in ledger.events] == names
