"""Statements and lines as messages: every field."""

from datetime import UTC, datetime, timedelta

from sdk.billing.v1 import billing_service_pb2 as pb
from sdk.usage.v1 import usage_pb2

from server.billing.model import Month, Statement, StatementLine, StatementSum
from server.billing.rpc import line_message, statement_message

NOW = datetime(2030, 7, 15, 12, tzinfo=UTC)
JULY = Month.read("2030-07", NOW)


def test_every_sum_is_told() -> None:
    sums = [StatementSum("a", "music", 5, -2), StatementSum("b", "video", 3, 1)]
    assert statement_message(Statement(month=JULY, closed=True, sums=sums)) == pb.Statement(
        month="2030-07",
        closed=True,
        sums=[
            pb.StatementSum(client_id="a", medium=usage_pb2.MEDIUM_MUSIC, streams=5, adjustments=-2),
            pb.StatementSum(client_id="b", medium=usage_pb2.MEDIUM_VIDEO, streams=3, adjustments=1),
        ],
        streams=8,
        adjustments=-1,
        total=7,
    )


def test_a_line_says_whether_it_is_about_an_earlier_month() -> None:
    line = StatementLine("event", -1, NOW, JULY.start, "client", "video", "film", "1080p")
    message = pb.StatementLine(
        event_id="event",
        amount=-1,
        adjustment=False,
        acquired_at="2030-07-01T00:00:00.000000Z",
        posted_at="2030-07-15T12:00:00.000000Z",
        client_id="client",
        medium=usage_pb2.MEDIUM_VIDEO,
        content_id="film",
        quality="1080p",
    )
    assert line_message(line, JULY) == message
    earlier = line._replace(acquired_at=JULY.start - timedelta(microseconds=1))
    assert line_message(earlier, JULY).adjustment
